"""The tasks: what is read, what a head puts out, and by which kind loss, metric and divergence are chosen."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classification", "binary", "regression"]


@dataclass(frozen=True)
class Task:
    """One supervised task. `kind` alone decides loss, metric and divergence; nothing asks for a task's name."""

    name: str
    kind: Kind
    outputs: int
    """Width of the head's output: classes, or 1 for a logit or a value."""
    low: float
    high: float
    """Smallest and largest label; classes are the integers from `low` to `high`."""
    text_columns: tuple[str, ...]
    """One column for a sentence, two for a pair."""
    label_column: str
    file_prefix: str
    """The course's files are `PREFIX-train.csv`, `PREFIX-dev.csv` and `PREFIX-test-student.csv`."""
    submission: str
    """The course's prediction files are `SUBMISSION-dev-output.csv` and `SUBMISSION-test-output.csv`."""
    submission_header: str

    @property
    def start(self) -> float:
        """What an untrained head puts out: a logit of 0, or the middle of a value's range.

        From 0, the squared error of values up to 5 would drown the other tasks' gradients for hundreds of steps.
        """
        return (self.low + self.high) / 2 if self.kind == "regression" else 0.0

    @property
    def pair(self) -> bool:
        """Whether a row is two sentences."""
        return len(self.text_columns) == 2


_ALL = (
    Task("sst", "classification", 5, 0, 4, ("sentence",), "sentiment", "ids-sst", "sst", "Predicted_Sentiment"),
    Task(
        "qqp", "binary", 1, 0, 1, ("sentence1", "sentence2"), "is_duplicate", "quora", "para", "Predicted_Is_Paraphrase"
    ),
    # "Similiary" is the course's spelling; its reader looks at the header.
    Task("sts", "regression", 1, 0, 5, ("sentence1", "sentence2"), "similarity", "sts", "sts", "Predicted_Similiary"),
    Task("cfimdb", "binary", 1, 0, 1, ("sentence",), "sentiment", "ids-cfimdb", "cfimdb", "Predicted_Sentiment"),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
