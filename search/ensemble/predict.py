"""Members of an ensemble -> their predictions on all of dev and test, and the course's prediction files."""

from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Any

import numpy as np
from rich.progress import track
from torch import Tensor

from model.multitask import Multitask
from model.pretrained import load_encoder
from search.ensemble.members import FOLDER, Ensemble, Member, home_of
from search.runs.run import Run
from search.selection.combiners import combine
from trainers.config.train_config import TrainConfig
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.predictions import submission
from trainers.evaluation.scores import METRICS, plain_mean, predictions, score
from trainers.folder import Folder
from trainers.training.build_model import build
from trainers.training.checkpoint import read_weights
from trainers.trial import CHECKPOINTS, CONFIG, round_name

SPLITS = ("dev", "test")
ALL_DEV = "all_dev_rows.json"

Each = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterable[Any]]
"""Call a function with each tuple of arguments, in order, here or on many machines: `itertools.starmap` or like it."""

Outputs = dict[str, dict[str, np.ndarray]]
"""Task -> split -> outputs [rows, outputs], all rows of the split in the input's order."""


def predict_member(location: str, trial: int | None, round: int, tasks: list[str], device: str = "cpu") -> Outputs:
    """Load the weights of one round of one trial, or of the soup, and predict all dev and test rows of some tasks.

    Args:
        location: the run's path or URI.
    """
    run = Run.open(location)
    corpus, home = run.corpus(), home_of(run, trial)
    model = load(run, home, read_weights(home / CHECKPOINTS / round_name(round)), device)
    outputs: Outputs = {task: {} for task in tasks}
    for split in SPLITS:
        rows = {task: np.arange(len(corpus.splits[task][split])) for task in tasks if split in corpus.splits[task]}
        for task, values in evaluate(model, corpus, split, rows).items():
            outputs[task][split] = values
    return outputs


def load(run: Run, home: Folder, weights: dict[str, Tensor], device: str) -> Multitask:
    """Build the model of a trial's config with the weights given."""
    config = TrainConfig.model_validate(home.read_json(CONFIG))
    model = build(config, run.tasks, load_encoder(run.local("encoder")))
    model.load_state_dict(weights)
    return model.to(device)


def predict_members(run: Run, ensemble: Ensemble, each: Each = starmap) -> dict[str, float]:
    """Have an ensemble predict all of dev and test, once, and write the course's prediction files.

    Args:
        each: how the members are called; each is one model to load.

    Returns:
        What the ensemble scores on all labelled dev rows: task -> metric, the score, and the plain mean, which takes r
        itself: the reports' tables mix both.
    """
    jobs = jobs_of(ensemble)
    predicted = each(predict_member, [(*member, tasks) for member, tasks in jobs.items()])
    outputs = dict(zip(jobs, track(predicted, f"{len(jobs)} models predict", len(jobs)), strict=True))
    corpus, folder = run.corpus(), run.folder / FOLDER
    metrics: dict[str, float] = {}
    for task, members in ensemble.members.items():
        for split in outputs[_key(members[0])][task]:
            found = [(outputs[_key(member)][task][split], member.weight) for member in members]
            kind, rows = corpus.tasks[task].kind, corpus.splits[task][split]
            combined = combine(ensemble.rules[task], [(predictions(kind, values), weight) for values, weight in found])
            name = f"predictions/{corpus.tasks[task].submission}-{split}-output.csv"
            folder.write(name, submission(corpus.tasks[task], rows.ids, combined))
            if split == "dev":
                labelled = np.isfinite(rows.labels)
                metrics[task] = float(METRICS[kind](combined[labelled], rows.labels[labelled]))
    metrics |= {"score": float(score(metrics, corpus.tasks)), "plain mean": float(plain_mean(metrics))}
    folder.write_json(ALL_DEV, metrics)
    return metrics


def jobs_of(ensemble: Ensemble) -> dict[tuple[str, int | None, int], list[str]]:
    """List each model to load once, with all tasks that it predicts."""
    jobs: dict[tuple[str, int | None, int], list[str]] = {}
    for task, members in ensemble.members.items():
        for member in members:
            jobs.setdefault(_key(member), []).append(task)
    return jobs


def _key(member: Member) -> tuple[str, int | None, int]:
    return member.run, member.trial, member.round
