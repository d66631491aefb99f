"""Test what the sections of the report show of a run that was written by hand."""

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import tokenizers
from optuna.trial import TrialState

from search.report.page import render
from search.report.search_plots import scored_study
from search.runs.objectives import study_directions
from search.runs.pareto import pareto_front
from search.runs.run import Run
from search.runs.trial_record import Clone
from tests.json_files import read_json
from tests.search.example_run import PARAMETERS, TASK_NAMES, ExampleTrial, candidate_file, example_run, tokenizer
from tests.search.report.pages import Page
from trainers.data.prepare import prepare
from trainers.evaluation.predictions import read_predictions, submission, write_predictions
from trainers.tasks import TASKS


def best(run):
    """Return the best trial and the row of its best round."""
    rows = [(trial, row) for trial in run.trials() for row in trial.rows]
    return max(rows, key=lambda found: found[1].score)


@pytest.fixture(scope="module")
def page(run):
    return Page(render(run))


def test_trials_are_ranked_by_their_best_round(run, page):
    best = {trial.number: max(row.score for row in trial.rows) for trial in run.trials() if trial.rows}
    ranked = sorted(best, key=lambda number: -best[number])
    start = next(place for place, row in enumerate(page.rows) if row[:2] == ["place", "trial"])
    assert page.rows[start][4:7] == list(TASK_NAMES)
    assert sorted(PARAMETERS) == page.rows[start][9:]
    for place, number in enumerate(ranked, start=1):
        assert page.rows[start + place][:4] == [
            str(place),
            str(number),
            run.trials()[number].state.lower(),
            f"{best[number]:.4f}",
        ]


def test_the_values_of_the_ensemble_and_of_the_best_single_model_are_those_of_the_metrics_file(run, page):
    metrics = read_json(run.folder, "ensemble/metrics.json")
    rows = {row[0]: row for row in page.rows if len(row) == 7}
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


def test_members_and_failures_are_listed(run, page):
    members = read_json(run.folder, "ensemble/members.json")["members"]
    for member in members["sst"]:
        assert f"{member['trial']}.{member['round']} ({member['weight']:.2f})" in page.text
    assert "the loss is <not> finite" in page.text
    assert "4: 2 complete, 1 fail, 1 pruned" in page.text


def test_confusion_and_class_metrics_of_the_best_round_equal_those_of_scikit_learn(run, page):
    trial, row = best(run)
    ids, outputs = read_predictions(*candidate_file(run, trial.number, row.round, "sst"))
    labels, predicted = run.corpus().splits["sst"]["dev"].labels, outputs.argmax(axis=-1)
    expected = np.array(sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=range(5)))
    name = f"trial {trial.number}, round {row.round}"
    start = next(place for place, row in enumerate(page.rows) if row[:2] == ["", name]) + 2
    for label, metrics in enumerate(expected.T):
        shown = [str(label), *[f"{metric:.2f}" for metric in metrics[:3]], f"{metrics[3]:.0f}"]
        assert page.rows[start + label] == shown
    wrong = labels != predicted
    adjacent = (abs(labels - predicted)[wrong] == 1).mean()
    remark = f"{name}: {len(ids)} labelled rows; {adjacent:.0%} of the wrong predictions are off by one class."
    assert remark in page.text


def test_the_worst_rows_are_shown_with_their_text(run, page):
    trial, row = best(run)
    ids, outputs = read_predictions(*candidate_file(run, trial.number, row.round, "sts"))
    dev = run.corpus().splits["sts"]["dev"]
    errors = outputs[:, 0] - dev.labels
    worst = int(abs(errors).argmax())
    words = [tokenizers.Tokenizer.from_str(tokenizer()).decode(side[worst].tolist()) for side in dev.texts]
    shown = [row for row in page.rows if len(row) == 5 and row[3] == f"{errors[worst]:+.2f}"]
    assert [" ".join(row[0].split()) for row in shown] == [" ".join(words)]
    assert ids[worst] == dev.ids[worst]


def test_predictions_costs_and_gradient_ratios_are_shown(page):
    assert "Most wrong: trial" in page.text
    assert page.text.count("Most right: trial") == len(TASK_NAMES)
    assert ["model", "Pearson r", "mean error", "standard deviation of the errors", "largest error"] in page.rows
    assert ["parameter", "value", "trials", "s per 1,000 examples"] in page.rows
    assert "training, s per epoch" in page.text
    assert "In the median round, smart of sst is inert" in page.text
    assert ["qqp.smart", "0.2", "0.2", "0.2", "0.2"] in page.rows


