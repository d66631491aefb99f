"""The command of a single run in processes of its own: its directory, its refusals, and what ends it in the middle."""

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
from trainers.config.train_config import TrainConfig
from trainers.folder import Folder
from trainers.trial import CONFIG, ROUNDS, read_rows, run_trial

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
from model.pretrained import read_pretrained
from trainers.fit import app
read_pretrained(sys.argv[1])  # once, and not in every process: it makes torch import much
codes = []
for number, arguments in enumerate(json.load(sys.stdin)):
    if not (child := os.fork()):
        sys.argv[1:] = arguments
        for stream, name in ((1, "printed"), (2, "told")):
            os.dup2(os.open(f"{name}-{number}", os.O_CREAT | os.O_WRONLY), stream)
        try:
            app()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)  # without taking torch down first
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
SETTINGS = ["passes=null", "steps=12", "rounds=4", "learning_rate=0.005", "surgery=pcgrad"]
CHANGES = '[{"round": 3, "values": {"dropout": 0.3, "stages.0.learning_rate": 0.001}}]'
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
            text=True, timeout=SECONDS, check=False,
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


@dataclass(frozen=True)
class Stop:
    """How a run was stopped in the middle of a round."""

    sent: signal.Signals
    code: int
    told: str
    rounds: list[int]
    """Rounds that were finished."""
    files: list[str]


@dataclass(frozen=True)
class Story:
    """A run that was stopped by every signal, and finished by its last process."""

    folder: Folder
    stops: list[Stop]
    printed: list[str]


@pytest.fixture(scope="module")
def story(tiny_encoder, user_cache, corpus, tmp_path_factory) -> Story:
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("story"))
    arguments, stops = fit.arguments(), []
    # A process that goes on trains the open round again: it is in the middle of the next one after as many steps.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        code, told = fit.stop(arguments, STEPS + 2, sent)
        (place,) = (fit.place / "runs" / "fit").iterdir()
        rounds = [row.round for row in read_rows(Folder.at(place))]
        stops.append(Stop(sent, code, told, rounds, [path.name for path in place.rglob("*")]))
        if sent != signal.SIGKILL:
            arguments = shlex.split(re.findall(r"^Continue with: python -m trainers.fit (.*)$", told, re.MULTILINE)[-1])
    done = fit.run(*arguments)
    assert done.returncode == 0, done.stderr
    return Story(Folder.at(place), stops, done.stdout.splitlines())


def test_a_run_that_is_told_to_stop_ends_in_order_between_rounds(story):
    assert [(stop.sent.name, stop.code) for stop in story.stops] == [("SIGINT", 130), ("SIGTERM", 130), ("SIGKILL", -9)]
    assert [stop.rounds for stop in story.stops] == [[1], [1, 2], [1, 2, 3]]
    for stop in story.stops[:2]:
        assert "Traceback" not in stop.told
        assert stop.told.splitlines()[-1].endswith(f"--out runs/fit/{story.folder.name} --resume")
        assert not [name for name in stop.files if name.endswith(".partial")]


def test_a_run_stopped_by_every_signal_ends_with_the_bits_of_one_that_nothing_stopped(
    story, corpus, pretrained, tmp_path
):
    config = TrainConfig.model_validate(story.folder.read_json(CONFIG))
    assert (config.stages[0].surgery, config.smart_of("sst").lambda_s) == ("pcgrad", 1.0)
    assert (config.at(2).dropout, config.at(3).dropout) == (0.1, 0.3)
    list(run_trial(Folder.at(tmp_path), config, corpus, pretrained))
    assert outcome(story.folder) == outcome(Folder.at(tmp_path))
    assert len(story.folder.read_lines(ROUNDS)) == 4, "no round was recorded twice"


def test_a_config_that_a_run_has_left_trains_again_to_the_same_bits(story, tiny_encoder, user_cache, tmp_path):
    (tmp_path / "copied.json").write_bytes(story.folder.read(CONFIG))
    done = Fit(tiny_encoder, user_cache, tmp_path).run("copied.json", "--rows", str(ROWS), "--out", "again")
    assert done.returncode == 0, done.stderr
    assert outcome(Folder.at(tmp_path / "again")) == outcome(story.folder)


