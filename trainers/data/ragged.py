"""Ragged arrays of token ids: tokenise texts, write them to Arrow files and map those files into memory."""

import mmap
import os
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from model.errors import InputError, first_line, shortened
from model.files.regular_files import open_file
from trainers.data.corpus_record import REMEDY

TEXT = pa.large_list(pa.int32())
"""Type of a side in a file."""
SIDE_LIMIT = 510
"""Largest number of tokens in a sentence: 512 positions minus [CLS] and [SEP]."""
CHECKED_AT_ONCE = 2**20
"""Number of bytes of a written file that are in memory at the same time."""
TOKENIZED_AT_ONCE = 2_000
"""Number of sentences per call of the tokenizer, whose results take 80 bytes for each token."""


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


def tokenize(texts: Sequence[str], tokenizer: Tokenizer) -> Ragged:
    """Return the first `SIDE_LIMIT` token ids of each text, without special tokens."""
    values, lengths = array("i"), array("i")  # they grow in place; parts to be joined would take twice the memory
    for start in range(0, len(texts), TOKENIZED_AT_ONCE):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + TOKENIZED_AT_ONCE], add_special_tokens=False):
            tokens = encoding.ids[:SIDE_LIMIT]
            values.extend(tokens)
            lengths.append(len(tokens))
    return Ragged(np.array(values, copy=False), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def write_rows(path: Path, sides: Sequence[Ragged], columns: dict[str, pa.Array]) -> int:
    """Write rows to one Arrow file: the sides of their texts, and further columns. Return the file's CRC-32."""
    texts = {
        f"text{number}": pa.LargeListArray.from_arrays(side.offsets, side.values)
        for number, side in enumerate(sides, start=1)
    }
    batch = pa.record_batch(columns | texts)
    with open(path, "wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        os.fsync(file.fileno())
    checksum = 0
    with open_file(path) as file:
        while part := file.read(CHECKED_AT_ONCE):  # a mapped file would count as memory of the process
            checksum = zlib.crc32(part, checksum)
    return checksum


def open_rows(path: Path, checksum: int, sides: int | None) -> tuple[tuple[Ragged, ...], pa.RecordBatch]:
    """Map a file of `write_rows` into memory; return the sides, and a batch with all columns.

    Arrow believes what a file says: a changed byte can end the process. So the checksum is compared before, and every
    offset afterwards; together they cost about a millisecond per MB.

    Args:
        path: the file.
        checksum: CRC-32 of the file.
        sides: number of sides of a task's rows; None for a text set, which has one to three and neither ids nor labels.

    Raises:
        InputError: the file is missing, or was changed.
    """
    with open_file(path) as file:
        content = _mapped(file)
    if zlib.crc32(content) != checksum:
        raise InputError(f"{path} was changed or is damaged: its checksum is wrong. {REMEDY}.")
    try:
        batch = pa.ipc.open_file(pa.py_buffer(content)).get_batch(0)
        batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is no file of a corpus: {first_line(error)}. {REMEDY}.") from None
    columns = {"id": pa.string(), "label": pa.float32()} if sides else {}
    names = [name for name in batch.schema.names if name not in columns]
    columns |= {f"text{number}": TEXT for number in range(1, (sides or min(max(len(names), 1), 3)) + 1)}
    if batch.schema != pa.schema(columns) or any(column.null_count for column in batch.columns):
        raise InputError(
            f"{path} is no file of a corpus: its columns are {shortened(', '.join(batch.schema.names))}. {REMEDY}."
        )
    texts = [batch.column(name) for name in columns if name.startswith("text")]
    return tuple(Ragged(side.values.to_numpy(), side.offsets.to_numpy()) for side in texts), batch


def _mapped(file: IO[bytes]) -> mmap.mmap | bytes:
    """Map a file into memory; an empty file cannot be mapped."""
    return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if os.fstat(file.fileno()).st_size else b""
