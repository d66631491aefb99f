"""The training loop: train a model round by round, evaluate each round, save and resume."""

import copy
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.encoder import Pretrained
from model.errors import first_line
from model.multitask import Multitask
from trainers.config.encodings import encodings
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import next_rows
from trainers.data.corpus import Corpus
from trainers.evaluation.evaluate import constant_predictions, dev_rows, evaluate, measure
from trainers.evaluation.scores import score
from trainers.faults import machine_fault
from trainers.folder import Folder
from trainers.methods.averaging import average_share, follow
from trainers.methods.bregman import teacher_share
from trainers.training.build_model import build, rebuilt
from trainers.training.checkpoint import CheckpointError, read_state, read_weights, write_state, write_weights
from trainers.training.forward_groups import Rows, regularised_step
from trainers.training.optimizer import adamw, layer_scales, set_learning_rate, warmup_then_decay
from trainers.training.rounds import RoundResult
from trainers.training.step_gradients import StepGradients, StepResult, SurgeryMemory
from trainers.training.step_plan import Round, Step, plan, stream_name
from trainers.training.table_gradients import TableGradients

DEV_ROWS = 1200
"""Largest number of dev rows per task that a round is evaluated on."""


class Training:
    """An iterator over rounds: each `next` trains one round. Between two rounds, the state can be saved."""

    def __init__(
        self,
        config: TrainConfig,
        corpus: Corpus,
        pretrained: Pretrained,
        *,
        resume: Folder | None = None,
        device: str = "cpu",
        dev_limit: int = DEV_ROWS,
    ):
        self.run_config, self.config = config, config.at(1)
        """The config of the run, and the config of the current round: the same with its changes applied."""
        self.corpus, self.pretrained, self.device = corpus, pretrained, torch.device(device)
        self.plan, self.rounds = plan(config, corpus)
        self.dev_rows = {task: dev_rows(corpus, task, dev_limit) for task in config.tasks}
        self.encodings = encodings(config, corpus.tasks)
        self.model = build(self.config, corpus.tasks, pretrained).to(self.device)
        self.average = self._frozen_copy() if config.averaging.kind != "none" else self.model
        self.teacher: Multitask | None = None
        self.tables = TableGradients()
        self.surgery_memory: SurgeryMemory = {}
        self.step = self.tokens = 0
        self.rows_taken: Counter[str] = Counter()
        """Stream -> number of rows that have been taken from it."""
        self._begin_stage(0)
        if resume:
            self._load(resume)

    def __iter__(self) -> Iterator[RoundResult]:
        for round in self.rounds:
            if round.stop > self.step:  # earlier rounds were trained before the checkpoint
                yield self._train_round(round)

    def save(self, folder: Folder) -> None:
        """Write the weights that are evaluated, and the state that the rest of the run depends on."""
        write_weights(folder, self.average.state_dict())
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "taken": dict(self.rows_taken),
            "targets": self.surgery_memory,
        }
        for name, model in self._further_models().items():
            state[name] = model.state_dict()
        write_state(folder, state | {"optimizer": self.optimizer.state_dict()})

    def _load(self, folder: Folder) -> None:
        """Continue from what `save` wrote.

        Raises:
            CheckpointError: the files are missing, damaged or of another config.
        """
        weights, state = read_weights(folder), read_state(folder)
        try:
            self._restore(weights, state)
        except Exception as error:  # with names or shapes of another config, any of Python's and torch's errors
            if machine_fault(error):
                raise
            raise CheckpointError(f"{folder} is of another config: {first_line(error)}") from error

    def _restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Restore what `save` wrote. It has no random state: every draw is a function of its place in the run."""
        self.step, self.tokens, self.surgery_memory = state["step"], state["tokens"], state["targets"]
        self.rows_taken = Counter(state["taken"])
        (reached,) = (round.number for round in self.rounds if round.stop == self.step)
        self._change_config(self.run_config.at(reached))
        self._begin_stage(self.plan[self.step - 1].stage)
        self.average.load_state_dict(weights)
        for name, model in self._further_models().items():
            model.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])

    def _further_models(self) -> dict[str, Multitask]:
        """Return the models other than the evaluated one, by their names in a checkpoint."""
        trained = {"model": self.model} if self.average is not self.model else {}
        return trained | ({"teacher": self.teacher} if self.teacher else {})

    def _frozen_copy(self) -> Multitask:
        return copy.deepcopy(self.model).requires_grad_(False)

    def _begin_stage(self, index: int) -> None:
        """Freeze and unfreeze the layers of the encoder; create the optimiser and the teacher of a stage."""
        stage, blocks = self.config.stages[index], self.model.encoder.blocks()
        for place, block in enumerate(blocks):
            for parameter in block:
                parameter.requires_grad_(place >= _frozen_blocks(len(blocks), stage.trainable_layers))
        self.optimizer = self._new_optimizer()
        self.teacher = self._frozen_copy().train() if self.config.bregman.active and stage.supervised else None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        blocks, settings = self.model.encoder.blocks(), self.config.optimizer
        inside = {parameter for block in blocks for parameter in block}
        above = [parameter for parameter in self.model.parameters() if parameter not in inside]
        scaled = [*zip(blocks, layer_scales(len(blocks), settings.layer_decay), strict=True), (above, 1.0)]
        return adamw(scaled, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay)

    def _change_config(self, config: TrainConfig) -> None:
        """Continue with another config; weights and the moments of the optimiser stay."""
        if config == self.config:
            return
        self.config = config
        averaged = self.average is not self.model
        self.model = rebuilt(self.model, config, self.corpus.tasks, self.pretrained)
        self.average = self.average if averaged else self.model
        self.teacher = self.teacher and rebuilt(self.teacher, config, self.corpus.tasks, self.pretrained)
        moments = self.optimizer.state
        self.optimizer = self._new_optimizer()
        self.optimizer.state.update(moments)

    def _train_round(self, round: Round) -> RoundResult:
        started = time.perf_counter()
        self._change_config(self.run_config.at(round.number))
        self.model.train()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        counts: Counter[str] = Counter()
        ratios: dict[str, float] = {}
        ratio_steps = self._ratio_steps(round)
        while self.step < round.stop:
            result = self._update(self.plan[self.step], measure_ratios=self.step in ratio_steps)
            ratios |= result.ratios
            for name, value in result.losses.items():
                sums[name] += value  # no .item(): it would wait for the device in every step
                counts[name] += 1
        losses = {name: float(value / counts[name]) for name, value in sums.items()}
        trained = time.perf_counter()
        return self._evaluate_round(round, losses, ratios, trained - started)

    def _ratio_steps(self, round: Round) -> set[int]:
        """Return the steps in which to measure gradient ratios: per source, the last one with all its regularisers."""
        last: dict[str, int] = {}
        for number in range(self.step, round.stop):
            step = self.plan[number]
            for source in step.rows:
                if regularised_step(self.config, self.config.stages[step.stage], source, number):
                    last[source] = number
        return set(last.values())

    def _evaluate_round(
        self, round: Round, losses: dict[str, float], ratios: dict[str, float], train_seconds: float
    ) -> RoundResult:
        started = time.perf_counter()
        finite = bool(np.isfinite(list(losses.values())).all()) and _finite(self.model)
        rows = {task: self.dev_rows[task] for task in round.scored} if finite else {}
        outputs = evaluate(self.average, self.corpus, "dev", rows)
        if not all(np.isfinite(values).all() for values in outputs.values()):  # finite weights may overflow
            finite, outputs = False, {}
        metrics = measure(self.corpus, "dev", self.dev_rows, outputs)
        own = [value for name, value in losses.items() if name.endswith(".loss")]
        return RoundResult(
            round=round.number,
            judged=round.judged,
            last=round is self.rounds[-1],
            finite=finite,
            score=float(score(metrics, self.corpus.tasks)) if finite and round.judged else None,
            metrics=metrics,
            losses={name: value if np.isfinite(value) else None for name, value in losses.items()},
            loss=sum(own) if np.isfinite(own).all() else None,
            ratios={name: ratio for name, ratio in ratios.items() if np.isfinite(ratio)},
            constant=constant_predictions(self.corpus.tasks, outputs),
            examples=round.examples,
            tokens=self.tokens,
            steps=round.stop,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            train_seconds=train_seconds,
            eval_seconds=time.perf_counter() - started,
            predictions=outputs,
        )

    def _update(self, step: Step, *, measure_ratios: bool = False) -> StepResult:
        """Take one optimiser step, with the next rows of the streams."""
        stage = self.config.stages[step.stage]
        if step.done == 0 and step.stage > 0:
            self._begin_stage(step.stage)
        self.optimizer.zero_grad(set_to_none=True)
        result = self.step_gradients(stage).backward(self._next_rows(stage, step), measure_ratios=measure_ratios)
        self.tokens += result.tokens
        self.surgery_memory = result.memory
        if self.config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        factor = warmup_then_decay(step.done, step.steps, self.config.optimizer.warmup, self.config.optimizer.decay)
        set_learning_rate(self.optimizer, stage.learning_rate * factor)
        self.optimizer.step()
        if self.average is not self.model:
            follow(self.average, self.model, average_share(self.config.averaging, step.done, step.steps))
        if self.teacher:
            follow(self.teacher, self.model, teacher_share(self.config.bregman, step.done, step.steps))
        self.step += 1
        return result

    def step_gradients(self, stage: Stage) -> StepGradients:
        """Return the computation of the next step's gradients, with the settings of a stage."""
        return StepGradients(
            config=self.config,
            stage=stage,
            step=self.step,
            corpus=self.corpus,
            encodings=self.encodings,
            model=self.model,
            teacher=self.teacher,
            tables=self.tables,
            memory=self.surgery_memory,
        )

    def _next_rows(self, stage: Stage, step: Step) -> Rows:
        """Return the rows of a step, and count them as taken from their streams."""
        sizes, rows = self.corpus.train_sizes(step.rows), Rows()
        for source, count in step.rows.items():
            name = stream_name(stage, source)
            rows[source] = next_rows(sizes[source], self.config.seed, name, self.rows_taken[name], count)
            self.rows_taken[name] += count
        return rows


def _frozen_blocks(blocks: int, trainable_layers: int | None) -> int:
    """Return the number of frozen blocks of an encoder; its blocks are the embeddings, the layers and the pooler."""
    if trainable_layers is None:
        return 0
    return max(1, blocks - 1 - trainable_layers) if trainable_layers else blocks


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
