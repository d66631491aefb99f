"""Test the list of printed rows and recipes that `--list` shows."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from search.reproduce.__main__ import app
from search.reproduce.printed_tables import PRINTED, UNSCORED, listing, metric_text
from trainers.recipes.registry import RECIPES, ROWS

WITHOUT_RAY = """
import sys
from search.reproduce.__main__ import app
sys.argv = ["reproduce", "--list"]
try:
    app()
finally:
    assert "ray" not in sys.modules
"""


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """Return the lines that the command prints into a pipe."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_RAY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_printed_row_is_a_line_with_all_of_its_values(listed):
    lines = listed[1 : 1 + len(ROWS)]
    assert len(ROWS) == 85
    for row, line in zip(ROWS, lines, strict=True):
        cells = line.split()
        assert cells[0] == row.report and f"{row.table}: {row.printed}" in line
        assert all(name in line for name in row.recipes) and (row.recipe or "-") in line
        metrics = [row.sst, row.qqp, row.sts, row.cfimdb, row.average]
        assert [None if cell == "-" else float(cell) for cell in cells[-6:-1]] == metrics
        assert cells[-7] == row.split and cells[-1] == (row.formula or "-")


def test_the_columns_are_aligned(listed):
    places = [listed[0].index(name) for name in ("recipe", "row", "split", "sst", "average", "formula")]
    for line in listed[1 : 1 + len(ROWS)]:
        assert all(line[place] != " " and line[place - 1] == " " for place in places)


def test_every_recipe_is_listed(listed):
    text = " ".join(listed).replace(",", " ").split()
    assert set(RECIPES) <= set(text)
    start = listed.index("In the reports, without metrics:")
    assert tuple(listed[start + 1 : start + 1 + len(UNSCORED)]) == UNSCORED


def test_the_systems_with_printed_metrics_are_those_of_the_rows():
    assert len(PRINTED) == 77
    assert set(PRINTED) == {name for row in ROWS for name in row.recipes}


def test_a_list_of_some_recipes_holds_only_their_rows():
    done = CliRunner().invoke(app, ["--list", "r001-frozen-cfimdb", "r002-sst-lambda-*"])
    assert done.exit_code == 0
    assert "Pretrain default" in done.output and "Fine-tune default" not in done.output
    assert "r002-sst-lambda-5" in done.output and "r003" not in done.output and "In no report" not in done.output
    head, lines = listing(["r000-ensemble"])
    assert [line[head.index("split")] for line in lines] == ["dev", "test"]


@pytest.mark.parametrize(("metric", "text"), [(0.5, "0.500"), (0.0493, "0.0493"), (0.7625, "0.7625"), (None, "-")])
def test_a_metric_has_three_decimals_or_as_many_as_are_printed(metric, text):
    assert metric_text(metric) == text
