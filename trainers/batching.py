"""Row numbers of a task's stream, and rows of a corpus as one flat list of tokens. NumPy, no loop over tokens."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from model.multitask import Inputs
from trainers.data import Corpus, Ragged, Specials
from trainers.seeds import numpy_generator


def stream(size: int, seed: int, task: str, taken: int, count: int) -> np.ndarray:
    """Return the next rows [count] of a task's stream; at the end of a pass fewer, so that a batch lies in one pass.

    Every pass is a permutation of all rows, drawn from (seed, task, pass): a function of its place alone.

    Args:
        size: rows of the task.
        taken: rows that the stream has given so far, over all passes.
    """
    done, start = divmod(taken, size)
    return _permutation(size, seed, task, done)[start : start + count]


def inputs(corpus: Corpus, split: str, rows: dict[str, np.ndarray], pairs: str, limit: int) -> Inputs:
    """Lay rows of one or several tasks out for the encoder.

    Args:
        rows: task -> row numbers [rows].
        pairs: "concatenated", [CLS] a [SEP] b [SEP] with segments 0 and 1, or "separate", all first sides of a task as
            sequences, then all second ones.
        limit: tokens of a sequence at most, 5 or more; a longer pair loses tokens of its longer side first.
    """
    assert limit >= 5, "a token of each side beside [CLS] and two [SEP]"
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    sequences: dict[str, int] = {}
    for task, numbers in rows.items():
        texts = corpus.splits[task][split].texts
        groups = [texts] if pairs == "concatenated" else [(side,) for side in texts]
        parts += [_lay_out(group, numbers, corpus.specials, limit) for group in groups]
        sequences[task] = len(groups) * len(numbers)
    tokens, segments, lengths = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Inputs(torch.from_numpy(tokens), torch.from_numpy(segments), torch.from_numpy(offsets), sequences)


def labels(corpus: Corpus, split: str, rows: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return task -> labels [rows], float32, NaN where there is none."""
    return {task: torch.from_numpy(corpus.splits[task][split].labels[numbers]) for task, numbers in rows.items()}


@lru_cache(maxsize=16)
def _permutation(size: int, seed: int, task: str, number: int) -> np.ndarray:
    permutation = numpy_generator(seed, "stream", task, number).permutation(size)
    permutation.flags.writeable = False  # shared by all who ask for it
    return permutation


def _lay_out(
    texts: tuple[Ragged, ...], rows: np.ndarray, specials: Specials, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay one sequence a row out, [CLS] and every side with a [SEP] behind it.

    Returns:
        tokens [tokens], segments [tokens], lengths [rows].
    """
    kept = _truncated([side.offsets[rows + 1] - side.offsets[rows] for side in texts], limit - 1 - len(texts))
    lengths = 1 + len(texts) + np.sum(kept, axis=0)
    starts = np.cumsum(lengths) - lengths
    # What neither starts a sequence nor is text stays [SEP].
    tokens = np.full(lengths.sum(), specials.sep, np.int64)
    tokens[starts] = specials.cls
    place = starts + 1
    for side, counts in zip(texts, kept, strict=True):
        tokens[_ranges(place, counts)] = side.values[_ranges(side.offsets[rows], counts)]
        place = place + counts + 1
    first = lengths if len(texts) == 1 else 2 + kept[0]
    return tokens, (_ranges(np.zeros_like(first), lengths) >= np.repeat(first, lengths)).astype(np.int64), lengths


def _truncated(counts: list[np.ndarray], room: int) -> list[np.ndarray]:
    """Cut the token counts [rows] of one or two sides down to `room` together, the longer side first."""
    if len(counts) == 1:
        return [np.minimum(counts[0], room)]
    first, second = counts
    # A side shorter than half of the room stays whole; two longer ones end with half of it each.
    return [
        np.minimum(first, np.maximum(room - second, room - room // 2)),
        np.minimum(second, np.maximum(room - first, room // 2)),
    ]


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate the ranges from `starts` [rows] of `counts` [rows] numbers each."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
