"""A run of recipes -> what they reached beside what the reports print: a table, and what to know of it."""

from collections.abc import Sequence
from typing import Any

import pandas

from search.options import typed
from search.report import header
from search.reproduce.printed_tables import figures, printed, title
from search.reproduce.results import Result, failures, results
from search.runs.run import Run
from trainers.evaluation.scores import plain_mean, score
from trainers.recipes.registry import ROWS
from trainers.recipes.reports.printed_rows import Row
from trainers.tasks import TASKS

FILE = "reproduction"
OURS, DIFFERENCE = "ours", "difference"
MEANS = ("overall", "plain")
ENCODER = "bert-base-uncased"
NOTES = (
    "overall is the mean of accuracies and (r + 1) / 2, plain the mean with r itself. Both are computed from the "
    "figures of their line; what the report prints as its average stands apart, with the formula that it follows.",
    "Ours are dev figures of each training's best round by score, as in the reports: the choice flatters them. An "
    "ensemble takes each member's best round for the task. With several seeds: mean ± standard deviation.",
    "Printed test figures have no counterpart, because the labels of the test splits are not public.",
    "The sampling of dev rows alone gives one evaluation of the whole of dev a standard error of .5 points overall "
    "(SST 1.5, QQP .15, STS r .8), and seeds add to it: less than a point between single runs is noise.",
)


def compare(run: Run) -> pandas.DataFrame:
    """Return a line for each recipe of a run, one for each row printed of it, and one for how far the two are apart."""
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
    return pandas.DataFrame(lines, columns=_columns(run)).astype({"seeds": "Int64"})


def displayed(table: pandas.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return head and lines of the table as text."""
    names = [name for name in table.columns if f"{name}_sd" in table.columns]
    lines = [
        [
            *(_text(line[name]) for name in ("recipe", "line", "row", "split", "seeds")),
            *(_figure(line, name) for name in names),
            *(_text(line[name]) for name in ("average", "formula")),
            "-" if pandas.isna(line["seconds"]) else f"{line['seconds']:.2f}",
        ]
        for line in table.to_dict("records")
    ]
    return ["recipe", "figures", "row", "split", "seeds", *names, "average", "formula", "s / 1,000 examples"], lines


def notes(run: Run) -> list[str]:
    """Return what a reader must know of the table."""
    search = run.search
    usual = {"rows": None, "scale": 1, "set": []}
    changed = [typed(f"--{name}", search[name]) for name, value in usual.items() if search[name] != value]
    found = [f"These are not the recipes as they stand, but with {', '.join(changed)}."] if changed else []
    if search["encoder"] != ENCODER:
        found.append(f"All reports start from {ENCODER}, this run from {search['encoder']}.")
    found += [f"Without figures: {fault}" for fault in failures(run)]
    found += [f"{name} is {first}: trained once." for name, first in search["trained_as"].items() if name != first]
    found += [*NOTES, f"Rounds are scored on at most {search['dev_rows']:,} dev rows a task.", *header.notes(search)]
    shown = [row for row in ROWS if row.note and set(row.recipes) & set(search["recipes"])]
    return found + [f"Report {row.report}, {title(row)}: {row.note}." for row in shown]


def write(run: Run, table: pandas.DataFrame) -> str:
    """Write the table as Markdown, with its notes, and as CSV; return the path or URI of the first."""
    head, lines = displayed(table)
    search = run.search
    text = [
        f"# {search['name']}: recipes beside their reports",
        f"Data {search['data']}, encoder {search['encoder']}, seeds from {search['seed']}: {search['seeds']}.",
        "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines]),
        "\n".join(f"- {note}" for note in notes(run)),
    ]
    run.folder.write(f"{FILE}.csv", table.to_csv(index=False))
    run.folder.write(f"{FILE}.md", "\n\n".join(text) + "\n")
    return f"{run.folder}/{FILE}.md"


def _columns(run: Run) -> list[str]:
    tasks = [task for task in TASKS if task in run.search["tasks"]]
    spread = [column for name in (*tasks, *MEANS) for column in (name, f"{name}_sd")]
    return ["recipe", "line", "row", "split", "seeds", *spread, "average", "formula", "seconds", "note"]


def _ours(found: Sequence[Result]) -> dict[str, Any]:
    """Return means and standard deviations of a recipe's figures over its seeds."""
    over_seeds = pandas.DataFrame([result.metrics | result.means for result in found])
    seconds = pandas.Series([result.seconds for result in found], dtype=float)
    line: dict[str, Any] = {"seeds": sum(bool(result.means) for result in found), "seconds": seconds.mean()}
    for name in over_seeds:
        line |= {name: over_seeds[name].mean(), f"{name}_sd": over_seeds[name].std()}
    return line


def _printed(row: Row, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the line of a printed row: of its figures those of the recipe's own tasks."""
    own = {task: figure for task, figure in figures(row).items() if task in tasks}
    means = {"overall": float(score(own, TASKS)), "plain": float(plain_mean(own))} if set(own) == set(tasks) else {}
    about = {"line": f"report {row.report}", "row": title(row), "split": row.split, "note": row.note}
    return {**about, **own, **means, "average": row.average, "formula": row.formula}


def _text(value: Any) -> str:
    if pandas.isna(value) or value == "":
        return "-"
    return printed(value) if isinstance(value, float) else str(value)


def _figure(line: dict[str, Any], name: str) -> str:
    value, spread = line[name], line[f"{name}_sd"]
    if pandas.isna(value):
        return "-"
    if line["line"] == DIFFERENCE:
        return f"{value:+.3f}"
    return f"{value:.3f}" if pandas.isna(spread) else f"{value:.3f} ±{spread:.3f}"