def test_the_ensembles_predictions_are_shown_beside_those_of_the_best_round(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "example", sample_corpus_directory, [ExampleTrial(0)])
    dev = run.corpus().splits["sst"]["dev"]
    same = submission(TASKS["sst"], dev.ids, np.eye(5)[[2] * len(dev)])
    run.folder.write("ensemble/predictions/sst-dev-output.csv", same)
    page = Page(render(run))
    assert f"ensemble: {len(dev)} labelled rows; every prediction is 2;" in page.text
    assert ["", "trial 0, round 3", "ensemble"] in page.rows


def test_constant_labels_and_predictions_are_remarked_and_markup_in_rows_is_shown_as_text(tmp_path):
    hostile = "<script>alert('x')</script> \"quoted\" & <b>bold</b> </td>"
    run = run_with_equal_rows(tmp_path, hostile)
    for task, outputs in (("sst", np.eye(5)[[1] * 6]), ("sts", np.full((6, 1), 4.5))):
        place, name = candidate_file(run, 0, 3, task)
        write_predictions(place, name, read_predictions(place, name)[0], outputs)
    text = render(run)
    shown = Page(text).text
    assert "6 labelled rows; every label is 3, so the metrics say little; every prediction is 1;" in shown
    assert "6 labelled rows; every label is 2.5, so the metrics say little; every prediction is 4.5." in shown
    assert hostile in shown
    assert hostile.split()[0] not in text
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text))


def run_with_equal_rows(place: Path, sentence: str) -> Run:
    """Write a run on six rows of SST and six of STS, all with the same text and label."""
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


def test_stopped_trials_count_with_their_best_score_in_the_plots_of_parameters(run):
    scored = scored_study(run.trials(), "score").trials
    values = [max(trial.scores.values()) for trial in run.trials() if trial.scores]
    assert [trial.value for trial in scored] == values
    assert len(scored) == 3


def trials_on_front(run: Run) -> set[int]:
    """Return the numbers of the finished trials on the Pareto front."""
    finished = [trial for trial in run.trials() if trial.state == "COMPLETE"]
    values = np.array([trial.values for trial in finished]) * [
        1 if direction == "maximize" else -1 for direction in study_directions(run.objectives)
    ]
    return {trial.number for trial, on_front in zip(finished, pareto_front(values), strict=True) if on_front}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_trials_on_the_pareto_front_are_listed_and_plotted_for_at_most_three_objectives(
    tmp_path, sample_corpus_directory, count
):
    objectives = ["score", "seconds", "parameters", "sst"][:count]
    trials = [ExampleTrial(0, skill=1.5), ExampleTrial(1, skill=1.2), ExampleTrial(2, rounds=1, skill=0.5)]
    run = example_run(tmp_path / "run", sample_corpus_directory, trials, objective=objectives)
    for number, seconds in enumerate((3.0, 2.0, 4.0)):
        record = read_json(run.trial_folder(number), "trial.json")
        values = {"score": 0.9 - 0.1 * number, "seconds": seconds, "parameters": 1000, "sst": 0.5}
        run.trial_folder(number).write_json("trial.json", record | {"values": [values[name] for name in objectives]})
    assert trials_on_front(run) == {0, 1}
    section = render(run).split('id="pareto-front"')[1].split("<h2")[0]
    cells = [line.split("</td>")[0].strip() for line in section.split("<tr>")[2:]]
    assert [cell.removeprefix("<td>") for cell in cells] == ["0", "1"]
    assert ('id="plot-' in section) == (count <= 3)


def test_without_finished_trials_the_pareto_section_says_so(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "run", sample_corpus_directory, [], objective=["score", "seconds"])
    assert "No trial has finished yet" in render(run)


def test_with_one_objective_the_report_has_no_pareto_section(tmp_path, sample_corpus_directory):
    assert "Pareto" not in render(example_run(tmp_path / "run", sample_corpus_directory, []))


def test_the_report_tells_that_the_best_trial_continues_a_stopped_one(tmp_path, sample_corpus_directory):
    stopped, best = ExampleTrial(0, TrialState.PRUNED, rounds=1, reason="stopped early"), ExampleTrial(1, skill=9.0)
    run = example_run(tmp_path / "continued", sample_corpus_directory, (stopped, best))
    record = read_json(run.trial_folder(1), "trial.json")
    run.trial_folder(1).write_json("trial.json", record | {"clone": asdict(Clone(0, 1, 100, replaced=0))})
    shown = Page(render(Run(run.folder))).text
    assert "Training began in trial 0, which early stopping had stopped after round 1." in shown
    assert "it continued as trial 1, with the same parameters." in shown and "with other parameters" not in shown
    assert "2: 1 complete, 1 pruned; 1 of them continue stopped trials" in shown
