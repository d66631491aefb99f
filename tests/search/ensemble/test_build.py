"""Test the command that chooses a run's ensemble again and writes its files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer.testing

from search.ensemble import build as build_module
from search.ensemble.__main__ import app
from search.ensemble.build import gain_sentence
from search.ensemble.estimates import Estimate
from search.ensemble.members import read_ensemble
from search.runs.lock import locked
from search.runs.run import Run
from tests.search.example_run import TASK_NAMES
from trainers.folder import Folder
from trainers.tasks import TASKS


def test_the_command_writes_an_ensemble_that_predicts_dev_and_test(trained):
    place = Path(str(trained.folder))
    arguments = [place.name, "--strategy", "soft_vote", "--storage", str(place.parent)]
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "\nGain of the ensemble's score over the best single model, cross-fitted: " in done.output
    assert read_ensemble(trained).strategy == "soft_vote"
    corpus = trained.corpus()
    for task in TASK_NAMES:
        for split in ("dev", "test"):
            ids = [line.split(" , ")[0] for line in prediction_lines(trained, task, split)]
            assert ids == corpus.splits[task][split].ids
        metrics = json.loads(trained.folder.read("ensemble/metrics.json"))
        values = np.array([float(line.split(" , ")[1]) for line in prediction_lines(trained, task, "dev")])
        labels = corpus.splits[task]["dev"].labels
        metric = np.corrcoef(values, labels)[0, 1] if task == "sts" else (values == labels).mean()
        assert metric == pytest.approx(metrics[task]["dev"], abs=1e-3)


@pytest.mark.parametrize(("low", "by_chance"), [(-0.002, True), (0.001, False), (0.0, True)])
def test_a_gain_whose_interval_contains_0_is_said_to_be_perhaps_due_to_chance(low: float, by_chance: bool):
    sentence = gain_sentence(Estimate(0.0123, low, 0.03))
    assert f"+0.0123 [{low:+.4f}, +0.0300]" in sentence
    assert ("may be due to chance" in sentence) == by_chance


def test_an_unknown_run_is_an_error_of_one_sentence_with_exit_code_2(tmp_path):
    done = typer.testing.CliRunner().invoke(app, ["nowhere", "--storage", str(tmp_path)])
    assert done.exit_code == 2
    assert "There is no run 'nowhere'" in done.stderr


def test_a_run_that_a_search_has_locked_is_refused(run):
    with locked(run.folder):
        done = typer.testing.CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 2 and "is in use by process" in done.stderr


def prediction_lines(run: Run, task: str, split: str) -> list[str]:
    """Return the lines of a prediction file, without its header."""
    file = f"ensemble/predictions/{TASKS[task].submission}-{split}-output.csv"
    return run.folder.read(file).decode().splitlines()[1:]


@pytest.fixture
def mine(trained: Run, tmp_path: Path) -> Run:
    """Return a copy of the trained run, to be damaged."""
    return Run(Folder.at(shutil.copytree(trained.folder.path, tmp_path / "mine")))


def build_again(run: Run, *options: str) -> str:
    """Run the command; return what it prints."""
    done = typer.testing.CliRunner().invoke(app, [run.folder.path, "--strategy", "uniform", *options])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def flip(run: Run, name: str) -> None:
    content = bytearray(run.folder.read(name))
    content[len(content) // 2] ^= 1
    run.folder.write(name, bytes(content))


def members_of(run: Run) -> set[tuple[int | None, int]]:
    return {(one.trial, one.round) for members in read_ensemble(Run(run.folder)).members.values() for one in members}


def test_a_damaged_prediction_is_made_again_from_the_weights(mine: Run):
    for name, damage in (("00001-sst.parquet", flip), ("00002-sts.parquet", lambda run, name: run.folder.delete(name))):
        file = f"trials/00000/predictions/{name}"
        before = mine.folder.read(file)
        damage(mine, file)
        note = f"{mine.folder}/{file} was missing or damaged: made again from the weights of the round."
        assert note in build_again(mine)
        assert mine.folder.read(file) == before
    assert members_of(mine) == {(0, 1), (0, 2), (1, 1), (1, 2)}


@pytest.mark.parametrize("soup", ["none", "uniform"])
def test_a_round_with_damaged_weights_is_left_out_with_a_line(mine: Run, soup: str):
    for number in (0, 1):
        mine.trial_folder(number).write("config.json", mine.trial_folder(0).read("config.json"))  # so that soups exist
    flip(mine, "trials/00000/checkpoints/00002/weights.safetensors")
    printed = build_again(mine, "--soup", soup)
    assert "trial 0, round 2: skipped." in printed and "its checksum is wrong" in printed
    assert (0, 2) not in members_of(mine) and (1, 2) in members_of(mine)


def test_a_round_with_damaged_weights_and_predictions_is_left_out_with_a_line(mine: Run):
    flip(mine, "trials/00000/checkpoints/00002/weights.safetensors")
    flip(mine, "trials/00000/predictions/00002-sst.parquet")
    assert "trial 0, round 2: skipped." in build_again(mine)
    assert (0, 2) not in members_of(mine)


def test_a_trial_with_a_damaged_config_is_left_out_with_a_line(mine: Run):
    mine.trial_folder(1).write("config.json", "{")
    assert "The weights of trial 1 are left out:" in build_again(mine)
    assert members_of(mine) == {(0, 1), (0, 2)}


def test_weights_of_another_architecture_are_left_out_with_a_line(mine: Run):
    config = json.loads(mine.trial_folder(1).read("config.json"))
    mine.trial_folder(1).write_json("config.json", config | {"head": {"hidden": [1.0]}})
    assert "its weights and config.json do not fit" in build_again(mine)
    assert members_of(mine) == {(0, 1), (0, 2)}


def test_a_damaged_encoder_is_an_error_of_one_sentence(mine: Run):
    flip(mine, "encoder/model.safetensors")
    done = typer.testing.CliRunner().invoke(app, [mine.folder.path])
    assert done.exit_code == 2
    assert f"Error: The run's encoder cannot be used: {mine.folder}/encoder/model.safetensors" in done.stderr


def test_an_interrupted_command_leaves_the_earlier_ensemble(mine: Run, monkeypatch: pytest.MonkeyPatch):
    build_again(mine)
    before = contents(Path(mine.folder.path))

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    for name in ("predict_members", "write_estimates", "write_ensemble"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(build_module, name, interrupt)
            build_module.build([Run(mine.folder)], "single")
        assert contents(Path(mine.folder.path)) == before


def test_an_ensemble_of_a_run_that_may_only_be_read_is_written_elsewhere(mine: Run, tmp_path: Path, read_only):
    read_only(Path(mine.folder.path))
    before = contents(Path(mine.folder.path))
    done = typer.testing.CliRunner().invoke(app, [mine.folder.path])
    assert done.exit_code == 2
    assert "pass --out DIR to write elsewhere." in done.stderr and len(done.stderr.splitlines()) == 1
    build_again(mine, "--out", str(tmp_path / "out"))
    assert contents(Path(mine.folder.path)) == before
    members = json.loads((tmp_path / "out" / "ensemble" / "members.json").read_text())["members"]
    assert {member["run"] for found in members.values() for member in found} == {mine.folder.uri}
    assert (tmp_path / "out" / "ensemble" / "predictions" / "sst-dev-output.csv").exists()


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
