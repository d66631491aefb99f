"""The one training loop: a config and a corpus -> rounds."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy
import torch
from torch import Tensor, nn

from model.bert import Bert
from model.heads import HEADS, PAIR_FEATURES
from model.multitask import Multitask
from model.weights import Pretrained
from trainers.batching import inputs, labels, stream
from trainers.checkpoint import read_state, read_weights, write_state, write_weights
from trainers.config import TrainConfig
from trainers.data import Corpus
from trainers.evaluate import dev_rows, evaluate, measure, overall
from trainers.files import Folder
from trainers.objectives import OBJECTIVES, Batch, Loss
from trainers.optim import adamw, set_learning_rate, warmup_then_decay
from trainers.plan import Round, Step, plan_rounds, plan_steps
from trainers.seeds import generator, seed_of
from trainers.surgery import SURGERIES, gramian, weighted_sum
from trainers.tasks import TASKS

DEV_ROWS = 1200
"""Rounds are scored on at most this many dev rows a task."""


@dataclass(frozen=True)
class RoundResult:
    """What one round says of a run. Counts are of the whole run so far, seconds and losses of this round."""

    round: int
    judged: int | None
    """How many rounds have been judged with this one; None before every scored task has been trained."""
    last: bool
    finite: bool
    score: float | None
    metrics: dict[str, float]
    losses: dict[str, float | None]
    """"task.part" -> mean over the round's steps; None where it is not finite."""
    loss: float | None
    """Sum of the tasks' own losses."""
    examples: int
    tokens: int
    steps: int
    train_seconds: float
    eval_seconds: float
    predictions: dict[str, numpy.ndarray] = field(repr=False)
    """Task -> outputs on the rows of `Training.rows` [rows, outputs]."""


