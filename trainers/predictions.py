"""Outputs of a model <-> Parquet files of a run; predictions -> the course's submission files."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainers.files import Folder
from trainers.tasks import Task


def write_predictions(folder: Folder, name: str, ids: Sequence[str], outputs: np.ndarray) -> None:
    """Write outputs [rows, width] of the rows `ids` as a Parquet file; float32 is kept to the bit."""
    values = pa.array(np.ascontiguousarray(outputs, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(values, outputs.shape[1])
    with folder.writing(name) as file:
        pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "output": column}), file)


def read_predictions(folder: Folder, name: str) -> tuple[list[str], np.ndarray]:
    """Read what `write_predictions` wrote: ids, and outputs [rows, width]."""
    table = pq.read_table(pa.BufferReader(folder.read(name)))
    column = table["output"].combine_chunks()
    outputs = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return table["id"].to_pylist(), outputs


def submission(task: Task, ids: Sequence[str], outputs: np.ndarray) -> str:
    """Return the course's prediction file of a task.

    Args:
        outputs: [rows, width], logits or values.
    """
    values = _VALUES[task.kind](task, outputs)
    lines = [f"{identifier} , {value} \n" for identifier, value in zip(ids, values, strict=True)]
    return "".join([f"id \t {task.submission_header} \n", *lines])


def _classes(task: Task, outputs: np.ndarray) -> list[str]:
    return [str(int(task.low) + index) for index in outputs.argmax(axis=-1).tolist()]


def _binary(task: Task, outputs: np.ndarray) -> list[str]:
    return ["1.0" if logit > 0 else "0.0" for logit in outputs[:, 0].tolist()]


def _decimals(task: Task, outputs: np.ndarray) -> list[str]:
    clipped = np.clip(outputs[:, 0], task.low, task.high)
    return [np.format_float_positional(value, trim="0") for value in clipped]


_VALUES = {"classification": _classes, "binary": _binary, "regression": _decimals}
