"""Open a tokenised corpus: all splits of all tasks, and text sets, mapped into memory."""

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
"""Version of the Arrow directory; raised when what `prepare` writes changes."""
CORPUS_FILE = "corpus.json"


@dataclass(frozen=True)
class Split:
    """Rows of one task, tokenised."""

    ids: list[str]
    texts: tuple[Ragged, ...]
    """One for sentences, two for pairs; without special tokens."""
    labels: np.ndarray
    """[rows], float32; NaN where there is none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Corpus:
    """All splits of all tasks, and text sets, mapped into memory: processes of a machine share its pages."""

    directory: Path
    fingerprint: str
    """Hash of the tasks, the rows, the tokenizer and the format."""
    special_tokens: SpecialTokens
    tasks: dict[str, Task]
    """By name: the built-in ones that the data have, and those that they declare."""
    splits: dict[str, dict[str, Split]]
    """Task -> "train", "dev" and, where there is one, "test"."""
    texts: dict[str, tuple[Ragged, ...]]
    """Text set -> the sides of its rows: one for sentences, two for pairs, a third for hard negatives."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open what `prepare` wrote.

        Raises:
            InputError: it is not there, or of another version.
        """
        about = _about(Folder.at(directory))
        splits = {
            task: {split: _open_split(split_file(directory, task, split)) for split in names}
            for task, names in about["splits"].items()
        }
        texts = {name: open_rows(text_file(directory, name))[0] for name in about["texts"]}
        specials = SpecialTokens(**about["specials"] | {"between": tuple(about["specials"]["between"])})
        return cls(directory, about["fingerprint"], specials, tasks_from_json(about["tasks"]), splits, texts)

    def sides(self, source: str, split: str = "train") -> tuple[Ragged, ...]:
        """Return the texts of a task's split, or of a text set, which has training rows alone."""
        if source in self.texts:
            assert split == "train"
            return self.texts[source]
        return self.splits[source][split].texts

    def train_sizes(self, sources: Iterable[str]) -> dict[str, int]:
        """Count the training rows of tasks and text sets, in their order.

        Raises:
            InputError: the corpus lacks one.
        """
        sources = list(sources)
        for source in sources:
            if source not in self.splits and source not in self.texts:
                raise InputError(
                    f"{unknown('task or text set of the data', source, [*self.splits, *self.texts])} "
                    f"Pass a directory as --data that has the task's files; or, for a text set, {source}.txt."
                )
        return {source: len(self.sides(source)[0]) for source in sources}


def corpus_tasks(folder: Folder) -> dict[str, Task]:
    """Read the tasks of a tokenised corpus, and nothing else of it.

    Raises:
        InputError: it is not there, or of another version.
    """
    return tasks_from_json(_about(folder)["tasks"])


def split_file(directory: Path, task: str, split: str) -> Path:
    """Return the Arrow file of a task's split."""
    return directory / f"{task}-{split}.arrow"


def text_file(directory: Path, name: str) -> Path:
    """Return the Arrow file of a text set."""
    return directory / f"{name}-text.arrow"  # no split is named so


def _open_split(path: Path) -> Split:
    texts, batch = open_rows(path)
    return Split(batch.column("id").to_pylist(), texts, batch.column("label").to_numpy())


def _about(folder: Folder) -> dict[str, Any]:
    """Read what a tokenised corpus says of itself."""
    remedy = "Start again from its source with --data"
    try:
        about = folder.read_json(CORPUS_FILE)
    except FileNotFoundError:
        raise InputError(f"No tokenised corpus at {folder}. {remedy}.") from None
    if about.get("format") != FORMAT:
        raise InputError(f"Another version of this program has tokenised {folder}. {remedy}.")
    return about
