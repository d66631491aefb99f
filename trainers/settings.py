"""The base of every config: frozen, checked when made, and nothing in it that has no name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Discriminator, NonNegativeFloat, Tag, ValidationInfo, model_validator

from model.errors import unknown

FOR_ALL, BY_TASK = "for all tasks", "by task"
"""The two forms of a setting."""

Value = TypeVar("Value")


class Config(BaseModel):
    """A frozen record; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterable[str]:
        """Yield what is contradictory, or would have no effect."""
        return ()

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values, checked as if it had been made anew.

        Raises:
            pydantic.ValidationError: a field is unknown or a value not allowed.
        """
        return type(self).model_validate({**dict(self), **changes})


def name_check(registry: Mapping[str, Any]) -> Callable[[type, str, ValidationInfo], str]:
    """Return the check of a field that names an entry of a registry."""

    def check(cls: type, name: str, info: ValidationInfo) -> str:
        if name not in registry:
            raise ValueError(str(unknown(str(info.field_name).replace("_", " "), name, registry)))
        return name

    return check


def _form(value: Any) -> str:
    """Tell one config for all tasks from configs by task: no field of such a config holds a config."""
    nested = isinstance(value, Mapping) and any(isinstance(inner, Mapping | Config) for inner in value.values())
    return BY_TASK if nested else FOR_ALL


def _number_form(value: Any) -> str:
    """Tell one number for all tasks from numbers by task."""
    return BY_TASK if isinstance(value, Mapping) else FOR_ALL


PerTask = Annotated[Annotated[Value, Tag(FOR_ALL)] | Annotated[dict[str, Value], Tag(BY_TASK)], Discriminator(_form)]
"""A config for all tasks, or a dict of configs by task, which leaves the others at the default."""

NumberPerTask = Annotated[
    Annotated[Value, Tag(FOR_ALL)] | Annotated[dict[str, Value], Tag(BY_TASK)], Discriminator(_number_form)
]
"""A number for all tasks, or numbers by task."""

Weight = NumberPerTask[NonNegativeFloat]
"""A weight for all tasks, or by task, where others have 0."""


def value_for_task(setting: Value | Mapping[str, Value], task: str, default: Value) -> Value:
    """Return what a setting, for all tasks or by task, is for one."""
    if isinstance(setting, Mapping):
        return cast(Mapping[str, Value], setting).get(task, default)
    return setting
