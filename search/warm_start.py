"""Ended trials of earlier searches -> what this one may learn from, kept in its run directory."""

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from model.errors import InputError, first_line, unknown
from search.objectives import directions
from search.runs import STOPPED, Run, rebuild_study, stopped_attributes
from search.space import Space, call

WARM_START = "warm_start.json"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
LONG_AGO = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Source:
    """A run or a study to learn from."""

    name: str
    """As it was given, without a password."""
    directions: list[StudyDirection]
    trials: list[FrozenTrial]
    """The ended ones."""
    search: dict[str, Any] | None
    """What a run was made of; nothing is known of a study."""


@dataclass(frozen=True)
class WarmStart:
    """What a search learns from."""

    records: list[dict[str, Any]]
    """Of each trial what `warm_trials` needs, and where it is from."""
    notes: list[str]
    """Lines for the user: what is used, what is not, and why."""


class Unfit(InputError):
    """Why a trial cannot be used, said of one and of many."""

    def __init__(self, one: str, many: str):
        super().__init__(one)
        self.one, self.many = one, many


def warm_trials(run: Run) -> list[FrozenTrial]:
    """Return what a run's Optuna sampler learns from beside the run's own trials: older ones, of numbers below 0."""
    records = run.folder.read_json(WARM_START) if run.folder.exists(WARM_START) else []
    return [_frozen(record, number) for number, record in enumerate(records, -len(records))]


def shown(source: str) -> str:
    """Return a source as it may be written down, without a password."""
    place, mark, name = _parted(source)
    return make_url(place).render_as_string(hide_password=True) + mark + name if _is_url(place) else source


def read_sources(given: Sequence[str], storage: str) -> list[Source]:
    """Read the ended trials of runs (a name under `storage`, a path or a URI) or studies.

    Args:
        given: a study is an Optuna storage's URL or a journal's path, with #NAME if it holds several.

    Raises:
        InputError: there is no such run or study.
    """
    return [_read(source, storage) for source in dict.fromkeys(given)]


def fitted(sources: Sequence[Source], space: Space, search: Mapping[str, Any]) -> WarmStart:
    """Take over the trials that could have been drawn from a space.

    Args:
        search: what the run that learns is made of, see `search.json`.

    Raises:
        InputError: the values of a source are not of these objectives and tasks, or none of its trials can be used.
    """
    records, notes = [], []
    for source in sources:
        _check_comparable(source, search)
        found, unfit = _taken_over(source, space)
        told = f" {sum(unfit.values())} of {len(source.trials)} trials not used: {_reasons(unfit)}." if unfit else ""
        if not found:
            raise InputError(f"--warm-start {source.name}:{told or ' no trial has ended.'} Leave it out.")
        stopped = sum(record["state"] == TrialState.PRUNED.name for record in found)
        early = f", {stopped} of them stopped early" if stopped else ""
        notes.append(f"Warm start from {source.name}: {len(found)} trials{early}.{told}")
        notes += _warnings(source, search)
        records += found
    return WarmStart(records, notes)


def _read(source: str, storage: str) -> Source:
    place, _, name = _parted(source)
    if _is_url(place) or Path(place).is_file():
        with _opened(place) as opened:
            study = _chosen(opened, shown(source), name)
            return Source(shown(source), study.directions, study.get_trials(states=ENDED), None)
    run = Run.open(source, storage)
    study = rebuild_study(run)
    return Source(source, study.directions, study.get_trials(states=ENDED), run.search)


def _parted(source: str) -> tuple[str, str, str]:
    """Part a study's place, "#" and its name."""
    place, mark, name = source.rpartition("#")
    return (place, mark, name) if mark and not Path(source).exists() else (source, "", "")


def _is_url(place: str) -> bool:
    """Whether it is a database's, and not a run's URI."""
    try:
        make_url(place).get_dialect()
    except (ArgumentError, NoSuchModuleError):
        return False
    return True


