"""Test the wording of input errors."""

import pytest

from model.errors import first_line, unknown


@pytest.mark.parametrize("message", ["", " \n ", "\n"])
def test_the_first_line_of_an_empty_message_is_the_class_name(message: str):
    assert first_line(ValueError(message)) == "ValueError"


def test_the_first_line_of_a_message_has_no_final_punctuation():
    assert first_line(ValueError("\n  cannot open file:\nline 2")) == "cannot open file"
    assert first_line(ValueError("cannot open file.")) == "cannot open file"


def test_an_unknown_name_is_reported_with_the_nearest_known_name():
    assert str(unknown("recipe", "smrt", ["smart", "plain"])) == (
        "Unknown recipe 'smrt'; did you mean 'smart'? Known: plain, smart."
    )
    assert str(unknown("recipe", "x", [])) == "Unknown recipe 'x'. Known: none."
    assert str(unknown("recipe", "x", ["smart"], listed="List them with --list.")) == (
        "Unknown recipe 'x'. List them with --list."
    )
