"""The reports' main questions as systems that differ from one base in one switch, at equal numbers of examples.

Small enough for a CPU: MiniLM's learning rate, batches of 8 a task. With equally many rows a task (`--rows`) the tasks
meet in every step, so that surgery has something to compare, and no schedule starves one.
"""

from collections.abc import Callable
from functools import partial

from trainers.config.architecture import HeadConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig

PASSES = 1.5
"""Examples of every system, in multiples of the tasks' rows; stages before the joint one are part of them."""
JOINT = Stage(passes=PASSES, batch_schedule="smart_round_robin", batch_size=8, learning_rate=2e-4)
ALONE = JOINT.learning_rate / 3
"""For steps of one task, with a third of the rows: at the joint rate they collapse (measured: QQP says no to all)."""
BASE = TrainConfig(stages=(JOINT,))
SMART = SmartConfig(lambda_s=1.0)
"""With a radius at which it bites: at the papers' epsilon its gradient is a hundred-thousandth of the task's."""
APART = BASE.replace(pairs="separate")


def _single(task: str, passes: float) -> Stage:
    return JOINT.replace(tasks=(task,), passes=passes, learning_rate=ALONE)


def _with_stage(**changes: object) -> TrainConfig:
    return BASE.replace(stages=(JOINT.replace(**changes),))


_CONFIGS = {
    "contrast-base": BASE,
    # Input of pairs: reports 001 to 004.
    "contrast-separate": APART.replace(head=HeadConfig(features="u_v")),
    "contrast-separate-difference": APART.replace(head=HeadConfig(features="u_v_difference")),
    "contrast-separate-cosine": APART.replace(head={"sts": HeadConfig(output="cosine")}),
    # Gradients of tasks that meet: reports 000, 002 and 004.
    "contrast-pcgrad": _with_stage(surgery="pcgrad"),
    "contrast-gradvac": _with_stage(surgery="gradvac"),
    # SMART on no task, on one, on all: reports 000 to 004.
    "contrast-smart-sst": BASE.replace(smart={"sst": SMART}),
    "contrast-smart": BASE.replace(smart=SMART),
    "contrast-smart-lazy": BASE.replace(smart=SMART.replace(every=4)),
    # Which tasks' batches come when: reports 000 to 002 and 004.
    "contrast-sequential": BASE.replace(stages=tuple(_single(task, PASSES) for task in ("qqp", "sts", "sst"))),
    "contrast-shuffle": _with_stage(batch_schedule="shuffle", learning_rate=ALONE),
    "contrast-steps-apart": _with_stage(update="separate", learning_rate=ALONE),
    # A stage before the joint one, which is that much shorter: reports 000 to 004.
    "contrast-quora-first": BASE.replace(stages=(_single("qqp", PASSES), JOINT.replace(passes=PASSES * 2 / 3))),
    "contrast-mlm": BASE.replace(
        stages=(JOINT.replace(objective="mlm", passes=PASSES / 3), JOINT.replace(passes=PASSES * 2 / 3))
    ),
}
CONTRASTS: dict[str, Callable[[], TrainConfig]] = {
    name: partial(TrainConfig.replace, config) for name, config in _CONFIGS.items()
}
