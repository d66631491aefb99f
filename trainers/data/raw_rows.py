"""Rows as text: what every source of data gives, before anything is tokenised."""

from dataclasses import dataclass

import numpy as np

from trainers.tasks import Task

Sides = tuple[list[str], ...]
"""The texts of rows, each [rows]: one list for sentences, two for pairs."""


@dataclass(frozen=True)
class RawSplit:
    """Rows of one split as text, in the order of their file."""

    ids: list[str]
    texts: Sides
    labels: np.ndarray
    """[rows], float32: values, or classes counted from 0; NaN where there is none."""

    def take(self, rows: np.ndarray) -> "RawSplit":
        """Return the rows of these numbers, in this order."""
        return RawSplit([self.ids[row] for row in rows.tolist()], _taken(self.texts, rows), self.labels[rows])


@dataclass(frozen=True)
class RawTextSet:
    """A text set: rows without ids and labels, to train on alone."""

    texts: Sides
    """Three lists are sentences, their positives and their hard negatives."""
    blank: int = 0
    """Lines that were skipped."""

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, rows: np.ndarray) -> "RawTextSet":
        """Return the rows of these numbers, in this order."""
        return RawTextSet(_taken(self.texts, rows), self.blank)


@dataclass(frozen=True)
class RawCorpus:
    """All that a source has."""

    tasks: dict[str, Task]
    splits: dict[str, dict[str, RawSplit]]
    """Task -> "train", "dev" and, where there is one, "test"."""
    texts: dict[str, RawTextSet]
    """Text sets, by name."""

    def notes(self) -> list[str]:
        """Tell the user what was found, a line each."""
        of_tasks = [note for task, splits in self.splits.items() for note in _task_notes(task, splits)]
        return of_tasks + [note for name, found in self.texts.items() for note in _text_notes(name, found)]


def _taken(texts: Sides, rows: np.ndarray) -> Sides:
    numbers = rows.tolist()
    return tuple([side[row] for row in numbers] for side in texts)


def _task_notes(task: str, splits: dict[str, RawSplit]) -> list[str]:
    counts = [f"{len(split.ids):,} {name}" for name, split in splits.items()]
    notes = [f"{task}: {', '.join(counts[:-1])} and {counts[-1]} rows."]
    for name, split in splits.items():
        unlabelled = int(np.isnan(split.labels).sum())
        if unlabelled and name != "test":
            fate = "skipped" if name == "train" else "predicted, not scored"
            notes.append(f"{task}: {unlabelled:,} of the {name} rows with an empty label: {fate}.")
        notes += _empty(f"{task}: {{:,}} empty sentences in {name}: kept.", split.texts)
    return notes


def _text_notes(name: str, found: RawTextSet) -> list[str]:
    notes = [f"{name}: {len(found):,} texts without labels."]
    if found.blank:
        notes.append(f"{name}: {found.blank:,} blank lines: skipped.")
    return notes + _empty(f"{name}: {{:,}} empty sentences: kept.", found.texts)


def _empty(note: str, texts: Sides) -> list[str]:
    empty = sum(side.count("") for side in texts)
    return [note.format(empty)] if empty else []
