"""The report of a run that was written by hand, and of one with nothing in it."""

import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn.metrics
import tokenizers
import typer.testing
from optuna.trial import TrialState

from search.ensemble.build import write as write_ensemble
from search.ensemble.choose import choose
from search.report.__main__ import app
from search.report.page import CONTAMINATED, GENERATED, LEAKS, render, write
from search.report.search_plots import judged_study
from tests.search.example_run import PARAMETERS, TASK_NAMES, ExampleTrial, candidate_file, example_run, tokenizer
from trainers.data.prepare import prepare
from trainers.evaluation.predictions import read_predictions, submission, write_predictions
from trainers.tasks import TASKS

VOID = {"meta", "br", "link"}
NASTY = "</script><script>alert('x')</script><b>"


class Page(HTMLParser):
    """What a page loads, the ids it defines, and its tables; raises if tags do not pair."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.points, self.ids, self.rows, self.text = [], [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        links = [value or "" for name, value in attrs if name in ("src", "href")]
        self.loads += [value for value in links if not value.startswith("#")]
        self.points += [value[1:] for value in links if value.startswith("#")]
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


def cells(page):
    return [[cell.strip() for cell in row] for row in page.rows]


def flat(page):
    """The page's text, a blank between any two words."""
    return " ".join(" ".join(page.text).split())


def best(run):
    """The best trial and the row of its best round."""
    rows = [(trial, row) for trial in run.trials() for row in trial.rows]
    return max(rows, key=lambda found: found[1]["score"])


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
    figures = {"comparison", "curves", "importances", "slices", "parallel", "trade"}
    figures |= {f"answers-{task}" for task in TASK_NAMES}
    assert set(Page(text).ids) >= figures
    assert text.count("Plotly.newPlot(") - text.split("<body>")[0].count("Plotly.newPlot(") == len(figures)


def test_every_link_leads_to_a_section_and_no_name_is_given_twice(text):
    page = Page(text)
    assert set(page.points) <= set(page.ids)
    assert len(page.points) == text.count("<h2")
    assert len(set(page.ids)) == len(page.ids)


def test_the_same_run_gives_the_same_report(run, text):
    assert render(run) == text


def test_trials_are_ranked_by_their_best_round(run, text):
    best = {trial.number: max(row["score"] for row in trial.rows) for trial in run.trials() if trial.rows}
    ranked = sorted(best, key=lambda number: -best[number])
    rows = cells(Page(text))
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


def test_confusion_and_class_figures_are_those_of_scikit_learn_on_the_best_round(run, text):
    trial, row = best(run)
    ids, outputs = read_predictions(*candidate_file(run, trial.number, row["round"], "sst"))
    labels, predicted = run.corpus().splits["sst"]["dev"].labels, outputs.argmax(axis=-1)
    expected = np.array(sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=range(5)))
    page, name = Page(text), f"trial {trial.number}, round {row['round']}"
    rows = cells(page)
    start = next(place for place, row in enumerate(rows) if row[:2] == ["", name]) + 2
    for label, figures in enumerate(expected.T):
        assert rows[start + label] == [str(label), *[f"{figure:.2f}" for figure in figures[:3]], f"{figures[3]:.0f}"]
    wrong = labels != predicted
    adjacent = (abs(labels - predicted)[wrong] == 1).mean()
    assert f"{name}: {len(ids)} labelled rows; {adjacent:.0%} of the errors fall in an adjacent class." in flat(page)


def test_the_worst_rows_are_told_with_their_text(run, text):
    trial, row = best(run)
    ids, outputs = read_predictions(*candidate_file(run, trial.number, row["round"], "sts"))
    dev = run.corpus().splits["sts"]["dev"]
    errors = outputs[:, 0] - dev.labels
    worst = int(abs(errors).argmax())
    words = [tokenizers.Tokenizer.from_str(tokenizer()).decode(side[worst].tolist()) for side in dev.texts]
    shown = [row for row in Page(text).rows if len(row) == 5 and row[3].strip() == f"{errors[worst]:+.2f}"]
    assert [" ".join(row[0].split()) for row in shown] == [" ".join(words)]
    assert ids[worst] == dev.ids[worst]