def test_a_run_prints_what_it_is_its_rounds_and_last_its_directory(story):
    assert story.printed[0].startswith("Recipe smart on ")
    rows = read_rows(story.folder)
    length = f"In all: rounds {len(rows)}, steps {rows[-1].steps}, examples {rows[-1].examples}."
    assert length in story.printed
    rounds = [line for line in story.printed if line.startswith("round ")]
    numbered = [f"round {row.round} of {len(rows)}" for row in rows]
    figures = [f"score {row.score:.4f} sst {row.metrics['sst']:.4f} " for row in rows]
    expected = [f"{number}: {said}" for number, said in zip(numbered, figures, strict=True)][2:]
    assert [line.startswith(start) for line, start in zip(rounds, expected, strict=True)] == [True, True]
    assert story.printed[-1] == str(story.folder)


REFUSED: dict[str, tuple[list[str], str]] = {
    "an unknown recipe": (["smrt"], "Unknown recipe 'smrt'; did you mean 'smart'?"),
    "no config": (["none.json"], "none.json holds no config: "),
    "a group": (["r000-trilogy"], "Run one of them: r000-trilogy/sst, r000-trilogy/qqp, r000-trilogy/sts."),
    "an ensemble": (["r002-ensemble"], "joins others. Run one of them: r002-concat-smart-pretrain-l5-d10,"),
    "an unknown field": (["plain", "--set", "smart.lamda_s=1"], "Unknown config field in --set smart.lamda_s=1:"),
    "a value not allowed": (["plain", "--set", "dropout=2"], "Config field dropout:"),
    "an unknown encoder": (["plain", "--encoder", "no/such/encoder"], "Encoder 'no/such/encoder' is no directory."),
    "unknown data": (["plain", "--data", "nowhere", "--encoder", "TINY"], "nowhere"),
    "rounds without steps": (["plain", "--encoder", "TINY", "--set", "stages.0.rounds=9999"], "its 9999 rounds"),
    "no run to resume": (["plain", "--encoder", "TINY", "--out", "none", "--resume"], "no run at"),
    "a directory in use": (["SAME"], "holds a run already. Pass --resume to go on, or another --out."),
    "another config": (["SAME", "--set", "dropout=0.2", "--resume"], "another config or data"),
    "another seed": (["SAME", "--seed", "1", "--resume"], "another config or data"),
    "another seed, set": (["SAME", "--set", "seed=1", "--resume"], "another config or data"),
    "other data": (["SAME", "--rows", "9", "--resume"], "another config or data"),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What came of a command line."""

    code: int
    printed: str
    told: str


@pytest.fixture(scope="module")
def refused(story, tiny_encoder, user_cache, tmp_path_factory) -> tuple[Path, dict[str, Answer]]:
    """Where the command lines were typed, and what came of each: a process each, forked after the imports."""
    fit = Fit(tiny_encoder, user_cache, tmp_path_factory.mktemp("refused"))
    same = fit.arguments("--out", str(story.folder))
    given = [
        [part for word in words for part in {"SAME": same, "TINY": [str(tiny_encoder)]}.get(word, [word])]
        for words, _ in REFUSED.values()
    ]
    before = outcome(story.folder)
    done = fit.run(str(tiny_encoder), program=("-c", FORKING), given=json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert outcome(story.folder) == before
    answers = [
        Answer(code, *((fit.place / f"{stream}-{number}").read_text() for stream in ("printed", "told")))
        for number, code in enumerate(json.loads(done.stdout))
    ]
    return fit.place, dict(zip(REFUSED, answers, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2_before_training(refused, name):
    answer = refused[1][name]
    assert (answer.code, answer.printed) == (2, ""), answer.told
    assert answer.told.startswith("Error: ") and answer.told.count("\n") == 1
    assert REFUSED[name][1] in answer.told


def test_what_is_refused_leaves_no_run_behind(refused):
    assert {path.name.split("-")[0] for path in refused[0].iterdir()} == {"printed", "told"}
