"""A step's rows -> every parameter's gradient: forward and backward passes, and surgery where tasks share."""

from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from model.multitask import Multitask
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import inputs, labels
from trainers.data.corpus import Corpus
from trainers.methods.gradient_ratios import gradient_ratios, probed_parameters
from trainers.methods.objectives import OBJECTIVES, Batch, Loss, Setup
from trainers.methods.surgery import SURGERIES, gramian, weighted_sum
from trainers.seeds import generator
from trainers.training.forward_groups import Part, Rows, split
from trainers.training.table_gradients import Tables
from trainers.training.task_gradients import Apart, Watch, separable


@dataclass
class Passes:
    """The passes of one step through a model in training mode."""

    config: TrainConfig
    stage: Stage
    step: int
    """The step's number in the run."""
    corpus: Corpus
    encodings: dict[str, str]
    """How each task's rows are read."""
    model: Multitask
    teacher: Multitask | None
    tables: Tables
    targets: dict[str, float]
    """What surgery remembers of pairs of tasks, from step to step."""
    tokens: int = 0
    """That have been trained on."""

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.encoder.word.weight.device

    def backward(self, rows: Rows, ratios: dict[str, float] | None = None) -> dict[str, Tensor]:
        """Fill in every parameter's gradient; count `tokens`, and update `targets`.

        Args:
            ratios: filled in with "task.regulariser" -> how hard it pulls, if given.

        Returns:
            "source.term" -> [], its mean over the rows.
        """
        self.model.encoder.word.sparse = self.device.type == "cpu"  # its gradient, where zeros cost time
        if self.stage.surgery != "sum" and len(rows) > 1:
            return self._operate(rows, ratios)
        measured = self.accumulate(rows, ratios)
        self.tables.spread_sparse(self.model.encoder.word.weight)
        return measured

    def _operate(self, rows: Rows, ratios: dict[str, float] | None) -> dict[str, Tensor]:
        """Do the same by gradient surgery on what tasks share."""
        shared = [parameter for parameter in self.model.shared_parameters() if parameter.requires_grad]
        apart = Apart(shared, self.tables)
        if separable(self.model):
            measured = self.accumulate(rows, ratios, apart)
        else:  # a graph for each task: one shared graph would be walked whole for every task
            measured = {}
            for task in rows:
                measured |= self.accumulate({task: rows[task]}, ratios)
                apart.take(task)
        gradients = apart.gradients(list(rows))
        weights = self._weights(list(rows), gramian(gradients))
        for parameter, gradient in zip(shared, weighted_sum(gradients, weights), strict=True):
            parameter.grad = apart.spread(parameter, gradient)
        return measured

    def _weights(self, tasks: list[str], products: Tensor) -> Tensor:
        """Weigh tasks by the Gramian of their gradients, [tasks, tasks] -> [tasks]; remember their pairs."""
        known = [[self.targets.get(f"{row} {column}", 0.0) for column in tasks] for row in tasks]
        draw = generator(self.config.seed, self.step, "surgery")
        weights, memory = SURGERIES[self.stage.surgery](products, torch.tensor(known, dtype=torch.float64), draw)
        self.targets.update(
            {f"{row} {column}": float(memory[i, j]) for i, row in enumerate(tasks) for j, column in enumerate(tasks)}
        )
        return weights

    def accumulate(
        self, rows: Rows, ratios: dict[str, float] | None = None, apart: Apart | None = None
    ) -> dict[str, Tensor]:
        """Add the gradients of rows up, part by part, those of shared parameters apart if asked.

        Returns:
            As `backward`.
        """
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        shares: dict[str, float] = defaultdict(float)
        for place, part in enumerate(split(rows, self.config, self.stage, self.step)):
            batch = self.batch(part)
            self.tokens += len(batch.inputs.tokens)
            with Watch(apart, batch.inputs) if apart else nullcontext():
                losses = self.losses(part, place, batch)
            if ratios is not None:
                # What is watched has no gradients to look at: another pass, with the same draws.
                looked_at = self.losses(part, place, batch) if apart else losses
                ratios |= gradient_ratios(looked_at, probed_parameters(self.model))
            torch.stack([part.shares[source] * loss.total for source, loss in losses.items()]).sum().backward()
            for source, loss in losses.items():
                for name, term in loss.terms.items():
                    sums[f"{source}.{name}"] += part.shares[source] * term.detach()
                    shares[f"{source}.{name}"] += part.shares[source]
        return {name: value / shares[name] for name, value in sums.items()}

    def batch(self, part: Part) -> Batch:
        """Lay a part's rows out."""
        encoded = self.encodings if self.stage.supervised else dict.fromkeys(part.rows, self._reading())
        limit = self.model.encoder.positions
        tasks = {name: self.corpus.tasks[name] for name in part.rows} if self.stage.supervised else {}
        of_tasks = labels(self.corpus, "train", part.rows if tasks else {})
        return Batch(
            inputs(self.corpus, "train", part.rows, encoded, limit).to(self.device),
            tasks,
            {task: values.to(self.device) for task, values in of_tasks.items()},
            {source: len(self.corpus.sides(source)) for source in part.rows},
        )

    def losses(self, part: Part, place: int, batch: Batch) -> dict[str, Loss]:
        """Pass a part's rows through the model; the draws follow from its place in the step."""
        setup = Setup(
            seed=self.config.seed,
            place=(self.step, *part.rows, place),
            smart=part.smart,
            weights=part.weights,
            class_weights=self.config.class_weights,
            teacher=self.teacher,
            mlm=self.stage.mlm,
            simcse=self.stage.simcse,
            special_tokens=self.corpus.special_tokens,
        )
        return OBJECTIVES[self.stage.objective](self.model, batch, setup)

    def _reading(self) -> str:
        """Return how a stage of further pretraining reads rows of several sides."""
        return self.stage.mlm.pairs if self.stage.objective == "mlm" else "separate"
