"""Test the Parquet files of outputs and the prediction files of the course."""

import io
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from model.files.checksum import BLANK, KEY, write_with_checksum
from trainers.evaluation.predictions import read_predictions, read_submission, submission, write_predictions
from trainers.folder import Folder
from trainers.tasks import TASKS

MATRICES = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.floats(width=32))


@settings(deadline=None, max_examples=30)
@given(outputs=MATRICES)
def test_ids_and_outputs_are_read_back_in_order_with_equal_bits(outputs: np.ndarray, tmp_path_factory):
    folder = Folder.at(tmp_path_factory.mktemp("run"))
    ids = [f"{row}-é" for row in range(len(outputs))]
    write_predictions(folder, "00003-sst.parquet", ids, outputs)
    read_ids, read = read_predictions(folder, "00003-sst.parquet")
    assert read_ids == ids
    assert read.dtype == np.float32
    assert read.shape == outputs.shape
    assert read.tobytes() == outputs.tobytes()


def test_a_view_of_a_larger_array_is_written_correctly(tmp_path: Path):
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_predictions(Folder.at(tmp_path), "part", ["a", "b"], whole[::2, :2])
    assert read_predictions(Folder.at(tmp_path), "part")[1].tolist() == [[0, 1], [6, 7]]


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_an_error_that_names_the_file(place, change, tmp_path_factory):
    folder = Folder.at(tmp_path_factory.mktemp("run"))
    write_predictions(folder, "part", ["a", "b"], np.ones((2, 3), np.float32))
    content = bytearray(folder.read("part"))
    content[int(place * len(content))] ^= change
    folder.write("part", bytes(content))
    with pytest.raises(InputError, match=r"part cannot be used: it(s checksum is wrong| has no checksum)"):
        read_predictions(folder, "part")


TABLES = {
    "other columns": pa.table({"id": ["a"], "values": [1.0]}),
    "single numbers": pa.table({"id": ["a"], "output": [1.0]}),
    "float64": pa.table({"id": ["a"], "output": pa.array([[1.0]], pa.list_(pa.float64(), 1))}),
    "an id twice": pa.table({"id": ["a", "a"], "output": pa.array([[1.0], [1.0]], pa.list_(pa.float32(), 1))}),
    "no id": pa.table({"id": pa.array([None], pa.string()), "output": pa.array([[1.0]], pa.list_(pa.float32(), 1))}),
    "no output": pa.table({"id": ["a"], "output": pa.array([None], pa.list_(pa.float32(), 1))}),
    "no number": pa.table({"id": ["a"], "output": pa.array([[None]], pa.list_(pa.float32(), 1))}),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_of_another_form_is_an_error_that_names_the_file(table: pa.Table, tmp_path: Path):
    content = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({KEY: BLANK}), content)
    with Folder.at(tmp_path).writing("part") as file:
        write_with_checksum(file, content.getvalue(), first=False)
    with pytest.raises(InputError, match="part cannot be used"):
        read_predictions(Folder.at(tmp_path), "part")


def test_missing_predictions_are_an_error_that_names_the_file(tmp_path: Path):
    with pytest.raises(InputError, match="part does not exist"):
        read_predictions(Folder.at(tmp_path), "part")


EXPECTED = {
    "sst": (np.eye(5)[[3, 0]], "id \t Predicted_Sentiment \nx , 3 \ny , 0 \n"),
    "qqp": (np.array([[0.5], [0.51]]), "id \t Predicted_Is_Paraphrase \nx , 0.0 \ny , 1.0 \n"),
    "sts": (np.array([[2.5], [5.25]]), "id \t Predicted_Similiary \nx , 2.5 \ny , 5.0 \n"),
    "cfimdb": (np.array([[1.0], [0.0]]), "id \t Predicted_Sentiment \nx , 1.0 \ny , 0.0 \n"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_prediction_file_has_exactly_the_format_of_the_course(task: str):
    predictions, text = EXPECTED[task]
    assert submission(TASKS[task], ["x", "y"], predictions) == text


@pytest.mark.parametrize("task", TASKS)
def test_a_prediction_file_of_the_course_is_read_back(task: str):
    ids, values = read_submission(EXPECTED[task][1])
    assert ids == ["x", "y"]
    assert values.tolist() == {"sst": [3, 0], "qqp": [0, 1], "sts": [2.5, 5], "cfimdb": [1, 0]}[task]


def test_an_id_may_contain_the_separator_of_the_columns():
    assert read_submission(submission(TASKS["sts"], ["a , b"], np.array([[1.5]]))) == (["a , b"], [1.5])


@given(values=st.lists(st.floats(-1, 6, width=32), min_size=1))
def test_values_are_clipped_to_the_range_and_written_as_exact_decimals_without_exponents(values: list[float]):
    text = submission(TASKS["sts"], ["id"] * len(values), np.array(values, np.float32)[:, None])
    written = [line.split(" , ")[1].strip() for line in text.splitlines()[1:]]
    assert not any("e" in value for value in written)
    assert np.array_equal(np.array(written, np.float32), np.clip(np.array(values, np.float32), 0, 5))


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(AssertionError, match="logits"):
        submission(TASKS["qqp"], ["x"], np.array([[-2.0]]))


def test_a_different_number_of_ids_and_rows_is_an_error():
    with pytest.raises(ValueError):
        submission(TASKS["sts"], ["x", "y"], np.array([[1.0]]))
