"""Train one config in a trial's directory, without Ray."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict

from model.errors import InputError
from model.pretrained import read_pretrained
from trainers.command_line import LEFT, Begun, command
from trainers.config.parsing import read_config, with_values
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.fit.request import Request
from trainers.folder import Folder
from trainers.recipes.registry import configs, recipe
from trainers.recipes.systems import EnsembleOf, Group
from trainers.settings import STRICT, Number, read_record
from trainers.training.build_model import model_bytes
from trainers.training.disk import check_room
from trainers.training.kept_rounds import Keep, training_bytes
from trainers.training.rounds import RoundRow
from trainers.training.step_plan import plan
from trainers.training.training import DEV_ROWS
from trainers.trial import CONFIG, ROUNDS, run_trial

FIT = "fit.json"


@dataclass(frozen=True)
class FitRecord:
    """The content of `fit.json`: the data of a single run."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    fingerprint: str
    """Fingerprint of the corpus."""
    dev_rows: Number
    """Maximum number of dev rows per task that score a round."""


def run_fit(request: Request) -> None:
    """Train one config round by round in a trial's directory, and print a line per round."""
    out = request.out or Path(f"runs/fit/{request.recipe.replace('/', '-')}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    with command(
        "trainers.fit",
        begun=lambda: _begun(Folder.at(str(out))),
        extra=() if request.out else ("--out", str(out)),
    ):
        config, folder = _config(request), Folder.at(str(out))
        pretrained = read_pretrained(config.encoder)
        directory, notes = prepare(
            request.data, pretrained.tokenizer, rows=request.rows, seed=config.seed, texts=config.texts
        )
        corpus = Corpus.open(directory)
        _, rounds = plan(config, corpus)  # before the directory is created, so that an error leaves none behind
        weight_bytes = model_bytes(config, corpus.tasks, pretrained)
        keep = Keep.of(config.tasks, None, weight_bytes)
        uses = {"its checkpoints": training_bytes([config], weight_bytes, keep)}
        check_room(out, uses, "Free some space, or pass another --out.")
        device, dev_rows = "cuda" if torch.cuda.is_available() else "cpu", request.dev_rows or DEV_ROWS
        _create(folder, config, FitRecord(corpus.fingerprint, dev_rows), request.resume)
        about = (
            f"Recipe {request.recipe} on {device} in {config.precision}, encoder {config.encoder}, data {request.data}."
        )
        folder.delete(LEFT)
        length = f"In all: rounds {len(rounds)}, steps {rounds[-1].stop}, examples {rounds[-1].examples}."
        print(about, *pretrained.remarks(pooled=config.pooling == "pooled"), *notes, length, sep="\n", flush=True)
        printed: set[str] = set()
        for row in run_trial(folder, config, corpus, pretrained, device=device, dev_limit=dev_rows, keep=keep):
            new = [text for name, text in row.remarks.items() if name not in printed]
            print(_line(row, len(rounds)), *new, sep="\n", flush=True)
            printed |= row.remarks.keys()
        print(folder)


def _begun(folder: Folder) -> Begun | None:
    """Return what --resume can continue in a directory."""
    return Begun(folder, folder.exists(ROUNDS)) if folder.exists(FIT) else None


def _config(request: Request) -> TrainConfig:
    """Return the config of the recipe or the file, with the changes from the command line."""
    options = {"encoder": request.encoder, "seed": request.seed}
    given = {field: value for field, value in options.items() if value is not None}
    return with_values(_single(request.recipe).replace(**given), request.values)


def _single(name: str) -> TrainConfig:
    """Return the config of a recipe or of a JSON file.

    Raises:
        InputError: there is no such recipe or file, or the recipe has several configs; lists their names.
    """
    if name.endswith(".json"):
        return read_config(Path(name))
    found = recipe(name)
    if isinstance(found, Group):
        raise InputError(f"Recipe {name} has several trainings. Run one of them: {', '.join(configs(name))}.")
    if isinstance(found, EnsembleOf):
        raise InputError(f"Recipe {name} is an ensemble of other recipes. Run one of them: {', '.join(found.members)}.")
    return found


def _line(row: RoundRow, rounds: int) -> str:
    """Return the line about a finished round."""
    metrics = "".join(f" {task} {value:.4f}" for task, value in row.metrics.items())
    score = "not finite" if not row.finite else "no score yet" if row.score is None else f"{row.score:.4f}"
    loss = "" if row.loss is None else f" loss {row.loss:.4f}"
    counted = f"round {row.round} of {rounds}"
    return f"{counted}: score {score}{metrics}{loss} ({row.examples} examples, {row.seconds:.1f} s)"


def _create(folder: Folder, config: TrainConfig, about: FitRecord, resume: bool) -> None:
    """Create the directory of a run; of a run that is resumed, check that its config and data are the same.

    Raises:
        InputError: the directory holds a run but `resume` is False, or `resume` is True but there is no run, or the run
            has another config or other data.
    """
    if not folder.exists(FIT):
        if resume:
            raise InputError(f"There is no run at {folder} to resume. Leave --resume out to start it.")
        folder.write(CONFIG, config.model_dump_json(indent=2))
        folder.write_json(FIT, asdict(about))
        return
    if not resume:
        raise InputError(f"{folder} holds a run already. Pass --resume to continue it, or another --out.")
    remedy = "Repeat the first command with another --out."
    if (
        read_record(folder, CONFIG, TrainConfig, remedy) != config
        or read_record(folder, FIT, FitRecord, remedy) != about
    ):
        raise InputError(
            f"{folder} was made with another config or data. Repeat its first command, or pass another --out."
        )
