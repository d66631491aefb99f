"""Create the run directory of a new run, or reopen that of a resumed run, after all checks."""

import platform
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.encoder import Pretrained
from model.errors import InputError, first_line
from model.pretrained import load_encoder, read_pretrained, save_encoder
from search.options import typed
from search.runs.kept_checkpoints import ensemble_rounds
from search.runs.lock import locked
from search.runs.objectives import kept_metrics
from search.runs.run import Run
from search.runs.search_record import SEARCH, RequestedSettings, SearchRecord, Settings, write_search
from search.runs.trial_record import RUNNING
from search.session.disk_space import check_disk, largest_model_bytes
from search.session.scored_rows import dev_row_limit, labelled_rows
from search.suggest.space import CheckedSpace, Space
from search.suggest.warm_start import WARM_START, WarmStart, warm_start_from, warm_trials
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder, publish
from trainers.training.kept_rounds import Keep
from trainers.urls import without_secrets

PACKAGES = ("torch", "ray", "optuna")
"""Packages with versions that change results; a run records these versions."""
MAY_CHANGE = ("keep",)
"""Recorded settings that a resumed run may change."""
COMPUTED = ("dev_rows", "precision", "recipes", "trained_as")
"""Settings that are computed if the command does not give them."""


@dataclass(frozen=True)
class Prepared:
    """A run directory that is ready for training."""

    run: Run
    checked: CheckedSpace
    notes: list[str]
    """Lines for the user: facts about the data, the resumed run and the warm start."""


def run_settings(location: Folder, requested: RequestedSettings, *, resume: bool) -> RequestedSettings:
    """Return the settings of a run: the requested ones for a new run, the recorded ones for a resumed run.

    A run without a trial is what a failed start leaves behind; the same settings start it without `resume`.

    Args:
        location: the run directory.
        requested: for a resumed run, the fields that were set explicitly must equal the recorded ones.

    Raises:
        InputError: the run exists but `resume` is False, or `resume` is True but there is no run, or the run has other
            settings.
    """
    if not run_exists(location):
        if resume:
            raise InputError(
                f"There is no run {location.name!r} at {location} to resume. Pass its --name, or leave --resume out to "
                "start it."
            )
        return requested
    run = Run(location)
    if not resume and (run.trials() or not _same_settings(run, requested)):
        raise InputError(
            f"Run {location.name!r} exists with {run.ended_count} ended trials. "
            "Pass --resume to continue it, or another --name."
        )
    _check_unchanged(run, requested)
    changed = {name: value for name, value in requested.flat(given=True).items() if name in MAY_CHANGE}
    return run.search.requested.replace(**changed)


def prepare_run(
    location: Folder,
    settings: RequestedSettings,
    configs: Collection[TrainConfig],
    check: Callable[[Corpus], CheckedSpace],
    unfinished: int,
    trials: int | None,
    *,
    warm_start: Callable[[Space, SearchRecord], WarmStart] = partial(warm_start_from, []),
) -> Prepared:
    """Check the settings against the space, the data and the disk, then create the run directory or reopen it.

    Args:
        location: the run directory.
        settings: the result of `run_settings`.
        configs: examples of the configs that will be trained; the corpus gets the text sets that they name.
        check: checks that the space can be trained on a corpus.
        unfinished: the number of trials that keep full states at the same time.
        trials: the number of trials, earlier sessions included; None for no limit.
        warm_start: returns the trials of earlier searches that a new run's sampler sees.

    Raises:
        InputError: a check failed, and nothing was written; or the storage cannot be written.
    """
    if run_exists(location):
        return _reopened(Run(location), settings, configs, check, unfinished, trials)
    pretrained = read_pretrained(settings.encoder)
    texts = frozenset(name for config in configs for name in config.texts)
    directory, notes = _read_data(settings, pretrained, texts)
    corpus = Corpus.open(directory)
    checked = check(corpus)
    dev_rows = dev_row_limit(settings.dev_rows, checked.shape, configs, labelled_rows(corpus, checked.tasks))
    search = _new_record(location, settings.replace(dev_rows=dev_rows), checked, corpus)
    weight_bytes = largest_model_bytes(configs, corpus.tasks, pretrained)
    metrics, needed = kept_metrics(settings.objective, checked.tasks), ensemble_rounds(settings.reproduction)
    keep = Keep.of(metrics, settings.keep, weight_bytes, needed, stops_early=search.stops_early)
    disk = check_disk(
        location, configs, corpus, pretrained, keep, dev_rows=dev_rows, unfinished=unfinished, trials=trials
    )
    search = search.replace(keep=keep.count)
    warm = warm_start(checked.space, search)
    _write(location, search, directory, pretrained, warm)
    remarks = pretrained.remarks(pooled=any(config.pooling == "pooled" for config in configs))
    return Prepared(Run(location), checked, [*remarks, *notes, disk, *warm.notes])


def run_exists(location: Folder) -> bool:
    """Return whether the run exists; this is the first access to the storage.

    Raises:
        InputError: the storage cannot be read.
    """
    try:
        return location.exists(SEARCH)
    except OSError as error:
        fault = without_secrets(first_line(error), location.uri)
        raise InputError(f"--storage: cannot read {location}: {fault}. Check the URI and its credentials.") from error


