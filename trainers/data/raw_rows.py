"""Records of untokenised rows, which every source of data returns. Texts are held in Arrow memory, which is compact."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import eq
from typing import overload

import numpy as np
import pyarrow as pa

from trainers.tasks import Task

BLOCK = 10_000
"""Number of strings in a block."""


class TextColumn(Sequence[str]):
    """A sequence of strings, in blocks of Arrow memory; it equals any sequence of the same strings.

    A string takes 8 bytes and its text in UTF-8. A list of Python strings takes about 50 bytes more for each.
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._blocks: list[pa.LargeStringArray] = []
        self._last: list[str] = []
        for string in strings:
            self.append(string)

    def append(self, string: str) -> None:
        """Add a string at the end."""
        self._last.append(string)
        if len(self._last) == BLOCK:
            self._blocks.append(pa.array(self._last, pa.large_string()))
            self._last = []

    def __len__(self) -> int:
        return BLOCK * len(self._blocks) + len(self._last)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return list(map(self.__getitem__, range(*row.indices(len(self)))))
        block, place = divmod(range(len(self))[row], BLOCK)
        return self._blocks[block][place].as_py() if block < len(self._blocks) else self._last[place]

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from block.to_pylist()
        yield from self._last

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return False
        return len(self) == len(other) and all(map(eq, self, other))


Sides = tuple[TextColumn, ...]
"""The texts of rows, each [rows]: one sequence for single sentences, two for pairs."""


@dataclass(frozen=True)
class RawSplit:
    """The rows of one split of a task, in the order of their file."""

    ids: TextColumn
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
    """The sides of the rows. Three sequences are sentences, their positives and their hard negatives."""
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
    return tuple(TextColumn(map(side.__getitem__, rows.tolist())) for side in texts)


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
    return int(np.isin(_hashes_of_labelled(dev), _hashes_of_labelled(train)).sum())


def _hashes_of_labelled(split: RawSplit) -> np.ndarray:
    """Return a hash of each labelled row's texts [rows]; 8 bytes a row, where the texts would take hundreds."""
    rows = (hash(tuple(sorted(row))) for row in zip(*split.texts, strict=True))
    return np.fromiter(rows, np.int64, len(split.ids))[~np.isnan(split.labels)]


def _text_notes(name: str, text_set: RawTextSet) -> list[str]:
    notes = [f"{name}: {len(text_set):,} texts without labels."]
    if text_set.blank_lines:
        notes.append(f"{name}: {text_set.blank_lines:,} blank lines skipped.")
    return notes + _empty(f"{name}: kept {{:,}} empty sentences.", text_set.texts)


def _empty(note: str, texts: Sides) -> list[str]:
    empty = sum(side.count("") for side in texts)
    return [note.format(empty)] if empty else []
