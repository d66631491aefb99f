"""Base class of all configs: immutable, validated on construction, unknown fields are errors.

The types `PerTask`, `NumberPerTask` and `Weight` describe fields with one value for all tasks or a value per task.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Discriminator, NonNegativeFloat, Tag, ValidationInfo, model_validator

from model.errors import unknown

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
