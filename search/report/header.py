"""Describe a run at the top of its report: its settings, its data, and the limits of its metrics."""

from collections import Counter
from datetime import timedelta

from search.report.search_plots import metric_name
from search.runs.run import Run
from search.runs.search_record import SearchRecord
from search.runs.trial_record import Trial

ACTIVITIES = {"train": "training", "eval": "evaluation", "save": "saving"}
CONTAMINATED = (
    "The qqp metrics are contaminated, and probably too high: MiniLM was trained on sentence pairs that included "
    "Quora's duplicate questions, so the encoder may have seen pairs of the dev and test splits."
)
GENERATED = (
    "The data are the generated sample. Its metrics show that all parts of the program work; they say nothing about "
    "language."
)
LEAKS = (
    "If the data are the course's files, a few dev and test rows are also in the train split: 15 pairs of STS dev, "
    "18 pairs of STS test, 1 sentence of SST dev and 2 of SST test. They are not removed, so that the metrics can be "
    "compared with other results on these files."
)


def notes(search: SearchRecord) -> list[str]:
    """Return the limits of a run's metrics that follow from its data and its encoder."""
    notes = []
    if search.data == "sample":
        notes.append(GENERATED)
    elif search.data != "hub" and {"sst", "sts"} & set(search.tasks):
        notes.append(LEAKS)
    if search.encoder.startswith("minilm") and "qqp" in search.tasks:
        notes.append(CONTAMINATED)
    return notes


def facts(run: Run, trials: list[Trial]) -> dict[str, str]:
    """Return the settings of a run and the work that its trials did, as text by label."""
    search = run.search
    return {
        "Space": f"{search.space}, {_round_count(search.rounds)}, seed {search.seed}",
        "Data": search.data + (f", {search.rows:,} training rows per task" if search.rows else ""),
        "Tasks": ", ".join(metric_name(name, run.tasks) for name in search.tasks),
        "Encoder": search.encoder + (f", matrix products in {search.precision}" if search.precision else ""),
        "Trials": _trial_counts(trials),
        **_work(trials, search.started),
        "Versions": ", ".join(f"{name} {version}" for name, version in search.versions.items()),
    }


def _round_count(rounds: int | None) -> str:
    return f"{rounds} rounds per trial" if rounds else "each training with its own number of rounds"


def _trial_counts(trials: list[Trial]) -> str:
    states = Counter(trial.shown_state for trial in trials)
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    continued = sum(trial.clone is not None and trial.clone.continues for trial in trials)
    also = f"; {continued} of them continue stopped trials" if continued else ""
    return f"{len(trials)}: {by_state}{also}" if trials else "0"


def _work(trials: list[Trial], started: str) -> dict[str, str]:
    rows = [row for trial in trials for row in trial.rows]
    seconds = {part: sum(getattr(row, f"{part}_seconds") for row in rows) for part in ACTIVITIES}
    durations = ", ".join(f"{timedelta(seconds=round(spent))} {ACTIVITIES[part]}" for part, spent in seconds.items())
    examples = sum(trial.examples for trial in trials if trial.rows)
    nodes = ", ".join(sorted({row.node for row in rows}))
    return {
        "Compute": f"{len(rows)} rounds, {examples:,} training examples; {durations}"
        + (f"; on {nodes}" if rows else ""),
        "Time": f"started {started}, last round ended {max((row.ended for row in rows), default='never')}",
    }
