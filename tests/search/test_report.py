import html
import re
from html.parser import HTMLParser

import pytest
import typer.testing
from optuna.trial import TrialState

from search.ensemble import choose
from search.ensemble import write as write_ensemble
from search.figures import judged_study
from search.report import CONTAMINATED, GENERATED, LEAKS, app, render, write
from search.runs import rebuild_study
from tests.search.example_run import PARAMETERS, TASK_NAMES, ExampleTrial, example_run

VOID = {"meta", "br", "link"}
NASTY = "</script><script>alert('x')</script><b>"


class Page(HTMLParser):
    """What a page loads, the ids it defines, and its tables; raises if tags do not pair."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.ids, self.rows, self.text = [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)
            if self.open[-2:] and ("td" in self.open or "th" in self.open):
                self.rows[-1][-1] += data.strip() + " "


@pytest.fixture(scope="module")
def run(tmp_path_factory, sample_corpus_directory):
    run = example_run(tmp_path_factory.mktemp("runs") / "example", sample_corpus_directory)
    write_ensemble(run, choose([run]))
    return run


@pytest.fixture(scope="module")
def text(run):
    return render(run)


def test_the_report_is_one_file_that_loads_nothing(text):
    page = Page(text)
    assert page.loads == []
    assert text.count("plotly.js v") == 1
    assert "@import" not in text.split("<body>")[0].split("<script>")[0]


def test_every_figure_is_drawn_into_its_place(text):
    assert set(Page(text).ids) >= {"comparison", "curves", "importances", "slices", "parallel"}
    assert text.count("Plotly.newPlot(") - text.split("<body>")[0].count("Plotly.newPlot(") == 5


def test_the_same_run_gives_the_same_report(run, text):
    assert render(run) == text


def test_trials_are_ranked_by_their_best_round(run, text):
    best = {trial.number: max(row["score"] for row in trial.rows) for trial in run.trials() if trial.rows}
    ranked = sorted(best, key=lambda number: -best[number])
    rows = [[cell.strip() for cell in row] for row in Page(text).rows]
    start = next(place for place, row in enumerate(rows) if row[:2] == ["place", "trial"])
    assert rows[start][4:7] == list(TASK_NAMES)
    assert sorted(PARAMETERS) == rows[start][9:]
    for place, number in enumerate(ranked, start=1):
        assert rows[start + place][:4] == [
            str(place),
            str(number),
            run.trials()[number].state.lower(),
            f"{best[number]:.4f}",
        ]


def test_the_figures_of_ensemble_and_best_single_run_are_those_of_the_metrics(run, text):
    metrics = run.folder.read_json("ensemble/metrics.json")
    rows = {row[0].strip(): row for row in Page(text).rows if len(row) == 7}
    for name, entry in (
        ("sst: accuracy", metrics["sst"]),
        ("sts: Pearson r", metrics["sts"]),
        ("score", metrics["score"]),
    ):
        shown = [cell.split()[0] for cell in rows[name][2:]]
        expected = [
            entry["best_single"]["dev"],
            entry["dev"],
            entry["best_single"]["cross_fitted"],
            entry["cross_fitted"],
        ]
        assert shown == [f"{value:.4f}" for value in expected] + [f"{entry['gain']:+.4f}"]


def test_members_and_failures_are_told(run, text):
    shown = " ".join(Page(text).text)
    members = run.folder.read_json("ensemble/members.json")["members"]
    for member in members["sst"]:
        assert f"{member['trial']}.{member['round']} ({member['weight']:.2f})" in shown
    assert "the loss is <not> finite" in shown
    assert "4, 2 complete, 1 fail, 1 pruned" in shown


def test_stopped_trials_count_with_their_best_score(run):
    judged = judged_study(rebuild_study(run)).trials
    values = [max(trial.judged.values()) for trial in run.trials() if trial.judged]
    assert [trial.value for trial in judged] == values
    assert len(judged) == 3


FEW = {
    "no trial": [],
    "one that failed at once": [ExampleTrial(0, TrialState.FAIL, rounds=0, reason="out of memory")],
    "one that is running": [ExampleTrial(0, TrialState.RUNNING, rounds=0)],
    "one": [ExampleTrial(0)],
    "one without parameters": [ExampleTrial(0, parameters=0)],
    "one that was stopped": [ExampleTrial(0, TrialState.PRUNED, rounds=1)],
    "two with one parameter": [ExampleTrial(0, parameters=1), ExampleTrial(1, TrialState.PRUNED, parameters=1)],
}


@pytest.mark.parametrize("trials", FEW.values(), ids=FEW.keys())
def test_what_there_is_too_little_of_is_told_in_words(tmp_path, sample_corpus_directory, trials):
    page = Page(render(example_run(tmp_path / "few", sample_corpus_directory, trials)))
    shown = " ".join(page.text)
    assert "There is no ensemble yet" in shown
    judged = [trial for trial in trials if trial.rounds]
    assert ("No trial has finished a round yet" in shown) == (not judged)
    assert ("curves" in page.ids) == bool(judged)
    assert ("importances" in page.ids) == (len(judged) > 1)
    assert "parallel" not in page.ids


def test_what_users_and_trials_wrote_is_text_and_never_markup(tmp_path, sample_corpus_directory):
    trial = ExampleTrial(0, TrialState.FAIL, rounds=1, reason=NASTY)
    run = example_run(tmp_path / "a <b> run", sample_corpus_directory, [trial, ExampleTrial(1)], space=NASTY)
    for number in (0, 1):
        folder = run.trial_folder(number)
        record = folder.read_json("trial.json")
        choices = f'{{"name": "CategoricalDistribution", "attributes": {{"choices": ["{NASTY}", "{NASTY}2"]}}}}'
        record["params"]["note"] = NASTY + "2" * number
        record["distributions"]["note"] = choices
        folder.write_json("trial.json", record)
    text = render(run)
    assert NASTY not in text
    assert text.count(html.escape(NASTY, quote=True).replace("&#x27;", "&#39;")) >= 3
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text))
    Page(text)


@pytest.mark.parametrize(
    ("encoder", "data", "expected"),
    [
        ("minilm", "sample", {GENERATED, CONTAMINATED}),
        ("minilm:3", "../data", {LEAKS, CONTAMINATED}),
        ("bert-base-uncased", "hub", set()),
    ],
)
def test_notes_say_what_the_figures_are_worth(tmp_path, sample_corpus_directory, encoder, data, expected):
    run = example_run(tmp_path / "noted", sample_corpus_directory, encoder=encoder, data=data)
    shown = " ".join(Page(render(run)).text)
    assert {note for note in (GENERATED, LEAKS, CONTAMINATED) if note in shown} == expected


def test_the_command_prints_where_the_report_is(run):
    done = typer.testing.CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 0, done.output
    path = done.stdout.splitlines()[-1]
    assert path == write(run)
    assert run.folder.read("report.html").decode() == render(run)
