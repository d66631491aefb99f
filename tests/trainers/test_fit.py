"""The command of a single run in processes of its own: its directory, its refusals, and what ends it in the middle."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.weights import Pretrained
from tests.conftest import ROWS, outcome
from trainers.config import TrainConfig
from trainers.data import Corpus
from trainers.files import Folder
from trainers.trial import read_rows, run_trial

ROOT = Path(__file__).parents[2]
SECONDS = 120
"""Limit on a process, on a machine with much else to do."""
TELLING_STEPS = """
import runpy
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *step: print("step", flush=True))
runpy.run_module("trainers.fit", run_name="__main__")
"""
FORKING = """
import json, os, sys
from trainers.fit import app
codes = []
for number, arguments in enumerate(json.load(sys.stdin)):
    if not (child := os.fork()):
        sys.argv[1:] = arguments
        for stream, name in ((1, "printed"), (2, "told")):
            os.dup2(os.open(f"{name}-{number}", os.O_CREAT | os.O_WRONLY), stream)
        app()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
SETTINGS = ["stages.0.passes=null", "stages.0.steps=12", "stages.0.rounds=4", "stages.0.learning_rate=0.005"]
STEPS = 3
"""Of each round."""


class Fit:
    """The command on the tiny encoder, with the tests' cache for its corpus."""

    def __init__(self, encoder: Path, cache: Path, place: Path):
        self.encoder, self.place = encoder, place
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }

    def arguments(self, *more: str, recipe: str = "smart") -> list[str]:
        settings = [part for setting in (*SETTINGS, "stages.0.surgery=pcgrad") for part in ("--set", setting)]
        return [recipe, "--rows", str(ROWS), "--encoder", str(self.encoder), *settings, *more]

    def run(self, *arguments: str, program: tuple[str, ...] = ("-m", "trainers.fit"), given: str = "") -> Any:
        return subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=self.place, env=self.environment, input=given, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip

    def stop(self, arguments: list[str], steps: int, sent: signal.Signals) -> tuple[int, str]:
        """Send a signal after so many optimiser steps; return the exit code and what was told."""
        with subprocess.Popen(
            [sys.executable, "-c", TELLING_STEPS, *arguments],
            cwd=self.place, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                steps -= line == "step\n"
                if not steps:
                    break
            process.send_signal(sent)
            _, told = process.communicate(timeout=SECONDS)
        assert not steps, told
        return process.returncode, told


@pytest.fixture
def fit(tiny_encoder, user_cache, corpus, tmp_path) -> Fit:
    return Fit(tiny_encoder, user_cache, tmp_path)


@pytest.fixture(scope="module")
def finished(tiny_encoder, user_cache, corpus, tmp_path_factory) -> tuple[Path, Any]:
    """A run that nothing interrupted: where it was made, and its process."""
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("finished"))
    done = fit.run(*fit.arguments("--out", "run"))
    assert done.returncode == 0, done.stderr
    return fit.place, done


def test_a_run_prints_its_rounds_and_leaves_the_directory_of_a_trial(
    finished: tuple[Path, Any], corpus: Corpus, pretrained: Pretrained, tmp_path: Path
):
    place, done = finished
    folder = Folder.at(place / "run")
    printed = done.stdout.splitlines()
    assert printed[0].startswith("Recipe smart on ") and printed[-1] == str(place / "run")
    assert [row["round"] for row in read_rows(folder)] == [1, 2, 3, 4]
    for row in read_rows(folder):
        assert any(line.startswith(f"round {row['round']}: score {row['score']:.4f} sst ") for line in printed)
    config = TrainConfig.model_validate(folder.read_json("config.json"))
    assert config.stages[0].surgery == "pcgrad" and config.smart.lambda_s == 1
    list(run_trial(Folder.at(tmp_path), config, corpus, pretrained))
    assert outcome(Folder.at(tmp_path)) == outcome(folder), "a run is a function of config and corpus"


def test_a_run_killed_in_the_middle_of_a_round_goes_on_to_the_same_bits(fit, finished):
    arguments = fit.arguments("--out", "run")
    code, told = fit.stop(arguments, STEPS + 2, signal.SIGKILL)
    folder = Folder.at(fit.place / "run")
    assert code == -signal.SIGKILL and told == ""
    assert [row["round"] for row in read_rows(folder)] == [1]
    done = fit.run(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert outcome(folder) == outcome(Folder.at(finished[0] / "run"))


def test_a_run_that_was_told_to_stop_prints_the_command_that_goes_on_to_the_same_bits(fit, finished):
    arguments = fit.arguments()
    for sent, steps in ((signal.SIGINT, STEPS + 2), (signal.SIGTERM, STEPS + 2)):
        code, told = fit.stop(arguments, steps, sent)
        assert code == 130 and "Traceback" not in told
        (command,) = re.findall(r"^Go on with: python -m trainers.fit (.*)$", told, re.MULTILINE)
        arguments = shlex.split(command)
    (place,) = (fit.place / "runs" / "fit").iterdir()
    assert [row["round"] for row in read_rows(Folder.at(place))] == [1, 2]
    assert not list(place.rglob("*.partial"))
    done = fit.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert outcome(Folder.at(place)) == outcome(Folder.at(finished[0] / "run"))


REFUSED: dict[str, tuple[list[str], str]] = {
    "an unknown recipe": (["smrt"], "Unknown recipe 'smrt'; did you mean 'smart'?"),
    "an unknown field": (["plain", "--set", "smart.lamda_s=1"], "Unknown config field in --set smart.lamda_s=1:"),
    "a value not allowed": (["plain", "--set", "dropout=2"], "Config field dropout:"),
    "an unknown encoder": (["plain", "--encoder", "no/such/encoder"], "Encoder 'no/such/encoder' is no directory."),
    "unknown data": (["plain", "--data", "nowhere", "--encoder", "TINY"], "nowhere"),
    "rounds without steps": (["plain", "--encoder", "TINY", "--set", "stages.0.rounds=9999"], "fewer than its 9999 rounds"),
    "no run to resume": (["plain", "--encoder", "TINY", "--out", "none", "--resume"], "no run at"),
    "a directory in use": (["SAME"], "holds a run already. Pass --resume to go on, or another --out."),
    "another config": (["SAME", "--set", "dropout=0.2", "--resume"], "another config or other data"),
    "another seed": (["SAME", "--seed", "1", "--resume"], "another config or other data"),
    "other data": (["SAME", "--rows", "9", "--resume"], "another config or other data"),
}  # fmt: skip


@pytest.fixture(scope="module")
def refused(finished, tiny_encoder, user_cache, tmp_path_factory) -> dict[str, tuple[int, str, str]]:
    """Each command line's exit code, what it printed and what it told: a process each, which imports once for all."""
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("refused"))
    same = fit.arguments("--out", str(finished[0] / "run"))
    given = [
        [part for word in words for part in {"SAME": same, "TINY": [str(tiny_encoder)]}.get(word, [word])]
        for words, _ in REFUSED.values()
    ]
    before = outcome(Folder.at(finished[0] / "run"))
    done = fit.run(program=("-c", FORKING), given=json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert outcome(Folder.at(finished[0] / "run")) == before
    assert not (fit.place / "none").exists()
    return {
        name: (code, *((fit.place / f"{stream}-{number}").read_text() for stream in ("printed", "told")))
        for number, (name, code) in enumerate(zip(REFUSED, json.loads(done.stdout), strict=True))
    }


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2_before_training(refused, name):
    code, printed, told = refused[name]
    assert (code, printed) == (2, ""), told
    assert told.startswith("Error: ") and told.count("\n") == 1
    assert REFUSED[name][1] in told
