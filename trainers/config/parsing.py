"""Parse configs from plain data, files and command-line values, with errors in plain sentences."""

import json
from pathlib import Path
from typing import Any, get_args

import pydantic

from model.errors import InputError, first_line, shortened, unknown
from model.files.json_text import parse_json
from model.files.regular_files import read_file
from trainers.config.dotted_paths import locate_field
from trainers.config.train_config import DURATIONS, TrainConfig
from trainers.settings import BY_TASK, FOR_ALL, Config

OPENINGS = tuple("{[(\"'")
"""Characters with which lists, dicts and quoted text begin, in JSON or in Python."""
KINDS = (FOR_ALL, BY_TASK, "constrained-float")
"""Parts of the paths in pydantic's errors that name a variant of a value's type. Users do not type them."""


def parse_config(data: Any) -> TrainConfig:
    """Build a config from plain data.

    Raises:
        InputError: a field is unknown or a value is not allowed; names the field as a user types it.
    """
    try:
        return TrainConfig.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(describe(error)) from None


def read_config(path: Path) -> TrainConfig:
    """Read a config from a JSON file, such as a trial's config.json.

    Raises:
        InputError: the file is missing, is not JSON or holds no valid config.
    """
    try:
        data = parse_json(read_file(path))
    except ValueError as error:
        raise InputError(f"{path} holds no config: {error}. Pass a trial's config.json, or a recipe's name.") from None
    return parse_config(data)


def with_values(config: TrainConfig, assignments: list[str]) -> TrainConfig:
    """Return a copy of a config with new values.

    Args:
        assignments: "field=value", where field is a dotted path ("smart.lambda_s=5", "stages.0.steps=80"). The value is
            read as JSON if possible, and as a string otherwise.

    Raises:
        InputError: a field does not exist or does not allow the value, or a value begins like JSON but is none.
    """
    data = config.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment} has no '='. Write field=value, for example smart.lambda_s=5.")
        container, key = locate_field(data, path, f"--set {assignment}")
        value = _value(text, path)
        if key in DURATIONS and value is not None and container.keys() >= set(DURATIONS):
            container |= dict.fromkeys(DURATIONS)  # a stage has one duration: the new one replaces the old one
        container[key] = value
    return parse_config(data)


def describe(error: pydantic.ValidationError) -> str:
    """Describe the first fault of a config; for an unknown field, name the nearest one."""
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, pydantic.ValidationError):  # the fault of a config after changes
        return describe(inner)
    path = [str(part) for part in first["loc"] if part not in KINDS]
    if first["type"] == "extra_forbidden":
        named = {kind.__name__: kind for kind in [TrainConfig, *_sections(TrainConfig)]}
        owner = _owner(named.get(error.title, TrainConfig), path[:-1])
        return str(unknown("config field", path[-1], owner.model_fields))
    message = first["msg"].removeprefix("Value error, ").removesuffix(".")
    found = "" if isinstance(first["input"], dict | Config) else f" (got {shortened(first['input'])})"
    where = f"Config field {'.'.join(path)}" if path else error.title
    return f"{where}: {message}{found}."


def _sections(annotation: Any) -> list[type[Config]]:
    """List the config classes in a field's annotation, with the classes of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        inner = [kind for field in annotation.model_fields.values() for kind in _sections(field.annotation)]
        return [annotation, *inner]
    return [kind for part in get_args(annotation) for kind in _sections(part)]


def _owner(kind: type[Config], path: list[str]) -> type[Config]:
    """Return the config class at a path of fields, indices and task names."""
    for part in path:
        if part in kind.model_fields:
            kind = next(iter(_sections(kind.model_fields[part].annotation)), kind)
    return kind


def _value(text: str, path: str) -> Any:
    """Read a value as JSON, or else as a string.

    Raises:
        InputError: the value begins as lists, dicts and quoted text do, but is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        if text.strip()[:1] not in OPENINGS:
            return text
        raise InputError(
            f"--set {path}: the value is not JSON ({first_line(error)}). Write names and text in double quotes, as "
            """in {"name": 0.5} or ["a", "b"], and put single quotes around the whole argument."""
        ) from None
