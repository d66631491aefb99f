"""The rows that the reports print -> a plain table of text, whose lines are broken on a terminal alone."""

import sys
from collections.abc import Collection, Sequence

import rich.console
import rich.table
import rich.text

from trainers.recipes.registry import RECIPES, REPORTS, ROWS
from trainers.recipes.reports.printed_rows import Row
from trainers.tasks import TASKS

PIPED = 1_000
"""Columns where there is no terminal."""
PRINTED = tuple(name for report in REPORTS for name in report.RECIPES)
"""The systems of which the reports print figures."""
UNSCORED = tuple(name for report in REPORTS for name in report.UNSCORED)
"""What the reports tried, and print no figures of."""
OWN = tuple(name for name in RECIPES if name not in PRINTED + UNSCORED)
"""Recipes of no report."""


def figures(row: Row) -> dict[str, float]:
    """Return the figures of a printed row by task."""
    found = {task: getattr(row, task) for task in TASKS}
    return {task: figure for task, figure in found.items() if figure is not None}


def title(row: Row) -> str:
    """Say where a row is printed, and what it is called there."""
    return f"{row.table}: {row.printed}"


def printed(figure: float | None) -> str:
    """Write a figure with three decimals, or four if it has been printed with so many."""
    return "-" if figure is None else f"{figure:.4f}".removesuffix("0")


def listing(names: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Return head and lines of the printed rows of some recipes; without any names, of all."""
    rows = [row for row in ROWS if not names or set(row.recipes) & set(names)]
    lines = [
        [
            *(row.report, ", ".join(row.recipes) or "-", title(row), row.split),
            *(printed(figures(row).get(task)) for task in TASKS),
            *(printed(row.average), row.formula or "-"),
        ]
        for row in rows
    ]
    return ["report", "recipe", "row", "split", *TASKS, "average", "formula"], lines


def show(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = rich.table.Table(*head, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*map(rich.text.Text, line))  # not as markup: rows have names such as [u; v]
    rich.console.Console(width=None if sys.stdout.isatty() else PIPED).print(table)
