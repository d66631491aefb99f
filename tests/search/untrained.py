"""Search without training: real searcher, study and run directory, but trials write rows with made-up scores."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from search.runs.arrivals import Arrivals
from search.runs.run import Run
from search.suggest.space import Space, suggest_config, trial_shape
from search.tune.halving import BRACKETS, Halving
from search.tune.searcher import StudySearcher
from search.tune.trials.order import TrialQueue
from search.tune.tune_schedulers import HalvingScheduler
from tests.example_row import example_row
from tests.search.listener import RecordingListener
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.train_config import Stage, TrainConfig
from trainers.folder import Folder
from trainers.methods.smart import SmartConfig
from trainers.seeds import numpy_generator
from trainers.training.rounds import RoundRow
from trainers.trial import ROUNDS, read_rows

ROUND_COUNT = 9
"""Rounds of each trial; the rungs of early stopping are after rounds 1 and 4."""


def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
    """Suggest twelve parameters, two of them only if SMART is on."""
    smart = SmartConfig()
    if trial.suggest_categorical("smart", [True, False]):
        lambda_s = trial.suggest_float("lambda_s", 1e-2, 10, log=True)
        smart = SmartConfig(lambda_s=lambda_s, every=trial.suggest_int("every", 1, 4))
    stage = Stage(
        tasks=("sst",),
        steps=ROUND_COUNT,
        rounds=ROUND_COUNT,
        learning_rate=trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        batch_size=trial.suggest_int("batch_size", 4, 8),
    )
    optimizer = OptimizerConfig(
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        warmup=trial.suggest_float("warmup", 0, 0.3),
        clip_norm=trial.suggest_float("clip_norm", 0.1, 10, log=True),
        decay=trial.suggest_categorical("decay", [True, False]),
    )
    return TrainConfig(
        pooling="mean" if trial.suggest_categorical("mean", [True, False]) else "pooled",
        dropout=trial.suggest_float("dropout", 0, 0.5),
        head_dropout=trial.suggest_float("head_dropout", 0, 0.5),
        smart=smart,
        stages=(stage,),
        optimizer=optimizer,
    )


def made_up_row(number: int, config: TrainConfig, round: int) -> RoundRow:
    """Return the row of a round. The score rises with the round and falls with the distance of dropout from 0.2."""
    noise = numpy_generator(number, round).normal()
    score = float(1 - abs(config.dropout - 0.2) - 0.5 / round + 0.02 * noise)
    return example_row(
        round,
        last=round == ROUND_COUNT,
        score=score,
        metrics={"sst": score},
        losses={"sst.loss": 1.0},
        parameters=1000 if config.pooling == "mean" else 2000,
        train_seconds=config.head_dropout,
        ended=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


class Untrained:
    """A session of a search that calls the searcher and the trial scheduler as Ray Tune calls them."""

    def __init__(self, run: Run, study: optuna.Study, count: int, *, live: int = 1):
        """Start or resume the search.

        Args:
            count: the number of trials, including trials of earlier sessions.
            live: the number of trials that run at the same time.
        """
        space = Space(Path(__file__), "", suggest, [])
        example = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        shape = trial_shape(suggest_config(space, example), run.corpus())
        self.searcher = StudySearcher(
            study, run, TrialQueue(space), shape, trials=count, spent=lambda: False, **RecordingListener().arguments
        )
        rounds, halving = Arrivals(run.folder, run.trials()).rounds(), Halving(shape.rounds, BRACKETS["asha"])
        self.scheduler = HalvingScheduler(rounds, halving, run.objectives)
        self.max_live, self.live = live, {}
        self.suggestion_seconds: list[float] = []
        """Seconds that the searcher needed for each suggestion."""
        self.write_seconds = 0.0
        """Seconds that trials needed to write their rows."""

    def train(self, steps: int | None = None) -> None:
        """Run all trials to their end, or for a number of steps. In each step, every live trial writes a round."""
        while self.fill() and steps != 0:
            self.step()
            steps = steps and steps - 1

    def fill(self) -> bool:
        """Start trials until all slots are used or the searcher has no more; return whether any trial is live."""
        while len(self.live) < self.max_live:
            name, started = f"t{len(self.suggestion_seconds)}", time.perf_counter()
            suggested = self.searcher.suggest(name)
            if suggested in (None, Searcher.FINISHED):
                break
            self.suggestion_seconds.append(time.perf_counter() - started)
            done = len(read_rows(Folder.at(suggested["folder"])))
            self.live[name] = suggested, done + 1
        return bool(self.live)

    def step(self) -> None:
        """Write a round of every live trial, and report it to the trial scheduler and the searcher."""
        for name, (config, round) in list(self.live.items()):
            row = self._write(config, round)
            result = flatten_dict(row.to_json())  # as Ray Tune passes results on
            trial = Trial("SearchTrial", config=config, stub=True)
            decision = self.scheduler.on_trial_result(None, trial, result)
            if row.last or decision == TrialScheduler.STOP:
                self.searcher.on_trial_complete(name, result)
                del self.live[name]
            else:
                self.searcher.on_trial_result(name, result)
                self.live[name] = config, round + 1

    def _write(self, config: dict[str, Any], round: int) -> RoundRow:
        started = time.perf_counter()
        row = made_up_row(config["number"], TrainConfig.model_validate_json(config["train"]), round)
        Folder.at(config["folder"]).append_json(ROUNDS, row.to_json())
        self.write_seconds += time.perf_counter() - started
        return row
