"""Test options that several commands share."""

import pytest
import typer
import typer.testing

from search.dashboard.__main__ import app as dashboard
from search.ensemble.__main__ import app as ensemble
from search.options import from_environment


def test_env_in_place_of_a_url_is_read_from_the_environment_in_options_and_in_lists(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLACE", "s3://KEY:SECRET@bucket/runs")
    assert from_environment("env:PLACE") == "s3://KEY:SECRET@bucket/runs"
    assert from_environment(["env:PLACE", "first"]) == ["s3://KEY:SECRET@bucket/runs", "first"]
    assert from_environment(None) is None and from_environment("./env:PLACE") == "./env:PLACE"


@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        (dashboard, ["env:NOT_SET"]),
        (dashboard, ["first", "--study", "env:NOT_SET"]),
        (ensemble, ["first", "env:NOT_SET"]),
        (ensemble, ["first", "--storage", "env:NOT_SET"]),
    ],
)
def test_a_variable_that_is_not_set_is_a_usage_error(app: typer.Typer, arguments: list[str]):
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "the environment variable 'NOT_SET' is not set" in " ".join(done.output.split())
