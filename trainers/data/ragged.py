"""Texts as token ids, end to end, and the Arrow files from which they are mapped back into memory."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

SIDE_LIMIT = 510
"""Tokens kept of a sentence: what fits beside [CLS] and [SEP] into 512 positions."""
TOKENIZED_AT_ONCE = 10_000
"""Sentences; bounds the memory that the tokenizer's own records take."""


@dataclass(frozen=True)
class Ragged:
    """Token ids of many sentences, end to end."""

    values: np.ndarray
    """[tokens], int32."""
    offsets: np.ndarray
    """[count + 1], int64."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


def tokenize(texts: list[str], tokenizer: Tokenizer) -> Ragged:
    """Turn texts into token ids, without special tokens; what is longer than `SIDE_LIMIT` is cut."""
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        batch = tokenizer.encode_batch_fast(texts[start : start + TOKENIZED_AT_ONCE], add_special_tokens=False)
        tokens = [encoding.ids[:SIDE_LIMIT] for encoding in batch]
        lengths += map(len, tokens)
        parts.append(np.fromiter(chain.from_iterable(tokens), np.int32))
    return Ragged(np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def write_rows(path: Path, sides: Sequence[Ragged], columns: dict[str, pa.Array]) -> None:
    """Write rows as one Arrow file: the texts' sides, and further columns."""
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
    """Map what `write_rows` wrote into memory: the sides, and all columns."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    sides = [batch.column(name) for name in batch.schema.names if name.startswith("text")]
    return tuple(Ragged(side.values.to_numpy(), side.offsets.to_numpy()) for side in sides), batch
