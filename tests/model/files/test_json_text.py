"""Test the reader of JSON that anybody may have written."""

import json

import pytest

from model.files.json_text import parse_json

FAULTS: dict[str, tuple[bytes | str, str]] = {
    "no JSON": ('{\n"a" 1}', "line 2: Expecting ':' delimiter"),
    "empty": (b"", "line 1: Expecting value"),
    "two values": ("1 2", "line 1: Extra data"),
    "not UTF-8": (b'"\xff"', "byte 0xff is not UTF-8"),
    "UTF-16": ('"a"'.encode("utf-16"), "byte 0xff is not UTF-8"),
    "deep lists": ("[" * 100_000 + "]" * 100_000, "its values are nested too deeply"),
    "deep objects": ('{"a":' * 100_000 + "1" + "}" * 100_000, "its values are nested too deeply"),
    "a long integer": ("9" * 5000, "a number has 5000 digits"),
    "a long negative integer": ("-" + "9" * 5000, "a number has 5000 digits"),
    "NaN": ('{"a": [NaN]}', "NaN is no JSON number"),
    "minus infinity": ("-Infinity", "-Infinity is no JSON number"),
    "a float beyond the largest": ("1e999", "the number 1e999 is too large"),
    "half of a pair": ('{"\\ud800": 1}', "a string has half of a surrogate pair"),
    "half of a pair in a value": ('{"a": ["\\uDFFF"]}', "a string has half of a surrogate pair"),
    "a repeated name": ('{"a": {"b": 1, "c": 2, "b": 3}}', "'b' occurs twice in one object"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_plain_json_is_one_phrase(content: bytes | str, message: str):
    with pytest.raises(ValueError) as caught:
        parse_json(content)
    assert str(caught.value) == message


def test_plain_json_is_read_like_the_standard_library_does():
    text = '{"a": [1, -2.5, 1e300, true, null, "\\u00e9\\ud83d\\ude00\\ud7ff"], "b": {"": {}}}'
    assert parse_json(text) == parse_json(text.encode()) == parse_json("\ufeff" + text) == json.loads(text)
    assert parse_json(b"\xef\xbb\xbf[123456789012345678901234567890]") == [123456789012345678901234567890]


def test_repeats_can_be_allowed():
    assert parse_json('{"a": 1, "a": 2}', repeats=True) == {"a": 2}


def test_a_repeated_name_is_found_among_very_many():
    names = [f"{number}" for number in range(300_000)]  # comparing all pairs would exceed a test's time limit
    text = "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}"
    with pytest.raises(ValueError, match="'299999' occurs twice"):
        parse_json(text)
