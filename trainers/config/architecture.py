"""What a model is made of: how pairs are encoded, heads, layers that tasks share."""

from collections.abc import Iterator

from pydantic import Field, PositiveFloat, field_validator

from model.heads import ACTIVATIONS, OUTPUTS, PAIR_FEATURES
from trainers.settings import Config, name_check


class HeadConfig(Config):
    """What turns a row into a task's outputs: features, hidden layers, a linear map, and what its result means."""

    features: str = Field(default="u_v_difference", description="Features of a pair that is encoded apart.")
    cosine: bool = Field(default=False, description="Append the cosine of a concatenated pair's sides, encoded apart.")
    hidden: tuple[PositiveFloat, ...] = Field(default=(), description="Hidden widths, in multiples of the encoder's.")
    activation: str = Field(default="relu", description="After each hidden layer.")
    output: str = Field(default="linear", description="How the last number becomes a value.")

    _features = field_validator("features")(name_check(PAIR_FEATURES))
    _activation = field_validator("activation")(name_check(ACTIVATIONS))
    _output = field_validator("output")(name_check(OUTPUTS))

    def _faults(self) -> Iterator[str]:
        if self.output == "cosine" and (self.hidden or self.cosine):
            yield "output 'cosine' is the cosine itself: it has neither hidden layers nor features beside it"


class SharedLayer(Config):
    """One layer, as wide as the encoder, below the heads of several tasks."""

    tasks: tuple[str, ...] = Field(min_length=2)
    activation: str = "relu"

    _activation = field_validator("activation")(name_check(ACTIVATIONS))
