"""Measure the speed of training; choose the passes of each trial so that a time budget holds several whole trials."""

import multiprocessing
import signal
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from model.errors import InputError, first_line
from model.pretrained import read_pretrained
from search.session.scored_rows import SHARE
from search.suggest.space import Space
from search.tune.slots import Slots
from trainers.config.train_config import DURATIONS, Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.start import announce
from trainers.training.training import Training

WHOLE_TRIALS = 5
"""Number of whole trials of the first config that a time budget holds.

With early stopping, about twelve trials begin in the time of five whole ones. With fewer whole trials there is little
to choose from; with more, each trains too briefly.
"""
STEPS = 20
"""Number of steps that are measured, after as many steps of warming up."""


def fit_to_budget(
    space: Space, config: TrainConfig, corpus: Corpus, seconds: float, slots: Slots, whole_trials: int = WHOLE_TRIALS
) -> tuple[Space, str]:
    """Return a space whose trials train as long as a time budget allows, and a line for the user.

    Args:
        space: a space with a range of passes.
        config: the first config of the search. Its last stage is assumed to take nearly all of the time.
        seconds: the time budget.
        whole_trials: the number of whole trials that the budget holds.

    Raises:
        InputError: the speed cannot be measured.
    """
    announce("Measuring how fast a trial trains ...")
    pass_seconds = measured_pass_seconds(config, corpus, slots)
    # A slot trains one trial at a time: more slots than trials make no trial longer than half of the budget.
    trial_seconds = seconds * slots.count / max(whole_trials, 2 * slots.count)
    passes = planned_passes(space.budgeted or (0, 0), pass_seconds, trial_seconds)
    whole = timedelta(seconds=round(passes * pass_seconds / (1 - SHARE)))
    line = (
        f"Each trial trains {passes:g} passes over the rows, which --time-budget decides: a whole trial of the first "
        f"config takes about {whole}. The space allows {' to '.join(f'{end:g}' for end in space.budgeted or ())} "
        "passes."
    )
    return replace(space, passes=passes), line


def planned_passes(allowed: tuple[float, float], pass_seconds: float, trial_seconds: float) -> float:
    """Return the number of passes of a trial that takes `trial_seconds`, or the nearest allowed number.

    Args:
        allowed: the fewest and the most passes.
        pass_seconds: seconds of one pass of the first config in one slot, without evaluation.
        trial_seconds: seconds of a whole trial, with evaluation.
    """
    passes = trial_seconds * (1 - SHARE) / pass_seconds
    return min(max(float(f"{passes:.2g}"), allowed[0]), allowed[1])


def measured_pass_seconds(config: TrainConfig, corpus: Corpus, slots: Slots) -> float:
    """Return the seconds of one pass of a config's last stage, measured on some steps in a process of its own.

    A process of its own leaves the memory of this process, and of the GPU, as they were.

    Raises:
        InputError: the process has ended without a result.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, config.model_dump_json(), str(corpus.directory), slots.threads, slots.device)
    process = context.Process(target=_measure, args=arguments, daemon=True)
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = "its process has ended, perhaps because the memory is too small"
    finally:
        process.kill()
        process.join()
    if isinstance(found, str):
        raise InputError(
            f"The speed of training cannot be measured with the space's first config: {found}. "
            "Correct the config, or leave --time-budget out."
        )
    return found


def _measure(sender: Connection, config: str, corpus: str, threads: int, device: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command that started this process ends it
    torch.set_num_threads(threads)
    try:
        found = pass_seconds(TrainConfig.model_validate_json(config), Corpus.open(Path(corpus)), device)
    except Exception as error:  # whatever training raises; its text reaches the command, its class might not
        found = first_line(error)
    sender.send(found)


def pass_seconds(config: TrainConfig, corpus: Corpus, device: str) -> float:
    """Train a config for a moment; return the seconds of one pass of its last stage, without evaluation."""
    *earlier, last = config.stages
    stages = (*(_lasting(stage, 1, rounds=1) for stage in earlier), _lasting(last, 2 * STEPS, rounds=2))
    short = config.replace(stages=stages, changes=())
    *_, warm_up, measured = Training(short, corpus, read_pretrained(config.encoder), device=device, dev_limit=1)
    rows = sum(corpus.train_sizes(last.sources).values())
    return measured.train_seconds * rows / (measured.examples - warm_up.examples)


def _lasting(stage: Stage, steps: int, rounds: int) -> Stage:
    return stage.replace(**dict.fromkeys(DURATIONS) | {"steps": steps, "rounds": rounds})
