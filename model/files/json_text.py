"""Read JSON from untrusted files; raise one kind of error for all text that is not plain JSON with finite numbers."""

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from model.errors import InputError
from model.files.regular_files import read_file

DIGITS = 300
"""Largest number of digits of an integer; a float has at most as many before its point."""


def parse_json(content: bytes | str, *, repeats: bool = False) -> Any:
    """Return the value of a JSON text, without its byte order mark.

    Args:
        content: the text; bytes are UTF-8.
        repeats: whether an object may have a name twice; the later value counts. Some public files have such names.

    Raises:
        ValueError: the text is not JSON, or one of its values cannot be used: a number that is not finite or has too
            many digits, half of a surrogate pair, a repeated name, or too many levels. The message is one phrase.
    """
    hooks: dict[str, Any] = {} if repeats else {"object_pairs_hook": _without_repeats}
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
        value = json.loads(text, parse_constant=_refuse, parse_int=_integer, parse_float=_finite, **hooks)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{error.object[error.start]:02x} is not UTF-8") from None
    except UnicodeEncodeError:
        raise ValueError("a string has half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    return value


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file of a public checkpoint that holds one JSON object.

    Raises:
        InputError: the file is missing, or its content is no JSON object.
    """
    try:
        found = parse_json(read_file(path), repeats=True)
    except ValueError as error:
        raise InputError(f"{path} is not a JSON object: {error}. Download it again.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a JSON object: it is a {type(found).__name__}. Download it again.")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number has {len(text.lstrip('-'))} digits")
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{name!r} occurs twice in one object")
    return found
