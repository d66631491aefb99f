"""Test the comparison with the reports: every cell of a table calculated by hand, the files, the notes."""

import pandas
import pytest

from search.report.run_data import read_run_data
from search.report.sections import learning_curves
from search.reproduce import comparison
from search.reproduce.assumption_notes import assumption_notes
from search.reproduce.comparison import FILE, as_text, compare, notes, write
from tests.search.recipe_runs import GROUP, Training, recipe_run, set_round
from trainers.recipes.reports.printed_rows import Row

DEV = Row("009", "joint", "Table 1", "Joint [u]", "dev", 0.5, 0.8, 0.6, average=0.7, formula="overall", hours=4.5)
TEST = Row("009", "joint", "Table 2", "Joint", "test", 0.4, 0.7, 0.5, note="it is odd")
TWO = Row("009", "group/sst", "Table 3", "Both", "dev", 0.25, cfimdb=0.9, cfimdb_recipe="elsewhere")
ROWS = [DEV, TEST, TWO, Row("009", "elsewhere", "Table 1", "Other", "dev", 0.1, note="not asked for")]


@pytest.fixture
def run(tmp_path, sample_corpus_directory, systems, monkeypatch):
    """Return a run of one recipe under two seeds and of a group's member that failed under the second seed."""
    monkeypatch.setattr(comparison, "ROWS", ROWS)
    trainings = [
        *(Training("joint", 0), Training("joint", 1)),
        *(GROUP[0], Training("group/sst", 1, tasks=("sst",), reason="loss was not finite", rounds=0)),
    ]
    names = ["joint", "alias", "group/sst"]
    same = {"joint": "joint", "alias": "joint", "group/sst": "group/sst"}
    run = recipe_run(
        tmp_path / "run", sample_corpus_directory, names, trainings, seeds=2, trained_as=same, scale=0.5, rows=64
    )
    set_round(run, 0, 2, 2.0, sst=0.4, qqp=0.9, sts=0.6)
    set_round(run, 1, 2, 2.0, sst=0.6, qqp=0.9, sts=0.8)
    set_round(run, 2, 2, 2.0, sst=0.3)
    return run


def test_the_table_equals_a_table_calculated_by_hand(run):
    head, lines = as_text(compare(run))
    assert head[:10] == ["recipe", "source", "row", "split", "seeds", "sst", "qqp", "sts", "overall", "plain"]
    assert [" | ".join(line[:12]) for line in lines] == [
        # Overall under seed 0: (.4 + .9 + .8) / 3 = .7; under seed 1: (.6 + .9 + .9) / 3 = .8.
        "joint | ours | - | dev | 2 | 0.500 ±0.141 | 0.900 ±0.000 | 0.700 ±0.141 | 0.750 ±0.071 | 0.700 ±0.094 | - | -",
        "joint | report 009 | Table 1: Joint [u] | dev | - | 0.500 | 0.800 | 0.600 | 0.700 | 0.633 | 0.700 | overall",
        "joint | difference | - | dev | - | +0.000 | +0.100 | +0.100 | +0.050 | +0.067 | - | -",
        "joint | report 009 | Table 2: Joint | test | - | 0.400 | 0.700 | 0.500 | 0.617 | 0.533 | - | -",
        "alias | " + " | ".join(lines[0][1:12]),
        "group/sst | ours | - | dev | 1 | 0.300 | - | - | 0.300 | 0.300 | - | -",
        "group/sst | report 009 | Table 3: Both | dev | - | 0.250 | - | - | 0.250 | 0.250 | - | -",
        "group/sst | difference | - | dev | - | +0.050 | - | - | +0.050 | +0.050 | - | -",
    ]


def test_the_csv_file_holds_all_digits_and_the_markdown_file_table_and_notes(run):
    table = compare(run)
    path = write(run, table, [], notes(run))
    assert path == str(run.folder.local / f"{FILE}.md")
    pandas.testing.assert_frame_equal(
        pandas.read_csv(run.folder.local / f"{FILE}.csv", dtype={"seeds": "Int64"}), table.replace("", None), atol=1e-12
    )
    head, lines = as_text(table)
    text = (run.folder.local / f"{FILE}.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("|")] == [
        "| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines]
    ]
    assert [line[2:] for line in text.splitlines() if line.startswith("- ")] == notes(run)


