"""Predict all dev and test rows with an ensemble's members; write the course's prediction files."""

from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Any

import numpy as np
from rich.progress import track
from torch import Tensor

from model.errors import first_line
from model.multitask import Multitask
from model.pretrained import load_encoder
from search.ensemble.members import FOLDER, SOUP, Ensemble, Member, member_folder, remedy
from search.runs.run import Run
from search.selection.candidates import Candidate
from search.selection.combiners import combine
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.predictions import submission
from trainers.evaluation.scores import plain_mean, predictions, score
from trainers.folder import Folder
from trainers.settings import read_record
from trainers.start import announce
from trainers.training.build_model import build
from trainers.training.checkpoint import CheckpointError, read_weights
from trainers.trial import CHECKPOINTS, CONFIG, read_config, round_name

SPLITS = ("dev", "test")
ALL_DEV_FILE = "all_dev_rows.json"
"""The ensemble's metrics on all labelled dev rows."""

StarMap = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterable[Any]]
"""Call a function with each tuple of arguments; yield the results in order. `itertools.starmap`, or a parallel one."""

Outputs = dict[str, dict[str, np.ndarray]]
"""Task -> split -> outputs [rows, outputs] of all rows of the split, in the order of the data."""

ModelKey = tuple[str, int | None, int]
"""The run, the trial (None for the soup) and the round of a model."""


class DamagedRounds(Exception):
    """Rounds that cannot be used, because their weights are damaged or do not fit their config."""

    def __init__(self, rounds: dict[Candidate, str]):
        """Take round -> fault."""
        super().__init__()
        self.rounds = rounds


def predict_members(
    run: Run, ensemble: Ensemble, starmap: StarMap = starmap, folder: Folder | None = None
) -> dict[str, float]:
    """Write the prediction files of a run's ensemble and its metrics on all labelled dev rows.

    Args:
        starmap: calls `predict_member` for each model, here or on other machines.
        folder: where the ensemble is written and its soup was written; None for the run's `ensemble/`.

    Returns:
        task -> metric, the score, and the plain mean, which averages r itself and not (r + 1) / 2, as some tables of
        the reports do.
    """
    folder = folder or run.folder / FOLDER
    metrics = write_prediction_files(run, ensemble, folder / "predictions", folder / SOUP, starmap)
    metrics |= {"score": float(score(metrics, run.tasks)), "plain mean": float(plain_mean(metrics))}
    folder.write_json(ALL_DEV_FILE, metrics)
    return metrics


def write_prediction_files(
    run: Run, ensemble: Ensemble, folder: Folder, soup: Folder, starmap: StarMap = starmap
) -> dict[str, float]:
    """Predict all dev and test rows with an ensemble, once, and write the course's prediction files into a folder.

    Args:
        soup: directory of the soup, if it is a member.
        starmap: calls `predict_member` for each model, here or on other machines.

    Returns:
        The ensemble's metrics on all labelled dev rows: task -> metric.
    """
    corpus = run.corpus()
    splits = [corpus.splits[task] for task in ensemble.members]
    count = sum(len(found[split]) for found in splits for split in SPLITS if split in found)
    announce(f"Predicting all {count:,} dev and test rows with the members of the ensemble ...")
    outputs = _member_outputs(ensemble, starmap, soup)
    metrics: dict[str, float] = {}
    for name, members in ensemble.members.items():
        task = corpus.tasks[name]
        for split in outputs[_key(members[0])][name]:
            rows = corpus.splits[name][split]
            weighted = [
                (predictions(task.kind, outputs[_key(member)][name][split]), member.weight) for member in members
            ]
            combined = combine(ensemble.rules[name], weighted)
            folder.write(f"{task.submission}-{split}-output.csv", submission(task, rows.ids, combined))
            if split == "dev":
                labelled = np.isfinite(rows.labels)
                metric = METRICS[task.metric].compute(combined[labelled], rows.labels[labelled])
                metrics[name] = float(metric)
    return metrics


def read_all_dev(run: Run) -> dict[str, float]:
    """Read `ensemble/all_dev_rows.json`; empty if the ensemble has not predicted.

    Raises:
        InputError: the file is damaged.
    """
    folder = run.folder / FOLDER
    return read_record(folder, ALL_DEV_FILE, dict[str, float], remedy(run)) if folder.exists(ALL_DEV_FILE) else {}


def predict_member(
    location: str, trial: int | None, round: int, tasks: list[str], soup: str, device: str = "cpu"
) -> Outputs:
    """Predict all dev and test rows of some tasks with the weights of one round, or of the soup.

    Args:
        location: the run's path or URI.
        trial: None for the soup.
        soup: path or URI of the soup's directory.
    """
    run = Run.open(location)
    corpus, folder = run.corpus(), Folder.at(soup) if trial is None else run.trial_folder(trial)
    model = load_model(run, folder, read_weights(folder / CHECKPOINTS / round_name(round)), device)
    outputs: Outputs = {task: {} for task in tasks}
    for split in SPLITS:
        rows = {task: np.arange(len(corpus.splits[task][split])) for task in tasks if split in corpus.splits[task]}
        for task, values in evaluate(model, corpus, split, rows).items():
            outputs[task][split] = values
    return outputs


def load_model(run: Run, folder: Folder, weights: dict[str, Tensor], device: str) -> Multitask:
    """Build the model of a trial's config with the given weights.

    Args:
        folder: directory of the trial or of the soup.

    Raises:
        CheckpointError: the weights are not those of the config.
    """
    model = build(read_config(folder), run.tasks, load_encoder(run.local_path("encoder")))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: its weights and {CONFIG} do not fit: {first_line(error)}") from error
    return model.to(device)


def check_rounds(rounds: Iterable[Candidate]) -> None:
    """Load the model of each round once.

    Raises:
        DamagedRounds: models that cannot be loaded.
    """
    damaged: dict[Candidate, str] = {}
    for name in rounds:
        run = Run.open(name.run)
        folder = member_folder(run, name.trial)
        try:
            load_model(run, folder, read_weights(folder / CHECKPOINTS / round_name(name.round)), "cpu")
        except CheckpointError as error:
            damaged[name] = str(error)
    if damaged:
        raise DamagedRounds(damaged)


def tasks_of_models(ensemble: Ensemble) -> dict[ModelKey, list[str]]:
    """List each model of an ensemble once, with all tasks that it predicts."""
    tasks: dict[ModelKey, list[str]] = {}
    for task, members in ensemble.members.items():
        for member in members:
            tasks.setdefault(_key(member), []).append(task)
    return tasks


def _member_outputs(ensemble: Ensemble, starmap: StarMap, soup: Folder) -> dict[ModelKey, Outputs]:
    models = tasks_of_models(ensemble)
    predicted = starmap(predict_member, [(*model, tasks, soup.uri) for model, tasks in models.items()])
    return dict(zip(models, track(predicted, f"Predicting with {len(models)} models", len(models)), strict=True))


def _key(member: Member) -> ModelKey:
    return member.run, member.trial, member.round
