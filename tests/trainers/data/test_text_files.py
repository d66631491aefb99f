"""Test reading text sets, and the error for each fault in a file."""

from pathlib import Path

import pytest

from model.errors import InputError
from trainers.data.text_files import read_text_set


def write(directory: Path, content: str | bytes) -> Path:
    (directory / "notes.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_tabs_separate_the_sides_of_a_line_and_sides_are_stripped(tmp_path, sides):
    rows = [[f"text {row} of {side}, NA" for side in range(sides)] for row in range(5)]
    found = read_text_set(write(tmp_path, "".join(" \t ".join(row) + "\n" for row in rows)), "notes")
    assert found.texts == tuple([row[side] for row in rows] for side in range(sides))
    assert (len(found), found.blank_lines) == (5, 0)


def test_blank_lines_are_skipped_and_counted_and_quotes_are_text(tmp_path):
    found = read_text_set(write(tmp_path, '\n"One\n \t \nTwo" said\n\n\n'), "notes")
    assert (found.texts, found.blank_lines) == ((['"One', 'Two" said'],), 4)


def test_an_empty_side_of_a_pair_is_kept(tmp_path):
    assert read_text_set(write(tmp_path, "One\t\n\tTwo\n"), "notes").texts == (["One", ""], ["", "Two"])


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_only_a_newline_ends_a_line(tmp_path, mark):
    assert read_text_set(write(tmp_path, f"One{mark}more\nTwo"), "notes").texts == ([f"One{mark}more", "Two"],)


def test_line_ends_byte_order_marks_and_the_last_newline_do_not_matter(tmp_path):
    for content in ("One\tTwo\nA\tB\n", "One\tTwo\r\nA\tB\r\n", "\ufeffOne\tTwo\nA\tB"):
        found = read_text_set(write(tmp_path, content), "notes")
        assert (found.texts, found.blank_lines) == ((["One", "A"], ["Two", "B"]), 0)


FAULTS = {
    "empty": ("", r"notes.txt has no text"),
    "blank": ("\n \n\t\n", r"notes.txt has no text"),
    "a side too few": (
        "a\tb\n\nc\n",
        r"notes.txt, line 3: the line has 1 tab-separated sides, but the lines before have 2\. Write",
    ),
    "a side too many": (
        "a\nb\tc\n",
        r"notes.txt, line 2: the line has 2 tab-separated sides, but the lines before have 1\. Write",
    ),
    "four sides": (
        "a\tb\tc\td\n",
        r"notes.txt, line 1: .* has 4 tab-separated sides\. Write the same number in every line: 1 for a text; 2 for",
    ),
    "not UTF-8": (b"One\ncaf\xe9\n", r"notes.txt, line 2: byte 0xe9 is not UTF-8"),
    "NUL": (b"One\nT\0wo\n", r"notes.txt, line 2: a NUL byte"),
}


@pytest.mark.parametrize(("content", "words"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_file_is_an_input_error_with_file_and_line(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read_text_set(write(tmp_path, content), "notes")


def test_a_missing_text_set_is_an_input_error_with_the_nearest_name_and_the_file(tmp_path):
    with pytest.raises(InputError) as caught:
        read_text_set(write(tmp_path, "One\n"), "note")
    assert str(caught.value) == (
        f"Unknown text set 'note'; did you mean 'notes'? Known: notes. Add {tmp_path / 'note.txt'} with "
        "one text per line."
    )
    with pytest.raises(InputError, match=r"Unknown text set '\.\./up'"):
        read_text_set(tmp_path, "../up")
