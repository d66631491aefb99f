"""Rows of a task -> what a reader sees of them: their text, and the training rows that share most of their tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from tokenizers import Tokenizer

from search.report.answers import Answers
from trainers.data.corpus import Ragged, Split

SHOWN = 300
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Neighbour:
    """A training row."""

    texts: list[str]
    """One for a sentence, two for a pair."""
    label: float
    overlap: float
    """Share of both rows' distinct tokens that both have, above 0 to 1."""


@dataclass(frozen=True)
class Example:
    """A dev row, and what a model answers to it."""

    texts: list[str]
    label: float
    value: float
    """The model's class or value."""
    confidence: float
    """The probability of that class; NaN where there is none."""
    neighbours: list[Neighbour]
    """The nearest first."""


def examples(
    answers: Answers, places: np.ndarray, splits: Mapping[str, Split], tokenizer: Tokenizer, *, neighbours: int
) -> list[Example]:
    """Tell some of a model's answers in words.

    Args:
        places: which of the answers.
        neighbours: how many training rows to set beside each.
    """
    train, dev, rows = splits["train"], splits["dev"], answers.rows[places]
    found, overlaps = nearest(train.texts, dev.texts, rows, neighbours)
    return [
        Example(
            _texts(dev, row, tokenizer),
            float(answers.labels[place]),
            float(answers.values[place]),
            float(answers.confidence[place]),
            [
                Neighbour(_texts(train, near, tokenizer), float(train.labels[near]), float(overlap))
                for near, overlap in zip(found[number], overlaps[number], strict=True)
                if overlap > 0
            ],
        )
        for number, (place, row) in enumerate(zip(places, rows, strict=True))
    ]


def nearest(
    train: Sequence[Ragged], dev: Sequence[Ragged], rows: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the training rows that share the largest part of their distinct tokens (Jaccard) with some dev rows.

    Args:
        train, dev: one for sentences, two for pairs, whose sides are taken together.
        rows: [rows], numbers of dev rows.
        count: how many for each.

    Returns:
        Numbers of training rows [rows, count], the nearest first and of equals the first, and their overlaps.
    """
    if not count or not len(rows):
        return np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0))
    vocabulary = 1 + max(int(side.values.max(initial=0)) for side in (*train, *dev))
    known, asked = bags(train, vocabulary), bags(dev, vocabulary)[rows]
    shared = known @ asked.toarray().T  # [train rows, rows]
    either = known.sum(axis=1)[:, None] + asked.sum(axis=1) - shared
    overlaps = shared / np.maximum(either, 1)  # two empty texts share nothing
    found = np.argsort(-overlaps, axis=0, kind="stable")[:count]
    return found.T, np.take_along_axis(overlaps, found, axis=0).T


def bags(texts: Sequence[Ragged], vocabulary: int) -> csr_array:
    """Mark which tokens each row has, the sides of a pair together: [rows, vocabulary] of 0 and 1."""
    rows = np.concatenate([np.repeat(np.arange(len(side), dtype=np.int32), np.diff(side.offsets)) for side in texts])
    tokens = np.concatenate([side.values for side in texts])
    marks = csr_array((np.ones(len(rows), np.float32), (rows, tokens)), shape=(len(texts[0]), vocabulary))
    marks.data[:] = 1  # a token that a row has twice was counted twice
    return marks


def _texts(split: Split, row: int, tokenizer: Tokenizer) -> list[str]:
    """Decode a row: as the tokenizer normalised it, so in lower case if the encoder's is."""
    texts = [tokenizer.decode(side[row].tolist(), skip_special_tokens=False) for side in split.texts]
    return [text if len(text) <= SHOWN else text[:SHOWN] + " ..." for text in texts]
