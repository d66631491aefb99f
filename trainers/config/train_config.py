"""All that a run depends on, but the data: frozen, checked, and JSON in and out without loss."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from model.errors import InputError, unknown
from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.changes import MAY_CHANGE, Change, apply, may_change
from trainers.devices import Precision
from trainers.methods.averaging import AveragingConfig
from trainers.methods.batch_schedules import BATCH_SCHEDULES, proportional_sizes
from trainers.methods.bregman import BregmanConfig
from trainers.methods.mlm import MlmConfig
from trainers.methods.objectives import OBJECTIVES
from trainers.methods.regularisers import REGULARISERS
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import SmartConfig
from trainers.methods.surgery import SURGERIES
from trainers.settings import Config, NumberPerTask, PerTask, Weight, name_check, value_for_task
from trainers.tasks import Pairs

DURATIONS = ("passes", "epochs", "steps", "examples")
WEIGHTED_ELSEWHERE = {"smart": "smart.lambda_s", "bregman": "bregman.mu"}
"""Regularisers with settings of their own -> the field of their weight."""
Share = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """AdamW, and the shape of the learning rate over a stage."""

    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = Field(default=0.01, description="On matrices; biases and norms have none.")
    clip_norm: PositiveFloat | None = Field(default=1.0, description="Bound on the gradient's norm; null for none.")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="Share of a stage's steps with a rising rate.")
    decay: bool = Field(default=True, description="Whether the rate falls to 0 after its rise.")
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="Of the rate, from each layer to the one below.")


class Stage(Config):
    """One phase of training. It lasts exactly one of `passes`, `epochs`, `steps` and `examples`."""

    objective: str = "supervised"
    tasks: tuple[str, ...] = Field(default=("sst", "qqp", "sts"), description="In further pretraining, whose texts.")
    texts: tuple[str, ...] = Field(default=(), description="Text sets of the data, for further pretraining.")
    batch_schedule: str = "smart_round_robin"
    batch_size: NumberPerTask[PositiveInt] = Field(default=16, description="Rows a step, of each task.")
    accumulate: PositiveInt = Field(default=1, description="Forward passes that a step's rows are split into.")
    update: Literal["together", "separate"] = Field(
        default="together", description="Tasks that meet share an optimiser step, or take one each, in turn."
    )
    surgery: str = "sum"
    learning_rate: PositiveFloat = 5e-5
    trainable_layers: NonNegativeInt | None = Field(
        default=None, description="Encoder layers that train, from the top; 0 freezes it; null trains embeddings too."
    )
    mlm: MlmConfig = MlmConfig()
    simcse: SimcseConfig = SimcseConfig()
    passes: PositiveFloat | None = Field(default=None, description="Examples, in multiples of the tasks' rows.")
    epochs: PositiveFloat | None = Field(default=None, description="Epochs, as the batch schedule defines them.")
    steps: PositiveInt | None = Field(default=None, description="Optimiser steps.")
    examples: PositiveInt | None = Field(default=None, description="Training examples.")
    rounds: PositiveInt = Field(default=1, description="Equal report intervals that the stage is cut into.")

    _objective = field_validator("objective")(name_check(OBJECTIVES))
    _batch_schedule = field_validator("batch_schedule")(name_check(BATCH_SCHEDULES))
    _surgery = field_validator("surgery")(name_check(SURGERIES))

    @property
    def sources(self) -> tuple[str, ...]:
        """The tasks and text sets whose rows the stage trains on."""
        return self.tasks + self.texts

    @property
    def supervised(self) -> bool:
        """Whether the stage trains its tasks, not only on their texts."""
        return self.objective == "supervised"

    def _faults(self) -> Iterator[str]:
        """Yield what is contradictory, or would have no effect."""
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            yield f"a stage lasts exactly one of {', '.join(DURATIONS)}; given: {', '.join(given) or 'none'}"
        if not self.sources:
            yield "a stage needs a task or a text set"
        for name in self.sources:
            if self.sources.count(name) > 1:
                yield f"{name!r} is named twice"
        if isinstance(self.batch_size, dict) and set(self.batch_size) != set(self.sources):
            yield f"batch_size is for {sorted(self.batch_size)}, the stage trains {sorted(self.sources)}"
        if self.supervised and self.texts:
            yield f"a supervised stage trains tasks; text sets, here {', '.join(self.texts)}, have no labels"
        if self.objective != "mlm" and self.mlm != MlmConfig():
            yield f"mlm's settings have no effect in a stage with objective {self.objective!r}"
        if self.objective != "simcse" and self.simcse != SimcseConfig():
            yield f"simcse's settings have no effect in a stage with objective {self.objective!r}"
        if self.objective == "simcse" and self.accumulate > 1:
            yield "simcse contrasts the rows of one forward pass: accumulate would make fewer negatives; use 1"
        if self.objective == "simcse" and self.trainable_layers == 0:
            yield "simcse trains the encoder alone, and trainable_layers 0 freezes it; let a layer train"
        if self.simcse.supervised and self.tasks:
            yield "supervised simcse takes its positives from text sets of two or three columns; set tasks to []"
        if len(self.sources) == 1 and self.update == "separate":
            yield "update 'separate' has no effect in a stage of one task; use 'together'"
        yield from self._surgery_faults()

    def _surgery_faults(self) -> Iterator[str]:
        if self.surgery == "sum":
            return
        if len(self.tasks) < 2:
            yield f"surgery {self.surgery!r} has nothing to compare in a stage of one task; use 'sum'"
        if not self.supervised:
            yield f"surgery {self.surgery!r} compares tasks, and objective {self.objective!r} trains none; use 'sum'"
        if self.update == "separate":
            yield f"surgery {self.surgery!r} has nothing to compare where each task takes its own step; use 'together'"

    def batch_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the rows a step of every source of the stage, in its order.

        One number is for each source; but where they are interleaved, it is for the largest one, and the others' are in
        proportion to `sizes`.
        """
        if isinstance(self.batch_size, dict):
            return {source: self.batch_size[source] for source in self.sources}
        if self.batch_schedule == "interleaved":
            return proportional_sizes({source: sizes[source] for source in self.sources}, self.batch_size)
        return dict.fromkeys(self.sources, self.batch_size)


