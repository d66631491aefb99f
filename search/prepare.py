"""What was asked on the command line -> a run directory that is ready to be searched."""

import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy

from model.errors import InputError
from model.weights import Pretrained, load_encoder, read_public, save_encoder
from search.estimates import FOLDS
from search.lock import locked
from search.runs import SEARCH, Run
from search.space import Shape, Space, check_space, load_space
from trainers.data import Corpus, prepare
from trainers.files import Folder, publish
from trainers.train import DEV_ROWS
from trainers.trial import STATES

DEFAULTS: dict[str, Any] = {
    "data": "sample",
    "rows": None,
    "encoder": "minilm",
    "seed": 0,
    "dev_rows": DEV_ROWS,
    "study": None,
}
"""What a search is made of, beside its space. A resumed one takes them from its `search.json`."""

PACKAGES = ("torch", "ray", "optuna")
FLOATS = 3
"""Numbers that a full state holds per parameter: the weight and AdamW's two moments."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Prepared:
    """A run that may be searched."""

    run: Run
    space: Space
    shape: Shape
    notes: list[str]
    """Lines for the user: what was read."""


def prepare_run(location: Folder, space_path: Path, asked: Mapping[str, Any], resume: bool, slots: int) -> Prepared:
    """Check all that was asked, then write the run directory; an existing one is checked against what is asked.

    Args:
        asked: the keys of `DEFAULTS`; None for what was left open.
        slots: trials at once, for which there must be room on the disk.

    Raises:
        InputError: anything of it is wrong; unless the storage cannot be written, nothing has been written then.
    """
    space = load_space(space_path)
    if _exists(location):
        return _existing(Run(location), space, asked, resume)
    if resume:
        raise InputError(f"There is no run {location.name!r} at {location} to resume. Leave --resume out to start it.")
    settings = {name: value if asked[name] is None else asked[name] for name, value in DEFAULTS.items()}
    pretrained = read_public(settings["encoder"])
    directory, notes = prepare(settings["data"], pretrained.tokenizer, rows=settings["rows"], seed=settings["seed"])
    corpus = Corpus.open(directory)
    shape = check_space(space, corpus, settings["seed"])
    _check_dev(corpus, shape, settings["dev_rows"])
    _check_disk(location, pretrained, slots)
    search = settings | {
        "name": location.name,
        "space": str(space_path),
        "space_source": space.source,
        "tasks": list(shape.tasks),
        "rounds": shape.rounds,
        "fingerprint": corpus.fingerprint,
        "versions": _versions(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(location, search, directory, pretrained)
    return Prepared(Run(location), space, shape, notes)


def _exists(location: Folder) -> bool:
    """Whether there is a run; the first look at the storage."""
    try:
        return location.exists(SEARCH)
    except OSError as error:
        raise InputError(
            f"--storage: cannot look at {location}: {error}. Check the URI and its credentials."
        ) from error


def _write(location: Folder, search: dict[str, Any], corpus: Path, pretrained: Pretrained) -> None:
    """Write what workers read, and last what was asked: a run exists when that file does."""
    try:
        with locked(location), tempfile.TemporaryDirectory() as scratch:
            if location.exists(SEARCH):
                raise InputError(f"Run {location.name!r} was begun a moment ago. Pass --resume, or another --name.")
            publish(corpus, location / "corpus")
            save_encoder(Path(scratch), pretrained)
            publish(Path(scratch), location / "encoder")
            location.write_json(SEARCH, search)
    except OSError as error:
        raise InputError(
            f"--storage: cannot write {location}: {error}. Give a folder or URI that can be written."
        ) from error


def _existing(run: Run, space: Space, asked: Mapping[str, Any], resume: bool) -> Prepared:
    """Check that a run is what is asked for."""
    name = run.folder.name
    if not resume:
        raise InputError(
            f"Run {name!r} exists with {run.ended} ended trials. Pass --resume to go on, or another --name."
        )
    if space.source != run.search["space_source"]:
        raise InputError(
            f"Run {name!r} was made with another space: {run.search['space']} has changed, or {space.path} is not it. "
            "Restore the file (its text is in search.json), or start a run under another --name."
        )
    for key, value in asked.items():
        if value is not None and value != run.search[key]:
            option = "--" + key.replace("_", "-")
            raise InputError(
                f"Run {name!r} was made with {option} {run.search[key]}, not {value}. "
                f"Leave {option} out to resume, or start a run under another --name."
            )
    if asked["data"] is not None:
        _check_same_data(run, load_encoder(run.local("encoder")))
    notes = [f"Resuming {name!r}: {run.ended} trials have ended."]
    if run.search["versions"] != _versions():
        notes.append(f"It was begun with {run.search['versions']}, which are not those of now: bits may differ.")
    return Prepared(run, space, check_space(space, run.corpus(), run.search["seed"]), notes)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def _check_dev(corpus: Corpus, shape: Shape, dev_rows: int) -> None:
    """Refuse data of which no ensemble could be chosen."""
    for task in shape.tasks:
        rows = min(dev_rows, int(numpy.isfinite(corpus.splits[task]["dev"].labels).sum()))
        if rows < FOLDS:
            raise InputError(
                f"Rounds would be scored on {rows} labelled dev rows of {task}; the ensemble needs {FOLDS}. "
                "Add dev rows, or raise --dev-rows."
            )


def _check_same_data(run: Run, pretrained: Pretrained) -> None:
    search = run.search
    directory, _ = prepare(search["data"], pretrained.tokenizer, rows=search["rows"], seed=search["seed"])
    if Corpus.open(directory).fingerprint != search["fingerprint"]:
        raise InputError(
            f"The data at {search['data']} are not those that run {search['name']!r} was made with. "
            "Restore them, or leave --data out to go on with the run's own copy."
        )


def _check_disk(location: Folder, pretrained: Pretrained, slots: int) -> None:
    """Refuse a start that would fill the disk: every slot holds full states, and one more while it is written."""
    if not location.local:
        return
    weights = sum(tensor.numel() for tensor in pretrained.weights.values())
    needed = slots * (STATES + 1) * FLOATS * FLOAT_BYTES * weights
    place = location.local
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{place} has {free / 2**30:.1f} GiB free; the checkpoints of {slots} trials at once need "
            f"{needed / 2**30:.1f} GiB. Free some, or pass another --storage."
        )