class Training:
    """An iterator over rounds: asking for the next trains on, not asking is stopping; in between it can be saved."""

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
        self.config, self.corpus, self.device = config, corpus, torch.device(device)
        self.plan = plan_steps(config, corpus.train_sizes(config.tasks))
        self.rounds = plan_rounds(config, self.plan)
        self.rows = {task: dev_rows(corpus, task, dev_limit) for task in config.tasks}
        self.model = build(config, pretrained).to(self.device)
        self.step = self.tokens = 0
        self.taken: Counter[str] = Counter()
        self._new_optimizer()
        if resume:
            self._load(resume)

    def __iter__(self) -> Iterator[RoundResult]:
        for round in self.rounds:
            if round.stop > self.step:  # else it was trained before the checkpoint
                yield self._train_round(round)

    def save(self, folder: Folder) -> None:
        """Write the weights and all else that the rest of the run depends on."""
        write_weights(folder, self.model.state_dict())
        state = {"step": self.step, "tokens": self.tokens, "taken": dict(self.taken)}
        write_state(folder, state | {"optimizer": self.optimizer.state_dict()})

    def _load(self, folder: Folder) -> None:
        """Go on from what `save` wrote: every draw is a function of its place, so no generator is restored."""
        self.model.load_state_dict(read_weights(folder))
        state = read_state(folder)
        self.step, self.tokens, self.taken = state["step"], state["tokens"], Counter(state["taken"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _new_optimizer(self) -> None:
        settings = self.config.optimizer
        self.optimizer = adamw(
            self.model.parameters(), betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
        )

    def _train_round(self, round: Round) -> RoundResult:
        started = time.perf_counter()
        self.model.train()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        seen: Counter[str] = Counter()
        while self.step < round.stop:
            for name, value in self._update(self.plan[self.step]).items():
                sums[name] += value  # no .item(): it would wait for the device in every step
                seen[name] += 1
        losses = {name: float(value / seen[name]) for name, value in sums.items()}
        trained = time.perf_counter()
        return self._judge(round, losses, trained - started)

    def _judge(self, round: Round, losses: dict[str, float], train_seconds: float) -> RoundResult:
        started = time.perf_counter()
        finite = bool(numpy.isfinite(list(losses.values())).all()) and _finite(self.model)
        outputs = evaluate(self.model, self.corpus, "dev", self.rows, self.config.pairs) if finite else {}
        if not all(numpy.isfinite(values).all() for values in outputs.values()):  # finite weights may still overflow
            finite, outputs = False, {}
        metrics = measure(self.corpus, "dev", self.rows, outputs)
        own = [value for name, value in losses.items() if name.endswith(".loss")]
        return RoundResult(
            round=round.number,
            judged=round.judged,
            last=round is self.rounds[-1],
            finite=finite,
            score=overall(metrics) if finite and round.judged else None,
            metrics=metrics,
            losses={name: value if numpy.isfinite(value) else None for name, value in losses.items()},
            loss=sum(own) if numpy.isfinite(own).all() else None,
            examples=round.examples,
            tokens=self.tokens,
            steps=round.stop,
            train_seconds=train_seconds,
            eval_seconds=time.perf_counter() - started,
            predictions=outputs,
        )

    def _update(self, step: Step) -> dict[str, Tensor]:
        """Take one optimiser step; return what it measured."""
        stage = self.config.stages[step.stage]
        if step.done == 0 and step.stage > 0:
            self._new_optimizer()
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._backward(step)
        if self.config.optimizer.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        factor = warmup_then_decay(step.done, step.steps, self.config.optimizer.warmup)
        set_learning_rate(self.optimizer, stage.learning_rate * factor)
        self.optimizer.step()
        self.step += 1
        self.taken.update(step.rows)
        return {f"{task}.{name}": value for task, loss in losses.items() for name, value in loss.parts.items()}

    def _backward(self, step: Step) -> dict[str, Loss]:
        """Fill in every parameter's gradient."""
        surgery = self.config.stages[step.stage].surgery
        if surgery == "sum" or len(step.rows) == 1:
            losses = self._losses(step, tuple(step.rows))
            torch.stack([loss.total for loss in losses.values()]).sum().backward()
            return losses
        losses, shared, gradients = {}, list(self.model.encoder.parameters()), []
        for task in step.rows:  # a graph for each task: one shared graph would be walked whole for every task
            losses |= self._losses(step, (task,))
            own = list(self.model.heads[task].parameters())
            found = torch.autograd.grad(losses[task].total, [*shared, *own], allow_unused=True)
            gradients.append(found[: len(shared)])
            for parameter, gradient in zip(own, found[len(shared) :], strict=True):
                parameter.grad = gradient
        draw = generator(self.config.seed, self.step, "surgery")
        combined = weighted_sum(gradients, SURGERIES[surgery](gramian(gradients), draw))
        for parameter, gradient in zip(shared, combined, strict=True):
            parameter.grad = gradient
        return losses

    def _losses(self, step: Step, tasks: tuple[str, ...]) -> dict[str, Loss]:
        sizes = self.corpus.train_sizes(tasks)
        rows = {task: stream(sizes[task], self.config.seed, task, self.taken[task], step.rows[task]) for task in tasks}
        batch = Batch(
            inputs(self.corpus, "train", rows, self.config.pairs, self.model.encoder.config.positions).to(self.device),
            {task: values.to(self.device) for task, values in labels(self.corpus, "train", rows).items()},
        )
        self.tokens += len(batch.inputs.tokens)
        objective = OBJECTIVES[self.config.stages[step.stage].objective]
        return objective(self.model, batch, self.config.smart, self.config.seed, (self.step, *tasks))


def build(config: TrainConfig, pretrained: Pretrained) -> Multitask:
    """Build the model of a config at its start: the pretrained encoder, and heads drawn from the seed."""
    encoder = Bert(pretrained.config, config.dropout, config.attention_dropout)
    encoder.load_state_dict(pretrained.weights)  # copies: no parameter shares memory with the worker's weights
    separate = frozenset(task for task in config.tasks if TASKS[task].pair and config.pairs == "separate")
    heads: dict[str, nn.Module] = {}
    for task in config.tasks:
        width = pretrained.config.width * (PAIR_FEATURES[config.pair_features].width if task in separate else 1)
        torch.manual_seed(seed_of(config.seed, "head", task))
        heads[task] = HEADS[config.head](width, TASKS[task].outputs, config.head_dropout, TASKS[task].start)
    return Multitask(encoder, heads, separate, config.pair_features)


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
