"""The values that every storage of a study keeps unchanged: None, booleans, text, finite numbers of 64 bits."""

import json
import math

LIMIT = 2**63
"""Integers have at most 64 bits in tables and databases."""
PLAIN = "None, True, False, text and finite numbers of at most 64 bits"
"""The values in words, for errors."""


def is_plain(value: object) -> bool:
    """Return whether a storage that goes through JSON gives the value back as it was. NumPy's float64 is a float."""
    if isinstance(value, str):
        return printable(value) == value
    if isinstance(value, int):
        return -LIMIT <= value < LIMIT
    return value is None or (isinstance(value, float) and math.isfinite(value))


def is_json(value: object) -> bool:
    """Return whether JSON can hold a value: plain values, and lists and dicts of them."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return printable(text) == text


def as_plain(value: object) -> object:
    """Return a plain value unchanged, and any other value as text: a list that an older run has as a choice."""
    return value if is_plain(value) else printable(str(value))


def printable(text: str) -> str:
    """Return a text with the characters escaped that UTF-8 cannot encode."""
    return text.encode(errors="backslashreplace").decode()
