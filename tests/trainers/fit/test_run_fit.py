"""Run `python -m trainers.fit` in separate processes: its output, its errors, interruptions and resumed runs."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROWS, outcome
from tests.json_files import read_json
from tests.waiting import LIMIT_SECONDS
from trainers.config.train_config import TrainConfig
from trainers.folder import Folder
from trainers.start import LOADING, ROOT
from trainers.trial import CONFIG, ROUNDS, read_rows, run_trial

PRINTING_STEPS = """
import runpy
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *step: print("step", flush=True))
runpy.run_module("trainers.fit", run_name="__main__")
"""
FORKING = """
import json, os, sys
import trainers.fit.run_fit
from model.pretrained import read_pretrained
from trainers.fit.__main__ import app
read_pretrained(sys.argv[1])  # before the processes are forked, because it makes torch import many modules
codes = []
for number, arguments in enumerate(json.load(sys.stdin)):
    if not (child := os.fork()):
        sys.argv[1:] = arguments
        for stream, name in ((1, "printed"), (2, "errors")):
            os.dup2(os.open(f"{name}-{number}", os.O_CREAT | os.O_WRONLY), stream)
        try:
            app()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)  # without the slow exit of torch
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
SETTINGS = ["passes=null", "steps=12", "rounds=4", "learning_rate=0.005", "surgery=pcgrad"]
CHANGES = '[{"round": 3, "values": {"dropout": 0.3, "stages.0.learning_rate": 0.001}}]'
STEPS = 3
"""Number of optimiser steps of each round."""


class Fit:
    """Start the command with the tiny encoder and with the cache of the tests."""

    def __init__(self, encoder: Path, cache: Path, place: Path):
        self.encoder, self.place = encoder, place
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }

    def arguments(self, *more: str, recipe: str = "smart") -> list[str]:
        settings = [part for setting in SETTINGS for part in ("--set", f"stages.0.{setting}")]
        return [
            recipe,
            "--rows",
            str(ROWS),
            "--encoder",
            str(self.encoder),
            *settings,
            "--set",
            f"changes={CHANGES}",
            *more,
        ]

    def run(self, *arguments: str, program: tuple[str, ...] = ("-m", "trainers.fit"), given: str = "") -> Any:
        return subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=self.place, env=self.environment, input=given, capture_output=True,
            text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip

    def stop(self, arguments: list[str], steps: int, sent: signal.Signals) -> tuple[int, str]:
        """Send a signal after a number of optimiser steps; return the exit code and stderr."""
        with subprocess.Popen(
            [sys.executable, "-c", PRINTING_STEPS, *arguments],
            cwd=self.place, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout
            for line in process.stdout:
                steps -= line == "step\n"
                if not steps:
                    break
            process.send_signal(sent)
            _, errors = process.communicate(timeout=LIMIT_SECONDS)
        assert not steps, errors
        return process.returncode, errors


@dataclass(frozen=True)
class Stop:
    """An interruption in the middle of a round, and the state of the run after it."""

    sent: signal.Signals
    code: int
    errors: str
    """The text on stderr."""
    rounds: list[int]
    """The finished rounds."""
    files: list[str]


@dataclass(frozen=True)
class ResumedRun:
    """A run that was interrupted by each signal in turn, resumed after each, and then finished."""

    folder: Folder
    stops: list[Stop]
    printed: list[str]


@pytest.fixture(scope="module")
def resumed(tiny_encoder, user_cache, corpus, tmp_path_factory) -> ResumedRun:
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("interrupted"))
    arguments, stops = fit.arguments(), []
    # A resumed process trains the unfinished round again, so the same number of steps ends in the middle of the next.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        code, errors = fit.stop(arguments, STEPS + 2, sent)
        (place,) = (fit.place / "runs" / "fit").iterdir()
        rounds = [row.round for row in read_rows(Folder.at(place))]
        stops.append(Stop(sent, code, errors, rounds, [path.name for path in place.rglob("*")]))
        if sent != signal.SIGKILL:
            arguments = shlex.split(
                re.findall(r"^Continue with: python -m trainers.fit (.*)$", errors, re.MULTILINE)[-1]
            )
    done = fit.run(*arguments)
    assert done.returncode == 0, done.stderr
    return ResumedRun(Folder.at(place), stops, done.stdout.splitlines())


def test_a_signal_ends_a_run_with_code_130_and_a_command_that_resumes_it(resumed):
    assert [(stop.sent.name, stop.code) for stop in resumed.stops] == [
        ("SIGINT", 130),
        ("SIGTERM", 130),
        ("SIGKILL", -9),
    ]
    assert [stop.rounds for stop in resumed.stops] == [[1], [1, 2], [1, 2, 3]]
    for stop in resumed.stops[:2]:
        assert "Traceback" not in stop.errors
        assert stop.errors.splitlines()[-1].endswith(f"--out runs/fit/{resumed.folder.name} --resume")
        assert not [name for name in stop.files if name.endswith(".partial")]


