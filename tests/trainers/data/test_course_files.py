"""Test reading data directories in the format of the course, and the error for each fault in a file."""

import re
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from trainers.data.course_files import read_directory
from trainers.tasks import TASKS, Task

SST = {
    "ids-sst-train.csv": "\tid\tsentence\tsentiment\n0\ta\t A fine film .\t3\n1\tb\tDull .\t1\n",
    "ids-sst-dev.csv": "\tid\tsentence\tsentiment\n0\tc\tWell .\t2\n",
}
STS = {
    "sts-train.csv": "\tid\tsentence1\tsentence2\tsimilarity\n7\ta\tOne.\tTwo.\t2.75\n",
    "sts-dev.csv": "\tid\tsentence1\tsentence2\tsimilarity\n8\tb\tOne.\tOne.\t5.0\n",
}


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).write_bytes(text.encode())
    return directory


def fault(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_directory(directory)
    return str(caught.value)


def files_of(task: Task) -> dict[str, str]:
    sentences = "\t".join(f"{name} of it" for name in task.text_columns)
    header = "\t".join(["", "id", *task.text_columns])
    labelled = f"{header}\t{task.label_column}\n"
    return {
        task.files["train"]: f"{labelled}0\tr\t{sentences}\t{task.low}\n1\ts\t{sentences}\t{task.high}\n",
        task.files["dev"]: f"{labelled}0\tt\t{sentences}\t{task.high}\n",
        task.files["test"]: f"0\t{header}\n1\t0.0\tu\t{sentences}\n",
    }


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_files_of_every_task_are_read_by_column_name(task: Task, tmp_path: Path):
    splits = read_directory(write(tmp_path, files_of(task))).splits[task.name]
    assert [split.ids for split in splits.values()] == [["r", "s"], ["t"], ["u"]]
    assert splits["test"].texts == tuple([f"{name} of it"] for name in task.text_columns)
    assert splits["train"].labels.tolist() == [task.low, task.high]
    assert np.isnan(splits["test"].labels).all()


def test_tasks_and_test_splits_without_files_are_absent(tmp_path: Path):
    tasks = read_directory(write(tmp_path, STS)).splits
    assert {task: list(splits) for task, splits in tasks.items()} == {"sts": ["train", "dev"]}


def test_words_that_look_like_missing_values_are_kept_and_texts_are_stripped(tmp_path: Path):
    text = "\tid\tsentence\tsentiment\n" + "".join(
        f"{row}\t{row}x\t{word}\t1\n" for row, word in enumerate(["NA", "null", "None", "nan", " do n't ", ""])
    )
    train = read_directory(write(tmp_path, SST | {"ids-sst-train.csv": text})).splits["sst"]["train"]
    assert train.texts == (["NA", "null", "None", "nan", "do n't", ""],)


def test_quoted_fields_lose_their_quotes_and_may_contain_tabs_and_line_breaks(tmp_path: Path):
    text = STS["sts-train.csv"] + '9\tc\t"She said ""no"""\t"two\nlines\tand a tab"\t0.2\n'
    train = read_directory(write(tmp_path, STS | {"sts-train.csv": text})).splits["sts"]["train"]
    assert [side[1] for side in train.texts] == ['She said "no"', "two\nlines\tand a tab"]
    assert train.labels.tolist() == [2.75, np.float32(0.2)]


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: text.rstrip("\n")]
)
def test_line_ends_byte_order_marks_and_the_last_newline_do_not_matter(change, tmp_path: Path):
    # Without the index column: a byte order mark in its name would have no effect.
    files = {name: re.sub(r"^[^\t]*\t", "", text, flags=re.MULTILINE) for name, text in SST.items()}
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    plain.mkdir()
    changed.mkdir()
    expected = read_directory(write(plain, files)).splits["sst"]["train"]
    found = read_directory(write(changed, {name: change(text) for name, text in files.items()})).splits["sst"]["train"]
    assert (found.ids, found.texts, found.labels.tolist()) == (expected.ids, expected.texts, expected.labels.tolist())


def test_an_empty_label_is_nan_and_classes_may_be_written_as_decimals(tmp_path: Path):
    text = "\tid\tsentence\tsentiment\n0\ta\tOne .\t\n1\tb\tTwo .\t3.0\n"
    train = read_directory(write(tmp_path, SST | {"ids-sst-train.csv": text})).splits["sst"]["train"]
    np.testing.assert_array_equal(train.labels, [np.nan, 3])


