"""The one training loop: a config and a corpus -> rounds."""

import copy
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from model.encoder import Pretrained
from model.multitask import Multitask
from trainers.config.encodings import encodings
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import next_rows
from trainers.data.corpus import Corpus
from trainers.evaluation.evaluate import dev_rows, evaluate, measure
from trainers.evaluation.scores import score
from trainers.folder import Folder
from trainers.methods.averaging import average_share, follow
from trainers.methods.bregman import teacher_share
from trainers.training.build_model import build, rebuilt
from trainers.training.checkpoint import read_state, read_weights, write_state, write_weights
from trainers.training.forward_groups import Rows, regularised_step
from trainers.training.optimizer import adamw, layer_scales, set_learning_rate, warmup_then_decay
from trainers.training.rounds import RoundResult
from trainers.training.step_gradients import Passes
from trainers.training.step_plan import Round, Step, plan, stream_name
from trainers.training.table_gradients import Tables

DEV_ROWS = 1200
"""Rounds are scored on at most this many dev rows a task."""


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
        self.whole, self.config = config, config.at(1)
        """The config of the whole run, and of the round that is trained."""
        self.corpus, self.pretrained, self.device = corpus, pretrained, torch.device(device)
        self.plan, self.rounds = plan(config, corpus)
        self.rows = {task: dev_rows(corpus, task, dev_limit) for task in config.tasks}
        self.encodings = encodings(config, corpus.tasks)
        self.model = build(self.config, corpus.tasks, pretrained).to(self.device)
        self.average = self._copy() if config.averaging.kind != "none" else self.model
        self.teacher: Multitask | None = None
        self.tables = Tables()
        self.targets: dict[str, float] = {}
        """What surgery remembers of pairs of tasks."""
        self.step = self.tokens = 0
        self.taken: Counter[str] = Counter()
        self._begin_stage(0)
        if resume:
            self._load(resume)

    def __iter__(self) -> Iterator[RoundResult]:
        for round in self.rounds:
            if round.stop > self.step:  # else it was trained before the checkpoint
                yield self._train_round(round)

    def save(self, folder: Folder) -> None:
        """Write the weights that are evaluated, and all else that the rest of the run depends on."""
        write_weights(folder, self.average.state_dict())
        state = {"step": self.step, "tokens": self.tokens, "taken": dict(self.taken), "targets": self.targets}
        for name, model in self._followed().items():
            state[name] = model.state_dict()
        write_state(folder, state | {"optimizer": self.optimizer.state_dict()})

    def _load(self, folder: Folder) -> None:
        """Go on from what `save` wrote: every draw is a function of its place, so no generator is restored."""
        state = read_state(folder)
        self.step, self.tokens, self.targets = state["step"], state["tokens"], state["targets"]
        self.taken = Counter(state["taken"])
        (reached,) = (round.number for round in self.rounds if round.stop == self.step)
        self._turn_to(self.whole.at(reached))
        self._begin_stage(self.plan[self.step - 1].stage)
        self.average.load_state_dict(read_weights(folder))
        for name, model in self._followed().items():
            model.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])

    def _followed(self) -> dict[str, Multitask]:
        """Name the models beside the one that is evaluated."""
        trained = {"model": self.model} if self.average is not self.model else {}
        return trained | ({"teacher": self.teacher} if self.teacher else {})

    def _copy(self) -> Multitask:
        return copy.deepcopy(self.model).requires_grad_(False)

    def _begin_stage(self, index: int) -> None:
        """Choose what trains, with a new optimiser, and a teacher that knows what the model knows."""
        stage, blocks = self.config.stages[index], self.model.encoder.blocks()
        for place, block in enumerate(blocks):
            for parameter in block:
                parameter.requires_grad_(place >= _frozen(len(blocks), stage.trainable_layers))
        self.optimizer = self._new_optimizer()
        self.teacher = self._copy().train() if self.config.bregman.active and stage.supervised else None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        blocks, settings = self.model.encoder.blocks(), self.config.optimizer
        inside = {parameter for block in blocks for parameter in block}
        above = [parameter for parameter in self.model.parameters() if parameter not in inside]
        scaled = [*zip(blocks, layer_scales(len(blocks), settings.layer_decay), strict=True), (above, 1.0)]
        return adamw(scaled, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay)

    def _turn_to(self, config: TrainConfig) -> None:
        """Go on with other settings; what has been learnt stays, the optimiser's moments included."""
        if config == self.config:
            return
        self.config = config
        alone = self.average is self.model
        self.model = rebuilt(self.model, config, self.corpus.tasks, self.pretrained)
        self.average = self.model if alone else self.average
        self.teacher = self.teacher and rebuilt(self.teacher, config, self.corpus.tasks, self.pretrained)
        moments = self.optimizer.state
        self.optimizer = self._new_optimizer()
        self.optimizer.state.update(moments)

    def _train_round(self, round: Round) -> RoundResult:
        started = time.perf_counter()
        self._turn_to(self.whole.at(round.number))
        self.model.train()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        seen: Counter[str] = Counter()
        ratios: dict[str, float] = {}
        probes = self._probes(round)
        while self.step < round.stop:
            for name, value in self._update(self.plan[self.step], ratios if self.step in probes else None).items():
                sums[name] += value  # no .item(): it would wait for the device in every step
                seen[name] += 1
        losses = {name: float(value / seen[name]) for name, value in sums.items()}
        trained = time.perf_counter()
        return self._judge(round, losses, ratios, trained - started)

    def _probes(self, round: Round) -> set[int]:
        """Choose the steps in which ratios are measured: of each source the last that has all its regularisers."""
        last: dict[str, int] = {}
        for number in range(self.step, round.stop):
            step = self.plan[number]
            for source in step.rows:
                if regularised_step(self.config, self.config.stages[step.stage], source, number):
                    last[source] = number
        return set(last.values())

    def _judge(
        self, round: Round, losses: dict[str, float], ratios: dict[str, float], train_seconds: float
    ) -> RoundResult:
        started = time.perf_counter()
        finite = bool(np.isfinite(list(losses.values())).all()) and _finite(self.model)
        rows = {task: self.rows[task] for task in round.scored} if finite else {}
        outputs = evaluate(self.average, self.corpus, "dev", rows)
        if not all(np.isfinite(values).all() for values in outputs.values()):  # finite weights may still overflow
            finite, outputs = False, {}
        metrics = measure(self.corpus, "dev", self.rows, outputs)
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
            examples=round.examples,
            tokens=self.tokens,
            steps=round.stop,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            train_seconds=train_seconds,
            eval_seconds=time.perf_counter() - started,
            predictions=outputs,
        )

    def _update(self, step: Step, ratios: dict[str, float] | None) -> dict[str, Tensor]:
        """Take one optimiser step; return what it measured, and fill in `ratios` if they are asked for."""
        stage = self.config.stages[step.stage]
        if step.done == 0 and step.stage > 0:
            self._begin_stage(step.stage)
        self.optimizer.zero_grad(set_to_none=True)
        passes = self.passes(stage)
        measured = passes.backward(self._next_rows(stage, step), ratios)
        self.tokens += passes.tokens
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
        return measured

    def passes(self, stage: Stage) -> Passes:
        """Return what turns the rows of the next step, in a stage, into gradients."""
        return Passes(
            config=self.config,
            stage=stage,
            step=self.step,
            corpus=self.corpus,
            encodings=self.encodings,
            model=self.model,
            teacher=self.teacher,
            tables=self.tables,
            targets=self.targets,
        )

    def _next_rows(self, stage: Stage, step: Step) -> Rows:
        """Take the step's rows from their streams."""
        sizes, rows = self.corpus.train_sizes(step.rows), Rows()
        for source, count in step.rows.items():
            name = stream_name(stage, source)
            rows[source] = next_rows(sizes[source], self.config.seed, name, self.taken[name], count)
            self.taken[name] += count
        return rows


def _frozen(blocks: int, trainable_layers: int | None) -> int:
    """Return how many of an encoder's blocks are frozen: they are the embeddings, the layers and the pooler."""
    if trainable_layers is None:
        return 0
    return max(1, blocks - 1 - trainable_layers) if trainable_layers else blocks


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
