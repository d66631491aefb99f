"""Decide how a config encodes the rows of each task, and which pair features each head uses."""

from collections.abc import Mapping

from trainers.config.architecture import HeadConfig
from trainers.config.train_config import TrainConfig
from trainers.tasks import Task


def encodings(config: TrainConfig, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Return how the rows of each task are encoded: "concatenated", "separate" or "both".

    The rows of single-sentence tasks count as "concatenated": each is one sequence.
    """
    return {task: _encoding(config, tasks[task]) for task in config.tasks}


def pair_features(config: TrainConfig, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Return the names, in `PAIR_FEATURES`, of the features of each task with separately encoded pairs."""
    how = encodings(config, tasks)
    return {task: _pair_features(config, tasks[task]) for task, encoding in how.items() if encoding == "separate"}


def _encoding(config: TrainConfig, task: Task) -> str:
    if not task.pair:
        return "concatenated"
    return "both" if appends_cosine(config, task) else config.pairs


def appends_cosine(config: TrainConfig, task: Task) -> bool:
    """Return whether a head appends the cosine of both sentences to the features of the concatenated pair."""
    return task.pair and config.pairs == "concatenated" and config.head_of(task.name).cosine


def _pair_features(config: TrainConfig, task: Task) -> str:
    head = config.head_of(task.name)
    return "cosine" if output_of(head, task) == "cosine" else head.features


def output_of(head: HeadConfig, task: Task) -> str:
    """Return how a task's outputs are computed. Logits are always linear: the other ways produce a value."""
    return head.output if task.kind == "regression" else "linear"
