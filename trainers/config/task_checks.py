"""A config against the tasks it is for: what asks for something that they are not is refused before any work."""

from collections.abc import Iterator, Mapping, Sequence

from model.errors import InputError, unknown
from model.heads import PAIR_FEATURES
from trainers.config.architecture import HeadConfig
from trainers.config.encodings import pair_features
from trainers.config.train_config import TrainConfig
from trainers.tasks import Task

WIDTH = 8
"""An encoder's, to compare features by: their widths are multiples of it."""


def check_tasks(config: TrainConfig, tasks: Mapping[str, Task]) -> None:
    """Check what a config asks of tasks against what they are.

    Raises:
        InputError: a task is unknown, or a setting means nothing for it.
    """
    for name in dict.fromkeys([*config.tasks, *(task for stage in config.stages for task in stage.tasks)]):
        if name not in tasks:
            raise unknown("task", name, tasks)
    for name in config.tasks:
        for fault in _task_faults(config, tasks[name]):
            raise InputError(f"{fault}.")
    for fault in (*_idle_head_faults(config, [tasks[name] for name in config.tasks]), *_width_faults(config, tasks)):
        raise InputError(f"{fault}.")


def _task_faults(config: TrainConfig, task: Task) -> Iterator[str]:
    """Yield the settings that mean nothing for a task."""
    head, apart = config.head_of(task.name), task.pair and config.pairs == "separate"
    own = isinstance(config.head, dict) and task.name in config.head
    is_cosine = head.output == "cosine" and task.kind == "regression"
    if own and head.output != "linear" and task.kind != "regression":
        yield f"head.{task.name}.output {head.output!r} makes a value, and {task.name} is {task.kind}; use 'linear'"
    if is_cosine and not apart:
        yield f"head output 'cosine' of {task.name} needs pairs that are encoded apart; set pairs to 'separate'"
    if own and head.features != HeadConfig().features and not apart:
        yield f"head.{task.name}.features are those of pairs encoded apart; set pairs to 'separate', or leave them out"
    if own and head.output == "cosine" and head.features not in (HeadConfig().features, "cosine"):
        yield f"head.{task.name}.output 'cosine' reads no features but 'cosine', not {head.features!r}; leave them out"
    shares = any(task.name in layer.tasks for layer in config.shared_layers)
    if is_cosine and shares:
        yield f"head output 'cosine' of {task.name} is the cosine itself; take {task.name} out of its shared layer"
    frozen = [stage for stage in config.stages if stage.trainable_layers == 0 and stage.supervised]
    if is_cosine and any(task.name in stage.tasks for stage in frozen):
        yield f"head output 'cosine' of {task.name} has no weights, and a frozen encoder leaves nothing to train"
    if own and head.cosine and (not task.pair or apart):
        yield f"head.{task.name}.cosine is for concatenated pairs; elsewhere features 'cosine' is the whole of it"
    weights = config.class_weights.get(task.name)
    if weights and (task.kind == "regression" or len(weights) != task.high - task.low + 1):
        count = 0 if task.kind == "regression" else round(task.high - task.low + 1)
        yield f"class_weights.{task.name} has {len(weights)} weights, and {task.name} has {count} classes"


def _idle_head_faults(config: TrainConfig, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield what a head for all tasks asks for, where no task can have it; by task, `_task_faults` tells."""
    head = config.head
    if isinstance(head, dict):
        return
    apart = config.pairs == "separate"
    if head.output != "linear" and not any(task.kind == "regression" for task in tasks):
        yield f"head.output {head.output!r} makes a value, and no task is a regression; use 'linear'"
    if head.features != HeadConfig().features and not (apart and any(task.pair for task in tasks)):
        yield "head.features are those of pairs encoded apart, and there are none; leave them out"
    if head.cosine and (apart or not any(task.pair for task in tasks)):
        yield "head.cosine is for concatenated pairs, and there are none; leave it out"


def _width_faults(config: TrainConfig, tasks: Mapping[str, Task]) -> Iterator[str]:
    """Yield shared layers whose tasks have features of different widths."""
    features = pair_features(config, tasks)
    for layer in config.shared_layers:
        widths = {PAIR_FEATURES[features[task]].width(WIDTH) if task in features else WIDTH for task in layer.tasks}
        if len(widths) > 1:
            found = ", ".join(f"{task} {features.get(task, 'one sequence')}" for task in layer.tasks)
            yield f"Tasks that share a layer need equally wide features; found {found}. Change a head's"
