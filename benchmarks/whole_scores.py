"""The scores of the sides of `benchmarks.whole` on the hidden rows, and what each side has done in its time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import whole_data
from benchmarks.whole_data import Hidden
from search.selection.bootstrap import RESAMPLES, interval
from trainers.evaluation.scores import score
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS

RESULT = "result.json"
SCORE = "score"


@dataclass(frozen=True)
class Result:
    """What one side has done."""

    seconds: float
    """Seconds from the start of its process until its predictions exist."""
    trials: int
    rounds: int
    tokens: int
    """Training tokens without padding."""


def compare(homes: Sequence[Path], sides: Sequence[str], hidden: Hidden) -> dict[str, Any]:
    """Score sides on the hidden rows; compare the first side with each other one.

    Differences and their bootstrap, over seeds and rows, are paired.

    Args:
        homes: one folder per seed, with the results of all sides.
        hidden: ids and labels of the hidden rows.

    Returns:
        "scores": side -> task or "score" -> mean over the seeds; "differences": side -> difference and 95 % interval;
        "work": side -> the results of all seeds.
    """
    seeds = numpy_generator(0, "whole", "seeds").integers(len(homes), size=(RESAMPLES, len(homes)))
    values: dict[str, dict[str, float]] = {side: {} for side in sides}
    drawn: dict[str, dict[str, np.ndarray]] = {side: {} for side in sides}
    for task, (_, labels) in hidden.items():
        rows = numpy_generator(0, "whole", task).integers(len(labels), size=(RESAMPLES, len(labels)))
        for side in sides:
            folders = [prediction_folder(home / side) for home in homes]
            predicted = np.stack([whole_data.read_predictions(folder, hidden)[task] for folder in folders])
            values[side][task] = float(whole_data.metric(task, predicted, labels).mean())
            resampled = whole_data.metric(task, predicted[:, rows], labels[rows])  # [seeds, resamples]
            drawn[side][task] = resampled[seeds.T, np.arange(RESAMPLES)].mean(axis=0)
    for side in sides:
        values[side][SCORE] = float(score(values[side], TASKS))
    scores = {side: score(drawn[side], TASKS) for side in sides}
    first, *others = sides
    differences = {
        side: {
            "difference": values[first][SCORE] - values[side][SCORE],
            "interval": interval(scores[first] - scores[side]),
        }
        for side in others
    }
    work = {side: [json.loads((home / side / RESULT).read_text()) for home in homes] for side in sides}
    return {"scores": values, "differences": differences, "work": work}


def prediction_folder(home: Path) -> Path:
    """Return the folder of a side's predictions: its run's ensemble, or else its own folder."""
    ensemble = home / "ensemble" / "predictions"
    return ensemble if ensemble.exists() else home


def score_table(results: dict[str, Any]) -> Table:
    """Return a table of the sides' scores, and of the first side's lead over each other one."""
    first = next(iter(results["scores"]))
    tasks = [name for name in results["scores"][first] if name != SCORE]
    shown = Table("hidden half of dev", *tasks, SCORE, f"lead of {first} in points", "95 % interval")
    for side, found in results["scores"].items():
        cells = [f"{found[name]:.4f}" for name in (*tasks, SCORE)]
        if ahead := results["differences"].get(side):
            low, high = (100 * bound for bound in ahead["interval"])
            cells += [f"{100 * ahead['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}"]
        shown.add_row(side, *cells)
    return shown


def work_table(results: dict[str, Any]) -> Table:
    """Return a table of the sides' work, one row per side and seed."""
    shown = Table("side", "minutes", "trials", "rounds", "tokens trained on", "tokens per second")
    for side, entries in results["work"].items():
        for found in entries:
            counts = [f"{found[name]:,}" for name in ("trials", "rounds", "tokens")]
            shown.add_row(side, f"{found['seconds'] / 60:.1f}", *counts, f"{found['tokens'] / found['seconds']:,.0f}")
    return shown
