"""Row numbers of a task's stream, and rows of a corpus as one flat list of tokens. NumPy, no loop over tokens."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from model.multitask import Inputs
from model.tokenizer import SpecialTokens
from trainers.data.corpus import Corpus, Ragged
from trainers.seeds import numpy_generator


def next_rows(size: int, seed: int, task: str, taken: int, count: int) -> np.ndarray:
    """Return the next rows [count] of a task's stream; at the end of a pass fewer, so that a batch lies in one pass.

    Every pass is a permutation of all rows, drawn from (seed, task, pass): a function of its place alone.

    Args:
        size: rows of the task.
        taken: rows that the stream has given so far, over all passes.
    """
    done, start = divmod(taken, size)
    return _permutation(size, seed, task, done)[start : start + count]


def inputs(
    corpus: Corpus, split: str, rows: Mapping[str, np.ndarray], encodings: Mapping[str, str], limit: int
) -> Inputs:
    """Lay rows of one or several sources out for the encoder.

    Args:
        rows: task or text set -> row numbers [rows].
        encodings: of each of them: "concatenated", [CLS] a [SEP] b [SEP] with segments 0 and 1; "separate", all first
            sides as sequences, then all second ones, and so on; "both", first the one, then the other.
        limit: tokens of a sequence at most, enough for one of each side; a longer row loses tokens of its longest side
            first.
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


def labels(corpus: Corpus, split: str, rows: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Return task -> labels [rows], float32, NaN where there is none."""
    return {task: torch.from_numpy(corpus.splits[task][split].labels[numbers]) for task, numbers in rows.items()}


@lru_cache(maxsize=16)
def _permutation(size: int, seed: int, task: str, number: int) -> np.ndarray:
    permutation = numpy_generator(seed, "stream", task, number).permutation(size)
    permutation.flags.writeable = False  # shared by all who ask for it
    return permutation


def _groups(sides: tuple[Ragged, ...], encoding: str) -> list[tuple[Ragged, ...]]:
    """List the sequences of a row, each by the sides that it holds."""
    apart = [(side,) for side in sides]
    return {"concatenated": [sides], "separate": apart, "both": [sides, *apart]}[encoding]


def _lay_out(
    texts: tuple[Ragged, ...], rows: np.ndarray, special_tokens: SpecialTokens, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay one sequence a row out: BERT's [CLS] a [SEP] or [CLS] a [SEP] b [SEP], or what the tokenizer has for them.

    Returns:
        tokens [tokens], segments [tokens], lengths [rows].
    """
    behind = [special_tokens.between] * (len(texts) - 1) + [(special_tokens.sep,)]
    around = 1 + sum(map(len, behind))
    kept = _truncated([side.offsets[rows + 1] - side.offsets[rows] for side in texts], limit - around)
    lengths = around + np.sum(kept, axis=0)
    starts = np.cumsum(lengths) - lengths
    tokens = np.empty(lengths.sum(), np.int64)
    tokens[starts] = special_tokens.cls
    place = starts + 1
    for side, counts, tail in zip(texts, kept, behind, strict=True):
        tokens[_ranges(place, counts)] = side.values[_ranges(side.offsets[rows], counts)]
        tokens[(place + counts)[:, None] + np.arange(len(tail))] = tail
        place = place + counts + len(tail)
    first = lengths if len(texts) == 1 else 1 + kept[0] + len(special_tokens.between)
    segments = _ranges(np.zeros_like(first), lengths) >= np.repeat(first, lengths)
    return tokens, special_tokens.second * segments.astype(np.int64), lengths


def _truncated(counts: list[np.ndarray], room: int) -> np.ndarray:
    """Cut the token counts [rows] of every side down to `room` together, the longest side first: [sides, rows]."""
    assert room >= len(counts), "a token of each side"
    wanted = np.stack(counts)
    rising = np.sort(wanted, axis=0)
    before = np.cumsum(rising, axis=0) - rising
    # If the sides up to one stay whole, the others share what is left; the most that any such split allows is right.
    level = np.max((room - before) // np.arange(len(counts), 0, -1)[:, None], axis=0)  # [rows]
    kept = np.minimum(wanted, level)
    cut = wanted > level
    # What the division left over goes to the first of the sides that lose tokens, one each.
    return kept + (cut & (np.cumsum(cut, axis=0) <= room - kept.sum(axis=0)))


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate the ranges from `starts` [rows] of `counts` [rows] numbers each."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())
