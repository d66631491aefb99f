"""The records of a round: what training returns, and the row of `rounds.jsonl`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field

from trainers.methods.gradient_ratios import remarks as ratio_remarks
from trainers.settings import STRICT, Count, Measure, Number, Seconds


@dataclass(frozen=True, kw_only=True)
class RoundMeasures:
    """The measurements of one round of training and its evaluation.

    Counts are of the whole run so far; losses and seconds are of this round.
    """

    round: Number
    judged: Number | None
    """Number of judged rounds up to this round; None if it is not judged: a task has not been trained yet."""
    last: bool
    finite: bool
    """Whether all losses, weights and outputs are finite."""
    score: Measure | None
    """None if the round is not judged or not finite."""
    metrics: dict[str, Measure]
    """Task -> its metric on the dev rows."""
    losses: dict[str, float | None]
    """"task.term" -> mean over the round's steps; None where the mean is not finite."""
    loss: float | None
    """Sum of the tasks' own losses, without regularisers."""
    ratios: dict[str, float] = field(default_factory=dict)
    """"task.regulariser" -> norm of the regulariser's weighted gradient over that of the task's own loss.

    Both gradients are of the parameters of the last layer and all above it, in one of the round's steps.
    Rows that older releases wrote have no ratios.
    """
    constant: dict[str, float] = field(default_factory=dict)
    """Task -> the class or value that the model predicts for every dev row; tasks with other predictions are absent.

    Rows that older releases wrote have none.
    """
    examples: Annotated[int, Field(ge=1, le=2**53)]
    tokens: Count
    steps: Count
    parameters: Count
    """Parameters of the model, frozen ones included."""
    train_seconds: Seconds
    eval_seconds: Seconds

    @property
    def final(self) -> bool:
        """Whether no round follows: this is the last one, or it is not finite."""
        return self.last or not self.finite

    @property
    def remarks(self) -> dict[str, str]:
        """A sentence about each task with constant predictions and each inert or dominant regulariser, by name."""
        constant = {
            task: f"{task} is not learnt: the model predicts {value:.4g} for every dev row."
            for task, value in self.constant.items()
        }
        return constant | ratio_remarks(self.ratios)


@dataclass(frozen=True, kw_only=True)
class RoundResult(RoundMeasures):
    """A round as `Training` returns it."""

    predictions: dict[str, np.ndarray] = field(repr=False)
    """Task -> outputs on the rows of `Training.dev_rows` [rows, outputs]."""


@dataclass(frozen=True, kw_only=True)
class RoundRow(RoundMeasures):
    """A finished round: one line of `rounds.jsonl`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    save_seconds: Seconds
    ended: str
    """UTC, ISO 8601."""
    node: str
    threads: Number

    @classmethod
    def of(cls, result: RoundResult, *, save_seconds: float, ended: str, node: str, threads: int) -> Self:
        """Return the row of a round whose files are written."""
        measured = {entry.name: getattr(result, entry.name) for entry in fields(RoundMeasures)}
        return cls(**measured, save_seconds=save_seconds, ended=ended, node=node, threads=threads)

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any]) -> Self:
        """Return a row from its entries, which this program made; entries of other names are ignored."""
        return cls(**{entry.name: entries[entry.name] for entry in fields(cls) if entry.name in entries})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the row."""
        return asdict(self)

    @property
    def seconds(self) -> float:
        """Seconds that the round took: training, evaluation and writing."""
        return self.train_seconds + self.eval_seconds + self.save_seconds
