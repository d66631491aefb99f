"""Test reading tasks that a user declares, and the error for each fault in a declaration."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from model.errors import InputError
from tests.trainers.user_data import ROWS, USER_TASKS, declarations, labels_of, write_user_data
from trainers.data.course_files import read_directory
from trainers.data.raw_rows import RawCorpus
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.predictions import submission
from trainers.evaluation.scores import predictions, score
from trainers.tasks import TASKS, task_to_json, tasks_from_json

every_task = pytest.mark.parametrize("name", USER_TASKS)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> RawCorpus:
    return read_directory(write_user_data(tmp_path_factory.mktemp("user") / "data"))


def fault(directory: Path, **changes: Any) -> str:
    """Read a directory with changed declarations, without the tasks that are None; return the error."""
    given = {name: data for name, data in (declarations() | changes).items() if data is not None}
    (directory / "tasks.json").write_text(json.dumps(given))
    with pytest.raises(InputError) as caught:
        read_directory(directory)
    return str(caught.value)


@every_task
def test_rows_are_read_like_those_of_built_in_tasks_and_classes_are_numbered_from_0(raw, name):
    kind, low, _, sides = USER_TASKS[name]
    splits = raw.splits[name]
    assert {split: len(rows.ids) for split, rows in splits.items()} == ROWS
    assert splits["dev"].ids[:2] == ["dev0", "dev1"]
    assert [side[7] for side in splits["train"].texts] == [f"{name} train b 7 {side}" for side in range(sides)]
    first = low if kind == "classification" else 0
    assert splits["train"].labels.tolist() == [label - first for label in labels_of(name, ROWS["train"])]
    assert np.isnan(splits["test"].labels).all()


@every_task
def test_perfect_predictions_score_1_and_are_written_as_the_labels_of_the_files(raw, name):
    kind, low, high, sides = USER_TASKS[name]
    task, labels = raw.tasks[name], raw.splits[name]["dev"].labels
    assert (task.pair, task.outputs) == (sides == 2, high - low + 1 if kind == "classification" else 1)
    perfect = {
        "classification": 9 * np.equal.outer(labels, np.arange(task.outputs)),
        "binary": 9 * (2 * labels[:, None] - 1),
        "regression": labels[:, None],
    }[kind]
    reached = METRICS[task.metric].compute(predictions(task.kind, perfect), labels)
    assert score({name: reached}, raw.tasks) == pytest.approx(1)
    lines = submission(task, raw.splits[name]["dev"].ids, predictions(task.kind, perfect)).splitlines()
    assert lines[0] == "id \t Predicted_Label "
    assert [float(line.split(" , ")[1]) for line in lines[1:]] == labels_of(name, ROWS["dev"])
    assert task.submission == name


def test_the_initial_output_of_a_regression_is_the_middle_of_its_range(raw):
    assert [raw.tasks[name].initial_output for name in ("mood", "near", "nli")] == [0, 5, 0]


def test_declared_tasks_are_read_together_with_built_in_tasks(tmp_path):
    directory = write_user_data(tmp_path / "data")
    for split in ("train", "dev"):
        text = f"id\tsentence\tsentiment\n{split}\tFine .\t3\n"
        (directory / f"ids-sst-{split}.csv").write_text(text)
    found = read_directory(directory)
    assert list(found.tasks) == ["sst", *USER_TASKS] == list(found.splits)
    assert found.tasks["sst"] == TASKS["sst"]


def test_tasks_can_be_written_to_json_and_read_back(raw):
    written = json.dumps({name: task_to_json(task) for name, task in raw.tasks.items()})
    assert tasks_from_json(json.loads(written)) == raw.tasks


def test_a_declared_task_has_the_default_metric_of_its_kind(raw):
    for name, task in raw.tasks.items():
        assert task.metric == {"classification": "accuracy", "binary": "accuracy", "regression": "pearson"}[task.kind]
        assert name in USER_TASKS


def test_a_task_with_other_file_names_is_equal_and_needs_no_test_split(tmp_path):
    directory = write_user_data(tmp_path / "data")
    before = read_directory(directory).tasks["nli"]
    files = {"train": "other.csv", "dev": "nli.dev.tsv"}
    (directory / "nli.train.tsv").rename(directory / "other.csv")
    (directory / "tasks.json").write_text(json.dumps({"nli": declarations()["nli"] | {"files": files}}))
    found = read_directory(directory)
    assert found.tasks == {"nli": before}
    assert list(found.splits["nli"]) == ["train", "dev"]


@every_task
def test_a_label_outside_the_range_is_reported_with_its_line_as_in_the_file(tmp_path, name):
    directory = write_user_data(tmp_path / "data")
    path, (_, low, high, _) = directory / f"{name}.dev.tsv", USER_TASKS[name]
    lines = path.read_text().split("\n")
    lines[2] = re.sub(r"\t[^\t]*$", f"\t{high + 1}", lines[2])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        read_directory(directory)
    expected = f"{path}, line 3: label '{high + 1}' of task {name} is outside {low:g} to {high:g}. Correct or remove"
    assert str(caught.value).startswith(expected)


NLI = declarations()["nli"]
FAULTS = {
    "unknown key": (NLI | {"lable_column": "x"}, "Unknown key 'lable_column'; did you mean 'label_column'?"),
    "no kind": ({key: value for key, value in NLI.items() if key != "kind"}, "'kind' is missing"),
    "wrong kind": (NLI | {"kind": "ranking"}, "kind: Input should be 'classification', 'binary' or 'regression'"),
    "low above high": (NLI | {"low": 3}, "low 3 is not below high 2"),
    "one class": (NLI | {"low": 2}, "low 2 is not below high 2"),
    "half a class": (NLI | {"high": 1.5}, "low and high of a classification must be integers, not 0 and 1.5"),
    "three classes of two": (NLI | {"kind": "binary"}, "low and high of a binary task must be 0 and 1, not 0 and 2"),
    "a large label": (
        NLI | {"kind": "regression", "high": 1e300},
        "high: Input should be less than or equal to",
    ),
    "many classes": (NLI | {"high": 10_000}, "low 0 and high 10000 make more than 10,000 classes"),
    "a boolean for a number": (NLI | {"low": True}, "low: Input should be a valid number (got True)"),
    "a word for a number": (NLI | {"low": "none"}, "low: Input should be a valid number"),
    "no text": (NLI | {"text_columns": []}, "text_columns: Tuple should have at least 1 item"),
    "three texts": (NLI | {"text_columns": ["a", "b", "c"]}, "text_columns: Tuple should have at most 2 items"),
    "one text as a word": (NLI | {"text_columns": "side0"}, "text_columns: Input should be a valid tuple"),
    "the label as text": (NLI | {"text_columns": ["truth"]}, "columns id, truth, truth are not all different"),
    "no dev": (NLI | {"files": {"train": "nli.train.tsv"}}, "files has no 'dev' split"),
    "unknown split": (NLI | {"files": NLI["files"] | {"tset": "x"}}, "split in files 'tset'; did you mean 'test'?"),
    "missing file": (
        NLI | {"files": NLI["files"] | {"test": "nli.tets.tsv"}},
        "'nli.tets.tsv' is missing in ",
    ),
    "a blank file": (NLI | {"files": NLI["files"] | {"dev": ""}}, "dev file '' is no ordinary file. Replace"),
    "a file name with NUL": (NLI | {"files": NLI["files"] | {"dev": "a\0"}}, "dev file 'a\\x00' is missing in "),
    "a long file name": (NLI | {"files": NLI["files"] | {"dev": "a" * 300}}, "is missing in "),
    "a long value": (NLI | {"kind": "x" * 5000}, " ...)."),
    "not an object": ([NLI], "is not a JSON object of objects"),
}


@pytest.mark.parametrize(("data", "words"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_declaration_is_an_input_error_with_file_and_task(data, words, tmp_path):
    message = fault(write_user_data(tmp_path / "data"), nli=data)
    assert words in message and "\n" not in message
    assert str(tmp_path / "data" / "tasks.json") in message
    assert "task 'nli'" in message or isinstance(data, list)


OUTSIDE = {
    "an absolute path": "/etc/passwd",
    "the folder above": "../outside.tsv",
    "a link that leaves the folder": "link.tsv",
    "a link of a folder": "folder/outside.tsv",
}


@pytest.mark.parametrize("file", OUTSIDE.values(), ids=OUTSIDE)
def test_a_file_outside_the_directory_is_an_input_error(file: str, tmp_path: Path):
    directory = write_user_data(tmp_path / "data")
    (tmp_path / "outside.tsv").write_text("id\tside0\tside1\ttruth\nx\tOne\tTwo\t1\n")
    (directory / "link.tsv").symlink_to("../outside.tsv")
    (directory / "folder").symlink_to("..")
    message = fault(directory, nli=NLI | {"files": NLI["files"] | {"dev": file}})
    assert f"task 'nli': the dev file {file!r} lies outside {directory}. Copy it into the directory." in message


def test_a_pipe_a_device_a_folder_and_a_circle_of_links_are_input_errors(tmp_path: Path):
    directory = write_user_data(tmp_path / "data")
    os.mkfifo(directory / "pipe")
    (directory / "zero").symlink_to("/dev/zero")
    (directory / "circle").symlink_to("circle")
    (directory / "inner").mkdir()
    words = {
        "pipe": "is no ordinary file",
        "inner": "is no ordinary file",
        "zero": "lies outside",
        "circle": "is missing",
    }
    for file, expected in words.items():
        message = fault(directory, nli=NLI | {"files": NLI["files"] | {"train": file}})
        assert f"the train file {file!r} {expected}" in message


def test_a_directory_may_be_reached_by_a_link_and_its_files_may_lie_in_folders_and_link_to_each_other(tmp_path: Path):
    directory = write_user_data(tmp_path / "data")
    (directory / "inner").mkdir()
    (directory / "nli.dev.tsv").rename(directory / "inner" / "dev.tsv")
    (directory / "dev.tsv").symlink_to("inner/dev.tsv")
    (tmp_path / "link").symlink_to("data")
    files = NLI["files"] | {"dev": "dev.tsv"}
    (directory / "tasks.json").write_text(json.dumps({"nli": NLI | {"files": files}}))
    assert read_directory(tmp_path / "link").splits["nli"]["dev"].ids[:2] == ["dev0", "dev1"]


def test_a_declaration_that_is_a_pipe_is_an_input_error(tmp_path: Path):
    os.mkfifo(tmp_path / "tasks.json")
    with pytest.raises(InputError, match=r"tasks\.json: it is no ordinary file"):
        read_directory(tmp_path)


BAD_NAMES = ["x" * 101, "", "two words", "a.b", "../up", "sst", "para", "score", "rows", "keys", "training", "été"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_invalid_task_name_is_an_input_error(name, tmp_path):
    message = fault(write_user_data(tmp_path / "data"), nli=None, **{name: NLI})
    assert f"task {name[:79]!r}"[:-1] in message and "another name" in message


def test_an_attribute_of_module_dict_as_task_name_is_an_input_error(tmp_path):
    for name in dir(nn.ModuleDict()):
        assert "another name" in fault(tmp_path, **dict.fromkeys(USER_TASKS), **{name: NLI})


TEXTS = {
    '{"nli": {}, "nli": {}}': "'nli' occurs twice in one object",
    '{"nli":\n {"kind": "binary",}}': "line 2: ",
    "[" * 100_000: "its values are nested too deeply",
    '{"nli": {"low": ' + "9" * 5000 + "}}": "a number has 5000 digits",
    '{"nli": {"low": NaN}}': "NaN is no JSON number",
    '{"\\ud800": {}}': "a string has half of a surrogate pair",
}


@pytest.mark.parametrize("text", TEXTS, ids=TEXTS.values())
def test_a_text_that_is_not_plain_json_is_an_input_error(text: str, tmp_path: Path):
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_directory(tmp_path)
    assert f"{tmp_path / 'tasks.json'}: {TEXTS[text]}" in str(caught.value)
    assert str(caught.value).endswith("Write the tasks as one JSON object.")


def test_a_missing_column_is_reported_as_for_built_in_tasks(tmp_path):
    message = fault(write_user_data(tmp_path / "data"), nli=NLI | {"label_column": "gold"})
    assert "nli.train.tsv, line 1: column 'gold' is not in the header; found 'id', 'side0', 'side1', 'truth'" in message
