"""The built-in tasks, and the record that describes a task: its kind, labels, text columns and files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["classification", "binary", "regression"]
Pairs = Literal["concatenated", "separate"]
"""How the two sentences of a pair are encoded: together in one sequence, or each in its own sequence."""


@dataclass(frozen=True)
class Task:
    """One supervised task. Its `kind` decides loss, metric and divergence; no code depends on a task's name."""

    name: str
    kind: Kind
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


def tasks_from_json(data: Mapping[str, Any]) -> dict[str, Task]:
    """Return the tasks whose `dataclasses.asdict` was written as JSON, by name."""
    return {name: Task(**fields | {"text_columns": tuple(fields["text_columns"])}) for name, fields in data.items()}


def _course_files(prefix: str) -> dict[str, str]:
    return {"train": f"{prefix}-train.csv", "dev": f"{prefix}-dev.csv", "test": f"{prefix}-test-student.csv"}


_SENTENCE = ("sentence",)
_PAIR = ("sentence1", "sentence2")
_ALL = (
    Task("sst", "classification", 0, 4, _SENTENCE, "sentiment", _course_files("ids-sst"), "sst", "Predicted_Sentiment"),
    Task("qqp", "binary", 0, 1, _PAIR, "is_duplicate", _course_files("quora"), "para", "Predicted_Is_Paraphrase"),
    # "Similiary" is the spelling of the course, whose grader compares the header.
    Task("sts", "regression", 0, 5, _PAIR, "similarity", _course_files("sts"), "sts", "Predicted_Similiary"),
    Task(
        "cfimdb", "binary", 0, 1, _SENTENCE, "sentiment", _course_files("ids-cfimdb"), "cfimdb", "Predicted_Sentiment"
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""The built-in tasks, by name. A corpus has some of them, and further tasks that its data directory declares."""
