"""The built-in tasks, and the record that describes a task: its kind, labels, text columns and files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["classification", "binary", "regression"]
Pairs = Literal["concatenated", "separate"]
"""How the two sentences of a pair are encoded: together in one sequence, or each in its own sequence."""
KIND_METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy",),
    "binary": ("accuracy",),
    "regression": ("pearson",),
}
"""Kind of task -> its possible metrics, names in `trainers.evaluation.metrics.METRICS`; the first is the default."""


@dataclass(frozen=True)
class Task:
    """One supervised task. Its `kind` decides output, loss and divergence; no code depends on a task's name."""

    name: str
    kind: Kind
    metric: str
    """Name of one of the kind's metrics in KIND_METRICS."""
    low: float
    high: float
    """Smallest and largest label. Classes are the integers from `low` to `high`; a corpus numbers them from 0."""
    text_columns: tuple[str, ...]
    """One column for single sentences, two for pairs."""
    label_column: str
    files: dict[str, str] = field(compare=False)
    """Split -> file in the data directory. Tasks that differ in file names only are equal."""
    submission: str
    """Start of the prediction files' names, `SUBMISSION-dev-output.csv` and `SUBMISSION-test-output.csv`."""
    submission_header: str

    @property
    def outputs(self) -> int:
        """Number of outputs of the head: one logit per class, or 1 logit or value."""
        return int(self.high - self.low) + 1 if self.kind == "classification" else 1

    @property
    def initial_output(self) -> float:
        """Output of an untrained head: a logit of 0, or the middle of the label range of a regression.

        If values up to 5 started at 0, the gradient of their squared error would exceed those of the other tasks for
        hundreds of steps.
        """
        return (self.low + self.high) / 2 if self.kind == "regression" else 0.0

    @property
    def pair(self) -> bool:
        """Whether each row is a pair of sentences."""
        return len(self.text_columns) == 2


def default_metric(kind: Kind) -> str:
    """Return the name of the metric of a task that names none."""
    return KIND_METRICS[kind][0]


def task_to_json(task: Task) -> dict[str, Any]:
    """Return a task as JSON; without its metric if that is the default of its kind.

    So a task with the default metric is written as it was before tasks had metrics, and fingerprints do not change.
    """
    fields = asdict(task)
    if task.metric == default_metric(task.kind):
        del fields["metric"]
    return fields


def tasks_from_json(data: Mapping[str, Any]) -> dict[str, Task]:
    """Return tasks that `task_to_json` wrote, by name."""
    return {name: _task_from_json(fields) for name, fields in data.items()}


def _task_from_json(fields: Mapping[str, Any]) -> Task:
    metric = fields.get("metric", default_metric(fields["kind"]))
    return Task(**{**fields, "text_columns": tuple(fields["text_columns"]), "metric": metric})


def _course_files(prefix: str) -> dict[str, str]:
    return {"train": f"{prefix}-train.csv", "dev": f"{prefix}-dev.csv", "test": f"{prefix}-test-student.csv"}


_SENTENCE = ("sentence",)
_PAIR = ("sentence1", "sentence2")
_ALL = (
    Task(
        "sst",
        "classification",
        "accuracy",
        0,
        4,
        _SENTENCE,
        "sentiment",
        _course_files("ids-sst"),
        "sst",
        "Predicted_Sentiment",
    ),
    Task(
        "qqp",
        "binary",
        "accuracy",
        0,
        1,
        _PAIR,
        "is_duplicate",
        _course_files("quora"),
        "para",
        "Predicted_Is_Paraphrase",
    ),
    # "Similiary" is the spelling of the course, whose grader compares the header.
    Task("sts", "regression", "pearson", 0, 5, _PAIR, "similarity", _course_files("sts"), "sts", "Predicted_Similiary"),
    Task(
        "cfimdb",
        "binary",
        "accuracy",
        0,
        1,
        _SENTENCE,
        "sentiment",
        _course_files("ids-cfimdb"),
        "cfimdb",
        "Predicted_Sentiment",
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""The built-in tasks, by name. A corpus has some of them, and further tasks that its data directory declares."""
