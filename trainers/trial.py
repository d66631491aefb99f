"""Train one trial in its own directory, and resume it. A single run is a trial without a search."""

import json
import platform
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count, takewhile

import torch

from model.encoder import Pretrained
from model.errors import InputError, first_line
from model.whole_files import PARTIAL
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.evaluation.predictions import write_predictions
from trainers.folder import Folder
from trainers.output import tell
from trainers.settings import parse_record, read_bounded, read_record
from trainers.training.checkpoint import STATE, CheckpointError
from trainers.training.kept_rounds import STATES, Keep
from trainers.training.rounds import RoundResult, RoundRow
from trainers.training.training import DEV_ROWS, Training

CONFIG = "config.json"
ROUNDS = "rounds.jsonl"
CHECKPOINTS = "checkpoints"
PREDICTIONS = "predictions"
ROUND_FILE = re.compile(r"(\d{5,})(-.+\.parquet)?")
"""Names of a round's checkpoint and of its predictions."""
ERROR = "error.txt"
"""The traceback of a failure, until the next round is finished."""


@dataclass(frozen=True)
class Origin:
    """The round of another trial from which a cloned trial starts."""

    folder: Folder
    """The directory of the other trial."""
    round: int


def read_rows(folder: Folder, note: Callable[[str], object] = lambda text: None) -> list[RoundRow]:
    """Read the rows of a trial's finished rounds, in order. If a round has two rows, return the later one.

    Args:
        note: receives a line about the rows that cannot be read and are left out, if there are any.

    Raises:
        InputError: the file is absurdly large.
    """
    rows: dict[int, RoundRow] = {}
    damaged: dict[int, str] = {}
    for number, line in enumerate(_lines(folder), 1):
        try:
            row = parse_record(line, RoundRow)
            rows[row.round] = row
        except ValueError as error:
            damaged[number] = first_line(error)
    if damaged:
        number, fault = next(iter(damaged.items()))
        others = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        note(f"{folder}/{ROUNDS}, line {number}{others}: {fault}. The round is left out.")
    return [rows[number] for number in sorted(rows)]


def _lines(folder: Folder) -> list[bytes]:
    """Return the lines of `rounds.jsonl`, without an unfinished last line; a missing file has no lines."""
    try:
        return read_bounded(folder, ROUNDS).split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise InputError(f"{folder}/{ROUNDS} cannot be used: {first_line(error)}. Move it away.") from None


def read_config(folder: Folder) -> TrainConfig:
    """Read the config of a trial.

    Raises:
        InputError: the file is missing or damaged.
    """
    return read_record(folder, CONFIG, TrainConfig, "Resume the run to write it again.")


def round_name(number: int) -> str:
    """Return the name of a round's files: its number with five digits."""
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
    keep: Keep | None = None,
) -> Iterator[RoundRow]:
    """Train in a trial's directory and yield the row of each round after its files are written.

    A directory with finished rounds is resumed. Its last row is yielded again first, because the caller may have been
    killed before it recorded this row. A checkpoint without a row is ignored. If the row of a round is damaged, this
    round and all later ones are trained again.

    Args:
        origin: where a clone starts. Up to this round its config equals the config of the other trial.
        keep: the rounds whose weights are kept; None for the default for small models.
    """
    keep = keep or Keep.of(config.tasks)
    rows = _repaired_rows(folder, origin.round + 1 if origin else 1)
    if rows:
        last = rows[max(rows)]
        yield last
        if last.final:
            return
    clear_unfinished(folder, rows)
    checkpoints = [folder / CHECKPOINTS / round_name(number) for number in sorted(rows, reverse=True)]
    if origin:
        checkpoints.append(origin.folder / CHECKPOINTS / round_name(origin.round))
    training = _resumed(checkpoints, partial(Training, config, corpus, pretrained, device=device, dev_limit=dev_limit))
    for result in training:
        if origin and result.round <= origin.round:
            continue  # the other trial's state is gone, so its rounds are trained again
        row = rows[result.round] = _record(folder, training, result)
        _prune(folder, rows, keep)
        yield row
        if not result.finite:
            return


def _repaired_rows(folder: Folder, first: int) -> dict[int, RoundRow]:
    """Return round -> row up to the first gap, which a damaged row leaves; rewrite the file if it has other rows."""
    damaged: list[str] = []
    found = {row.round: row for row in read_rows(folder, damaged.append)}
    rows = {number: found[number] for number in takewhile(found.__contains__, count(first))}
    if damaged or len(rows) < len(found):
        folder.write(ROUNDS, "".join(f"{json.dumps(row.to_json(), allow_nan=False)}\n" for row in rows.values()))
    return rows


def clear_unfinished(folder: Folder, finished: Collection[int]) -> None:
    """Delete the files of rounds without a row, which a failure or a kill left, half-written files included.

    Files with other names than those of rounds are not the trial's own, and stay.
    """
    known = {round_name(number) for number in finished}
    for place in (folder / CHECKPOINTS, folder / PREDICTIONS):
        for name in place.names():
            own = ROUND_FILE.fullmatch(name)
            if PARTIAL.fullmatch(name) or (own and own[1] not in known):
                place.delete(name)


def _resumed(checkpoints: list[Folder], start: Callable[..., Training]) -> Training:
    """Resume from the first checkpoint with a readable full state, or start from the beginning."""
    for checkpoint in checkpoints:
        if checkpoint.exists(STATE):
            try:
                return start(resume=checkpoint)
            except CheckpointError as error:  # an earlier state, or the beginning, leads to the same bits
                tell(
                    f"{first_line(error)}. The state is not used: the trial continues from an older one, or starts "
                    "again."
                )
    return start()


def _record(folder: Folder, training: Training, result: RoundResult) -> RoundRow:
    """Write a round's predictions, its checkpoint and then its row. A round is finished when its row is written."""
    started = time.perf_counter()
    name = round_name(result.round)
    for task, outputs in result.predictions.items():
        ids = training.corpus.splits[task]["dev"].ids
        chosen = [ids[row] for row in training.dev_rows[task]]
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


def _prune(folder: Folder, rows: dict[int, RoundRow], keep: Keep) -> None:
    """Delete old full states, and the weights of rounds that are not among the trial's best."""
    newest = sorted(rows)[-STATES:]
    kept = keep.best(rows) | set(newest)
    for number in rows:
        place = folder / CHECKPOINTS / round_name(number)
        if number not in kept:
            (folder / CHECKPOINTS).delete(place.name)
        elif number not in newest:
            place.delete(STATE)