def _new_record(location: Folder, settings: RequestedSettings, checked: CheckedSpace, corpus: Corpus) -> SearchRecord:
    """Return the record of a run that starts now."""
    return SearchRecord(
        **dict(settings),
        name=location.name,
        space=str(checked.space.path),
        space_source=checked.space.source,
        tasks=checked.tasks,
        rounds=checked.shape.rounds if checked.shape else None,
        passes=checked.space.passes,
        fingerprint=corpus.fingerprint,
        versions=_versions(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write(location: Folder, search: SearchRecord, corpus: Path, pretrained: Pretrained, warm: WarmStart) -> None:
    """Write the corpus, the encoder, the warm-start trials and, last, `search.json`, which makes the run exist."""
    try:
        with locked(location), tempfile.TemporaryDirectory() as scratch:
            if location.exists(SEARCH):
                raise InputError(
                    f"Run {location.name!r} was started by another process a moment ago. Pass another --name, or "
                    "--resume once that process has ended."
                )
            publish(corpus, location / "corpus")
            save_encoder(Path(scratch), pretrained)
            publish(Path(scratch), location / "encoder")
            if warm.records:
                location.write_json(WARM_START, warm.records)
            write_search(location, search)
    except OSError as error:
        fault = without_secrets(first_line(error), location.uri)
        raise InputError(
            f"--storage: cannot write {location}: {fault}. Give a folder or URI that can be written."
        ) from error


def _reopened(
    run: Run,
    settings: RequestedSettings,
    configs: Collection[TrainConfig],
    check: Callable[[Corpus], CheckedSpace],
    unfinished: int,
    trials: int | None,
) -> Prepared:
    """Check that a resumed run has the space that it was started with; record the settings that may change."""
    corpus = run.corpus()
    name, checked = run.folder.name, check(corpus)
    if checked.space.source != run.search.space_source:
        raise InputError(
            f"Run {name!r} was made with another space: {run.search.space} has changed, or {checked.space.path} is "
            "another file. Restore its text (`space_source` in search.json), or start a run under another --name."
        )
    warm_trials(run)  # a damaged file is an error before Ray starts
    pretrained, dev_rows = load_encoder(run.local_path("encoder")), run.search.dev_rows
    metrics = kept_metrics(run.objectives, run.search.tasks)
    keep = Keep.of(metrics, settings.keep, stops_early=run.search.stops_early)
    disk = check_disk(
        run.folder, configs, corpus, pretrained, keep, dev_rows=dev_rows, unfinished=unfinished, trials=trials
    )
    if settings.keep != run.search.keep:
        with locked(run.folder):
            write_search(run.folder, run.search.replace(keep=settings.keep))
        run = Run(run.folder)
    begun = sum(trial.state == RUNNING and bool(trial.rows) for trial in run.trials())
    notes = [f"Resuming {name!r}: {run.ended_count} trials have ended, {begun} continue after their last round.", disk]
    if run.search.versions != _versions():
        notes.append(f"It was started with {run.search.versions}, now there are {_versions()}: bits may differ.")
    return Prepared(run, checked, notes)


def _same_settings(run: Run, requested: RequestedSettings) -> bool:
    """Return whether a run was started with these settings, apart from those that were computed for it."""
    recorded = run.search.flat()
    return all(
        value == recorded.get(key) or key in MAY_CHANGE or (not value and key in COMPUTED)
        for key, value in requested.flat().items()
    )


def _check_unchanged(run: Run, requested: RequestedSettings) -> None:
    """Check that the settings that were given on the command line are those of the run."""
    given, recorded = requested.flat(given=True), run.search.flat()
    for key, value in given.items():
        if key in MAY_CHANGE:
            continue
        made_with = recorded.get(key)
        if value != made_with:
            option = "RECIPE" if key == "recipes" else "--" + key.replace("_", "-")
            raise InputError(
                f"Run {run.folder.name!r} was made {_phrase(option, made_with)}, not {_phrase(option, value)}. "
                f"Leave {option} out to resume, or start a run under another --name."
            )
    if "data" in given:
        directory, _ = _read_data(run.search, load_encoder(run.local_path("encoder")), run.corpus().texts)
        if Corpus.open(directory).fingerprint != run.search.fingerprint:
            raise InputError(
                f"The data at {requested.data} differ from those that run {run.folder.name!r} was made with. "
                "Restore them, or leave --data out to continue with the run's own copy."
            )


def _phrase(option: str, value: Any) -> str:
    """Return the part of an error message that names an option and its value."""
    if value in (None, []):
        return f"without {option}"
    return f"with {typed(option, value)}" if option.startswith("--") else f"for {' '.join(value)}"


def _read_data(settings: Settings, pretrained: Pretrained, texts: Collection[str]) -> tuple[Path, list[str]]:
    """Read and tokenise the data and the named text sets; return the corpus's directory and lines for the user."""
    return prepare(settings.data, pretrained.tokenizer, rows=settings.rows, seed=settings.seed, texts=texts)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
