"""Open a tokenised corpus, which `trainers.data.prepare` wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from model.errors import InputError, unknown
from model.tokenizer import SpecialTokens
from trainers.data.ragged import Ragged, open_rows
from trainers.folder import Folder
from trainers.tasks import Task, tasks_from_json

FORMAT = 3
"""Version of the corpus directory's format; increase it when `prepare` writes something else."""
CORPUS_FILE = "corpus.json"


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
        """Open the corpus in a directory.

        Raises:
            InputError: the directory holds no corpus, or another version of this program wrote it.
        """
        description = _description(Folder.at(directory))
        splits = {
            task: {split: _open_split(split_file(directory, task, split)) for split in names}
            for task, names in description["splits"].items()
        }
        texts = {name: open_rows(text_file(directory, name))[0] for name in description["texts"]}
        special = description["specials"]
        special_tokens = SpecialTokens(**special | {"between": tuple(special["between"])})
        tasks = tasks_from_json(description["tasks"])
        return cls(directory, description["fingerprint"], special_tokens, tasks, splits, texts)

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
    return tasks_from_json(_description(folder)["tasks"])


def split_file(directory: Path, task: str, split: str) -> Path:
    """Return the Arrow file of a task's split."""
    return directory / f"{task}-{split}.arrow"


def text_file(directory: Path, name: str) -> Path:
    """Return the Arrow file of a text set."""
    return directory / f"{name}-text.arrow"  # no split has this name


def _open_split(path: Path) -> Split:
    texts, batch = open_rows(path)
    return Split(batch.column("id").to_pylist(), texts, batch.column("label").to_numpy())


def _description(folder: Folder) -> dict[str, Any]:
    """Read and check the description of a tokenised corpus."""
    remedy = "Pass the source of the data as --data"
    try:
        description = folder.read_json(CORPUS_FILE)
    except FileNotFoundError:
        raise InputError(f"No tokenised corpus at {folder}. {remedy}.") from None
    if description.get("format") != FORMAT:
        raise InputError(f"Another version of this program wrote the corpus {folder}. {remedy}.")
    return description
