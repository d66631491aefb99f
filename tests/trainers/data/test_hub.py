"""Test reading rows of the hub, with local datasets that have the hub's columns; no test needs a connection."""

import os
import subprocess
import sys

import datasets
import numpy as np
import pytest

from model.errors import InputError
from trainers.data.hub import HUB_SOURCES, raw_split
from trainers.tasks import TASKS

ROWS = {
    "sst": {"text": [" a film .", "dull"], "label": [4, 0], "label_text": ["very positive", "very negative"]},
    "qqp": {"question1": ["Why?", ""], "question2": ["How?", "NA"], "label": [0, 1], "idx": [0, 1]},
    "sts": {"sentence1": ["One.", "Two."], "sentence2": ["One.", "Six."], "label": [5.0, 0.25], "idx": [0, 1]},
}


@pytest.mark.parametrize("task", HUB_SOURCES)
def test_a_raw_split_has_the_texts_and_labels_of_the_dataset_and_new_ids(task: str):
    columns = HUB_SOURCES[task].text_columns
    split = raw_split(datasets.Dataset.from_dict(ROWS[task]), TASKS[task], columns, "dev")
    assert split.ids == [f"{task}-dev-0", f"{task}-dev-1"]
    assert split.texts == tuple([text.strip() for text in ROWS[task][name]] for name in columns)
    assert split.labels.tolist() == ROWS[task]["label"]


def test_the_label_minus_one_means_no_label():
    rows = datasets.Dataset.from_dict(ROWS["qqp"] | {"label": [-1, -1]})
    assert np.isnan(raw_split(rows, TASKS["qqp"], HUB_SOURCES["qqp"].text_columns, "test").labels).all()


def test_labels_stored_as_class_names_become_class_numbers():
    features = datasets.Features(
        {
            "question1": datasets.Value("string"),
            "question2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["not_duplicate", "duplicate"]),
            "idx": datasets.Value("int32"),
        }
    )
    rows = datasets.Dataset.from_dict(ROWS["qqp"], features=features)
    split = raw_split(rows, TASKS["qqp"], HUB_SOURCES["qqp"].text_columns, "train")
    assert split.labels.tolist() == [0, 1]


def test_a_label_outside_the_range_is_an_input_error_with_the_row():
    rows = datasets.Dataset.from_dict(ROWS["sst"] | {"label": [4, 5]})
    with pytest.raises(InputError, match="row 1 has label 5, outside 0 to 4"):
        raw_split(rows, TASKS["sst"], HUB_SOURCES["sst"].text_columns, "train")


def test_an_unreachable_hub_is_an_input_error_within_seconds(tmp_path):
    program = """
from model.errors import InputError
from trainers.data.prepare import prepare
try:
    prepare("hub", "", rows=None, seed=0)
except InputError as error:
    print(error)
"""
    place = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=place, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "SetFit/sst5" in found.split()
    assert "--data DIR or --data sample." in found
