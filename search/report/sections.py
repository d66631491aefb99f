"""The sections of the report, in the order of the page.

To add a section, write a function that returns a record of what the section shows, write a template that uses the
record's fields as its variables (`templates/ANCHOR.html`), and add a line to `SECTIONS`.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
import plotly.graph_objects as go

from model.errors import InputError
from search.ensemble.estimates import EnsembleEstimates, read_estimates
from search.ensemble.members import FOLDER, Member, choose_command, read_ensemble, remedy
from search.ensemble.predict import read_all_dev
from search.report import search_plots
from search.report.costs import ChoiceCost, TrialCost, choice_costs, trial_cost
from search.report.prediction_plots import trade_offs
from search.report.run_data import BestRound, RunData
from search.report.task_analysis import TaskAnalysis, analyse, read_tokenizer
from search.report.trial_history import LineageSegment, RatioSeries, lineage, ratio_series
from search.runs.objectives import ENSEMBLE, SCORE, Direction, study_directions
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import Run
from search.runs.trial_record import Trial, training_name
from trainers.command_line import spelled
from trainers.methods.gradient_ratios import remarks
from trainers.trial import CONFIG

SHOWN_TRIALS = 20
"""Trials that the ranking and the costs list at most."""
FEW_TRIALS = 20
"""Number of trials below which the plots of the parameters carry a warning."""


@dataclass(frozen=True)
class Ensemble:
    """The ensemble beside the best single model."""

    home: str
    """The run's path or URI."""
    choose: str
    """The command that chooses the ensemble."""
    estimates: EnsembleEstimates | None = None
    """Contents of `ensemble/metrics.json`; None if the run has no ensemble."""
    members: Mapping[str, list[Member]] = field(default_factory=dict)
    """Task -> members."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Task -> how the members' predictions are combined."""
    all_dev: Mapping[str, float] = field(default_factory=dict)
    """Metric of each task on all labelled dev rows; empty if the ensemble has not predicted them."""
    plot: go.Figure | None = None


def ensemble(data: RunData) -> Ensemble:
    """Compare the ensemble with the best single model."""
    run, none = data.run, Ensemble(data.run.folder.uri, choose_command(data.run))
    try:
        estimates = read_estimates(run)
        if not estimates:
            return none
        found, all_dev = read_ensemble(run), read_all_dev(run)
        if found.members.keys() != estimates.tasks.keys():
            raise InputError(f"{run.folder / FOLDER}: its files name different tasks. {remedy(run)}")
    except InputError as error:
        run.note(f"The ensemble is left out: {error}")
        return none
    plot = search_plots.ensemble_comparison(estimates, run.tasks)
    return replace(none, estimates=estimates, members=found.members, rules=found.rules, all_dev=all_dev, plot=plot)


@dataclass(frozen=True)
class Ranking:
    """The best trials, and how the best of them was trained."""

    ranked: list[BestRound]
    total: int
    """Trials that have a score."""
    tasks: tuple[str, ...]
    parameters: list[str]
    lineage: list[LineageSegment]
    continues: bool
    """Whether the best trial continues one that early stopping had stopped; else its donors have other parameters."""
    retrain: str
    """The command that trains the best trial again, with the configs of its donors."""


def ranking(data: RunData) -> Ranking:
    """Rank the trials that have a score."""
    search, ranked = data.run.search, data.ranked
    segments = lineage(ranked[0].trial, {trial.number: trial for trial in data.trials}) if ranked else []
    clone = ranked[0].trial.clone if ranked else None
    continues = clone is not None and clone.continues
    retrain = _retrain_command(data.run, ranked[0].trial) if ranked else ""
    shown = ranked[:SHOWN_TRIALS]
    return Ranking(shown, len(ranked), search.tasks, data.parameters, segments, continues, retrain)


def _retrain_command(run: Run, trial: Trial) -> str:
    search, config = run.search, f"{run.trial_folder(trial.number) / CONFIG}"
    rows = ["--rows", str(search.rows)] if search.rows else []
    options = ["--data", search.data, *rows, "--dev-rows", str(search.dev_rows)]
    return shlex.join([*spelled("trainers.fit"), config, *options])


@dataclass(frozen=True)
class ParetoFront:
    """The finished trials that no other dominates."""

    objectives: dict[str, Direction]
    front: list[optuna.trial.FrozenTrial]
    parameters: list[str]
    plot: go.Figure | None


def pareto_front(data: RunData) -> ParetoFront | None:
    """Show the Pareto front of a search with several objectives; None for a single objective."""
    names = data.run.objectives
    if len(names) == 1:
        return None
    study = rebuild_study(data.run)
    objectives = dict(zip(names, study_directions(names), strict=True))
    return ParetoFront(objectives, study.best_trials, data.parameters, search_plots.pareto_front(study, names))


