"""Write and read a model's outputs as Parquet files, and predictions as the prediction files of the course."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import InputError, first_line
from model.files.checksum import BLANK, KEY, check_checksum, write_with_checksum
from trainers.folder import Folder
from trainers.tasks import Kind, Task


def write_predictions(folder: Folder, name: str, ids: Sequence[str], outputs: np.ndarray) -> None:
    """Write outputs [rows, width] and the ids of their rows as a Parquet file with a checksum; bits are preserved."""
    values = pa.array(np.ascontiguousarray(outputs, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(values, outputs.shape[1])
    table = pa.table({"id": pa.array(ids, pa.string()), "output": column}, metadata={KEY: BLANK})
    content = io.BytesIO()
    # Ids and floats do not repeat: a compressed file is as large and takes three times as long to read.
    pq.write_table(table, content, use_dictionary=False, compression="none")
    with folder.writing(name) as file:
        write_with_checksum(file, content.getvalue(), first=False)


def read_predictions(folder: Folder, name: str) -> tuple[list[str], np.ndarray]:
    """Read the ids, and the outputs [rows, width], from a file of `write_predictions`.

    Raises:
        InputError: the file is missing, damaged, or another version of this program wrote it.
    """
    try:
        content = folder.read(name)
    except FileNotFoundError:
        raise InputError(f"{folder}/{name} does not exist. Run the search again to make it.") from None
    try:
        check_checksum(content, first=False)
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        return _ids_and_outputs(table)
    except (ValueError, KeyError, OSError) as error:  # pyarrow raises OSError for content that is no Parquet
        raise InputError(f"{folder}/{name} cannot be used: {first_line(error)}. Delete it.") from error


def _ids_and_outputs(table: pa.Table) -> tuple[list[str], np.ndarray]:
    """Return the ids [rows] and the outputs [rows, width] of a table.

    Raises:
        ValueError: the columns have other types, or an id occurs twice.
    """
    column = table["output"].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
        raise ValueError(f"the outputs have the type {column.type}")
    if column.null_count or column.flatten().null_count:
        raise ValueError("an output is missing")
    ids = table["id"].cast(pa.string()).to_pylist()
    if None in ids or len(set(ids)) < len(ids):
        raise ValueError("an id is missing or occurs twice")
    return ids, column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def submission(task: Task, ids: Sequence[str], predictions: np.ndarray) -> str:
    """Return the text of a task's prediction file in the format of the course.

    Args:
        ids: [rows], ids of the rows, in the order of the file.
        predictions: [rows, width], probabilities or values, from `trainers.evaluation.scores.predictions`.
    """
    values = _VALUES[task.kind](task, predictions)
    rows = [f"{identifier} , {value} \n" for identifier, value in zip(ids, values, strict=True)]
    return "".join([f"id \t {task.submission_header} \n", *rows])


def read_submission(text: str) -> tuple[list[str], np.ndarray]:
    """Read the ids, and the classes or values [rows], from a text of `submission`."""
    rows = [line.rsplit(" , ", 1) for line in text.split("\n")[1:-1]]
    return [identifier for identifier, _ in rows], np.array([float(value) for _, value in rows])


def _classes(task: Task, probabilities: np.ndarray) -> list[str]:
    return [str(int(task.low) + place) for place in probabilities.argmax(axis=-1).tolist()]


def _classes_of_one_probability(task: Task, probabilities: np.ndarray) -> list[str]:
    assert ((probabilities >= 0) & (probabilities <= 1)).all(), "these are logits"
    return ["1.0" if probability > 0.5 else "0.0" for probability in probabilities[:, 0].tolist()]


def _decimals(task: Task, values: np.ndarray) -> list[str]:
    clipped = np.clip(values[:, 0], task.low, task.high)
    return [np.format_float_positional(value, trim="0") for value in clipped]


_VALUES: dict[Kind, Callable[[Task, np.ndarray], list[str]]] = {
    "classification": _classes,
    "binary": _classes_of_one_probability,
    "regression": _decimals,
}
