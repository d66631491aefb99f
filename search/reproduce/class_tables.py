"""Compare the metrics of each class with those that the reports print for some recipes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import InputError
from search.report.dev_predictions import round_predictions
from search.report.prediction_metrics import ClassMetrics, adjacent_share, class_metrics, confusion_matrix
from search.report.task_analysis import with_file_labels
from search.reproduce.printed_tables import metric_text
from search.reproduce.results import Result, results
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.data.corpus import Split
from trainers.recipes.reports.printed_classes import CLASS_TABLES, ClassTable, PrintedClass
from trainers.tasks import Task

METRICS = ("precision", "recall", "f1")
HEAD = ["recipe", "class", "source", "precision", "recall", "F1"]
"""Column names of the table of classes."""


@dataclass(frozen=True)
class ClassComparison:
    """Our metrics of classes beside those of the reports."""

    lines: list[list[str]]
    """The lines of a table, see HEAD: for each printed class our metrics, then those of the report."""
    notes: list[str]
    """For each printed table of classes what else the report prints, and the same of our model."""


def compare_classes(run: Run) -> ClassComparison:
    """Compare the classes of a run's recipes with the printed ones; a table with damaged predictions is left out.

    Our metrics are those of the best round by score, which the metrics of the recipe come from, on the rows that it was
    evaluated on; with several seeds their mean ± standard deviation.
    """
    tables = [table for table in CLASS_TABLES if table.recipe in run.reproduction.recipes]
    if not tables:
        return ClassComparison([], [])
    found, splits = results(run), run.corpus().splits
    compared = ClassComparison([], [])
    for table in tables:
        task = run.tasks[table.task]
        try:
            confusions = _confusions(found[table.recipe], task, with_file_labels(splits[task.name], task)["dev"])
        except InputError as error:
            run.note(f"The metrics of the classes of {task.name} of {table.recipe} are left out: {error}")
            continue
        compared.lines.extend(_lines(table, confusions, task))
        compared.notes.append(_note(table, confusions, task))
    return compared


def _confusions(found: Sequence[Result], task: Task, dev: Split) -> list[np.ndarray]:
    """Return the confusion matrix [classes, classes] of a recipe under each seed that has predictions."""
    trials = [trial for result in found if result.metrics for trial in result.trials]
    confusions = (_confusion(trial, task, dev) for trial in trials)
    return [confusion for confusion in confusions if confusion is not None]


def _confusion(trial: Trial, task: Task, dev: Split) -> np.ndarray | None:
    predictions = round_predictions(trial, trial.best_row.round, task, dev)
    return confusion_matrix(predictions, int(task.low), int(task.high)) if predictions else None


def _lines(table: ClassTable, confusions: Sequence[np.ndarray], task: Task) -> Iterator[list[str]]:
    """Yield two lines for each class: our metrics, then the printed ones."""
    over_seeds = [class_metrics(confusion, int(task.low)) for confusion in confusions]
    for printed in table.classes:
        start = [table.recipe, f"{printed.label}: {printed.name}"]
        ours = [_of_label(metrics, printed) for metrics in over_seeds]
        yield [*start, "ours", *(_mean([getattr(found, name) for found in ours]) for name in METRICS)]
        yield [*start, f"report {table.report}", *(metric_text(getattr(printed, name)) for name in METRICS)]


def _of_label(metrics: Sequence[ClassMetrics], printed: PrintedClass) -> ClassMetrics:
    return next(found for found in metrics if found.label == printed.label)


def _mean(values: Sequence[float]) -> str:
    """Return the mean, and the standard deviation of several values, as text; "-" without values or if one is NaN."""
    if not values or np.isnan(values).any():
        return "-"
    return f"{np.mean(values):.3f}" + (f" ±{np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def _note(table: ClassTable, confusions: Sequence[np.ndarray], task: Task) -> str:
    """Return what a report prints about the classes beside their metrics, and the same of our model, over all seeds."""
    printed = f"Report {table.report}, classes of {task.name} of {table.recipe}: {table.note}."
    if not confusions:
        return printed
    total = np.sum(confusions, axis=0)
    *first, last = [f"{100 * share:.1f}" for share in total.sum(axis=1) / total.sum()]
    ours = f" Of our dev rows {', '.join(first)} and {last} % are in these classes"
    adjacent = adjacent_share(total)
    return printed + ours + ("." if np.isnan(adjacent) else f"; {adjacent:.0%} of our errors are in an adjacent class.")
