"""Draw the rows of a task's batches, and turn rows of a corpus into one flat list of tokens, without Python loops."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from model.multitask import Inputs
from model.tokenizer import SpecialTokens
from trainers.data.corpus import Corpus
from trainers.data.ragged import Ragged
from trainers.seeds import numpy_generator


def next_rows(size: int, seed: int, task: str, taken: int, count: int) -> np.ndarray:
    """Return the row numbers of a task's next batch [count]; the last batch of an epoch may have fewer rows.

    Each epoch is a permutation of all rows, which depends on (seed, task, epoch) only.

    Args:
        size: number of the task's rows.
        seed: the seed of the training.
        task: the task's name.
        taken: number of rows in all earlier batches of the task, over all epochs.
        count: number of rows in a batch.
    """
    epoch, start = divmod(taken, size)
    return _permutation(size, seed, task, epoch)[start : start + count]


def inputs(
    corpus: Corpus, split: str, rows: Mapping[str, np.ndarray], encodings: Mapping[str, str], limit: int
) -> Inputs:
    """Return the encoder's inputs for rows of tasks and text sets.

    Args:
        corpus: the tokenised data.
        split: the split of the rows: "train", "dev" or "test".
        rows: task or text set -> row numbers [rows].
        encodings: task or text set -> encoding. "concatenated" is [CLS] a [SEP] b [SEP], with segments 0 and 1.
            "separate" is all first sides as sequences, then all second sides, and so on. "both" is the concatenated
            sequences, then the separate ones.
        limit: largest number of tokens in a sequence, enough for one token of each side. A longer row loses tokens of
            its longest side first.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    sequences: dict[str, int] = {}
    for source, numbers in rows.items():
        groups = _groups(corpus.sides(source, split), encodings[source])
        parts += [_lay_out(group, numbers, corpus.special_tokens, limit) for group in groups]
        sequences[source] = len(groups) * len(numbers)
    tokens, segments, lengths = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Inputs(torch.from_numpy(tokens), torch.from_numpy(segments), torch.from_numpy(offsets), sequences)


def token_places(inputs: Inputs, counts: Mapping[str, int], chosen: Mapping[str, np.ndarray]) -> Tensor:
    """Return the places of some rows' tokens in the flat list of all rows, in the order of these rows' own list.

    Args:
        inputs: the inputs of all rows.
        counts: source -> number of its rows.
        chosen: source -> places [rows] of some of its rows among all of its rows.
    """
    offsets, first = inputs.offsets.numpy(), 0
    sequences: list[np.ndarray] = []
    for source, count in inputs.sequences.items():
        if source in chosen:
            sequences.append((np.arange(first, first + count, counts[source])[:, None] + chosen[source]).ravel())
        first += count
    numbers = np.concatenate(sequences)
    return torch.from_numpy(_ranges(offsets[numbers], np.diff(offsets)[numbers]))


def labels(corpus: Corpus, split: str, rows: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the labels of rows: task -> [rows], float32, NaN for a row without a label."""
    return {task: torch.from_numpy(corpus.splits[task][split].labels[numbers]) for task, numbers in rows.items()}


@lru_cache(maxsize=16)
def _permutation(size: int, seed: int, task: str, epoch: int) -> np.ndarray:
    permutation = numpy_generator(seed, "stream", task, epoch).permutation(size)
    permutation.flags.writeable = False  # the cache returns the same array to all callers
    return permutation


def _groups(sides: tuple[Ragged, ...], encoding: str) -> list[tuple[Ragged, ...]]:
    """Return the sides in each sequence of a row."""
    separate = [(side,) for side in sides]
    return {"concatenated": [sides], "separate": separate, "both": [sides, *separate]}[encoding]


def _lay_out(
    texts: tuple[Ragged, ...], rows: np.ndarray, special_tokens: SpecialTokens, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one sequence per row: [CLS] a [SEP] or [CLS] a [SEP] b [SEP], with the tokenizer's special tokens.

    Returns:
        tokens [tokens], segments [tokens], lengths [rows].
    """
    separators = [special_tokens.between] * (len(texts) - 1) + [(special_tokens.sep,)]
    special_count = 1 + sum(map(len, separators))
    kept = _truncated([side.offsets[rows + 1] - side.offsets[rows] for side in texts], limit - special_count)
    lengths = special_count + np.sum(kept, axis=0)
    starts = np.cumsum(lengths) - lengths
    tokens = np.empty(lengths.sum(), np.int64)
    tokens[starts] = special_tokens.cls
    position = starts + 1  # [rows], of the next token
    for side, counts, separator in zip(texts, kept, separators, strict=True):
        tokens[_ranges(position, counts)] = side.values[_ranges(side.offsets[rows], counts)]
        tokens[(position + counts)[:, None] + np.arange(len(separator))] = separator
        position = position + counts + len(separator)
    first = lengths if len(texts) == 1 else 1 + kept[0] + len(special_tokens.between)
    segments = _ranges(np.zeros_like(first), lengths) >= np.repeat(first, lengths)
    return tokens, special_tokens.second * segments.astype(np.int64), lengths


def _truncated(counts: list[np.ndarray], room: int) -> np.ndarray:
    """Return how many tokens of each side fit into `room` tokens [sides, rows]; the longest side loses tokens first.

    Args:
        counts: number of tokens [rows] of each side.
        room: tokens available for all sides of a row together.
    """
    assert room >= len(counts), "one token of each side must fit"
    wanted = np.stack(counts)
    rising = np.sort(wanted, axis=0)
    before = np.cumsum(rising, axis=0) - rising
    # If the shorter sides stay complete, the others share the rest equally; the largest such share is the limit.
    level = np.max((room - before) // np.arange(len(counts), 0, -1)[:, None], axis=0)  # [rows]
    kept = np.minimum(wanted, level)
    cut = wanted > level
    # The remainder of the division goes to the first sides that lose tokens, one token each.
    return kept + (cut & (np.cumsum(cut, axis=0) <= room - kept.sum(axis=0)))


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the concatenated ranges that begin at `starts` [rows] and have `counts` [rows] numbers."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
