"""Dotted paths to the fields of a config's plain data, as `--set` and the changes of a run write them."""

from typing import Any

from model.errors import unknown

NAMED_ENTRIES = (["regularisers"], ["class_weights"])
"""Fields that hold entries by name. A path may add an entry that the field does not have yet."""


def locate_field(data: Any, path: str, where: str) -> tuple[Any, Any]:
    """Return the dict or list that holds a field, and the field's key or index in it.

    Args:
        data: plain data of a config.
        where: where the user wrote the path, for the error.

    Raises:
        InputError: there is no such field; names the nearest one.
    """
    *parents, field = path.split(".")
    for name in parents:
        data = data[_key(data, name, where)]
    return data, field if parents[-1:] in NAMED_ENTRIES else _key(data, field, where)


def difference(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """Return the paths at which two configs' plain data differ, with the values of the second config."""
    inner: list[tuple[Any, Any, Any]] = []
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        inner = [(name, value, after[name]) for name, value in before.items()]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        inner = [(index, *values) for index, values in enumerate(zip(before, after, strict=True))]
    elif before != after:
        return {path: after}
    prefix = f"{path}." if path else ""
    found = [difference(value, other, f"{prefix}{name}") for name, value, other in inner]
    return {field: value for part in found for field, value in part.items()}


def _key(container: Any, name: str, where: str) -> Any:
    """Return the key or index of a field in its dict or list."""
    if isinstance(container, list) and name.isdecimal() and int(name) < len(container):
        return int(name)
    if isinstance(container, dict) and name in container:
        return name
    names: Any = []
    if isinstance(container, dict):
        names = container
    elif isinstance(container, list):
        names = map(str, range(len(container)))
    raise unknown(f"config field in {where}:", name, names)
