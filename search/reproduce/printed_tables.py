"""List the rows of the reports' tables, and print tables as plain text."""

import sys
from collections.abc import Collection, Sequence

import rich.console
import rich.table
import rich.text

from trainers.recipes.registry import RECIPES, REPORTS, ROWS
from trainers.recipes.reports.printed_rows import Row
from trainers.tasks import TASKS

PIPED_WIDTH = 1_000
"""Width in characters of a table that is not printed to a terminal, so that its lines are not broken."""
PRINTED = tuple(name for report in REPORTS for name in report.RECIPES)
"""The systems for which the reports print metrics."""
UNSCORED = tuple(name for report in REPORTS for name in report.UNSCORED)
"""Systems that the reports describe without metrics."""
OWN = tuple(name for name in RECIPES if name not in PRINTED + UNSCORED)
"""Recipes that are in no report."""


def printed_metrics(row: Row) -> dict[str, float]:
    """Return the metrics that a row prints, by task."""
    found = {task: getattr(row, task) for task in TASKS}
    return {task: metric for task, metric in found.items() if metric is not None}


def title(row: Row) -> str:
    """Return the table of a row and the row's name in it."""
    return f"{row.table}: {row.printed}"


def metric_text(metric: float | None) -> str:
    """Return a metric with four decimals, or three if the fourth is 0; "-" if the report prints none."""
    return "-" if metric is None else f"{metric:.4f}".removesuffix("0")


def listing(names: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the lines of a table of printed rows: those of some recipes, or all for no names."""
    rows = [row for row in ROWS if not names or set(row.recipes) & set(names)]
    lines = [
        [
            *(row.report, ", ".join(row.recipes) or "-", title(row), row.split),
            *(metric_text(printed_metrics(row).get(task)) for task in TASKS),
            *(metric_text(row.average), row.formula or "-"),
        ]
        for row in rows
    ]
    return ["report", "recipe", "row", "split", *TASKS, "average", "formula"], lines


def show(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table; long lines are broken only on a terminal."""
    table = rich.table.Table(*head, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*map(rich.text.Text, line))  # Text, because rich would read names such as [u; v] as markup
    rich.console.Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