def test_every_part_of_the_analysis_is_in_the_report(text):
    page = Page(text)
    shown = flat(page)
    assert "Most wrong: trial" in shown
    assert shown.count("Most right: trial") == len(TASK_NAMES)
    assert ["model", "Pearson r", "mean error", "spread of the errors", "worst error"] in cells(page)
    assert ["parameter", "value", "trials", "s per 1,000 examples"] in cells(page)
    assert "training, s an epoch's worth" in shown
    assert "In the median round, smart of sst is inert" in shown
    assert ["qqp.smart", "0.2", "0.2", "0.2", "0.2"] in cells(page)


def test_what_the_ensemble_answers_stands_beside_the_best_round(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory, [ExampleTrial(0)])
    dev = run.corpus().splits["sst"]["dev"]
    same = submission(TASKS["sst"], dev.ids, np.eye(5)[[2] * len(dev)])
    run.folder.write("ensemble/predictions/sst-dev-output.csv", same)
    page = Page(render(run))
    assert f"ensemble: {len(dev)} labelled rows; every row gets the same answer, 2;" in flat(page)
    assert ["", "trial 0, round 3", "ensemble"] in cells(page)


def test_rows_of_one_label_and_constant_answers_are_told_in_words_and_hostile_texts_are_text(tmp_path):
    hostile = "<script>alert('x')</script> \"quoted\" & <b>bold</b> </td>"
    run = course_run(tmp_path, hostile)
    for task, outputs in (("sst", np.eye(5)[[1] * 6]), ("sts", np.full((6, 1), 4.5))):
        place, name = candidate_file(run, 0, 3, task)
        write_predictions(place, name, read_predictions(place, name)[0], outputs)
    text = render(run)
    shown = flat(Page(text))
    assert "6 labelled rows; every label is 3, so nothing is told apart; every row gets the same answer, 1;" in shown
    assert (
        "6 labelled rows; every label is 2.5, so nothing is told apart; every row gets the same answer, 4.5." in shown
    )
    assert hostile in shown
    assert hostile.split()[0] not in text
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text))


def course_run(place, sentence):
    """A run on six rows of SST and of STS with one label each, all of the same text."""
    for prefix, columns, row in (
        ("ids-sst", "id\tsentence\tsentiment", [sentence, "3"]),
        ("sts", "id\tsentence1\tsentence2\tsimilarity", [sentence, sentence, "2.5"]),
    ):
        quoted = "\t".join('"' + cell.replace('"', '""') + '"' for cell in row)
        for split in ("train", "dev"):
            lines = [columns, *[f"{split}{number}\t{quoted}" for number in range(6)]]
            (place / f"{prefix}-{split}.csv").write_text("\n".join(lines) + "\n")
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    words |= {word: number for number, word in enumerate(dict.fromkeys(sentence.split()), start=5)}
    whole = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    whole.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    corpus, _ = prepare(str(place), whole.to_str(), rows=None, seed=0, cache=place / "cache")
    run = example_run(place / "run", corpus, [ExampleTrial(0, tasks=("sst", "sts"))], tasks=["sst", "sts"])
    run.folder.write("encoder/tokenizer.json", whole.to_str())
    return run


def test_a_run_without_predictions_or_tokenizer_has_a_report(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory)
    run.folder.delete("encoder")
    assert "cannot be shown as text" in flat(Page(render(run)))
    for trial in run.trials():
        trial.folder.delete("predictions")
    assert "There are no predictions of sst" in flat(Page(render(run)))


def test_stopped_trials_count_with_their_best_score(run):
    judged = judged_study(run.trials(), "score").trials
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
