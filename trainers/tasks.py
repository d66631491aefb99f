"""The tasks: what is read, what a head puts out, and by which kind loss, metric and divergence are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["classification", "binary", "regression"]
Pairs = Literal["concatenated", "separate"]
"""How the two sentences of a pair are encoded: in one sequence, or in one sequence each."""


@dataclass(frozen=True)
class Task:
    """One supervised task. `kind` alone decides loss, metric and divergence; nothing asks for a task's name."""

    name: str
    kind: Kind
    low: float
    high: float
    """Smallest and largest label; classes are the integers from `low` to `high`, and a corpus counts them from 0."""
    text_columns: tuple[str, ...]
    """One column for a sentence, two for a pair."""
    label_column: str
    files: dict[str, str] = field(compare=False)
    """Split -> file in the data directory; the same task may lie in files of other names."""
    submission: str
    """The prediction files are `SUBMISSION-dev-output.csv` and `SUBMISSION-test-output.csv`."""
    submission_header: str

    @property
    def outputs(self) -> int:
        """Width of the head's output: classes, or 1 for a logit or a value."""
        return int(self.high - self.low) + 1 if self.kind == "classification" else 1

    @property
    def initial_output(self) -> float:
        """What an untrained head puts out: a logit of 0, or the middle of a value's range.

        From 0, the squared error of values up to 5 would drown the other tasks' gradients for hundreds of steps.
        """
        return (self.low + self.high) / 2 if self.kind == "regression" else 0.0

    @property
    def pair(self) -> bool:
        """Whether a row is two sentences."""
        return len(self.text_columns) == 2


def tasks_from_json(data: Mapping[str, Any]) -> dict[str, Task]:
    """Rebuild tasks from JSON of what `dataclasses.asdict` makes of them."""
    return {name: Task(**fields | {"text_columns": tuple(fields["text_columns"])}) for name, fields in data.items()}


def _course_files(prefix: str) -> dict[str, str]:
    return {"train": f"{prefix}-train.csv", "dev": f"{prefix}-dev.csv", "test": f"{prefix}-test-student.csv"}


_SENTENCE = ("sentence",)
_PAIR = ("sentence1", "sentence2")
_ALL = (
    Task("sst", "classification", 0, 4, _SENTENCE, "sentiment", _course_files("ids-sst"), "sst", "Predicted_Sentiment"),
    Task("qqp", "binary", 0, 1, _PAIR, "is_duplicate", _course_files("quora"), "para", "Predicted_Is_Paraphrase"),
    # "Similiary" is the course's spelling; its reader looks at the header.
    Task("sts", "regression", 0, 5, _PAIR, "similarity", _course_files("sts"), "sts", "Predicted_Similiary"),
    Task(
        "cfimdb", "binary", 0, 1, _SENTENCE, "sentiment", _course_files("ids-cfimdb"), "cfimdb", "Predicted_Sentiment"
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""Those that are built in, by name; a corpus has some of them, and others that its data declare."""
