"""Compute the gradients of one optimiser step: forward and backward passes, and surgery on shared parameters."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.multitask import Inputs, Multitask
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import inputs, labels, token_places
from trainers.data.corpus import Corpus
from trainers.methods.forward import Batch, Forward, Part
from trainers.methods.gradient_ratios import gradient_ratios, probed_parameters
from trainers.methods.objectives import OBJECTIVES
from trainers.methods.surgery import SURGERIES, gramian, weighted_sum
from trainers.seeds import generator
from trainers.training.forward_groups import ForwardGroup, Rows, split_step
from trainers.training.table_gradients import TableGradients
from trainers.training.task_gradients import TaskGradientMode, TaskGradients, separable

SurgeryMemory = dict[str, float]
"""Ordered pair of tasks, "first second" -> the number that surgery keeps for the pair from step to step."""


@dataclass(frozen=True)
class StepResult:
    """The measurements of one optimiser step."""

    losses: dict[str, Tensor]
    """"source.term" -> mean [] over the source's rows that have the term."""
    ratios: dict[str, float]
    """"task.regulariser" -> gradient ratio; empty in a step that does not measure ratios."""
    tokens: int
    """Number of tokens of the step."""
    memory: SurgeryMemory
    """The memory of surgery after the step."""


@dataclass(frozen=True)
class StepGradients:
    """The computation of one step's gradients, for a model in training mode."""

    config: TrainConfig
    stage: Stage
    step: int
    """Number of the step in the run."""
    corpus: Corpus
    encodings: dict[str, str]
    """Task -> encoding of its rows."""
    model: Multitask
    teacher: Multitask | None
    tables: TableGradients
    memory: SurgeryMemory
    """The memory of surgery before the step."""

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.encoder.word.weight.device

    def backward(self, rows: Rows, *, measure_ratios: bool = False) -> StepResult:
        """Set the `.grad` of every parameter to the gradient of the step.

        Args:
            rows: all rows of the step.
            measure_ratios: whether to measure gradient ratios, too.
        """
        # The sparse gradient of the word table saves filling a dense one with zeros, which is slow on a CPU.
        self.model.encoder.word.sparse = self.device.type == "cpu"
        if self.stage.surgery != "sum" and len(rows) > 1:
            return self._backward_with_surgery(rows, measure_ratios)
        result = self.accumulate(rows, measure_ratios=measure_ratios)
        self.tables.replace_sparse(self.model.encoder.word.weight)
        return result

    def accumulate(
        self, rows: Rows, *, measure_ratios: bool = False, gradients: TaskGradients | None = None
    ) -> StepResult:
        """Add the gradients of rows to every parameter's `.grad`, one forward pass after the other.

        Args:
            gradients: if given, receives the gradients of the shared parameters, separately for each task.
        """
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        shares: dict[str, float] = defaultdict(float)
        ratios: dict[str, float] = {}
        tokens = 0
        objective, forwards = OBJECTIVES[self.stage.objective], self.forward_passes(rows)
        for forward, share in zip(forwards, _shares([objective.units(each) for each in forwards]), strict=True):
            tokens += len(forward.batch.inputs.tokens)
            with TaskGradientMode(gradients, forward.batch.inputs) if gradients else nullcontext():
                losses = objective.losses(forward)
            if measure_ratios:
                # Losses from a TaskGradientMode have no gradients of shared parameters: compute them again without it.
                measured = objective.losses(replace(forward)) if gradients else losses
                ratios |= gradient_ratios(measured, probed_parameters(self.model))
            torch.stack([share[source] * loss.total for source, loss in losses.items()]).sum().backward()
            for source, loss in losses.items():
                for name, term in loss.terms.items():
                    sums[f"{source}.{name}"] += share[source] * term.detach()
                    shares[f"{source}.{name}"] += share[source]
        return StepResult({name: value / shares[name] for name, value in sums.items()}, ratios, tokens, self.memory)

    def forward_passes(self, rows: Rows) -> list[Forward]:
        """Return the forward passes of a step: one for each micro-batch of each forward group."""
        groups = enumerate(split_step(rows, self.config, self.stage, self.step))
        return [self.forward(group, number, batch) for number, group in groups for batch in self.batches(group)]

    def batches(self, group: ForwardGroup) -> list[Batch]:
        """Return the micro-batches of a group's rows, on the device of the model."""
        whole, parts = self._inputs(group.rows), group.micro_batches(self.stage.accumulate)
        if len(parts) == 1:
            return [self._batch(group.rows, whole)]
        counts = {source: len(rows) for source, rows in group.rows.items()}
        batches: list[Batch] = []
        for number, chosen in enumerate(parts):
            rows = {source: group.rows[source][places] for source, places in chosen.items()}
            part = Part(number, whole, token_places(whole, counts, chosen))
            batches.append(self._batch(rows, self._inputs(rows), part))
        return batches

    def forward(self, group: ForwardGroup, number: int, batch: Batch) -> Forward:
        """Return the forward pass of a batch of a group.

        Args:
            number: number of the group in the step, which determines the random draws.
        """
        return Forward(
            self.model,
            batch,
            seed=self.config.seed,
            place=(self.step, *group.rows, number),
            smart=group.smart,
            weights=group.weights,
            class_weights=self.config.class_weights,
            teacher=self.teacher,
            mlm=self.stage.mlm,
            simcse=self.stage.simcse,
            special_tokens=self.corpus.special_tokens,
        )

    def _inputs(self, rows: Rows) -> Inputs:
        encodings = self.encodings if self.stage.supervised else dict.fromkeys(rows, self._text_encoding())
        return inputs(self.corpus, "train", rows, encodings, self.model.encoder.positions).to(self.device)

    def _batch(self, rows: Rows, inputs: Inputs, part: Part | None = None) -> Batch:
        by_task = labels(self.corpus, "train", rows if self.stage.supervised else {})
        return Batch(
            inputs,
            {task: self.corpus.tasks[task] for task in by_task},
            {task: values.to(self.device) for task, values in by_task.items()},
            {source: len(self.corpus.sides(source)) for source in rows},
            part,
        )

    def _text_encoding(self) -> str:
        """Return the encoding of rows in a stage of further pretraining."""
        return self.stage.mlm.pairs if self.stage.objective == "mlm" else "separate"

    def _backward_with_surgery(self, rows: Rows, measure_ratios: bool) -> StepResult:
        """Set every parameter's `.grad`, with surgery on the gradients of the shared parameters."""
        shared = [parameter for parameter in self.model.shared_parameters() if parameter.requires_grad]
        gradients = TaskGradients(shared, self.tables)
        if separable(self.model):
            result = self.accumulate(rows, measure_ratios=measure_ratios, gradients=gradients)
        else:
            result = self._accumulate_by_task(rows, measure_ratios, gradients)
        by_task = gradients.by_task(list(rows))
        weights, memory = self._surgery_weights(list(rows), gramian(by_task))
        for parameter, gradient in zip(shared, weighted_sum(by_task, weights), strict=True):
            parameter.grad = gradients.to_dense(parameter, gradient)
        return replace(result, memory=memory)

    def _accumulate_by_task(self, rows: Rows, measure_ratios: bool, gradients: TaskGradients) -> StepResult:
        """Accumulate with separate passes per task: in a common graph, each task's backward pass would visit all."""
        result = StepResult({}, {}, 0, self.memory)
        for task, numbers in rows.items():
            own = self.accumulate({task: numbers}, measure_ratios=measure_ratios)
            gradients.collect(task)
            result = StepResult(
                result.losses | own.losses, result.ratios | own.ratios, result.tokens + own.tokens, self.memory
            )
        return result

    def _surgery_weights(self, tasks: list[str], products: Tensor) -> tuple[Tensor, SurgeryMemory]:
        """Return the weights [tasks] that surgery computes from the Gramian [tasks, tasks], and the new memory."""
        known = [[self.memory.get(f"{row} {column}", 0.0) for column in tasks] for row in tasks]
        draw = generator(self.config.seed, self.step, "surgery")
        weights, memory = SURGERIES[self.stage.surgery](products, torch.tensor(known, dtype=torch.float64), draw)
        pairs = {
            f"{row} {column}": float(memory[i, j]) for i, row in enumerate(tasks) for j, column in enumerate(tasks)
        }
        return weights, self.memory | pairs


def _shares(units: Sequence[Mapping[str, int]]) -> list[dict[str, float]]:
    """Return each source's share of its units in the step, for each forward pass; 1 if the step has none of them."""
    totals: Counter[str] = Counter()
    for own in units:
        totals.update(own)
    return [
        {source: count / totals[source] if totals[source] else 1.0 for source, count in own.items()} for own in units
    ]
