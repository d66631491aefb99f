"""Records of untokenised rows, which every source of data returns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainers.tasks import Task

Sides = tuple[list[str], ...]
"""The texts of rows, each [rows]: one list for single sentences, two for pairs."""


@dataclass(frozen=True)
class RawSplit:
    """The rows of one split of a task, in the order of their file."""

    ids: list[str]
    texts: Sides
    labels: np.ndarray
    """[rows], float32: values, or class numbers from 0; NaN for a row without a label."""

    def take(self, rows: np.ndarray) -> "RawSplit":
        """Return the rows with these numbers, in this order."""
        ids, *texts = _taken((self.ids, *self.texts), rows)
        return RawSplit(ids, tuple(texts), self.labels[rows])


@dataclass(frozen=True)
class RawTextSet:
    """A text set: rows without ids and labels, for training only."""

    texts: Sides
    """The sides of the rows. Three lists are sentences, their positives and their hard negatives."""
    blank_lines: int = 0
    """Number of blank lines in the file, which are skipped."""

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, rows: np.ndarray) -> "RawTextSet":
        """Return the rows with these numbers, in this order."""
        return RawTextSet(_taken(self.texts, rows), self.blank_lines)


@dataclass(frozen=True)
class RawCorpus:
    """All tasks and text sets of a source."""

    tasks: dict[str, Task]
    splits: dict[str, dict[str, RawSplit]]
    """Task -> name of a split ("train", "dev" and possibly "test") -> split."""
    texts: dict[str, RawTextSet]
    """Text sets, by name."""

    def notes(self) -> list[str]:
        """Return notes for the user: numbers of rows, and rows that are skipped or unusual."""
        of_tasks = [note for task, splits in self.splits.items() for note in _task_notes(task, splits)]
        return of_tasks + [note for name, text_set in self.texts.items() for note in _text_notes(name, text_set)]


def _taken(texts: Sides, rows: np.ndarray) -> Sides:
    if np.array_equal(rows, np.arange(len(texts[0]))):
        return texts
    numbers = rows.tolist()
    return tuple([side[row] for row in numbers] for side in texts)


def _task_notes(task: str, splits: dict[str, RawSplit]) -> list[str]:
    counts = [f"{len(split.ids):,} {name}" for name, split in splits.items()]
    notes = [f"{task}: {', '.join(counts[:-1])} and {counts[-1]} rows."]
    for name, split in splits.items():
        unlabelled = int(np.isnan(split.labels).sum())
        if unlabelled and name != "test":
            fate = "skipped" if name == "train" else "predicted but not scored"
            notes.append(f"{task}: {name} rows with an empty label, which are {fate}: {unlabelled:,}.")
        notes += _empty(f"{task}: kept {{:,}} empty sentences in {name}.", split.texts)
    if shared := _shared_rows(splits["train"], splits["dev"]):
        notes.append(f"{task}: dev rows whose texts stand in train too, which flatters the metrics: {shared:,}.")
    return notes


def _shared_rows(train: RawSplit, dev: RawSplit) -> int:
    """Return how many labelled rows have the texts of a labelled training row, the sides of a pair in either order."""
    keys = list(_labelled_texts(dev))
    shared = set(keys).intersection(_labelled_texts(train))
    return sum(key in shared for key in keys)


def _labelled_texts(split: RawSplit) -> Iterator[tuple[str, ...]]:
    rows = zip(*split.texts, strict=True)
    labelled = ~np.isnan(split.labels)
    return (tuple(sorted(row)) for row, chosen in zip(rows, labelled, strict=True) if chosen)


def _text_notes(name: str, text_set: RawTextSet) -> list[str]:
    notes = [f"{name}: {len(text_set):,} texts without labels."]
    if text_set.blank_lines:
        notes.append(f"{name}: {text_set.blank_lines:,} blank lines skipped.")
    return notes + _empty(f"{name}: kept {{:,}} empty sentences.", text_set.texts)


def _empty(note: str, texts: Sides) -> list[str]:
    empty = sum(side.count("") for side in texts)
    return [note.format(empty)] if empty else []
