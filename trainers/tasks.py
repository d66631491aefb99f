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
    """Return the name of a kind's default metric."""
    return KIND_METRICS[kind][0]


def task_to_json(task: Task) -> dict[str, Any]:
    """Return a task as JSON, without its metric if the metric is the default of the task's kind.

    So the fingerprints of corpora from before tasks had metrics stay valid.
    """
    fields = asdict(task)
    if task.metric == default_metric(task.kind):
        del fields["metric"]
    return fields


def tasks_from_json(data: Mapping[str, Any]) -> dict[str, Task]:
    """Return tasks from the JSON of `task_to_json`, by name."""
    return {name: _task_from_json(fields) for name, fields in data.items()}


def _task_from_json(fields: Mapping[str, Any]) -> Task:
    metric = fields.get("metric", default_metric(fields["kind"]))
    return Task(**{**fields, "text_columns": tuple(fields["text_columns"]), "metric": metric})


def _course_task(
    name: str, kind: Kind, high: float, columns: tuple[str, ...], label_column: str, files: str, *output: str
) -> Task:
    """Return a task of the course.

    Args:
        files: start of the data files' names.
        output: start of the prediction files' names, and the header of their label column.
    """
    names = {"train": f"{files}-train.csv", "dev": f"{files}-dev.csv", "test": f"{files}-test-student.csv"}
    return Task(name, kind, default_metric(kind), 0, high, columns, label_column, names, *output)


_SENTENCE = ("sentence",)
_PAIR = ("sentence1", "sentence2")
_ALL = (
    _course_task("sst", "classification", 4, _SENTENCE, "sentiment", "ids-sst", "sst", "Predicted_Sentiment"),
    _course_task("qqp", "binary", 1, _PAIR, "is_duplicate", "quora", "para", "Predicted_Is_Paraphrase"),
    # "Similiary" is the spelling of the course, whose grader compares the header.
    _course_task("sts", "regression", 5, _PAIR, "similarity", "sts", "sts", "Predicted_Similiary"),
    _course_task("cfimdb", "binary", 1, _SENTENCE, "sentiment", "ids-cfimdb", "cfimdb", "Predicted_Sentiment"),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""The built-in tasks, by name. A corpus has some of them, and further tasks that its data directory declares."""
