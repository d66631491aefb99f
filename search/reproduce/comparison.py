"""Compare the metrics of a run of recipes with the metrics that the reports print."""

from collections.abc import Sequence
from typing import Any

import pandas

from search.options import typed
from search.report import header
from search.reproduce.assumption_notes import assumption_notes
from search.reproduce.class_tables import HEAD
from search.reproduce.printed_tables import metric_text, printed_metrics, title
from search.reproduce.results import Result, failures, results
from search.runs.run import Run
from trainers.evaluation.scores import plain_mean, score
from trainers.recipes.registry import ROWS
from trainers.recipes.reports.printed_rows import Row
from trainers.tasks import TASKS

FILE = "reproduction"
"""Name of the files, without their extension."""
OURS, DIFFERENCE = "ours", "difference"
MEANS = ("overall", "plain")
ENCODER = "bert-base-uncased"
"""The encoder of all reports."""
NOTES = (
    "overall is the mean over the tasks of the accuracy, or of (r + 1) / 2 for STS; plain is the mean with r itself. "
    "Both are computed from the metrics in the same line. The average that a report prints is in a column of its own, "
    "with the formula that it follows.",
    "Our metrics are dev metrics of each training's best round by score, as in the reports. They are optimistic, "
    "because the round is chosen on the same dev rows. An ensemble uses each member's best round for the task. With "
    "several seeds the table shows mean ± standard deviation.",
    "Printed test metrics cannot be compared with ours, because the labels of the test splits are not public.",
    "Chance: evaluating one model on all dev rows has a standard error of 0.5 points overall (SST 1.5, QQP 0.15, STS "
    "r 0.8; a point is 0.01), because the dev rows are a sample. Different seeds add to it. A difference of less than "
    "one point between single runs may be chance.",
)
"""Notes below the table, which explain it to readers without the reports."""


def compare(run: Run) -> pandas.DataFrame:
    """Return a table: for each recipe a line of our metrics, a line for each printed row, and a line of differences."""
    lines: list[dict[str, Any]] = []
    for recipe, found in results(run).items():
        ours = _ours(found)
        lines.append({"recipe": recipe, "line": OURS, "split": "dev", **ours})
        for row in ROWS:
            if recipe in row.recipes:
                line = _printed(row, found[0].tasks)
                lines.append({"recipe": recipe, **line})
                gap = {name: ours[name] - line[name] for name in (*TASKS, *MEANS) if name in ours and name in line}
                if gap and row.split == "dev":
                    lines.append({"recipe": recipe, "line": DIFFERENCE, "split": "dev", **gap})
    lines += [{"recipe": "", **_printed(row, run.search.tasks)} for row in _rows(run) if not row.recipes]
    return pandas.DataFrame(lines, columns=_columns(run)).astype({"seeds": "Int64"})


