"""What was asked on the command line -> a run directory that is ready to be searched."""

import platform
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.encoder import Pretrained
from model.errors import InputError
from model.pretrained import load_encoder, read_pretrained, save_encoder
from search.options import typed
from search.runs.lock import locked
from search.runs.run import Run
from search.runs.search_record import SEARCH, RequestedSettings, SearchRecord, Settings, write_search
from search.session.scored_rows import labelled_rows, settled_rows
from search.suggest.space import Checked, Space
from search.suggest.warm_start import WARM_START, WarmStart, fitted
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder, publish
from trainers.trial import STATES

PACKAGES = ("torch", "ray", "optuna")
FLOATS = 3
"""Numbers that a full state holds per parameter: the weight and AdamW's two moments; an average or a teacher adds one.
"""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Prepared:
    """A run that may be trained."""

    run: Run
    checked: Checked
    notes: list[str]
    """Lines for the user: what was read."""


def settle(location: Folder, requested: RequestedSettings, *, resume: bool) -> RequestedSettings:
    """Return the settings of a run: the requested ones for a new run, the recorded ones for a resumed run.

    Args:
        requested: the fields that were set explicitly must agree with a resumed run's.

    Raises:
        InputError: the run exists and `resume` is False, or the other way round, or it has other settings.
    """
    if not _exists(location):
        if resume:
            raise InputError(
                f"There is no run {location.name!r} at {location} to resume. Leave --resume out to start it."
            )
        return requested
    run = Run(location)
    if not resume:
        raise InputError(
            f"Run {location.name!r} exists with {run.ended} ended trials. Pass --resume to go on, or another --name."
        )
    _check_same(run, requested)
    return run.search.requested


def prepare_run(
    location: Folder,
    settings: RequestedSettings,
    configs: Collection[TrainConfig],
    check: Callable[[Corpus], Checked],
    slots: int,
    *,
    learn: Callable[[Space, SearchRecord], WarmStart] = partial(fitted, []),
) -> Prepared:
    """Check all that was settled, then write the run directory; one that exists must have the same space.

    Args:
        settings: what `settle` returned; all of it is written down.
        configs: some that will be trained: the data need the text sets that they name.
        check: the data -> what is to be trained on them, checked.
        slots: trials at once, for which there must be room on the disk.
        learn: space, `search.json` -> what it learns from.

    Raises:
        InputError: anything of it is wrong; unless the storage cannot be written, nothing has been written then.
    """
    if _exists(location):
        return _existing(Run(location), check)
    pretrained = read_pretrained(settings.encoder)
    texts = frozenset(name for config in configs for name in config.texts)
    directory, notes = _read(settings, pretrained, texts)
    corpus = Corpus.open(directory)
    checked = check(corpus)
    dev_rows = settled_rows(settings.dev_rows, checked.shape, configs, labelled_rows(corpus, checked.tasks))
    _check_disk(location, pretrained, configs, slots)
    search = SearchRecord(
        **dict(settings.replace(dev_rows=dev_rows)),
        name=location.name,
        space=str(checked.space.path),
        space_source=checked.space.source,
        tasks=checked.tasks,
        rounds=checked.shape.rounds if checked.shape else None,
        fingerprint=corpus.fingerprint,
        versions=_versions(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    warm = learn(checked.space, search)
    _write(location, search, directory, pretrained, warm)
    return Prepared(Run(location), checked, notes + warm.notes)


def _exists(location: Folder) -> bool:
    """Whether there is a run; the first look at the storage."""
    try:
        return location.exists(SEARCH)
    except OSError as error:
        raise InputError(
            f"--storage: cannot look at {location}: {error}. Check the URI and its credentials."
        ) from error


def _write(location: Folder, search: SearchRecord, corpus: Path, pretrained: Pretrained, warm: WarmStart) -> None:
    """Write what workers read, what is learned from, and last what was asked: a run exists when that file does."""
    try:
        with locked(location), tempfile.TemporaryDirectory() as scratch:
            if location.exists(SEARCH):
                raise InputError(f"Run {location.name!r} was begun a moment ago. Pass --resume, or another --name.")
            publish(corpus, location / "corpus")
            save_encoder(Path(scratch), pretrained)
            publish(Path(scratch), location / "encoder")
            if warm.records:
                location.write_json(WARM_START, warm.records)
            write_search(location, search)
    except OSError as error:
        raise InputError(
            f"--storage: cannot write {location}: {error}. Give a folder or URI that can be written."
        ) from error


def _existing(run: Run, check: Callable[[Corpus], Checked]) -> Prepared:
    """Check that a run trains what it did when it was begun."""
    name, checked = run.folder.name, check(run.corpus())
    if checked.space.source != run.search.space_source:
        raise InputError(
            f"Run {name!r} was made with another space: {run.search.space} has changed, or {checked.space.path} is "
            "not it. Restore what it was (`space_source` in search.json), or start a run under another --name."
        )
    notes = [f"Resuming {name!r}: {run.ended} trials have ended."]
    if run.search.versions != _versions():
        notes.append(f"It was begun with {run.search.versions}, which are not those of now: bits may differ.")
    return Prepared(run, checked, notes)


def _check_same(run: Run, requested: RequestedSettings) -> None:
    """Check that a run was made with what is asked for."""
    given, recorded = requested.flat(given=True), run.search.flat()
    for key, value in given.items():
        made_with = recorded.get(key)
        if value != made_with:
            option = "RECIPE" if key == "recipes" else "--" + key.replace("_", "-")
            raise InputError(
                f"Run {run.folder.name!r} was made {_made(option, made_with)}, not {_made(option, value)}. "
                f"Leave {option} out to resume, or start a run under another --name."
            )
    if "data" in given:
        directory, _ = _read(run.search, load_encoder(run.local("encoder")), run.corpus().texts)
        if Corpus.open(directory).fingerprint != run.search.fingerprint:
            raise InputError(
                f"The data at {requested.data} are not those that run {run.folder.name!r} was made with. "
                "Restore them, or leave --data out to go on with the run's own copy."
            )


def _made(option: str, value: Any) -> str:
    """Say how an option was given."""
    if value in (None, []):
        return f"without {option}"
    return f"with {typed(option, value)}" if option.startswith("--") else f"for {' '.join(value)}"


def _read(settings: Settings, pretrained: Pretrained, texts: Collection[str]) -> tuple[Path, list[str]]:
    """Read and tokenise the data, with some text sets; return where they are, and lines for the user."""
    return prepare(settings.data, pretrained.tokenizer, rows=settings.rows, seed=settings.seed, texts=texts)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}


def _check_disk(location: Folder, pretrained: Pretrained, configs: Collection[TrainConfig], slots: int) -> None:
    """Refuse a start whose living trials alone would fill the disk: each has full states, and writes one more."""
    if not location.local:
        return
    beside = max(((config.averaging.kind != "none") + config.bregman.active for config in configs), default=0)
    weights = sum(tensor.numel() for tensor in pretrained.weights.values())
    needed = slots * (STATES + 1) * (FLOATS + beside) * FLOAT_BYTES * weights
    place = location.local
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{place} has {free / 2**30:.1f} GiB free; the checkpoints of {slots} trials at once need "
            f"{needed / 2**30:.1f} GiB. Free some, or pass another --storage."
        )
