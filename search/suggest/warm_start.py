"""Copy usable trials of earlier searches into a run directory, so that the Optuna sampler learns from them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from model.errors import InputError, first_line
from search.runs.objectives import study_directions
from search.runs.plain_values import printable
from search.runs.rebuilt_study import end_attributes
from search.runs.run import Run
from search.runs.search_record import SearchRecord
from search.runs.trial_record import STOPPED_VALUES
from search.suggest.earlier_searches import EarlierSearch
from search.suggest.optuna_internals import LookupTrial, contains
from search.suggest.space import Space, suggest_config
from trainers.settings import Config, read_record

WARM_START = "warm_start.json"
LONG_AGO = datetime(1970, 1, 1)
"""Start and end of all warm-start trials: before any trial of the run."""


class WarmRecord(Config):
    """A trial of an earlier search in `warm_start.json`: what an Optuna trial has, and where it comes from."""

    state: Literal["COMPLETE", "PRUNED"]
    values: Annotated[list[float], Field(min_length=1)]
    params: dict[str, Any]
    distributions: dict[str, str]
    intermediate_values: dict[str, float]
    source: str = Field(alias="from")
    """Name of the earlier search."""
    trial: int
    """Number of the trial there."""


@dataclass(frozen=True)
class WarmStart:
    """The trials of earlier searches that a run uses."""

    records: list[dict[str, Any]]
    """One record per trial: the fields that `warm_trials` reads, the earlier search and the trial's number there."""
    notes: list[str]
    """Lines for the user: the number of trials used, and the reasons why others are not."""


class UnusableTrial(InputError):
    """The reason why a trial cannot be used, worded for one trial and for several."""

    def __init__(self, singular: str, plural: str):
        super().__init__(singular)
        self.singular, self.plural = singular, plural


def warm_trials(run: Run) -> list[FrozenTrial]:
    """Return the warm-start trials of a run; their numbers are below 0, before the run's own trials.

    Raises:
        InputError: the file is damaged.
    """
    if not run.folder.exists(WARM_START):
        return []
    remedy = "Copy it from a backup of the run, or delete it to go on without the trials of earlier searches."
    records = read_record(run.folder, WARM_START, list[WarmRecord], remedy)
    try:
        return [_frozen(record, number) for number, record in enumerate(records, -len(records))]
    except Exception as error:  # Optuna parses distributions without checking: a KeyError, TypeError or ValueError
        raise InputError(f"{run.folder}/{WARM_START} cannot be used: {first_line(error)}. {remedy}") from None


def warm_start_from(sources: Sequence[EarlierSearch], space: Space, search: SearchRecord) -> WarmStart:
    """Collect the trials of earlier searches that could have been drawn from a space.

    Args:
        search: the `search.json` of the new run.

    Raises:
        InputError: a source has other objectives or tasks, or none of its trials can be used.
    """
    records, notes = [], []
    for source in sources:
        _check_comparable(source, search)
        found, unusable = _usable_records(source, space)
        skipped = _skipped(unusable, len(source.trials))
        if not found:
            raise InputError(f"--warm-start {source.name}:{skipped or ' no trial has ended.'} Leave it out.")
        stopped = sum(record["state"] == TrialState.PRUNED.name for record in found)
        early = f", {stopped} of them stopped early" if stopped else ""
        notes.append(f"Warm start from {source.name}: {len(found)} trials{early}.{skipped}")
        notes += _warnings(source, search)
        records += found
    return WarmStart(records, notes)


def _check_comparable(source: EarlierSearch, search: SearchRecord) -> None:
    """Raise InputError if the trials' values have another meaning than the values of this search."""
    theirs, ours = [direction.name.lower() for direction in source.directions], study_directions(search.objective)
    if theirs != ours:
        raise InputError(
            f"--warm-start {source.name}: its objectives are to {_join(theirs)}; this search's objectives are to "
            f"{_join(ours)}. Pass a source with the same objectives."
        )
    if not source.search:
        return
    for key, found, own, same in (
        ("objective", source.search.objective, search.objective, source.search.objective == search.objective),
        ("tasks", source.search.tasks, search.tasks, set(source.search.tasks) == set(search.tasks)),
    ):
        if not same:
            raise InputError(
                f"--warm-start {source.name}: its trials were scored by the {key} {_join(found)}; this search uses "
                f"{_join(own)}. Pass a run with the same {key}."
            )


def _warnings(source: EarlierSearch, search: SearchRecord) -> list[str]:
    """Return a warning about other differences: the values still rank points, but only roughly."""
    if not source.search:
        return []
    differs = {
        "other data": source.search.fingerprint != search.fingerprint,
        "another encoder": source.search.encoder != search.encoder,
        "another number of rounds": source.search.rounds != search.rounds,
        "another number of passes": source.search.passes != search.passes,
    }
    other = [words for words, found in differs.items() if found]
    return [f"Its values come from {_join(other)}: they rank points only roughly."] if other else []


def _usable_records(source: EarlierSearch, space: Space) -> tuple[list[dict[str, Any]], Counter[UnusableTrial]]:
    """Return the records of the usable trials, and how often each reason made a trial unusable."""
    records, unusable = [], {}
    for trial in source.trials:
        try:
            records.append(_record(trial, space) | {"from": source.name, "trial": trial.number})
        except UnusableTrial as reason:
            unusable.setdefault(reason.plural, []).append(reason)
    return records, Counter({reasons[0]: len(reasons) for reasons in unusable.values()})


def _record(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    """Return the record of a trial with the parameters and distributions of a space.

    Raises:
        UnusableTrial: the trial could not have been drawn from the space.
    """
    values = trial.values or trial.user_attrs.get(STOPPED_VALUES)
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
        # The space's distributions: Optuna treats a parameter with another range as a different parameter.
        "distributions": {name: distribution_to_json(found) for name, found in replay.distributions.items()},
        "intermediate_values": {
            step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)
        },
    }


def _frozen(record: WarmRecord, number: int) -> FrozenTrial:
    """Return the Optuna trial of a record."""
    state, values = TrialState[record.state], record.values
    attributes = end_attributes(state, values, several=len(values) > 1)
    distributions = {name: json_to_distribution(text) for name, text in record.distributions.items()}
    for name, value in record.params.items():
        if not contains(distributions[name], value):
            raise ValueError(f"{name} is {value} in a trial")
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=None,
        values=None if attributes else values,
        datetime_start=LONG_AGO,
        datetime_complete=LONG_AGO,
        params=record.params,
        distributions=distributions,
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={int(step): value for step, value in record.intermediate_values.items()},
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
        found = printable(str(params[name]))
        raise UnusableTrial(f"has {name} {found} outside {allowed}", f"have {name} outside {allowed}")
    return distribution.to_external_repr(distribution.to_internal_repr(params[name]))


def _allowed(distribution: Any) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    return f"{distribution.low:g} to {distribution.high:g}"


def _skipped(unusable: Counter[UnusableTrial], trials: int) -> str:
    """Return a sentence on the unusable trials of a source, the most frequent reason first; "" if there are none."""
    reasons = ", ".join(
        f"1 {reason.singular}" if count == 1 else f"{count} {reason.plural}" for reason, count in unusable.most_common()
    )
    return f" {unusable.total()} of {trials} trials not used: {reasons}." if unusable else ""


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
