"""Check a config against its tasks: refuse settings that make no sense for a task's kind, before any work starts."""

from collections.abc import Iterator, Mapping, Sequence

from model.errors import InputError, unknown
from model.heads import PAIR_FEATURES
from trainers.config.architecture import HeadConfig
from trainers.config.encodings import pair_features
from trainers.config.train_config import TrainConfig
from trainers.tasks import Task

WIDTH = 8
"""An arbitrary width of the encoder, to compare the widths of pair features, which are multiples of it."""


def check_tasks(config: TrainConfig, tasks: Mapping[str, Task]) -> None:
    """Check a config against the tasks that it names.

    Raises:
        InputError: a task is unknown, or a setting makes no sense for it.
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
    """Yield the settings that make no sense for a task."""
    head, field = config.head_of(task.name), "head"
    if isinstance(config.head, dict) and task.name in config.head:
        field = f"head.{task.name}"
        yield from _own_head_faults(config, task, head)
    if head.output == "cosine" and task.kind == "regression":
        yield from (f"{field}.output 'cosine' {fault}" for fault in _cosine_faults(config, task))
    weights = config.class_weights.get(task.name)
    if weights and task.kind == "regression":
        yield f"class_weights.{task.name} is set, and {task.name} has no classes. Leave it out"
    elif weights and len(weights) != task.high - task.low + 1:
        yield (
            f"class_weights.{task.name} has {len(weights)} weights, and {task.name} has "
            f"{round(task.high - task.low + 1)} classes. Give one weight for each class"
        )


def _own_head_faults(config: TrainConfig, task: Task, head: HeadConfig) -> Iterator[str]:
    """Yield the settings in head.TASK that make no sense for the task."""
    field, separate = f"head.{task.name}", task.pair and config.pairs == "separate"
    if head.output != "linear" and task.kind != "regression":
        yield f"{field}.output {head.output!r} is for regressions, and {task.name} is {task.kind}. Use 'linear'"
    if head.features != HeadConfig().features and not separate:
        yield (
            f"{field}.features {head.features!r} needs separately encoded pairs, and {_encoded(config, task)}. "
            f"Leave {field}.features out" + (", or set pairs to 'separate'" if task.pair else "")
        )
    if head.output == "cosine" and head.features not in (HeadConfig().features, "cosine"):
        yield f"{field}.output 'cosine' ignores features, and {field}.features is {head.features!r}. Leave it out"
    if head.cosine and (not task.pair or separate):
        yield (
            f"{field}.cosine needs concatenated pairs, and {_encoded(config, task)}. "
            "Leave it out" + (f", or set {field}.features to 'cosine'" if task.pair else "")
        )


def _cosine_faults(config: TrainConfig, task: Task) -> Iterator[str]:
    """Yield why the cosine of a pair cannot be a regression's output."""
    if not task.pair or config.pairs != "separate":
        yield (
            f"needs separately encoded pairs, and {_encoded(config, task)}. "
            + ("Set pairs to 'separate'" if task.pair else "Choose another output")
        )
    if any(task.name in layer.tasks for layer in config.shared_layers):
        yield f"has no layers, and shared_layers names {task.name}. Remove {task.name} there, or choose another output"
    frozen = [stage for stage in config.stages if stage.trainable_layers == 0 and stage.supervised]
    if any(task.name in stage.tasks for stage in frozen):
        yield (
            f"has no weights, so a stage of {task.name} with trainable_layers 0 trains nothing. "
            "Set trainable_layers to 1 or more, or choose another output"
        )


def _encoded(config: TrainConfig, task: Task) -> str:
    """Say how a task's rows are encoded, as part of an error."""
    return f"pairs is {config.pairs!r}" if task.pair else f"{task.name} has single sentences"


def _idle_head_faults(config: TrainConfig, tasks: Sequence[Task]) -> Iterator[str]:
    """Yield the settings of a common head that make no sense for any task; `_task_faults` checks heads by task."""
    head = config.head
    if isinstance(head, dict):
        return
    separate, pairs = config.pairs == "separate", any(task.pair for task in tasks)
    found = f"pairs is {config.pairs!r}" if pairs else "no task has pairs"
    if head.output != "linear" and not any(task.kind == "regression" for task in tasks):
        yield f"head.output {head.output!r} is for regressions, and no task is a regression. Use 'linear'"
    if head.features != HeadConfig().features and not (separate and pairs):
        yield f"head.features {head.features!r} needs separately encoded pairs, and {found}. Leave head.features out"
    if head.cosine and (separate or not pairs):
        yield f"head.cosine needs concatenated pairs, and {found}. Leave head.cosine out"


def _width_faults(config: TrainConfig, tasks: Mapping[str, Task]) -> Iterator[str]:
    """Yield the shared layers whose tasks have features of different widths."""
    features = pair_features(config, tasks)
    for layer in config.shared_layers:
        widths = {PAIR_FEATURES[features[task]].width(WIDTH) if task in features else WIDTH for task in layer.tasks}
        if len(widths) > 1:
            found = ", ".join(f"{task}: {features.get(task, 'one sequence')}" for task in layer.tasks)
            yield (
                f"shared_layers needs tasks with equally wide features; found {found}. "
                "Change head.TASK.features, or take a task out of the layer"
            )
