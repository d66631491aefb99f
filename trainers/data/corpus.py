"""Open a tokenised corpus, which `trainers.data.prepare` wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from model.errors import InputError, unknown
from model.tokenizer import SpecialTokens
from trainers.data.corpus_record import read_corpus_json, split_file, text_file
from trainers.data.ragged import Ragged, open_rows
from trainers.folder import Folder
from trainers.tasks import Task


@dataclass(frozen=True)
class Split:
    """The tokenised rows of one split of a task."""

    ids: list[str]
    texts: tuple[Ragged, ...]
    """The sides of the rows: one for single sentences, two for pairs; without special tokens."""
    labels: np.ndarray
    """[rows], float32; NaN for a row without a label."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Corpus:
    """All splits of all tasks, and text sets, mapped into memory. All processes of a machine share the memory."""

    directory: Path
    fingerprint: str
    """Hash of the tasks, the rows, the tokenizer and the format."""
    special_tokens: SpecialTokens
    tasks: dict[str, Task]
    """The tasks of the data by name, built-in and declared ones."""
    splits: dict[str, dict[str, Split]]
    """Task -> name of a split ("train", "dev" and possibly "test") -> split."""
    texts: dict[str, tuple[Ragged, ...]]
    """Text set -> the sides of its rows: one for single sentences, two for pairs, three with hard negatives."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the corpus in a directory, after checking all of its files.

        Raises:
            InputError: the directory holds no corpus, another version of this program wrote it, or a file was changed.
        """
        record = read_corpus_json(Folder.at(directory))

        tasks = {name: fields.task() for name, fields in record.tasks.items()}

        def split(task: str, name: str) -> Split:
            file = split_file(task, name)
            texts, batch = open_rows(directory / file, record.checksums[file], len(tasks[task].text_columns))
            return Split(batch.column("id").to_pylist(), texts, batch.column("label").to_numpy())

        def text_set(name: str) -> tuple[Ragged, ...]:
            file = text_file(name)
            return open_rows(directory / file, record.checksums[file], None)[0]

        splits = {task: {name: split(task, name) for name in names} for task, names in record.splits.items()}
        texts = {name: text_set(name) for name in record.texts}
        return cls(directory, record.fingerprint, record.specials, tasks, splits, texts)

    def sides(self, source: str, split: str = "train") -> tuple[Ragged, ...]:
        """Return the sides of a task's split, or of a text set, which has training rows only."""
        if source in self.texts:
            assert split == "train"
            return self.texts[source]
        return self.splits[source][split].texts

    def train_sizes(self, sources: Iterable[str]) -> dict[str, int]:
        """Return the number of training rows of each task or text set, in the given order.

        Raises:
            InputError: the corpus has no such task or text set.
        """
        sources = list(sources)
        for source in sources:
            if source not in self.splits and source not in self.texts:
                raise InputError(
                    f"{unknown('task or text set of the data', source, [*self.splits, *self.texts])} "
                    f"Pass a directory as --data with the files of the task, or with {source}.txt for a text set."
                )
        return {source: len(self.sides(source)[0]) for source in sources}


def corpus_tasks(folder: Folder) -> dict[str, Task]:
    """Return the tasks of a tokenised corpus without opening its rows.

    Raises:
        InputError: the folder holds no corpus, or another version of this program wrote it.
    """
    return {name: record.task() for name, record in read_corpus_json(folder).tasks.items()}
