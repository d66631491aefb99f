"""Settings of the model above the encoder: heads, and layers that tasks share."""

from collections.abc import Iterator

from pydantic import Field, PositiveFloat, field_validator

from model.heads import ACTIVATIONS, OUTPUTS, PAIR_FEATURES
from trainers.settings import Config, name_check


class HeadConfig(Config):
    """Settings of a task's head: its features, hidden layers and output."""

    features: str = Field(
        default="u_v_difference", description="Features of a separately encoded pair: " + ", ".join(PAIR_FEATURES) + "."
    )
    cosine: bool = Field(
        default=False, description="Append the cosine of the two sentences to the features of a concatenated pair."
    )
    hidden: tuple[PositiveFloat, ...] = Field(
        default=(), description="Widths of the hidden layers, in multiples of the encoder's width."
    )
    activation: str = Field(default="relu", description="Activation after each hidden layer.")
    output: str = Field(
        default="linear", description="How the value of a regression is computed: " + ", ".join(OUTPUTS) + "."
    )

    _features = field_validator("features")(name_check(PAIR_FEATURES))
    _activation = field_validator("activation")(name_check(ACTIVATIONS))
    _output = field_validator("output")(name_check(OUTPUTS))

    def _faults(self) -> Iterator[str]:
        if self.output == "cosine" and (self.hidden or self.cosine):
            yield (
                "output 'cosine' uses the cosine alone, without hidden layers or further features. "
                "Leave hidden and cosine out, or choose another output"
            )


class SharedLayer(Config):
    """One layer, as wide as the encoder, below the heads of several tasks."""

    tasks: tuple[str, ...] = Field(min_length=2, description="Tasks that share the layer; two or more.")
    activation: str = Field(default="relu", description="Activation after the layer.")

    _activation = field_validator("activation")(name_check(ACTIVATIONS))