def test_a_run_that_was_interrupted_by_each_signal_ends_with_the_bits_of_an_uninterrupted_run(
    resumed, corpus, pretrained, tmp_path
):
    config = TrainConfig.model_validate(read_json(resumed.folder, CONFIG))
    assert (config.stages[0].surgery, config.smart_of("sst").lambda_s) == ("pcgrad", 1.0)
    assert (config.at(2).dropout, config.at(3).dropout) == (0.1, 0.3)
    list(run_trial(Folder.at(tmp_path), config, corpus, pretrained))
    assert outcome(resumed.folder) == outcome(Folder.at(tmp_path))
    assert resumed.folder.read(ROUNDS).count(b"\n") == 4, "no round was recorded twice"


def test_training_again_with_the_config_of_a_run_gives_the_same_bits(resumed, tiny_encoder, user_cache, tmp_path):
    (tmp_path / "copied.json").write_bytes(resumed.folder.read(CONFIG))
    done = Fit(tiny_encoder, user_cache, tmp_path).run("copied.json", "--rows", str(ROWS), "--out", "again")
    assert done.returncode == 0, done.stderr
    assert outcome(Folder.at(tmp_path / "again")) == outcome(resumed.folder)


def test_a_run_prints_its_recipe_its_length_its_rounds_and_finally_its_directory(resumed):
    assert resumed.printed[0] == LOADING
    assert resumed.printed[1].startswith("Recipe smart on ")
    rows = read_rows(resumed.folder)
    length = f"In all: rounds {len(rows)}, steps {rows[-1].steps}, examples {rows[-1].examples}."
    assert length in resumed.printed
    rounds = [line for line in resumed.printed if line.startswith("round ")]
    numbered = [f"round {row.round} of {len(rows)}" for row in rows]
    metrics = [f"score {row.score:.4f} sst {row.metrics['sst']:.4f} " for row in rows]
    expected = [f"{number}: {values}" for number, values in zip(numbered, metrics, strict=True)][2:]
    assert [line.startswith(start) for line, start in zip(rounds, expected, strict=True)] == [True, True]
    assert resumed.printed[-1] == str(resumed.folder)


FAULTS: dict[str, tuple[list[str], str]] = {
    "an unknown recipe": (["smrt"], "Unknown recipe 'smrt'; did you mean 'smart'?"),
    "no config": (["none.json"], "Cannot read none.json: No such file or directory."),
    "a group": (["r000-trilogy"], "Run one of them: r000-trilogy/sst, r000-trilogy/qqp, r000-trilogy/sts."),
    "an ensemble": (["r002-ensemble"], "of other recipes. Run one of them: r002-concat-smart-pretrain-l5-d10,"),
    "an unknown field": (["plain", "--set", "smart.lamda_s=1"], "Unknown config field in --set smart.lamda_s=1:"),
    "a value not allowed": (["plain", "--set", "dropout=2"], "Config field dropout:"),
    "an unknown encoder": (
        ["plain", "--encoder", "no/such/encoder"],
        "Encoder 'no/such/encoder' is neither a directory nor a valid hub id. Pass",
    ),
    "unknown data": (["plain", "--data", "nowhere", "--encoder", "TINY"], "nowhere"),
    "rounds without steps": (["plain", "--encoder", "TINY", "--set", "stages.0.rounds=9999"], "its 9999 rounds"),
    "no run to resume": (["plain", "--encoder", "TINY", "--out", "none", "--resume"], "no run at"),
    "a directory in use": (["SAME"], "holds a run already. Pass --resume to continue it, or another --out."),
    "another config": (["SAME", "--set", "dropout=0.2", "--resume"], "another config or data"),
    "another seed": (["SAME", "--seed", "1", "--resume"], "another config or data"),
    "another seed, set": (["SAME", "--set", "seed=1", "--resume"], "another config or data"),
    "other data": (["SAME", "--rows", "9", "--resume"], "another config or data"),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The result of a command line."""

    code: int
    printed: str
    errors: str


@pytest.fixture(scope="module")
def answers(resumed, tiny_encoder, user_cache, tmp_path_factory) -> tuple[Path, dict[str, Answer]]:
    """Run each command line in a process that is forked after the imports; return the folder and the answers."""
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("faults"))
    same = fit.arguments("--out", str(resumed.folder))
    given = [
        [part for word in words for part in {"SAME": same, "TINY": [str(tiny_encoder)]}.get(word, [word])]
        for words, _ in FAULTS.values()
    ]
    before = outcome(resumed.folder)
    done = fit.run(str(tiny_encoder), program=("-c", FORKING), given=json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert outcome(resumed.folder) == before
    answers = [
        Answer(code, *((fit.place / f"{stream}-{number}").read_text() for stream in ("printed", "errors")))
        for number, code in enumerate(json.loads(done.stdout))
    ]
    return fit.place, dict(zip(FAULTS, answers, strict=True))


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_one_line_and_exit_code_2_before_training(answers, name):
    answer = answers[1][name]
    assert (answer.code, answer.printed) == (2, f"{LOADING}\n"), answer.errors
    assert answer.errors.startswith("Error: ") and answer.errors.count("\n") == 1
    assert FAULTS[name][1] in answer.errors


def test_bad_input_leaves_no_run_behind(answers):
    assert {path.name.split("-")[0] for path in answers[0].iterdir()} == {"printed", "errors"}
