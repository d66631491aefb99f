"""Test that a sequence of strings in Arrow memory behaves as a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data import raw_rows
from trainers.data.raw_rows import TextColumn


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_rows, "BLOCK", 3)
        yield


@given(st.lists(st.text(), max_size=10), st.slices(10))
def test_strings_are_those_of_a_list(texts: list[str], chosen: slice):
    found = TextColumn(texts)
    assert found == texts and list(found) == texts and len(found) == len(texts)
    assert found[chosen] == texts[chosen]
    assert [found[row] for row in range(-len(texts), len(texts))] == texts * 2
    assert found != [*texts, ""] and found != list(range(len(texts) or 1)) and found.count("") == texts.count("")


def test_strings_differ_from_a_text_of_the_same_characters():
    assert TextColumn(["a", "b"]) != "ab"


def test_a_row_beyond_the_end_is_an_index_error():
    with pytest.raises(IndexError):
        TextColumn(["a", "b", "c", "d"])[4]