def test_notes_name_changes_failures_equal_configs_and_remarks_on_rows(run):
    found = notes(run)
    assert found[0] == (
        "The recipes were changed by --rows 64, --scale 0.5, so their metrics do not reproduce the reports."
    )
    assert "No metrics: group/sst, seed 1: loss was not finite." in found
    assert "alias has the same config as joint, so they were trained once." in found
    assert "Report 009, Table 2: Joint: it is odd." in found
    assert not [note for note in found if "not asked for" in note]
    assert [note for note in found if "qqp metrics are contaminated" in note]


def test_a_run_of_unchanged_recipes_has_no_note_on_changes(tmp_path, sample_corpus_directory, systems):
    run = recipe_run(
        tmp_path / "run", sample_corpus_directory, ["joint"], [Training("joint")], encoder="bert-base-uncased"
    )
    assert not [note for note in notes(run) if "were changed" in note or "encoder differs" in note or "contam" in note]


def test_a_recipe_without_metrics_has_a_line(tmp_path, sample_corpus_directory, systems, monkeypatch):
    monkeypatch.setattr(comparison, "ROWS", ROWS)
    failed = [Training("joint", reason="no", rounds=0)]
    table = compare(recipe_run(tmp_path / "run", sample_corpus_directory, ["joint"], failed))
    head, lines = as_text(table)
    assert lines[0] == ["joint", "ours", "-", "dev", "0", *["-"] * (len(head) - 5)]
    assert [line[1] for line in lines] == ["ours", "report 009", "report 009"], "no difference without metrics"


def test_a_printed_row_without_a_recipe_is_in_the_table_with_its_note(run, monkeypatch):
    lone = Row("009", "", "Table 2", "Lost", "test", 0.4, 0.7, 0.5, note="it belongs to no system", hours=4.5)
    monkeypatch.setattr(comparison, "ROWS", [*ROWS, lone, Row("008", "", "Table 1", "Elsewhere", "dev", 0.1)])
    head, lines = as_text(compare(run))
    assert lines[-1][:6] == ["-", "report 009", "Table 2: Lost", "test", "-", "0.400"]
    assert dict(zip(head, lines[-1], strict=True))["printed time"] == "4.5 h"
    assert [line for line in lines if "Elsewhere" in line[2]] == []
    assert "Report 009, Table 2: Lost: it belongs to no system." in notes(run)


def test_notes_say_what_recipes_assume_and_what_another_edition_of_quora_changes(tmp_path, sample_corpus_directory):
    names = ["r004-sst-only", "r001-rrobin-full", "r001-rrobin-pre-smart", "r003-quora-first"]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, names, [Training(name) for name in names])
    rows = run.corpus().train_sizes(["qqp"])["qqp"]
    found = assumption_notes(run)
    (full,) = [note for note in found if note.startswith("r001-rrobin-full was computed")]
    assert f"for 141,506 training rows of qqp, and this run has {rows:,}" in full
    assert full.endswith(f"stage 0 has {30 * (rows // 64):,} optimiser steps in place of 66,330.")
    assert [note.split()[0] for note in found if "was computed" in note] == names[1:3]
    (losses,) = [note for note in found if "SST is a classification" in note]
    assert losses.startswith("Assumed in r004-sst-only: ")
    assert any(note.startswith("Assumed in r00?-*: AdamW") for note in found), "more recipes than are listed"
    assert set(found) <= set(notes(run))


def test_the_learning_curves_of_a_reproduction_are_named_by_recipe(run):
    plot = learning_curves(read_run_data(run)).plot
    assert plot is not None
    assert {curve.hovertemplate.partition(", round")[0] for curve in plot.data} == {  # pyright: ignore
        "joint, seed 0", "joint, seed 1", "group/sst, seed 0"
    }  # fmt: skip
