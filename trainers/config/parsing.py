"""Plain data and command-line text -> a config; what is wrong with it in one sentence."""

import json
from pathlib import Path
from typing import Any, get_args

import pydantic

from model.errors import InputError, unknown
from trainers.config.dotted_paths import locate_field
from trainers.config.train_config import DURATIONS, TrainConfig
from trainers.settings import BY_TASK, FOR_ALL, Config

KINDS = (FOR_ALL, BY_TASK, "constrained-float")
"""What pydantic writes into a path where a value may be of several kinds; no user types it."""


def parse_config(data: Any) -> TrainConfig:
    """Build a config from plain data.

    Raises:
        InputError: a field is unknown or a value not allowed; says which, as the user would type it.
    """
    try:
        return TrainConfig.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(describe(error)) from None


def read_config(path: Path) -> TrainConfig:
    """Read a config from its JSON file, such as a trial's.

    Raises:
        InputError: there is no such file, or it holds no config.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no config: {error}. Pass a trial's config.json, or a recipe's name.") from error
    return parse_config(data)


def with_values(config: TrainConfig, assignments: list[str]) -> TrainConfig:
    """Return a copy of `config` in which fields have other values.

    Args:
        assignments: "field=value", with dots for what is inside ("smart.lambda_s=5", "stages.0.steps=80"); a value is
            JSON, or else a string.

    Raises:
        InputError: a field does not exist or refuses the value.
    """
    data = config.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: there is no '='. Write field=value, for example smart.lambda_s=5.")
        place, key = locate_field(data, path, f"--set {assignment}")
        if key in DURATIONS and _value(text) is not None and place.keys() >= set(DURATIONS):
            place |= dict.fromkeys(DURATIONS)  # a stage has one: another one takes its place
        place[key] = _value(text)
    return parse_config(data)


def describe(error: pydantic.ValidationError) -> str:
    """Say what is wrong with a config in one sentence, naming the nearest field for an unknown one."""
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, pydantic.ValidationError):  # of the config that a change leads to
        return describe(inner)
    path = [str(part) for part in first["loc"] if part not in KINDS]
    if first["type"] == "extra_forbidden":
        named = {kind.__name__: kind for kind in [TrainConfig, *_sections(TrainConfig)]}
        owner = _owner(named.get(error.title, TrainConfig), path[:-1])
        return str(unknown("config field", path[-1], owner.model_fields))
    message = first["msg"].removeprefix("Value error, ").removesuffix(".")
    found = "" if isinstance(first["input"], dict | Config) else f" (got {first['input']!r})"
    where = f"Config field {'.'.join(path)}" if path else error.title
    return f"{where}: {message}{found}."


def _sections(annotation: Any) -> list[type[Config]]:
    """Find the configs in a field's annotation, or below a config."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        inner = [kind for field in annotation.model_fields.values() for kind in _sections(field.annotation)]
        return [annotation, *inner]
    return [kind for part in get_args(annotation) for kind in _sections(part)]


def _owner(kind: type[Config], path: list[str]) -> type[Config]:
    """Follow a path of fields, indices and task names down to the config that it names."""
    for part in path:
        if part in kind.model_fields:
            kind = next(iter(_sections(kind.model_fields[part].annotation)), kind)
    return kind


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
