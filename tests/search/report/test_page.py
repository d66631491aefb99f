"""Test the page as a whole: one file without loads, safe against markup in names and texts, complete for any run."""

import html
import json
import re
import shlex

import pytest
import typer.testing
from optuna.trial import TrialState

from search.report.__main__ import app
from search.report.page import render, write
from search.report.run_data import read_run_data
from search.report.sections import SECTIONS, ranking
from search.runs import search_record
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import Run, write_table
from tests.json_files import read_json
from tests.search.example_run import TASK_NAMES, ExampleTrial, example_run
from tests.search.report.pages import Page

HOSTILE = "</script><script>alert('x')</script><b>"


@pytest.fixture(scope="module")
def text(run):
    return render(run)


def test_the_report_is_one_file_that_loads_nothing(text):
    page = Page(text)
    assert page.loads == []
    assert text.count("plotly.js v") == 1
    assert "@import" not in text.split("<body>")[0].split("<script>")[0]


def test_every_plot_is_drawn_into_its_place(text):
    plots = {f"plot-{number}" for number in range(1, 7 + len(TASK_NAMES))}
    assert {name for name in Page(text).ids if name.startswith("plot-")} == plots
    assert text.count("Plotly.newPlot(") - text.split("<body>")[0].count("Plotly.newPlot(") == len(plots)


def test_every_section_has_a_link_and_no_id_is_given_twice(text):
    page = Page(text)
    assert page.links == [section.anchor for section in SECTIONS if section.anchor != "pareto-front"]
    assert set(page.links) <= set(page.ids)
    assert len(page.links) == text.count("<h2")
    assert len(set(page.ids)) == len(page.ids)


def test_the_same_run_gives_the_same_report(run, text):
    assert render(run) == text


def test_a_run_without_predictions_or_tokenizer_has_a_report(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory)
    run.folder.delete("encoder")
    assert "cannot be shown as text" in Page(render(run)).text
    for trial in run.trials():
        trial.folder.delete("predictions")
    assert "There are no predictions of sst" in Page(render(run)).text


def test_a_run_with_lists_as_parameters_has_a_report(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory)
    for trial in run.trials():
        record = read_json(trial.folder, "trial.json")
        text = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": [[1], [trial.number, 2]]}})
        record["params"]["hidden"], record["distributions"]["hidden"] = [trial.number, 2], text
        trial.folder.write_json("trial.json", record)
    assert "[0, 2]" in Page(render(Run(run.folder))).text
    hidden = [trial.params["hidden"] for trial in rebuild_study(Run(run.folder)).get_trials()]
    assert hidden == ["[0, 2]", "[1, 2]", "[2, 2]", "[3, 2]"]
    write_table(Run(run.folder))


SMALL_RUNS = {
    "no trial": [],
    "one trial that failed at once": [ExampleTrial(0, TrialState.FAIL, rounds=0, reason="out of memory")],
    "one running trial": [ExampleTrial(0, TrialState.RUNNING, rounds=0)],
    "one trial": [ExampleTrial(0)],
    "one trial without parameters": [ExampleTrial(0, parameters=0)],
    "one stopped trial": [ExampleTrial(0, TrialState.PRUNED, rounds=1)],
    "two trials with one parameter": [ExampleTrial(0, parameters=1), ExampleTrial(1, TrialState.PRUNED, parameters=1)],
}


@pytest.mark.parametrize("trials", SMALL_RUNS.values(), ids=SMALL_RUNS.keys())
def test_a_sentence_replaces_every_plot_for_which_a_run_is_too_small(tmp_path, sample_corpus_directory, trials):
    page = Page(render(example_run(tmp_path / "few", sample_corpus_directory, trials)))
    assert "There is no ensemble yet" in page.text
    scored = [trial for trial in trials if trial.rounds]
    assert ("No trial has finished a round yet" in page.text) == (not scored)
    assert ("Importances need at least two trials" in page.text) == (len(scored) < 2)
    assert "All parameters at once" not in page.text
    assert ("plot-1" in page.ids) == bool(scored)


def test_markup_in_names_parameters_and_reasons_is_shown_as_text(tmp_path, sample_corpus_directory):
    trial = ExampleTrial(0, TrialState.FAIL, rounds=1, reason=HOSTILE)
    run = example_run(tmp_path / "a <b> run", sample_corpus_directory, [trial, ExampleTrial(1)], space=HOSTILE)
    for number in (0, 1):
        folder = run.trial_folder(number)
        record = read_json(folder, "trial.json")
        choices = f'{{"name": "CategoricalDistribution", "attributes": {{"choices": ["{HOSTILE}", "{HOSTILE}2"]}}}}'
        record["params"]["note"] = HOSTILE + "2" * number
        record["distributions"]["note"] = choices
        folder.write_json("trial.json", record)
    text = render(run)
    assert HOSTILE not in text
    assert text.count(html.escape(HOSTILE, quote=True).replace("&#x27;", "&#39;")) >= 3
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text))
    Page(text)


def test_the_commands_of_the_report_are_quoted_for_a_shell(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "it's a run; $(true)", sample_corpus_directory)
    search_record.write_search(run.folder, run.search.replace(data="/data/it's here", rows=7))
    run, train = Run(run.folder), ["python", "-m", "trainers.fit"]
    choose = html.unescape(re.findall(r"<code>(python -m search.ensemble .*?)</code>", render(run))[0])
    assert shlex.split(choose) == ["python", "-m", "search.ensemble", str(run.folder)]
    found = ranking(read_run_data(run))
    config = f"{run.trial_folder(found.ranked[0].trial.number)}/config.json"
    assert shlex.split(found.retrain) == [
        *train,
        config,
        "--data",
        "/data/it's here",
        "--rows",
        "7",
        "--dev-rows",
        "1200",
    ]


def test_the_command_prints_the_path_of_the_report(run):
    done = typer.testing.CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 0, done.output
    path = done.stdout.splitlines()[-1]
    assert path == write(run)
    assert run.folder.read("report.html").decode() == render(run)


def test_the_command_writes_both_files_into_another_folder(run, tmp_path):
    done = typer.testing.CliRunner().invoke(app, [str(run.folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "trials.parquet"}


def test_a_table_that_cannot_be_written_does_not_prevent_the_report(run, tmp_path):
    (tmp_path / "trials.parquet" / "in the way").mkdir(parents=True)
    done = typer.testing.CliRunner().invoke(app, [str(run.folder), "--out", str(tmp_path)])
    assert done.exit_code != 0 and (tmp_path / "report.html").exists(), done.output
