"""All that a run depends on, but the data: frozen, checked, and JSON in and out without loss."""

import json
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from model.errors import InputError, unknown
from model.heads import HEADS, PAIR_FEATURES
from trainers.batch_schedules import BATCH_SCHEDULES
from trainers.frozen import Config, known
from trainers.objectives import OBJECTIVES
from trainers.smart import SmartConfig
from trainers.surgery import SURGERIES
from trainers.tasks import TASKS

DURATIONS = ("passes", "epochs", "steps", "examples")
Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """AdamW, and the shape of the learning rate over a stage."""

    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = Field(default=0.01, description="On matrices; biases and norms have none.")
    clip_norm: PositiveFloat | None = Field(default=1.0, description="Bound on the gradient's norm; null for none.")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of a stage's steps with a rising rate.")


class Stage(Config):
    """One phase of training. It lasts exactly one of `passes`, `epochs`, `steps` and `examples`."""

    objective: str = "supervised"
    tasks: tuple[str, ...] = Field(default=("sst", "qqp", "sts"), min_length=1)
    batch_schedule: str = "smart"
    batch_size: PositiveInt | dict[str, PositiveInt] = Field(default=16, description="Rows a step, of each task.")
    surgery: str = "sum"
    learning_rate: PositiveFloat = 5e-5
    passes: PositiveFloat | None = Field(default=None, description="Examples, in multiples of the tasks' rows.")
    epochs: PositiveFloat | None = Field(default=None, description="Epochs, as the batch schedule defines them.")
    steps: PositiveInt | None = Field(default=None, description="Optimiser steps.")
    examples: PositiveInt | None = Field(default=None, description="Training examples.")
    rounds: PositiveInt = Field(default=1, description="Equal report intervals that the stage is cut into.")

    _objective = field_validator("objective")(known(OBJECTIVES))
    _batch_schedule = field_validator("batch_schedule")(known(BATCH_SCHEDULES))
    _surgery = field_validator("surgery")(known(SURGERIES))

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TASKS:
                raise ValueError(str(unknown("task", name, TASKS)))
            if names.count(name) > 1:
                raise ValueError(f"task {name!r} is named twice")
        return names

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a stage lasts exactly one of {', '.join(DURATIONS)}; given: {', '.join(given) or 'none'}"
            )
        if isinstance(self.batch_size, dict) and set(self.batch_size) != set(self.tasks):
            raise ValueError(f"batch_size is for {sorted(self.batch_size)}, the stage trains {sorted(self.tasks)}")
        if self.surgery != "sum" and len(self.tasks) == 1:
            raise ValueError(f"surgery {self.surgery!r} has nothing to compare in a stage of one task; use 'sum'")
        return self

    def batch_sizes(self) -> dict[str, int]:
        """Return the rows a step of every task of the stage, in its order."""
        sizes = self.batch_size
        return {task: sizes[task] if isinstance(sizes, dict) else sizes for task in self.tasks}


class TrainConfig(Config):
    """Equal configs on equal corpora give equal bits."""

    encoder: str = Field(default="minilm", description="The pretrained checkpoint: minilm[:LAYERS], a hub id, a path.")
    pairs: Literal["concatenated", "separate"] = "concatenated"
    pair_features: str = Field(default="u_v_difference", description="Features of separately encoded pairs.")
    head: str = "linear"
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the encoder's hidden states.")
    attention_dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the attention weights.")
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the features that enter a head.")
    smart: SmartConfig = SmartConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    stages: tuple[Stage, ...] = Field(min_length=1)
    seed: NonNegativeInt = 0

    _head = field_validator("head")(known(HEADS))
    _pair_features = field_validator("pair_features")(known(PAIR_FEATURES))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that any stage trains, in order of first use: those that are scored."""
        return tuple(dict.fromkeys(task for stage in self.stages for task in stage.tasks))


SECTIONS: dict[str, type[Config]] = {"stages": Stage, "smart": SmartConfig, "optimizer": OptimizerConfig}
"""Fields of `TrainConfig` that are configs themselves."""


def parse_config(data: Any) -> TrainConfig:
    """Build a config from plain data.

    Raises:
        InputError: a field is unknown or a value not allowed; says which, as the user would type it.
    """
    try:
        return TrainConfig.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(describe(error)) from None


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
        *parents, field = path.split(".")
        place: Any = data
        for name in parents:
            place = place[_key(place, name, assignment)]
        place[_key(place, field, assignment)] = _value(text)
    return parse_config(data)


def describe(error: pydantic.ValidationError) -> str:
    """Say what is wrong with a config in one sentence, naming the nearest field for an unknown one."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        named = {kind.__name__: kind for kind in SECTIONS.values()}
        owner = SECTIONS[path[0]] if len(path) > 1 else named.get(error.title, TrainConfig)
        return str(unknown("config field", path[-1], owner.model_fields))
    message = first["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"Config field {'.'.join(path) or error.title}: {message} (got {first['input']!r})."


def _key(place: Any, name: str, assignment: str) -> Any:
    """Return the key or index of a field in plain data."""
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        return int(name)
    if isinstance(place, dict) and name in place:
        return name
    names = place if isinstance(place, dict) else map(str, range(len(place))) if isinstance(place, list) else []
    raise unknown(f"config field in --set {assignment}:", name, names)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
