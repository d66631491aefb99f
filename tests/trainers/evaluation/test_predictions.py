"""Test the Parquet files of outputs and the prediction files of the course."""

from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
