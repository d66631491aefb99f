"""Test the prediction files of ensembles of recipes, written with the weights of trained models."""

import shutil

import numpy as np
import pytest
from scipy import stats

from search.reproduce.ensemble_files import write_ensembles
from search.reproduce.results import results
from search.reproduce.run_reproduction import prepare_reproduction
from search.runs import search_record
from search.runs.kept_checkpoints import best_rounds
from search.runs.run import Run
from search.runs.search_record import Reproduction, RequestedSettings
from search.tune.slots import Slots
from tests.search.example_run import trained_run
from tests.search.recipe_runs import Training, recipe_run, record_training
from trainers.evaluation.predictions import read_submission
from trainers.folder import Folder
from trainers.recipes.registry import RECIPES
from trainers.recipes.systems import EnsembleOf

FILES = {"sst": "sst", "qqp": "para", "sts": "sts"}
PAIR = EnsembleOf(("joint", "other"), "vote_median")
pytestmark = pytest.mark.usefixtures("systems")


@pytest.fixture
def run(tmp_path, sample_corpus_directory, monkeypatch) -> Run:
    """Train two models; record them as the trainings of an ensemble of two recipes."""
    monkeypatch.setitem(RECIPES, "pair", lambda: PAIR)
    run = trained_run(tmp_path / "run", sample_corpus_directory)
    for number, name in enumerate(PAIR.members):
        record_training(run, number, name, 0)
    own = Reproduction(recipes=("joint", "pair"), trained_as={name: name for name in PAIR.members})
    search_record.write_search(run.folder, run.search.replace(reproduction=own))
    return Run(run.folder)


def predicted(run: Run, name: str) -> tuple[list[str], np.ndarray]:
    """Read a prediction file of the ensemble."""
    return read_submission(run.folder.read(f"reproduction/pair/seed-0/{name}-output.csv").decode())


def test_the_files_hold_all_rows_and_their_dev_metrics_are_those_of_the_table(run):
    folder = run.folder / "reproduction" / "pair" / "seed-0"
    assert write_ensembles(run) == [f"Prediction files of pair/seed-0, with all dev and test rows: {folder}."]
    assert set(folder.names()) == {f"{name}-{split}-output.csv" for name in FILES.values() for split in ("dev", "test")}
    (result,), corpus = results(run)["pair"], run.corpus()
    for task, name in FILES.items():
        ids, values = predicted(run, f"{name}-dev")
        dev = corpus.splits[task]["dev"]
        assert ids == dev.ids
        expected = stats.pearsonr(values, dev.labels)[0] if task == "sts" else np.mean(values == dev.labels)
        assert result.metrics[task] == pytest.approx(expected, abs=1e-5)
        assert predicted(run, f"{name}-test")[0] == corpus.splits[task]["test"].ids
    assert not run.folder.exists("ensemble"), "the run has no ensemble of its own"


def test_without_the_weights_of_a_member_a_note_says_how_many_rounds_to_keep(run):
    lost = {round for task, round in best_rounds(run.trials()[1]).items()}
    for round in lost:
        (run.trial_folder(1) / "checkpoints").delete(f"{round:05d}")
    (note,) = write_ensembles(Run(run.folder))
    assert f"The weights of {len(lost)} of its " in note
    assert note.startswith("No prediction files of pair/seed-0: ")
    assert note.endswith(" models were not kept. Train it in a new run with --keep 6.")
    assert not run.folder.exists("reproduction")


def test_damaged_weights_of_a_member_are_named_in_a_note(run):
    round = best_rounds(run.trials()[0])["sst"]
    path = run.trial_folder(0).local / "checkpoints" / f"{round:05d}" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    (note,) = write_ensembles(run)
    assert note.startswith("No prediction files of pair/seed-0: ") and str(path) in note
    assert not run.folder.exists("reproduction")


def test_an_ensemble_with_an_unfinished_training_has_no_files_and_a_seed_of_its_own(tmp_path, sample_corpus_directory):
    trainings = [Training("joint", 5), Training("joint", 6, reason="no")]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["voted", "joint"], trainings, seed=5, seeds=2)
    assert write_ensembles(run) == [
        f"No prediction files of voted/seed-{seed}: Not all of its trainings have finished." for seed in (5, 6)
    ]


def test_a_reproduction_keeps_by_default_the_rounds_that_its_ensembles_need(
    tmp_path, tiny_encoder, user_cache, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    asked = {"encoder": str(tiny_encoder), "rows": 32, "dev_rows": 40}

    def kept(name: str, **changed) -> int | None:
        own = Reproduction(recipes=(name,), seeds=3, scale=0.01)
        settings = RequestedSettings(**asked | changed, reproduction=own)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return prepare_reproduction(Folder.at(tmp_path / "run"), settings, False, Slots(1, 1, 0)).run.search.keep

    assert kept("r002-ensemble") == 5 * 3 * 3, "five trainings of three tasks under three seeds"
    assert kept("r002-ensemble", keep=7) == 7
    assert kept("r002-concat") == 40
