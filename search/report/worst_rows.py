"""Show dev rows as text, beside the training rows that share the most tokens with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from tokenizers import Tokenizer

from search.report.dev_predictions import DevPredictions
from trainers.data.corpus import Split
from trainers.data.ragged import Ragged

SHOWN = 300
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Neighbour:
    """A training row that shares tokens with a dev row."""

    texts: list[str]
    """One for a sentence, two for a pair."""
    label: float
    overlap: float
    """Share of the distinct tokens of the two rows that occur in both (Jaccard): above 0, at most 1."""


@dataclass(frozen=True)
class Example:
    """A dev row and a model's prediction for it."""

    texts: list[str]
    """One for a sentence, two for a pair."""
    label: float
    value: float
    """The predicted class or value."""
    confidence: float
    """Probability of the predicted class; NaN if there is none."""
    neighbours: list[Neighbour]
    """The most similar first."""


def examples(
    predictions: DevPredictions,
    places: np.ndarray,
    splits: Mapping[str, Split],
    tokenizer: Tokenizer,
    *,
    neighbours: int,
) -> list[Example]:
    """Return some predicted rows with their texts and their nearest training rows.

    Args:
        places: [examples], indices into `predictions`.
        neighbours: maximum number of training rows for each example.
    """
    train, dev, rows = splits["train"], splits["dev"], predictions.rows[places]
    found, overlaps = nearest(train.texts, dev.texts, rows, neighbours)
    return [
        Example(
            _texts(dev, row, tokenizer),
            float(predictions.labels[place]),
            float(predictions.values[place]),
            float(predictions.confidence[place]),
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
    """Find the training rows whose distinct tokens overlap most (Jaccard) with those of some dev rows.

    Args:
        train, dev: texts of a split: one item for sentences, two for pairs; the tokens of both sides count together.
        rows: [rows], numbers of dev rows.
        count: number of training rows to find for each dev row.

    Returns:
        Numbers of training rows [rows, count] and their overlaps [rows, count], the largest overlap first; rows of
        equal overlap in the order of the split.
    """
    if not count or not len(rows):
        return np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0))
    vocabulary = 1 + max(int(side.values.max(initial=0)) for side in (*train, *dev))
    train_tokens, dev_tokens = token_matrix(train, vocabulary), token_matrix(dev, vocabulary)[rows]
    shared = train_tokens @ dev_tokens.toarray().T  # [train rows, rows]
    either = train_tokens.sum(axis=1)[:, None] + dev_tokens.sum(axis=1) - shared
    overlaps = shared / np.maximum(either, 1)  # the overlap of two empty texts is 0
    found = np.argsort(-overlaps, axis=0, kind="stable")[:count]
    return found.T, np.take_along_axis(overlaps, found, axis=0).T


def token_matrix(texts: Sequence[Ragged], vocabulary: int) -> csr_array:
    """Return which tokens each row has, [rows, vocabulary] of 0 and 1; both sides of a pair count together."""
    rows = np.concatenate([np.repeat(np.arange(len(side), dtype=np.int32), np.diff(side.offsets)) for side in texts])
    tokens = np.concatenate([side.values for side in texts])
    marks = csr_array((np.ones(len(rows), np.float32), (rows, tokens)), shape=(len(texts[0]), vocabulary))
    marks.data[:] = 1  # csr_array adds up repeated tokens of a row
    return marks


def _texts(split: Split, row: int, tokenizer: Tokenizer) -> list[str]:
    """Decode the texts of a row; long ones are cut."""
    texts = [tokenizer.decode(side[row].tolist(), skip_special_tokens=False) for side in split.texts]
    return [text if len(text) <= SHOWN else text[:SHOWN] + " ..." for text in texts]
