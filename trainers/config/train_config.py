"""The config of a run: everything the run depends on except the data. A config converts to JSON without loss."""

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from model.errors import InputError, unknown
from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.changes import MAY_CHANGE, Change, apply, may_change
from trainers.config.optimizer_config import OptimizerConfig
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
"""Fields of a stage that set its duration. Exactly one of them has a value."""
WEIGHTED_ELSEWHERE = {"smart": "smart.lambda_s", "bregman": "bregman.mu"}
"""Regularisers with settings of their own -> the field that holds their weight."""


class Stage(Config):
    """One phase of training. Its duration is exactly one of `passes`, `epochs`, `steps` and `examples`."""

    objective: str = Field(default="supervised", description="What is trained: " + ", ".join(OBJECTIVES) + ".")
    tasks: tuple[str, ...] = Field(
        default=("sst", "qqp", "sts"),
        description="Tasks that the stage trains; in further pretraining, tasks whose texts it trains on.",
    )
    texts: tuple[str, ...] = Field(default=(), description="Text sets of the data, for further pretraining.")
    batch_schedule: str = Field(
        default="smart_round_robin", description="Which tasks have a batch in each step: " + ", ".join(BATCH_SCHEDULES)
    )
    batch_size: NumberPerTask[PositiveInt] = Field(default=16, description="Rows of each task in a step.")
    accumulate: PositiveInt = Field(
        default=1, description="Number of forward passes that a step's rows are split into."
    )
    update: Literal["together", "separate"] = Field(
        default="together",
        description="One optimiser step for all tasks with a batch (together), or one for each task (separate).",
    )
    surgery: str = Field(
        default="sum", description="How the tasks' gradients are combined: " + ", ".join(SURGERIES) + "."
    )
    learning_rate: PositiveFloat = Field(default=5e-5, description="Highest learning rate of the stage.")
    trainable_layers: NonNegativeInt | None = Field(
        default=None,
        description="Number of encoder layers that are trained, from the top: 0 freezes the encoder; null trains all "
        "layers and the embeddings.",
    )
    mlm: MlmConfig = MlmConfig()
    simcse: SimcseConfig = SimcseConfig()
    passes: PositiveFloat | None = Field(
        default=None, description="Duration in passes: examples in multiples of all rows of the stage's tasks."
    )
    epochs: PositiveFloat | None = Field(
        default=None, description="Duration in epochs, as the batch schedule defines them."
    )
    steps: PositiveInt | None = Field(default=None, description="Duration in optimiser steps.")
    examples: PositiveInt | None = Field(default=None, description="Duration in training examples.")
    rounds: PositiveInt = Field(default=1, description="Number of rounds, of equally many examples each.")
    """A kill loses at most one round. A stage before some task is first trained has at most one round per step."""

    _objective = field_validator("objective")(name_check(OBJECTIVES))
    _batch_schedule = field_validator("batch_schedule")(name_check(BATCH_SCHEDULES))
    _surgery = field_validator("surgery")(name_check(SURGERIES))

    @property
    def sources(self) -> tuple[str, ...]:
        """The tasks and text sets whose rows the stage trains on."""
        return self.tasks + self.texts

    @property
    def supervised(self) -> bool:
        """Whether the stage trains on labels, not only on texts."""
        return self.objective == "supervised"

    def lasting(self, **duration: float) -> "Stage":
        """Return the stage with another duration, one of DURATIONS, in place of its own."""
        return self.replace(**dict.fromkeys(DURATIONS) | duration)

    def _faults(self) -> Iterator[str]:
        """Yield each contradiction, and each setting without an effect."""
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            yield f"a stage needs exactly one of {', '.join(DURATIONS)}; given: {', '.join(given) or 'none'}. Set one"
        if not self.sources:
            yield "the stage has neither a task nor a text set. Name at least one in tasks or texts"
        for name in self.sources:
            if self.sources.count(name) > 1:
                yield f"tasks and texts name {name!r} more than once. Name it once"
        if isinstance(self.batch_size, dict) and set(self.batch_size) != set(self.sources):
            found, needed = (", ".join(sorted(names)) or "nothing" for names in (self.batch_size, self.sources))
            yield f"batch_size names {found}, but the stage trains {needed}. Give a batch size for each of these"
        if self.supervised and self.texts:
            yield f"texts names {', '.join(self.texts)}, but a supervised stage needs labels. Set texts to []"
        if self.objective != "mlm" and self.mlm != MlmConfig():
            yield f"the settings in mlm have no effect with objective {self.objective!r}. Leave them out"
        if self.objective != "simcse" and self.simcse != SimcseConfig():
            yield f"the settings in simcse have no effect with objective {self.objective!r}. Leave them out"
        if self.objective == "simcse" and self.accumulate > 1:
            yield (
                f"accumulate {self.accumulate} leaves objective 'simcse' fewer negatives, the rows of one forward "
                "pass. Set accumulate to 1"
            )
        if self.objective == "simcse" and self.trainable_layers == 0:
            yield (
                "trainable_layers 0 freezes the encoder, but objective 'simcse' trains nothing else. "
                "Set trainable_layers to 1 or more"
            )
        if self.simcse.supervised and self.tasks:
            yield (
                f"simcse.supervised needs text sets of two or three columns, and tasks names {', '.join(self.tasks)}. "
                "Set tasks to []"
            )
        if len(self.sources) == 1 and self.update == "separate":
            yield f"update 'separate' has no effect on {self.sources[0]} alone. Use 'together'"
        yield from self._surgery_faults()

    def _surgery_faults(self) -> Iterator[str]:
        """Yield why the stage has no gradients of several tasks that its surgery could compare."""
        if self.surgery == "sum":
            return
        if len(self.tasks) < 2:
            yield (
                f"surgery {self.surgery!r} compares the gradients of several tasks, and tasks names {len(self.tasks)}. "
                "Use 'sum'"
            )
        if not self.supervised:
            yield f"surgery {self.surgery!r} needs supervised tasks, and the objective is {self.objective!r}. Use 'sum'"
        if self.update == "separate":
            yield (
                f"surgery {self.surgery!r} compares tasks in one optimiser step, and update 'separate' gives each its "
                "own step. Use update 'together'"
            )

    def batch_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the rows per step of each source (task or text set), in the stage's order.

        A single `batch_size` holds for every source. With batch schedule "interleaved" it holds for the largest source,
        and the other batch sizes are proportional to `sizes`.
        """
        if isinstance(self.batch_size, dict):
            return {source: self.batch_size[source] for source in self.sources}
        if self.batch_schedule == "interleaved":
            return proportional_sizes({source: sizes[source] for source in self.sources}, self.batch_size)
        return dict.fromkeys(self.sources, self.batch_size)


class TrainConfig(Config):
    """The config of a run. Equal configs on equal corpora give the same bits."""

    encoder: str = Field(default="minilm", description="Pretrained checkpoint: minilm[:LAYERS], a hub id or a path.")
    precision: Precision = Field(default="float32", description="Precision of the encoder's matrix products.")
    pairs: Pairs = Field(
        default="concatenated",
        description="Encode the sentences of a pair in one sequence (concatenated) or in two (separate).",
    )
    pooling: Literal["pooled", "first", "mean"] = Field(
        default="pooled", description="Features of a sequence: output of the pooler, first token, or mean over tokens."
    )
    head: PerTask[HeadConfig] = HeadConfig()
    shared_layers: tuple[SharedLayer, ...] = ()
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout of the encoder's hidden states.")
    attention_dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout of the attention weights.")
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout before each layer of a head.")
    smart: PerTask[SmartConfig] = SmartConfig()
    bregman: BregmanConfig = BregmanConfig()
    regularisers: dict[str, Weight] = Field(default={}, description="Weights of further regularisers, by name.")
    class_weights: dict[str, tuple[PositiveFloat, ...]] = Field(
        default={}, description="Factors of the loss of a row, by task and then by the class of its label."
    )
    averaging: AveragingConfig = AveragingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    stages: tuple[Stage, ...] = Field(min_length=1)
    also_scored: tuple[str, ...] = Field(default=(), description="Tasks to score although no stage trains them.")
    seed: NonNegativeInt = Field(default=0, description="Seed of all random draws.")
    changes: tuple[Change, ...] = Field(default=(), description="New values from given rounds on, in order.")

    def at(self, round: int) -> "TrainConfig":
        """Return the config that a round is trained with, with the changes applied.

        Args:
            round: number of the round, counted from 1 over the whole run.
        """
        if not self.changes:
            return self
        data = self.model_dump(mode="json", exclude={"changes"})
        apply((change for change in self.changes if change.round <= round), data)
        return TrainConfig.model_validate(data)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks to score: the trained tasks, then `also_scored`."""
        return tuple(dict.fromkeys([*self.trained, *self.also_scored]))

    @property
    def trained(self) -> tuple[str, ...]:
        """The tasks that supervised stages train, in the order of their first use."""
        return tuple(dict.fromkeys(task for stage in self.stages if stage.supervised for task in stage.tasks))

    @property
    def texts(self) -> frozenset[str]:
        """The text sets that stages train on."""
        return frozenset(name for stage in self.stages for name in stage.texts)

    def _faults(self) -> Iterator[str]:
        """Yield each contradiction, and each setting without an effect."""
        if not any(stage.supervised for stage in self.stages):
            yield "no stage has objective 'supervised', so no task would be scored. Add a supervised stage"
        yield from self._task_faults()
        yield from self._regulariser_faults()
        yield from self._change_faults()
        for stage in self.stages:
            by_dropout = stage.objective == "simcse" and not stage.simcse.supervised
            if by_dropout and not self.dropout + self.attention_dropout:
                yield (
                    "unsupervised simcse compares two passes with different dropout masks, but dropout and "
                    "attention_dropout are 0. Set one of them above 0"
                )

    def _task_faults(self) -> Iterator[str]:
        """Yield settings for tasks that the config does not use."""
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
                    yield f"{field} names task {task!r}, which no stage trains. The tasks are: {', '.join(tasks)}"
        for task in sorted({task for task in sharing if sharing.count(task) > 1}):
            yield f"shared_layers names task {task!r} more than once. Name it in one layer, once"

    def _regulariser_faults(self) -> Iterator[str]:
        """Yield regularisers that are unknown, have no effect or have their weight in another field."""
        for task, smart in self.smart.items() if isinstance(self.smart, dict) else ():
            if not smart.lambda_s:
                yield f"smart.{task} has no effect with lambda_s 0. Set smart.{task}.lambda_s, or leave {task} out"
        for name in self.regularisers:
            if name in WEIGHTED_ELSEWHERE:
                yield f"regularisers names {name!r}, whose weight is another field. Set {WEIGHTED_ELSEWHERE[name]}"
            if name not in REGULARISERS:
                yield str(unknown("regulariser", name, REGULARISERS.keys() - WEIGHTED_ELSEWHERE.keys()))

    def _change_faults(self) -> Iterator[str]:
        """Yield changes that are out of order, not allowed, or lead to an invalid config."""
        rounds, last = [change.round for change in self.changes], sum(stage.rounds for stage in self.stages)
        if rounds != sorted(set(rounds)):
            yield f"changes has the rounds {', '.join(map(str, rounds))}. Name each round once, in ascending order"
        allowed = ", ".join(MAY_CHANGE)
        for change in self.changes:
            if change.round > last:
                yield f"changes names round {change.round}, but the run has {last} rounds. Name an earlier round"
            try:
                apply([change], self.model_dump(mode="json"))
            except InputError as error:
                yield str(error)
            for path in change.values:
                if not may_change(path):
                    yield f"{path} cannot change during a run; round {change.round} changes it. Change only {allowed}"
            if self.at(change.round).bregman.active != self.bregman.active:
                yield (
                    f"round {change.round} turns bregman on or off, but its teacher exists for a whole run. "
                    "Keep bregman.mu at 0, or above 0 for a task, in all rounds"
                )

    def head_of(self, task: str) -> HeadConfig:
        """Return the head of a task."""
        return value_for_task(self.head, task, HeadConfig())

    def smart_of(self, task: str) -> SmartConfig:
        """Return the SMART settings of a task; lambda_s is 0 if the task has none."""
        return value_for_task(self.smart, task, SmartConfig())