@dataclass(frozen=True)
class Plot:
    """A section that is one plot."""

    plot: go.Figure | None
    """None if the run has too few trials for the plot."""


def learning_curves(data: RunData) -> Plot:
    """Show the score and the metrics of all trials over their rounds; a reproduction's are named by recipe."""
    tasks = {name: data.run.tasks[name] for name in data.run.search.tasks}
    named = data.trials if data.run.search.reproduction else []
    names = {trial.number: training_name(trial) for trial in named}
    return Plot(search_plots.learning_curves(data.trials, tasks, data.best.trial if data.best else None, names))


@dataclass(frozen=True)
class Predictions:
    """How the best models' predictions differ from the labels."""

    best: BestRound | None
    readable: bool
    """Whether the run has a tokenizer, so that rows can be shown as text."""
    analyses: list[TaskAnalysis]


def predictions(data: RunData) -> Predictions:
    """Analyse the predictions of the best round, and of the ensemble, for each task."""
    run, best = data.run, data.best
    tasks = [run.tasks[name] for name in run.search.tasks]
    analyses = analyse(run, run.corpus(), tasks, best) if best else []
    return Predictions(best, read_tokenizer(run) is not None, analyses)


def task_trade_offs(data: RunData) -> Plot:
    """Plot each task's metric against each other task's."""
    return Plot(trade_offs(data.ranked, data.run.search.tasks))


@dataclass(frozen=True)
class Costs:
    """The training time of trials, and of the values of categorical parameters."""

    trials: list[TrialCost]
    train_rows: int
    choices: list[ChoiceCost]


def costs(data: RunData) -> Costs:
    """Show what the best trials cost, and what each choice costs."""
    train_rows = sum(data.run.corpus().train_sizes(data.run.search.tasks).values())
    trials = [trial_cost(best.trial, best.row.score or 0.0, train_rows) for best in data.ranked[:SHOWN_TRIALS]]
    return Costs(trials, train_rows, choice_costs([best.trial for best in data.ranked]))


@dataclass(frozen=True)
class Regularisers:
    """The gradient ratios of the best trial's regularisers."""

    trial: Trial
    ratios: list[RatioSeries]
    remarks: list[str]


def regularisers(data: RunData) -> Regularisers | None:
    """Show the influence of each regulariser of the best trial; None if its rounds measured no gradient ratios."""
    if not data.best or not (ratios := ratio_series(data.best.trial.rows)):
        return None
    found = remarks({series.name: series.median for series in ratios})
    return Regularisers(data.best.trial, ratios, list(found.values()))


@dataclass(frozen=True)
class Parameters:
    """How the objective depends on the parameters."""

    objective: str
    count: int
    """Trials that the plots use."""
    few: int
    importances: go.Figure | None
    slices: go.Figure | None
    parallel: go.Figure | None


def parameters(data: RunData) -> Parameters:
    """Show how the objective depends on the parameters."""
    names = data.run.objectives
    # A trial's contribution to an ensemble is known only if the trial finished, its score always.
    name = names[0] if len(names) == 1 and names != [ENSEMBLE] else SCORE
    study = search_plots.scored_study(data.trials, name)
    plots = [draw(study, name) for draw in (search_plots.importances, search_plots.slices, search_plots.parallel)]
    return Parameters(name, len(study.get_trials(deepcopy=False)), FEW_TRIALS, *plots)


@dataclass(frozen=True)
class Failures:
    """The trials that failed."""

    trials: list[Trial]


def failures(data: RunData) -> Failures:
    """List the trials that failed, with the reason."""
    return Failures([trial for trial in data.trials if trial.state == "FAIL"])


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    anchor: str
    """The id of its heading, and the name of its template without `.html`."""
    title: str
    contents: Callable[[RunData], Any]
    """Returns a record whose fields are the variables of the template; None leaves the section out."""


SECTIONS = (
    Section("ensemble", "Ensemble", ensemble),
    Section("ranking", "Ranking of the trials", ranking),
    Section("pareto-front", "Pareto front", pareto_front),
    Section("learning-curves", "Learning curves", learning_curves),
    Section("predictions", "Predictions by task", predictions),
    Section("trade-offs", "Trade-offs between tasks", task_trade_offs),
    Section("costs", "Training time", costs),
    Section("regularisers", "Influence of the regularisers", regularisers),
    Section("parameters", "Parameters", parameters),
    Section("failures", "Failures", failures),
)
