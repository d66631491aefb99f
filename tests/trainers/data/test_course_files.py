"""Test reading data directories in the format of the course, and the error for each fault in a file."""

import csv
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from trainers.data.course_files import read_directory
from trainers.data.tables import table_rows
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


def test_quoted_fields_lose_their_quotes(tmp_path: Path):
    text = STS["sts-train.csv"] + '9\tc\t"She said ""no"""\tquotes "within" a text"\t"0.2"\n"10"\t"d"\t""""\t""\t1\n'
    train = read_directory(write(tmp_path, STS | {"sts-train.csv": text})).splits["sts"]["train"]
    assert train.ids == ["a", "c", "d"]
    assert train.texts == (["One.", 'She said "no"', '"'], ["Two.", 'quotes "within" a text"', ""])
    assert train.labels.tolist() == [2.75, np.float32(0.2), 1]


@given(st.lists(st.text(st.sampled_from('a" ,é\u2028\x0b'), max_size=5), min_size=1, max_size=4))
def test_rows_are_read_as_the_csv_module_reads_them(fields: list[str]):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "table.tsv"
        names = [str(place) for place in range(len(fields))]
        with open(path, "w", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([names, fields])
        assert list(table_rows(path, names)) == [(2, fields)]


def test_a_text_may_be_longer_than_the_csv_module_allows(tmp_path: Path):
    words = "word " * 40_000
    text = STS["sts-train.csv"] + f'9\tc\t"{words}"\t{words}\t1\n'
    train = read_directory(write(tmp_path, STS | {"sts-train.csv": text})).splits["sts"]["train"]
    assert [len(side[1]) for side in train.texts] == [len(words) - 1] * 2


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
    "class between two": (HEADER + "0\ta\tOne .\t2.5\n", 2, "label '2.5' of task sst is not an integer"),
    "label in words": (HEADER + "0\ta\tOne .\tgood\n", 2, "label 'good' of task sst is not a plain decimal number"),
    "long label": (HEADER + f"0\ta\tOne .\t{'9' * 5000}\n", 2, " ... of task sst is outside 0 to 4"),
    "no labels": (HEADER + "0\ta\tOne .\t\n1\tb\tTwo .\t\n", None, "none of its 2 rows has a label"),
    "too few fields": (HEADER + "0\ta\tOne .\t1\n1\tb\tTwo .\n", 3, "the row has 3 fields, the header 4"),
    "too many fields": (HEADER + "0\ta\tOne .\t1\n1\tb\tTwo .\tand\t1\n", 3, "the row has 5 fields, the header 4"),
    "empty line": (HEADER + "0\ta\tOne .\t1\n\n1\tb\tTwo .\t1\n", 3, "the row has 0 fields"),
    "line break in a text": (HEADER + '0\ta\t"One\nrow on two lines"\t1\n', 2, "does not end with its closing quote"),
    "tab in a text": (HEADER + '0\ta\t"One\ttab"\t1\n', 2, "does not end with its closing quote"),
    "carriage return in a text": (HEADER + "0\ta\tOne\rrow\t1\n", 2, "a carriage return within the line"),
    "a quote that the next row closes": (HEADER + '0\ta\t"One .\t1\n1\tb\tTwo ."\t3\n', 2, "closing quote"),
    "a lone quote": (HEADER + '0\ta\t"\t1\n', 2, "closing quote"),
    "a quote that is not doubled": (HEADER + '0\ta\t"One" and "two"\t1\n', 2, "double the quotes inside"),
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


NO_LABELS = [
    "0_4",
    "\uff11",
    "\u0661",
    " 1",
    "1 ",
    "1e0",
    "1E+0",
    "inf",
    "-inf",
    "Infinity",
    "nan",
    "0x1",
    "1,0",
    "1.0.0",
    "+",
    ".",
    "--1",
    "1/1",
]


@pytest.mark.parametrize("label", NO_LABELS)
def test_a_label_that_is_no_plain_decimal_number_is_an_input_error(label: str, tmp_path: Path):
    message = fault(write(tmp_path, SST | {"ids-sst-train.csv": HEADER + f"0\ta\tOne .\t{label}\n"}))
    assert f"line 2: label {label!r} of task sst is not a plain decimal number, such as 3 or 2.5. Correct" in message


@pytest.mark.parametrize(("label", "value"), [("3", 3), ("3.0", 3), ("3.", 3), ("+3", 3), ("-0", 0), ("003", 3)])
def test_a_plain_decimal_number_is_a_label(label: str, value: float, tmp_path: Path):
    write(tmp_path, SST | {"ids-sst-train.csv": HEADER + f"0\ta\tOne .\t{label}\n"})
    assert read_directory(tmp_path).splits["sst"]["train"].labels.tolist() == [value]


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
