"""Ragged arrays of token ids: tokenise texts, write them to Arrow files and map those files into memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

SIDE_LIMIT = 510
"""Largest number of tokens in a sentence: 512 positions minus [CLS] and [SEP]."""
TOKENIZED_AT_ONCE = 10_000
"""Number of sentences per call of the tokenizer, which limits the memory of its results."""


@dataclass(frozen=True)
class Ragged:
    """The token ids of many sentences in one array."""

    values: np.ndarray
    """[tokens], int32."""
    offsets: np.ndarray
    """[count + 1], int64: the start of each sentence, and the end of the last."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


def tokenize(texts: list[str], tokenizer: Tokenizer) -> Ragged:
    """Return the first `SIDE_LIMIT` token ids of each text, without special tokens."""
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        batch = tokenizer.encode_batch_fast(texts[start : start + TOKENIZED_AT_ONCE], add_special_tokens=False)
        tokens = [encoding.ids[:SIDE_LIMIT] for encoding in batch]
        lengths += map(len, tokens)
        parts.append(np.fromiter(chain.from_iterable(tokens), np.int32))
    return Ragged(np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def write_rows(path: Path, sides: Sequence[Ragged], columns: dict[str, pa.Array]) -> None:
    """Write rows to one Arrow file: the sides of their texts, and further columns."""
    texts = {
        f"text{number}": pa.LargeListArray.from_arrays(side.offsets, side.values)
        for number, side in enumerate(sides, start=1)
    }
    batch = pa.record_batch(columns | texts)
    with open(path, "wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        os.fsync(file.fileno())


def open_rows(path: Path) -> tuple[tuple[Ragged, ...], pa.RecordBatch]:
    """Map a file of `write_rows` into memory; return the sides, and a batch with all columns."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    sides = [batch.column(name) for name in batch.schema.names if name.startswith("text")]
    return tuple(Ragged(side.values.to_numpy(), side.offsets.to_numpy()) for side in sides), batch
