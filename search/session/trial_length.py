"""Measure the speed of training; choose the passes of each trial so that a time budget holds several whole trials."""

import multiprocessing
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from model.errors import InputError
from model.pretrained import read_pretrained
from search.session.scored_rows import EVALUATION_SHARE
from search.suggest.space import Space
from search.tune.slots import Slots
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.devices import limit_gpu_memory
from trainers.faults import Blame, Fault, MachineError, fault_of
from trainers.start import announce
from trainers.training.training import Training

WHOLE_TRIALS = 6
"""Number of whole trials of the first config that a time budget holds.

With early stopping, about ten trials begin in the time of six whole ones. With fewer whole trials there is little to
choose from and to combine; with more, each trains too briefly.
"""
STEPS = 20
"""Number of steps that are measured, after as many steps of warming up."""
MOST_PROCESSES = 4
"""Largest number of processes that measure at the same time."""


def fit_to_budget(
    space: Space, config: TrainConfig, corpus: Corpus, seconds: float, slots: Slots, whole_trials: int = WHOLE_TRIALS
) -> tuple[Space, str]:
    """Return a space whose trials train as long as a time budget allows, and a line for the user.

    Args:
        space: a space with a range of passes.
        config: the first config of the search.
        seconds: the time budget.
        whole_trials: the number of whole trials that the budget holds.

    Raises:
        InputError: the config cannot be trained.
        MachineError: the machine has failed.
    """
    assert space.pass_range
    try:
        pass_seconds = measured_pass_seconds(config, corpus, slots)
    except InputError as error:
        raise InputError(f"{space.path}: {error} Correct the space's first config.") from error
    # A slot trains one trial at a time: more slots than trials make no trial longer than half of the budget.
    trial_seconds = seconds * slots.count / max(whole_trials, 2 * slots.count)
    passes = planned_passes(space.pass_range, pass_seconds, trial_seconds)
    return replace(space, passes=passes), planned_line(space.pass_range, passes, pass_seconds, seconds)


def planned_passes(allowed: tuple[float, float], pass_seconds: float, trial_seconds: float) -> float:
    """Return the number of passes of a trial that takes `trial_seconds`, or the nearest allowed number.

    Args:
        allowed: the fewest and the most passes.
        pass_seconds: seconds of one pass of the first config in one slot, without evaluation.
        trial_seconds: seconds of a whole trial, with evaluation.
    """
    passes = trial_seconds * (1 - EVALUATION_SHARE) / pass_seconds
    return min(max(float(f"{passes:.2g}"), allowed[0]), allowed[1])


def seconds_with_evaluation(passes: float, pass_seconds: float) -> float:
    """Return the seconds of a whole trial, with evaluation; `pass_seconds` is without it."""
    return passes * pass_seconds / (1 - EVALUATION_SHARE)


def planned_line(allowed: tuple[float, float], passes: float, pass_seconds: float, seconds: float) -> str:
    """Return the line that tells the user the length of the trials and, if the time budget is too short, a remedy."""
    whole = seconds_with_evaluation(passes, pass_seconds)
    limit = {allowed[0]: ", the fewest that the space allows", allowed[1]: ", the most that the space allows"}
    line = (
        f"Each trial trains {passes:g} passes over the rows, as --time-budget decides{limit.get(passes, '')}. A whole "
        f"trial of the first config takes about {timedelta(seconds=round(whole))}."
    )
    too_short = " No trial will finish in the time budget: raise --time-budget, or lower --rows."
    return line + too_short * (whole > seconds)


def measured_pass_seconds(config: TrainConfig, corpus: Corpus, slots: Slots) -> float:
    """Return the seconds of one pass of a config, measured on some steps.

    Several processes measure at the same time, because trials that share a machine slow each other down: one for each
    slot on this machine or, with GPUs, on one GPU, but at most MOST_PROCESSES, each of which takes memory.
    Processes of their own leave the memory of this process, and of the GPU, as they were.

    Raises:
        InputError: the config cannot be trained.
        MachineError: the machine has failed.
    """
    announce("Measuring how fast a trial trains ...")
    context = multiprocessing.get_context("spawn")
    arguments = (config.model_dump_json(), str(corpus.directory), slots.threads, slots.device, slots.memory)
    processes, receivers = [], []
    try:
        for _ in range(min(slots.count, round(1 / slots.gpus) if slots.gpus else slots.count, MOST_PROCESSES)):
            receiver, sender = context.Pipe(duplex=False)
            processes.append(context.Process(target=_measure, args=(sender, *arguments), daemon=True))
            receivers.append(receiver)
            with _interrupts_blocked():
                processes[-1].start()
            sender.close()
        return statistics.median(map(_received, receivers))
    finally:
        for process in processes:
            if process.pid:
                process.kill()
                process.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process that is started in the body ignore Ctrl-C from its first moment: this command ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _received(receiver: Connection) -> float:
    """Return the seconds that a process has measured, or raise the error for its fault."""
    try:
        found = receiver.recv()
    except EOFError:
        found = Fault("the process that measures it has ended; perhaps the memory is too small", Blame.UNCLEAR)
    if not isinstance(found, Fault):
        return found
    line = f"The speed of training cannot be measured: {found.reason}."
    if found.blame == Blame.CONFIG:
        raise InputError(line)
    raise MachineError(f"{line} Lower --concurrency or --rows, or leave --time-budget out.")


def _measure(sender: Connection, config: str, corpus: str, threads: int, device: str, memory: float | None) -> None:
    try:
        torch.set_num_threads(threads)
        limit_gpu_memory(memory)
        found = pass_seconds(TrainConfig.model_validate_json(config), Corpus.open(Path(corpus)), device)
    except Exception as error:  # whatever training raises; the fault reaches the command, the error's class might not
        found = fault_of(error)
    sender.send(found)


def pass_seconds(config: TrainConfig, corpus: Corpus, device: str) -> float:
    """Train a config of one stage for a moment; return the seconds of one pass, without evaluation."""
    (stage,) = config.stages
    # A config of a population changes from round to round, and the measurement has two rounds only.
    short = config.at(1).replace(stages=(stage.replace(rounds=2).lasting(steps=2 * STEPS),))
    warm_up, measured = Training(short, corpus, read_pretrained(config.encoder), device=device, dev_limit=1)
    rows = sum(corpus.train_sizes(stage.sources).values())
    return measured.train_seconds * rows / (measured.examples - warm_up.examples)
