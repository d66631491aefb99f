"""Dotted paths into a config's plain data, as `--set` and changes in the course of a run write them."""

from typing import Any

from model.errors import unknown

OPEN = (["regularisers"], ["class_weights"])
"""Ends of the paths to what has entries by name, of which there may be none yet."""


def locate_field(data: Any, path: str, told: str) -> tuple[Any, Any]:
    """Return the dict or list that holds a field, and the field's key or index in it.

    Args:
        data: plain data of a config.
        told: where the path was read, for the error.

    Raises:
        InputError: there is no such field; names the nearest one.
    """
    *parents, field = path.split(".")
    for name in parents:
        data = data[_key(data, name, told)]
    return data, field if parents[-1:] in OPEN else _key(data, field, told)


def difference(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """Return the paths at which two configs' plain data differ, with the values of the second one."""
    inside: list[tuple[Any, Any, Any]] = []
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        inside = [(name, value, after[name]) for name, value in before.items()]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inside = [(index, *values) for index, values in enumerate(zip(before, after, strict=True))]
    elif before != after:
        return {path: after}
    prefix = f"{path}." if path else ""
    found = [difference(value, other, f"{prefix}{name}") for name, value, other in inside]
    return {field: value for part in found for field, value in part.items()}


def _key(place: Any, name: str, told: str) -> Any:
    """Return the key or index of a field in plain data."""
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        return int(name)
    if isinstance(place, dict) and name in place:
        return name
    names = place if isinstance(place, dict) else map(str, range(len(place))) if isinstance(place, list) else []
    raise unknown(f"config field in {told}:", name, names)
