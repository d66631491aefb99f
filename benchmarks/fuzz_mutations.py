"""Damage the content of a file: its bytes, one value of its JSON, one member of its archive."""

import io
import json
import zipfile
from random import Random
from typing import Any

PLACEHOLDER = "a placeholder that no file has"
DEEP = 100_000
"""Levels of the nested lists; a recursive reader of JSON fails from about 1,000 levels on."""
VALUES = (
    *("null", "true", "false", "0", "1", "-1", "1.5", "2147483648", "9223372036854775808", "1e308", "1e-320"),
    *("NaN", "Infinity", "-Infinity", "9" * 5_000, "1e999"),
    *('""', '"a"', '"\\u0000"', '"\\ud800"', '"../up"', '"/etc/passwd"', '"<b>\\n"', f'"{"x" * 300}"', '"x://y?z"'),
    *("[]", "{}", "[null]", "[[]]", '{"a": 1}', "[1, 2, 3]", "[NaN]", "[" * DEEP + "]" * DEEP),
)
"""JSON texts that replace a value."""


def mutate(content: bytes, draw: Random) -> bytes:
    """Return a file's content with one kind of damage that fits the format, drawn at random."""
    structured = [mutated for mutated in (_json, _json_lines, _safetensors, _zip) if mutated(content, Random(0))]
    kinds = [*structured * 2, _bytes]
    mutated = draw.choice(kinds)(content, draw)
    assert mutated is not None
    return mutated


def _bytes(content: bytes, draw: Random) -> bytes:
    """Flip, cut, repeat, insert or clear bytes."""
    start = draw.randrange(len(content) + 1)
    end = min(len(content), start + draw.choice([1, 2, 8, 100, 10_000]))
    noise = draw.randbytes(draw.choice([1, 4, 40]))
    bit = bytes([content[start] ^ 1 << draw.randrange(8)]) if start < len(content) else b"\0"
    return draw.choice(
        [
            content[:start] + bit + content[start + 1 :],
            content[:start],
            content[:start] + content[end:],
            content[:end] + content[start:],
            content[:start] + noise + content[start:],
            content[:start] + noise + content[start + len(noise) :],
            content[:start] + bytes(end - start) + content[end:],
        ]
    )


def _json(content: bytes, draw: Random) -> bytes | None:
    """Change one value or one key of a JSON text; None if the content is no JSON object or array."""
    try:
        data = json.loads(content)
    except ValueError:
        return None
    if not isinstance(data, dict | list):
        return None
    inner = draw.choice(_containers(data))
    keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    text = draw.choice(VALUES)
    if not keys or draw.random() < 0.05:  # the whole text
        return text.encode()
    key = draw.choice(keys)
    draw.choice([_set, _set, _set, _set, _delete, _rename, _add])(inner, key, draw)
    whole = json.dumps(data)
    if draw.random() < 0.05:  # a repeated key
        whole = whole.replace("{", f"{{{json.dumps(str(key))}: {text}, ", 1)
    return whole.replace(json.dumps(PLACEHOLDER), text).encode()


def _containers(data: Any) -> list[Any]:
    """List the objects and arrays of a JSON value, itself included."""
    if not isinstance(data, dict | list):
        return []
    inner = data.values() if isinstance(data, dict) else data
    return [data, *(found for value in inner for found in _containers(value))]


def _set(container: Any, key: Any, draw: Random) -> None:
    container[key] = PLACEHOLDER


def _delete(container: Any, key: Any, draw: Random) -> None:
    del container[key]


def _rename(container: Any, key: Any, draw: Random) -> None:
    if isinstance(container, dict):
        container[draw.choice(["", "x", "../up", f"{key}x", "\ud800", "<b>"])] = container.pop(key)
    else:
        container.reverse()


def _add(container: Any, key: Any, draw: Random) -> None:
    if isinstance(container, dict):
        container["x"] = PLACEHOLDER
    else:
        container.append(PLACEHOLDER)


def _json_lines(content: bytes, draw: Random) -> bytes | None:
    """Change one line of a file of JSON lines; None if the content is no such file."""
    lines = content.split(b"\n")
    place = draw.randrange(max(1, len(lines) - 1))
    changed = _json(lines[place], draw) if len(lines) > 2 else None
    return None if changed is None else b"\n".join([*lines[:place], changed, *lines[place + 1 :]])


def _safetensors(content: bytes, draw: Random) -> bytes | None:
    """Change one value of a safetensors header, with its right length; None if the content is no such file."""
    length = int.from_bytes(content[:8], "little")
    header = _json(content[8 : 8 + length], draw) if 2 <= length <= len(content) - 8 else None
    return None if header is None else len(header).to_bytes(8, "little") + header + content[8 + length :]


def _zip(content: bytes, draw: Random) -> bytes | None:
    """Change the bytes of one member of a zip archive, with a right checksum; None if the content is no archive."""
    if not content.startswith(b"PK"):
        return None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice([min(members, key=lambda name: not name.endswith(".pkl")), *members])
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, _bytes(data, draw) if member == name else data)
    return result.getvalue()
