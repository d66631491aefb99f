"""Compare the reports' methods: each recipe changes one setting of a base recipe and trains on as many examples.

The recipes are small enough for a CPU: batches of 8 rows of each task, at a learning rate that suits MiniLM. If all
tasks have equally many rows (`--rows`), every step has a batch of each task, so surgery has gradients to compare, and
no batch schedule favours a task.
"""

from collections.abc import Callable
from functools import partial

from trainers.config.architecture import HeadConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.recipes.joint import JOINT, SMART
from trainers.recipes.systems import ROUNDS_BEFORE

PASSES = 1.5
"""Examples of every recipe, in multiples of the tasks' rows. The stages before the joint stage count too."""
STAGE = JOINT.replace(passes=PASSES, rounds=1)
SINGLE_TASK_RATE = STAGE.learning_rate / 3
"""Learning rate of steps with one task, which have a third of the rows. At the joint rate, training on QQP collapsed:
the model predicted class 0 for every row."""
BASE = TrainConfig(stages=(STAGE,))
SEPARATE = BASE.replace(pairs="separate")


def _single_task(task: str, passes: float, *, rounds: int = ROUNDS_BEFORE) -> Stage:
    return STAGE.replace(tasks=(task,), passes=passes, rounds=rounds, learning_rate=SINGLE_TASK_RATE)


def _with_stage(**changes: object) -> TrainConfig:
    return BASE.replace(stages=(STAGE.replace(**changes),))


_CONFIGS = {
    "contrast-base": BASE,
    # How pairs are encoded: reports 001 to 004.
    "contrast-separate": SEPARATE.replace(head=HeadConfig(features="u_v")),
    "contrast-separate-difference": SEPARATE.replace(head=HeadConfig(features="u_v_difference")),
    "contrast-separate-cosine": SEPARATE.replace(head={"sts": HeadConfig(output="cosine")}),
    # Surgery on the gradients of tasks in one step: reports 000, 002 and 004.
    "contrast-pcgrad": _with_stage(surgery="pcgrad"),
    "contrast-gradvac": _with_stage(surgery="gradvac"),
    # SMART on one task or on all: reports 000 to 004.
    "contrast-smart-sst": BASE.replace(smart={"sst": SMART}),
    "contrast-smart": BASE.replace(smart=SMART),
    "contrast-smart-lazy": BASE.replace(smart=SMART.replace(every=4)),
    # Batch schedules and updates: reports 000 to 002 and 004.
    "contrast-sequential": BASE.replace(
        stages=(_single_task("qqp", PASSES), _single_task("sts", PASSES), _single_task("sst", PASSES, rounds=1))
    ),
    "contrast-shuffle": _with_stage(batch_schedule="shuffle", learning_rate=SINGLE_TASK_RATE),
    "contrast-steps-apart": _with_stage(update="separate", learning_rate=SINGLE_TASK_RATE),
    # A stage before the joint stage, which is shortened by as many examples: reports 000 to 004.
    "contrast-quora-first": BASE.replace(stages=(_single_task("qqp", PASSES), STAGE.replace(passes=PASSES * 2 / 3))),
    "contrast-mlm": BASE.replace(
        stages=(
            STAGE.replace(objective="mlm", passes=PASSES / 3, rounds=ROUNDS_BEFORE),
            STAGE.replace(passes=PASSES * 2 / 3),
        )
    ),
}
CONTRASTS: dict[str, Callable[[], TrainConfig]] = {
    name: partial(TrainConfig.replace, config) for name, config in _CONFIGS.items()
}
