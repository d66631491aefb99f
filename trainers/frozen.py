"""The base of every config: frozen, checked when made, and nothing in it that has no name."""

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo

from model.errors import unknown


class Config(BaseModel):
    """A frozen record; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values, checked as if it had been made anew.

        Raises:
            pydantic.ValidationError: a field is unknown or a value not allowed.
        """
        return type(self).model_validate({**dict(self), **changes})


def known(registry: Mapping[str, Any]) -> Callable[[type, str, ValidationInfo], str]:
    """Return the check of a field that names an entry of a registry."""

    def check(cls: type, name: str, info: ValidationInfo) -> str:
        if name not in registry:
            raise ValueError(str(unknown(str(info.field_name).replace("_", " "), name, registry)))
        return name

    return check
