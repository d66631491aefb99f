"""Test our metrics of classes beside the printed ones, against counts of the predictions' files."""

import numpy as np
import pytest

from search.reproduce.class_tables import HEAD, ClassComparison, compare_classes
from search.reproduce.comparison import compare, notes, write
from search.reproduce.run_reproduction import print_comparison
from search.runs.run import Run
from tests.search.recipe_runs import Training, recipe_run, set_round
from trainers.evaluation.predictions import read_predictions

RELATIONAL, BREGMAN = "r001-rrobin-full-rlayer", "r003-smart-sst-bregman"


def counted(run: Run, number: int, round: int, label: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 of a class of SST in a round."""
    ids, outputs = read_predictions(run.trial_folder(number) / "predictions", f"{round:05d}-sst.parquet")
    dev = run.corpus().splits["sst"]["dev"]
    assert ids == dev.ids
    predicted, true = outputs.argmax(axis=-1) == label, dev.labels == label
    right = (predicted & true).sum()
    return right / predicted.sum(), right / true.sum(), 2 * right / (predicted.sum() + true.sum())


def test_each_class_has_our_metrics_of_the_best_round_beside_the_printed_ones(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [BREGMAN, "r003-mlm"], [Training(BREGMAN)])
    set_round(run, 0, 2, 2.0)
    lines = compare_classes(run).lines
    assert [line[:3] for line in lines[:2]] == [[BREGMAN, "0: negative", source] for source in ("ours", "report 003")]
    assert [line[2] for line in lines] == ["ours", "report 003"] * 5
    for label in range(5):
        expected = counted(run, 0, 2, label)
        assert [float(cell) for cell in lines[2 * label][3:]] == pytest.approx(expected, abs=5e-4)
    assert [line[3:] for line in lines[1::2]] == [
        ["0.474", "0.324", "-"], ["0.548", "0.512", "-"], ["0.397", "0.489", "-"], ["0.548", "0.487", "-"],
        ["0.500", "0.624", "-"],
    ]  # fmt: skip


def test_several_seeds_have_mean_and_deviation_and_an_unfinished_one_does_not_count(tmp_path, sample_corpus_directory):
    trainings = [Training(RELATIONAL, 0), Training(RELATIONAL, 1), Training(RELATIONAL, 2, reason="no", rounds=1)]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [RELATIONAL], trainings, seeds=3)
    for number in (0, 1):
        set_round(run, number, 3, 2.0)
    values = np.array([counted(run, number, 3, 4) for number in (0, 1)])
    cells = [f"{mean:.3f} ±{sd:.3f}" for mean, sd in zip(values.mean(0), values.std(0, ddof=1), strict=True)]
    assert compare_classes(run).lines[8:] == [
        [RELATIONAL, "4: positive", "ours", *cells],
        [RELATIONAL, "4: positive", "report 001", "0.740", "0.300", "0.430"],
    ]


def test_without_a_finished_training_the_printed_metrics_are_shown_alone(tmp_path, sample_corpus_directory):
    failed = [Training(RELATIONAL, reason="no", rounds=0)]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [RELATIONAL], failed)
    found = compare_classes(run)
    assert found.lines[0] == [RELATIONAL, "0: negative", "ours", "-", "-", "-"]
    assert found.notes == [
        f"Report 001, classes of sst of {RELATIONAL}: of its dev rows 12.6, 26.2, 20.8, 25.3 and 14.9 % are in these "
        "classes."
    ]


def test_notes_say_what_is_printed_beside_the_table_and_the_same_of_our_model(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [BREGMAN], [Training(BREGMAN)])
    set_round(run, 0, 2, 2.0)
    _, outputs = read_predictions(run.trial_folder(0) / "predictions", "00002-sst.parquet")
    labels = run.corpus().splits["sst"]["dev"].labels.astype(int)
    away = np.abs(outputs.argmax(axis=-1) - labels)
    *first, last = [f"{100 * share:.1f}" for share in np.bincount(labels) / len(labels)]
    (note,) = compare_classes(run).notes
    assert note == (
        f"Report 003, classes of sst of {BREGMAN}: 70 to 93 % of its errors are in an adjacent class. "
        f"Of our dev rows {', '.join(first)} and {last} % are in these classes; "
        f"{(away == 1).sum() / (away > 0).sum():.0%} of our errors are in an adjacent class."
    )
    assert note in notes(run, [note])


def test_the_markdown_file_has_the_table_of_classes_only_if_a_report_prints_one(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [BREGMAN], [Training(BREGMAN)])
    write(run, compare(run), compare_classes(run).lines, notes(run))
    text = run.folder.read("reproduction.md").decode()
    assert "\n\n| " + " | ".join(HEAD) + " |\n" in text
    assert f"\n| {BREGMAN} | 4: positive | report 003 | 0.500 | 0.624 | - |\n\n- " in text
    plain = recipe_run(tmp_path / "plain", sample_corpus_directory, ["r003-mlm"], [Training("r003-mlm")])
    assert compare_classes(plain) == ClassComparison([], [])
    write(plain, compare(plain), [], notes(plain))
    assert "precision" not in plain.folder.read("reproduction.md").decode()


def test_a_damaged_file_of_predictions_costs_only_the_table_that_needs_it(tmp_path, sample_corpus_directory, capsys):
    trainings = [Training(BREGMAN), Training(RELATIONAL)]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, [BREGMAN, RELATIONAL], trainings)
    set_round(run, 0, 2, 2.0)
    (run.trial_folder(0) / "predictions").write("00002-sst.parquet", b"damaged")
    found = compare_classes(run)
    assert {line[0] for line in found.lines} == {RELATIONAL} and len(found.notes) == 1
    (note,) = run.notes
    assert note.startswith(f"The metrics of the classes of sst of {BREGMAN} are left out: ")
    assert "00002-sst.parquet" in note
    print_comparison(run, ["a further note"])
    assert capsys.readouterr().out.splitlines()[-3:-1] == ["a further note", note]
    assert note in run.folder.read("reproduction.md").decode()
