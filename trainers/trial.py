"""A trial in its own directory: resume, train, record every finished round. A single run is one without a search."""

import platform
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import torch

from model.encoder import Pretrained
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.evaluation.predictions import write_predictions
from trainers.folder import Folder
from trainers.training.checkpoint import STATE, CheckpointError, best_rounds
from trainers.training.rounds import RoundResult, RoundRow
from trainers.training.training import DEV_ROWS, Training

CONFIG = "config.json"
ROUNDS = "rounds.jsonl"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
ERROR = "error.txt"
"""The traceback of a failure after which no round has been finished yet."""
STATES = 2
"""How many full states a living trial keeps: if the newest is damaged, the one before serves."""


@dataclass(frozen=True)
class Origin:
    """A round of another trial, behind which a trial's own rounds begin: it is a clone."""

    folder: Folder
    """Of the other trial."""
    round: int


def read_rows(folder: Folder) -> list[RoundRow]:
    """Read the rows of a trial's finished rounds, in order; of a round that was trained twice the later row counts."""
    rows = {row.round: row for row in map(RoundRow.from_json, folder.read_lines(ROUNDS))}
    return [rows[number] for number in sorted(rows)]


def round_name(number: int) -> str:
    """Name a round's files."""
    return f"{number:05d}"


def run_trial(
    folder: Folder,
    config: TrainConfig,
    corpus: Corpus,
    pretrained: Pretrained,
    *,
    device: str = "cpu",
    dev_limit: int = DEV_ROWS,
    origin: Origin | None = None,
) -> Iterator[RoundRow]:
    """Train in a trial's directory and yield the row of each round once its files are written.

    A directory with finished rounds is gone on with: its last row is yielded again first, because whoever listened may
    have died before he noted it. A checkpoint without a row does not count.

    Args:
        origin: of a clone, whose config says the same as the other trial's up to that round.
    """
    rows = {row.round: row for row in read_rows(folder)}
    if rows:
        told = rows[max(rows)]
        yield told
        if told.final:
            return
    clear_unfinished(folder, rows)
    places = [folder / CHECKPOINTS / round_name(number) for number in sorted(rows, reverse=True)]
    if origin:
        places.append(origin.folder / CHECKPOINTS / round_name(origin.round))
    training = _newest(places, partial(Training, config, corpus, pretrained, device=device, dev_limit=dev_limit))
    for result in training:
        if origin and result.round <= origin.round:
            continue  # trained again because the other trial's state is gone
        row = rows[result.round] = _record(folder, training, result)
        _prune(folder, rows)
        yield row
        if not result.finite:
            return


def clear_unfinished(folder: Folder, finished: Collection[int]) -> None:
    """Delete what a failure or a kill has left of rounds without a row, half-written files included."""
    known = {round_name(number) for number in finished}
    for place in (folder / CHECKPOINTS, folder / PREDICTIONS):
        for name in place.names():
            if name.split("-")[0] not in known:
                place.delete(name)


def _newest(places: list[Folder], start: Callable[..., Training]) -> Training:
    """Go on from the first of some full states that can be read, or start."""
    for place in places:
        if place.exists(STATE):
            try:
                return start(resume=place)
            except CheckpointError:
                continue  # the state before it, or the start, gives the same bits a little later
    return start()


def _record(folder: Folder, training: Training, result: RoundResult) -> RoundRow:
    """Write a round's predictions, its checkpoint and then its row: a round exists when its row does."""
    started = time.perf_counter()
    name = round_name(result.round)
    for task, outputs in result.predictions.items():
        ids = training.corpus.splits[task]["dev"].ids
        chosen = [ids[row] for row in training.rows[task]]
        write_predictions(folder / PREDICTIONS, f"{name}-{task}.parquet", chosen, outputs)
    if result.finite:
        training.save(folder / CHECKPOINTS / name)
    row = RoundRow.of(
        result,
        save_seconds=time.perf_counter() - started,
        ended=datetime.now(UTC).isoformat(timespec="milliseconds"),
        node=platform.node(),
        threads=torch.get_num_threads(),
    )
    folder.append_json(ROUNDS, row.to_json())
    return row


def _prune(folder: Folder, rows: dict[int, RoundRow]) -> None:
    """Delete the full states of all but the newest rounds, and the weights of rounds that no ensemble would choose."""
    newest = sorted(rows)[-STATES:]
    keep = best_rounds(rows) | set(newest)
    for number in rows:
        place = folder / CHECKPOINTS / round_name(number)
        if number not in keep:
            (folder / CHECKPOINTS).delete(place.name)
        elif number not in newest:
            place.delete(STATE)