@contextmanager
def _opened(place: str) -> Iterator[BaseStorage]:
    """Open a storage without a change to it."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if not _is_url(place):  # a copy: Optuna opens a journal for writing
                copy = shutil.copyfile(place, Path(scratch) / "journal")
                yield JournalStorage(JournalFileBackend(str(copy)))
                return
            url = make_url(place)
            if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():  # it would be made
                raise InputError(f"--warm-start {place}: there is no file {url.database}. Correct the URL.")
            yield optuna.storages.get_storage(place)
    except InputError:
        raise
    except Exception as error:  # each database driver, and a file that is no journal, raises errors of its own
        raise InputError(
            f"--warm-start {shown(place)}: {first_line(error)}. Give a run, the URL of an Optuna storage, such as "
            "sqlite:///study.db, or the path of a journal."
        ) from error


def _chosen(storage: BaseStorage, place: str, name: str) -> optuna.Study:
    """Load a study by its name, or the only one that there is."""
    names = optuna.get_all_study_names(storage)
    if name and name not in names:
        raise unknown(f"study of {place}", name, names)
    if not name and len(names) != 1:
        raise InputError(f"--warm-start {place}: holds {len(names)} studies. Write {place}#NAME: {', '.join(names)}.")
    return optuna.load_study(study_name=name or names[0], storage=storage)


def _check_comparable(source: Source, search: Mapping[str, Any]) -> None:
    """Refuse values that mean something else than those of this search."""
    theirs, ours = [direction.name.lower() for direction in source.directions], directions(search["objective"])
    if theirs != ours:
        raise InputError(
            f"--warm-start {source.name}: its trials' values are to {_and(theirs)}, those of this search to "
            f"{_and(ours)}. Pass a source with the same objectives."
        )
    for key, order in (("objective", list), ("tasks", sorted)):
        found = source.search.get(key) if source.search else None
        if found is not None and order(found) != order(search[key]):
            raise InputError(
                f"--warm-start {source.name}: its trials are judged by the {key} {_and(found)}, those of this search "
                f"by {_and(search[key])}. Pass a run with the same."
            )


def _warnings(source: Source, search: Mapping[str, Any]) -> list[str]:
    """Say what else differs: values still show which points are good, but not how good they are here."""
    words = {"fingerprint": "other data", "encoder": "another encoder", "rounds": "another number of rounds"}
    other = [text for key, text in words.items() if source.search and source.search[key] != search[key]]
    return [f"Its values are of {_and(other)}: they tell good points from bad ones only roughly."] if other else []


def _taken_over(source: Source, space: Space) -> tuple[list[dict[str, Any]], Counter[Unfit]]:
    """Return the trials that fit, and why others do not."""
    records, unfit = [], {}
    for trial in source.trials:
        try:
            records.append(_record(trial, space) | {"from": source.name, "trial": trial.number})
        except Unfit as reason:
            unfit.setdefault(reason.many, []).append(reason)
    return records, Counter({reasons[0]: len(reasons) for reasons in unfit.values()})


def _record(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    """Return a trial as if it had been drawn from a space.

    Raises:
        Unfit: it could not have been.
    """
    values = trial.values or trial.user_attrs.get(STOPPED)
    if not values or not all(map(math.isfinite, values)):
        raise Unfit("has no finite value", "have no finite value")
    replay = _Replay(dict(trial.params))
    try:
        call(space, replay)
    except optuna.TrialPruned:
        raise Unfit("is infeasible by the space", "are infeasible by the space") from None
    except Unfit:
        raise
    except InputError as error:
        raise Unfit(f"gives no config ({first_line(error)})", f"give no config ({first_line(error)})") from None
    return {
        "state": trial.state.name,
        "values": values,
        "params": replay.params,
        # This space's: one of another range would be another parameter to the Optuna sampler.
        "distributions": {name: distribution_to_json(found) for name, found in replay.distributions.items()},
        "intermediate_values": {
            step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)
        },
    }


def _frozen(record: Mapping[str, Any], number: int) -> FrozenTrial:
    """Return a trial as it was recorded; it ended before any of the run's own."""
    state, values = TrialState[record["state"]], record["values"]
    attributes = stopped_attributes(state, values, several=len(values) > 1)
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=None if attributes else values,
        datetime_start=LONG_AGO,
        datetime_complete=LONG_AGO,
        params=record["params"],
        distributions={name: json_to_distribution(text) for name, text in record["distributions"].items()},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={int(step): value for step, value in record["intermediate_values"].items()},
    )


class _Replay(optuna.trial.FixedTrial):
    """Answer a space with the parameters of an old trial, as long as they are what it asks for."""

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params:
            raise Unfit(f"lacks {name!r}", f"lack {name!r}")
        value = self._params[name]
        try:
            internal = distribution.to_internal_repr(value)
            inside = distribution._contains(internal)
        except (TypeError, ValueError):  # words where a number is asked for, or another choice
            inside, internal = False, 0.0
        if not inside:
            allowed = _allowed(distribution)
            raise Unfit(f"has {name} {value} outside {allowed}", f"have {name} outside {allowed}")
        self._params[name] = distribution.to_external_repr(internal)  # of the space's type: 1 may have been 1.0
        return super()._suggest(name, distribution)


def _allowed(distribution: Any) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    return f"{distribution.low:g} to {distribution.high:g}"


def _reasons(unfit: Counter[Unfit]) -> str:
    """Tell the reasons, the commonest first."""
    return ", ".join(
        f"1 {reason.one}" if count == 1 else f"{count} {reason.many}" for reason, count in unfit.most_common()
    )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