def as_text(table: pandas.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the lines of the table as text."""
    names = [name for name in table.columns if f"{name}_sd" in table.columns]
    lines = [
        [
            *(_text(line[name]) for name in ("recipe", "line", "row", "split", "seeds")),
            *(_metric_text(line, name) for name in names),
            *(_text(line[name]) for name in ("average", "formula")),
            "-" if pandas.isna(line["seconds"]) else f"{line['seconds']:.2f}",
            _text(line["time"]),
        ]
        for line in table.to_dict("records")
    ]
    return [
        "recipe",
        "source",
        "row",
        "split",
        "seeds",
        *names,
        "average",
        "formula",
        "s / 1,000 examples",
        "printed time",
    ], lines


def notes(run: Run, classes: Sequence[str] = ()) -> list[str]:
    """Return the notes below the table: changes to the recipes, failures, and how to read the metrics.

    Args:
        classes: the notes of `compare_classes`.
    """
    search, own = run.search, run.reproduction
    options = [("--rows", search.rows, None), ("--scale", own.scale, 1), ("--set", own.set, ())]
    changed = [typed(option, value) for option, value, default in options if value != default]
    found = (
        [f"The recipes were changed by {', '.join(changed)}, so their metrics do not reproduce the reports."]
        if changed
        else []
    )
    if search.encoder != ENCODER:
        found.append(f"The encoder differs: all reports use {ENCODER}, this run uses {search.encoder}.")
    found += [f"No metrics: {fault}" for fault in failures(run)]
    found += [
        f"{name} has the same config as {first}, so they were trained once."
        for name, first in own.trained_as.items()
        if name != first
    ]
    found += [
        *NOTES,
        f"Rounds are evaluated on at most {search.dev_rows:,} dev rows per task.",
        *header.notes(search),
    ]
    found += [f"Report {row.report}, {title(row)}: {row.note}." for row in _rows(run) if row.note]
    return [*found, *classes, *assumption_notes(run)]


def write(run: Run, table: pandas.DataFrame, classes: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Write a run's tables as Markdown with notes, and its metrics as CSV; return the path or URI of the Markdown file.

    Args:
        table: the result of `compare`.
        classes: the lines of `compare_classes`.
    """
    search = run.search
    text = [
        f"# {search.name}: recipes compared with the reports",
        f"Data: {search.data}. Encoder: {search.encoder}. Seeds: {_seeds_text(search.seed, run.reproduction.seeds)}.",
        _markdown(*as_text(table)),
        *([_markdown(HEAD, classes)] if classes else []),
        "\n".join(f"- {note}" for note in notes),
    ]
    run.folder.write(f"{FILE}.csv", table.to_csv(index=False))
    run.folder.write(f"{FILE}.md", "\n\n".join(text) + "\n")
    return f"{run.folder}/{FILE}.md"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def _rows(run: Run) -> list[Row]:
    """Return the printed rows of a run's recipes, and the rows without a recipe of the same reports."""
    recipes = set(run.reproduction.recipes)
    reports = {row.report for row in ROWS if recipes & set(row.recipes)}
    return [row for row in ROWS if recipes & set(row.recipes) or (row.report in reports and not row.recipes)]


def _seeds_text(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first} to {first + count - 1}"


def _columns(run: Run) -> list[str]:
    tasks = [task for task in TASKS if task in run.search.tasks]
    spread = [column for name in (*tasks, *MEANS) for column in (name, f"{name}_sd")]
    return ["recipe", "line", "row", "split", "seeds", *spread, "average", "formula", "seconds", "time", "note"]


def _ours(found: Sequence[Result]) -> dict[str, Any]:
    """Return the line of a recipe's metrics: means and standard deviations over the seeds."""
    over_seeds = pandas.DataFrame([result.metrics | result.means for result in found])
    seconds = pandas.Series([result.seconds for result in found], dtype=float)
    line: dict[str, Any] = {"seeds": sum(bool(result.means) for result in found), "seconds": seconds.mean()}
    for name in over_seeds:
        line |= {name: over_seeds[name].mean(), f"{name}_sd": over_seeds[name].std()}
    return line


def _printed(row: Row, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the line of a printed row, with the metrics of the recipe's own tasks."""
    own = {task: metric for task, metric in printed_metrics(row).items() if task in tasks}
    means = {"overall": float(score(own, TASKS)), "plain": float(plain_mean(own))} if set(own) == set(tasks) else {}
    about = {"line": f"report {row.report}", "row": title(row), "split": row.split, "note": row.note}
    return {**about, **own, **means, "average": row.average, "formula": row.formula, "time": row.time}


def _text(value: Any) -> str:
    if pandas.isna(value) or value == "":
        return "-"
    return metric_text(value) if isinstance(value, float) else str(value)


def _metric_text(line: dict[str, Any], name: str) -> str:
    value, spread = line[name], line[f"{name}_sd"]
    if pandas.isna(value):
        return "-"
    if line["line"] == DIFFERENCE:
        return f"{value:+.3f}"
    return f"{value:.3f}" if pandas.isna(spread) else f"{value:.3f} ±{spread:.3f}"