class TrainConfig(Config):
    """Equal configs on equal corpora give equal bits."""

    encoder: str = Field(default="minilm", description="The pretrained checkpoint: minilm[:LAYERS], a hub id, a path.")
    precision: Precision = Field(default="float32", description="Of matrix products in the encoder's layers.")
    pairs: Pairs = "concatenated"
    pooling: Literal["pooled", "first", "mean"] = Field(
        default="pooled", description="A sequence's features: the pooler's, its first token's, or its tokens' mean."
    )
    head: PerTask[HeadConfig] = HeadConfig()
    shared_layers: tuple[SharedLayer, ...] = ()
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the encoder's hidden states.")
    attention_dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the attention weights.")
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="Of the features that enter a head's layers.")
    smart: PerTask[SmartConfig] = SmartConfig()
    bregman: BregmanConfig = BregmanConfig()
    regularisers: dict[str, Weight] = Field(default={}, description="Weights of those without settings of their own.")
    class_weights: dict[str, tuple[PositiveFloat, ...]] = Field(
        default={}, description="Task -> what the loss of a row of each class is multiplied by."
    )
    averaging: AveragingConfig = AveragingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    stages: tuple[Stage, ...] = Field(min_length=1)
    also_scored: tuple[str, ...] = Field(default=(), description="Tasks that are scored though no stage trains them.")
    seed: NonNegativeInt = 0
    changes: tuple[Change, ...] = Field(default=(), description="Other values from some round on, in order.")

    def at(self, round: int) -> "TrainConfig":
        """Return the config that a round is trained with, without changes.

        Args:
            round: of the whole run, counted from 1.
        """
        if not self.changes:
            return self
        data = self.model_dump(mode="json", exclude={"changes"})
        apply((change for change in self.changes if change.round <= round), data)
        return TrainConfig.model_validate(data)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are scored: those that are trained, then further ones."""
        return tuple(dict.fromkeys([*self.trained, *self.also_scored]))

    @property
    def trained(self) -> tuple[str, ...]:
        """The tasks that a supervised stage trains, in order of first use."""
        return tuple(dict.fromkeys(task for stage in self.stages if stage.supervised for task in stage.tasks))

    @property
    def texts(self) -> frozenset[str]:
        """The text sets that any stage trains on."""
        return frozenset(name for stage in self.stages for name in stage.texts)

    def _faults(self) -> Iterator[str]:
        """Yield what is contradictory, or would have no effect."""
        if not any(stage.supervised for stage in self.stages):
            yield "no stage is supervised, so nothing would be scored; add one"
        yield from self._task_faults()
        yield from self._regulariser_faults()
        yield from self._change_faults()
        for stage in self.stages:
            alike = stage.objective == "simcse" and not stage.simcse.supervised
            if alike and not self.dropout + self.attention_dropout:
                yield "unsupervised simcse tells a sentence's two readings apart by dropout, which is 0"

    def _task_faults(self) -> Iterator[str]:
        """Yield what is set for a task that has no use for it."""
        sharing = [task for layer in self.shared_layers for task in layer.tasks]
        shapes = {"head": self.head, "shared_layers": dict.fromkeys(sharing)}
        settings = shapes | {
            "smart": self.smart,
            "bregman.mu": self.bregman.mu,
            "class_weights": self.class_weights,
            **{f"regularisers.{name}": weight for name, weight in self.regularisers.items()},
        }
        for field, setting in settings.items():
            tasks = self.tasks if field in shapes else self.trained
            for task in setting if isinstance(setting, dict) else ():
                if task not in tasks:
                    yield f"{field} names {task!r}, which no stage trains; the tasks are {', '.join(tasks)}"
        for task in sorted({task for task in sharing if sharing.count(task) > 1}):
            yield f"shared_layers names {task!r} twice; a task shares one layer, once"

    def _regulariser_faults(self) -> Iterator[str]:
        """Yield regularisers that are unknown, without effect, or weighted in the wrong place."""
        for task, smart in self.smart.items() if isinstance(self.smart, dict) else ():
            if not smart.lambda_s:
                yield f"smart.{task} has no effect with lambda_s 0; give it a weight, or leave {task} out"
        for name in self.regularisers:
            if name in WEIGHTED_ELSEWHERE:
                yield f"the weight of {name!r} is {WEIGHTED_ELSEWHERE[name]}"
            if name not in REGULARISERS:
                yield str(unknown("regulariser", name, REGULARISERS.keys() - WEIGHTED_ELSEWHERE.keys()))

    def _change_faults(self) -> Iterator[str]:
        """Yield changes that are out of order, that may not be, or that lead to a config which may not be."""
        rounds, last = [change.round for change in self.changes], sum(stage.rounds for stage in self.stages)
        if rounds != sorted(set(rounds)):
            yield f"the rounds of changes must rise; they are {', '.join(map(str, rounds))}"
        allowed = ", ".join(MAY_CHANGE)
        for change in self.changes:
            if change.round > last:
                yield f"changes name round {change.round}, and the run has {last}"
            try:
                apply([change], self.model_dump(mode="json"))
            except InputError as error:
                yield str(error)
            for path in change.values:
                if not may_change(path):
                    yield f"{path} stays the same through a run; round {change.round} may change {allowed}"
            if self.at(change.round).bregman.active != self.bregman.active:
                yield f"round {change.round} turns bregman on or off; its teacher lasts a whole run, or is not there"

    def head_of(self, task: str) -> HeadConfig:
        """Return the head of a task."""
        return value_for_task(self.head, task, HeadConfig())

    def smart_of(self, task: str) -> SmartConfig:
        """Return how SMART regularises a task; lambda_s is 0 where it does not."""
        return value_for_task(self.smart, task, SmartConfig())