HEADER = "\tid\tsentence\tsentiment\n"
BAD_FILES = {
    "no header": ("", 1, "column 'id' is not in the header; the file is empty"),
    "no rows": (HEADER, None, "a header but no rows"),
    "missing column": ("\tid\ttext\tsentiment\n0\ta\tOne .\t1\n", 1, "column 'sentence' is not"),
    "commas for tabs": (",id,sentence,sentiment\n0,a,One .,1\n", 1, "column 'id' is not"),
    "column twice": ("id\tid\tsentence\tsentiment\n0\ta\tOne .\t1\n", 1, "column 'id' occurs twice"),
    "label above": (HEADER + "0\ta\tOne .\t4\n1\tb\tTwo .\t5\n", 3, "label '5' of task sst is outside 0 to 4"),
    "label below": (HEADER + "0\ta\tOne .\t-1\n", 2, "outside 0 to 4"),
    "infinite label": (HEADER + "0\ta\tOne .\tinf\n", 2, "outside 0 to 4"),
    "label NaN": (HEADER + "0\ta\tOne .\tnan\n", 2, "outside 0 to 4"),
    "class between two": (HEADER + "0\ta\tOne .\t2.5\n", 2, "label '2.5' of task sst is not an integer"),
    "label in words": (HEADER + "0\ta\tOne .\tgood\n", 2, "label 'good' of task sst is not a number"),
    "no labels": (HEADER + "0\ta\tOne .\t\n1\tb\tTwo .\t\n", None, "none of its 2 rows has a label"),
    "too few fields": (HEADER + "0\ta\tOne .\t1\n1\tb\tTwo .\n", 3, "the row has 3 fields, the header 4"),
    "too many fields": (HEADER + "0\ta\tOne .\t1\n1\tb\tTwo .\tand\t1\n", 3, "the row has 5 fields, the header 4"),
    "empty line": (HEADER + "0\ta\tOne .\t1\n\n1\tb\tTwo .\t1\n", 3, "the row has 0 fields"),
    "fields after a long row": (HEADER + '0\ta\t"One\nrow\non four\nlines"\t1\n1\tb\n', 6, "the row has 2 fields"),
    "id twice": (
        HEADER + "0\ta\tOne .\t1\n1\tb\tTwo .\t1\n2\ta\tSix .\t1\n",
        4,
        "id 'a' occurs twice, first in line 2",
    ),
    "no id": (HEADER + "0\t\tOne .\t1\n", 2, "id '' is blank"),
    "comma in an id": (HEADER + "0\ta,b\tOne .\t1\n", 2, "comma"),
    "unclosed quote": (HEADER + '0\ta\tOne .\t1\n1\tb\t"Two .\t1\n2\td\tSix .\t1\n', 3, "double quote"),
    "text behind a quote": (HEADER + '0\ta\tOne .\t1\n1\tb\t"Two" .\t1\n', 3, "double quote"),
    "NUL byte": (HEADER + "0\ta\tOne .\t1\n1\tb\tT\0o .\t1\n", 3, "NUL byte"),
}


@pytest.mark.parametrize(("text", "line", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_one_sentence_with_file_and_line(text: str, line: int | None, words: str, tmp_path: Path):
    message = fault(write(tmp_path, SST | {"ids-sst-train.csv": text}))
    assert f"ids-sst-train.csv, line {line}:" in message if line else str(tmp_path / "ids-sst-train.csv") in message
    assert words in message
    assert "\n" not in message


def test_bytes_that_are_not_utf8_are_reported_with_their_line(tmp_path: Path):
    write(tmp_path, SST)
    rows = (HEADER + "0\ta\tOne .\t1\n1\tb\tcaf\u00e9 .\t1\n").encode("latin-1")
    for start in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "ids-sst-train.csv").write_bytes(start + rows)
        assert "ids-sst-train.csv, line 3: byte 0xe9 is not UTF-8" in fault(tmp_path)


def test_an_id_that_occurs_in_two_files_of_a_task_is_an_input_error(tmp_path: Path):
    message = fault(write(tmp_path, SST | {"ids-sst-dev.csv": HEADER + "0\tb\tWell .\t2\n"}))
    assert "ids-sst-dev.csv, line 2: id 'b' occurs twice, first in ids-sst-train.csv, line 3" in message


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_missing_file_of_a_task_is_an_input_error_with_its_name(split: str, tmp_path: Path):
    write(tmp_path, SST | STS)
    (tmp_path / f"sts-{split}.csv").unlink()
    assert f"sts-{split}.csv is missing" in fault(tmp_path)


def test_directories_without_data_have_different_errors(tmp_path: Path):
    assert "does not exist" in fault(tmp_path / "nowhere")
    assert "is empty" in fault(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert "has no files of a known task" in fault(tmp_path)
    assert "is a file" in fault(tmp_path / "notes.txt")


def test_a_directory_with_the_name_of_a_data_file_is_an_input_error(tmp_path: Path):
    write(tmp_path, {"ids-sst-dev.csv": SST["ids-sst-dev.csv"]})
    (tmp_path / "ids-sst-train.csv").mkdir()
    assert f"Cannot read {tmp_path / 'ids-sst-train.csv'}" in fault(tmp_path)
