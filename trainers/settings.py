"""Base class of all configs and the reader of JSON files: unknown fields are errors.

A config is immutable and validated on construction. Each JSON file of a run holds one record.

The types `PerTask`, `NumberPerTask` and `Weight` describe fields with one value for all tasks or a value per task.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, Self, TypeVar, cast

import pydantic
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    Tag,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from model.errors import InputError, first_line, unknown
from model.files.json_text import parse_json
from trainers.folder import Folder

FOR_ALL, BY_TASK = "for all tasks", "per task"
"""The two forms of a setting, as pydantic names them in error messages."""

Value = TypeVar("Value")


class Config(BaseModel):
    """An immutable, validated record; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterable[str]:
        """Yield a sentence for each contradiction and for each setting without effect."""
        return ()

    def replace(self, **changes: Any) -> Self:
        """Return a copy with changed values, validated like a new config.

        Raises:
            pydantic.ValidationError: a field is unknown, or a value is not allowed.
        """
        return type(self).model_validate({**dict(self), **changes})


def name_check(registry: Mapping[str, Any]) -> Callable[[type, str, ValidationInfo], str]:
    """Return a pydantic validator for a field that holds the name of a registry entry."""

    def check(cls: type, name: str, info: ValidationInfo) -> str:
        if name not in registry:
            raise ValueError(str(unknown(str(info.field_name).replace("_", " "), name, registry)))
        return name

    return check


def _form(value: Any) -> str:
    """Return the form of a setting that holds configs. A config for all tasks has no field that is a config itself."""
    nested = isinstance(value, Mapping) and any(isinstance(inner, Mapping | Config) for inner in value.values())
    return BY_TASK if nested else FOR_ALL


def _number_form(value: Any) -> str:
    """Return the form of a setting that holds numbers."""
    return BY_TASK if isinstance(value, Mapping) else FOR_ALL


PerTask = Annotated[Annotated[Value, Tag(FOR_ALL)] | Annotated[dict[str, Value], Tag(BY_TASK)], Discriminator(_form)]
"""One config for all tasks, or task -> config; the other tasks have the default."""

NumberPerTask = Annotated[
    Annotated[Value, Tag(FOR_ALL)] | Annotated[dict[str, Value], Tag(BY_TASK)], Discriminator(_number_form)
]
"""One number for all tasks, or task -> number."""

Weight = NumberPerTask[NonNegativeFloat]
"""One weight for all tasks, or task -> weight; the other tasks have weight 0."""


def value_for_task(setting: Value | Mapping[str, Value], task: str, default: Value) -> Value:
    """Return the value of a setting for one task; `default` if the setting names other tasks only."""
    if isinstance(setting, Mapping):
        return cast(Mapping[str, Value], setting).get(task, default)
    return setting


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Assign it to `__pydantic_config__` of a dataclass that is the record of a file."""
LARGEST = 2**26
"""Largest size of a file of JSON in bytes; the files of the largest runs are far smaller."""

Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[int, Field(ge=0, le=10**9)]
"""The number of a trial or of a round, or of trials or rounds."""
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Measure = Annotated[float, Field(ge=-1e9, le=1e9)]
"""A score or a metric."""

Record = TypeVar("Record")


def parse_record(content: bytes, kind: type[Record]) -> Record:
    """Return the record that a JSON text holds.

    Args:
        kind: a pydantic model, a dataclass whose `__pydantic_config__` is STRICT, or another type.

    Raises:
        ValueError: the text is not JSON, or a field is missing, unknown or not allowed; the message is one phrase.
    """
    parse_json(content)  # stricter than pydantic: it refuses repeated names and numbers that are not finite
    try:
        return _adapter(kind).validate_json(content, strict=True)
    except pydantic.ValidationError as error:
        raise ValueError(_fault(error)) from None


def read_record(folder: Folder, name: str, kind: type[Record], remedy: str) -> Record:
    """Read the record that a JSON file holds.

    Args:
        kind: the type of the record; see `parse_record`.
        remedy: a sentence.

    Raises:
        InputError: the file is missing, or holds no such record; names the file and the field.
    """
    try:
        return parse_record(read_bounded(folder, name), kind)
    except FileNotFoundError:
        raise InputError(f"{folder}/{name} is missing. {remedy}") from None
    except ValueError as error:
        raise InputError(f"{folder}/{name} cannot be used: {first_line(error)}. {remedy}") from None


def read_bounded(folder: Folder, name: str) -> bytes:
    """Return the content of a file of JSON.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is absurdly large.
    """
    if (folder.size(name) or 0) > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB")
    return folder.read(name)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind) if _has_own_config(kind) else TypeAdapter(kind, config=STRICT)


def _has_own_config(kind: Any) -> bool:
    return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, BaseModel))


def _fault(error: pydantic.ValidationError) -> str:
    """Name the first field with a fault and the fault."""
    first = error.errors(include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"field {place[:80]!r}: {first['msg'][:200]}" if place else first["msg"][:200]
