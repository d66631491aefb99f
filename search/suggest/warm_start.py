"""Take over trials of earlier searches that fit this search's space; keep them in its run directory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError, first_line
from search.runs.objectives import directions
from search.runs.rebuilt_study import stopped_attributes
from search.runs.run import Run
from search.runs.search_record import SearchRecord
from search.runs.trial_record import STOPPED
from search.suggest.earlier_searches import EarlierSearch
from search.suggest.optuna_internals import LookupTrial, contains
from search.suggest.space import Space, suggest_config

WARM_START = "warm_start.json"
LONG_AGO = datetime(1970, 1, 1)


@dataclass(frozen=True)
class WarmStart:
    """What a search learns from."""

    records: list[dict[str, Any]]
    """Of each trial what `warm_trials` needs, and where it is from."""
    notes: list[str]
    """Lines for the user: what is used, what is not, and why."""


class UnusableTrial(InputError):
    """Why a trial cannot be used, said of one and of many."""

    def __init__(self, singular: str, plural: str):
        super().__init__(singular)
        self.singular, self.plural = singular, plural


def warm_trials(run: Run) -> list[FrozenTrial]:
    """Return what a run's Optuna sampler learns from beside the run's own trials: older ones, of numbers below 0."""
    records = run.folder.read_json(WARM_START) if run.folder.exists(WARM_START) else []
    return [_frozen(record, number) for number, record in enumerate(records, -len(records))]


def warm_start_from(sources: Sequence[EarlierSearch], space: Space, search: SearchRecord) -> WarmStart:
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


def _check_comparable(source: EarlierSearch, search: SearchRecord) -> None:
    """Refuse values that mean something else than those of this search."""
    theirs, ours = [direction.name.lower() for direction in source.directions], directions(search.objective)
    if theirs != ours:
        raise InputError(
            f"--warm-start {source.name}: its trials' values are to {_and(theirs)}, those of this search to "
            f"{_and(ours)}. Pass a source with the same objectives."
        )
    if not source.search:
        return
    for key, found, own, same in (
        ("objective", source.search.objective, search.objective, source.search.objective == search.objective),
        ("tasks", source.search.tasks, search.tasks, set(source.search.tasks) == set(search.tasks)),
    ):
        if not same:
            raise InputError(
                f"--warm-start {source.name}: its trials are judged by the {key} {_and(found)}, those of this search "
                f"by {_and(own)}. Pass a run with the same."
            )


def _warnings(source: EarlierSearch, search: SearchRecord) -> list[str]:
    """Say what else differs: values still show which points are good, but not how good they are here."""
    if not source.search:
        return []
    differs = {
        "other data": source.search.fingerprint != search.fingerprint,
        "another encoder": source.search.encoder != search.encoder,
        "another number of rounds": source.search.rounds != search.rounds,
    }
    other = [words for words, found in differs.items() if found]
    return [f"Its values are of {_and(other)}: they tell good points from bad ones only roughly."] if other else []


def _taken_over(source: EarlierSearch, space: Space) -> tuple[list[dict[str, Any]], Counter[UnusableTrial]]:
    """Return the trials that fit, and why others do not."""
    records, unfit = [], {}
    for trial in source.trials:
        try:
            records.append(_record(trial, space) | {"from": source.name, "trial": trial.number})
        except UnusableTrial as reason:
            unfit.setdefault(reason.plural, []).append(reason)
    return records, Counter({reasons[0]: len(reasons) for reasons in unfit.values()})


def _record(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    """Return a trial as if it had been drawn from a space.

    Raises:
        UnusableTrial: it could not have been.
    """
    values = trial.values or trial.user_attrs.get(STOPPED)
    if not values or not all(map(math.isfinite, values)):
        raise UnusableTrial("has no finite value", "have no finite value")
    replay = LookupTrial(partial(_value_in_space, trial.params))
    try:
        suggest_config(space, replay)
    except optuna.TrialPruned:
        raise UnusableTrial("is infeasible by the space", "are infeasible by the space") from None
    except UnusableTrial:
        raise
    except InputError as error:
        raise UnusableTrial(f"gives no config ({first_line(error)})", f"give no config ({first_line(error)})") from None
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


def _value_in_space(params: Mapping[str, Any], name: str, distribution: BaseDistribution) -> Any:
    """Return a trial's value of a parameter in the type of the space's distribution: 1.0 for an integer becomes 1.

    Raises:
        UnusableTrial: the trial lacks the parameter, or the distribution does not allow its value.
    """
    if name not in params:
        raise UnusableTrial(f"lacks {name!r}", f"lack {name!r}")
    if not contains(distribution, params[name]):
        allowed = _allowed(distribution)
        raise UnusableTrial(f"has {name} {params[name]} outside {allowed}", f"have {name} outside {allowed}")
    return distribution.to_external_repr(distribution.to_internal_repr(params[name]))


def _allowed(distribution: Any) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    return f"{distribution.low:g} to {distribution.high:g}"


def _reasons(unfit: Counter[UnusableTrial]) -> str:
    """Tell the reasons, the commonest first."""
    return ", ".join(
        f"1 {reason.singular}" if count == 1 else f"{count} {reason.plural}" for reason, count in unfit.most_common()
    )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
