"""Plot a search: learning curves, the ensemble beside the best single model, Pareto front, parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.trial import TrialState, create_trial
from plotly.subplots import make_subplots

from search.ensemble.estimates import EnsembleEstimates
from search.runs.objectives import objective, trial_values
from search.runs.trial_record import Trial
from trainers.evaluation.metrics import METRICS
from trainers.tasks import Task

HEIGHT = 340
"""Height in pixels of a row of plots."""
STATE_STYLES: dict[str, dict[str, Any]] = {
    "PRUNED": {"color": "#9aa5b1", "width": 1, "opacity": 0.45},
    "FAIL": {"color": "#c2410c", "width": 1, "opacity": 0.8, "dash": "dot"},
    "RUNNING": {"color": "#0f766e", "width": 1.5, "opacity": 0.8},
    "COMPLETE": {"color": "#2563eb", "width": 1.5, "opacity": 0.8},
}
"""Line styles by the trial's state; later entries are drawn over earlier ones."""
BEST = {"color": "#0b1f4d", "width": 3, "opacity": 1.0}
"""Line style of the best trial."""
COMPARED = {
    "best single model, dev": ("#9aa5b1", "circle-open"),
    "ensemble, dev": ("#2563eb", "circle-open"),
    "best single model, cross-fitted": ("#5b6673", "circle"),
    "ensemble, cross-fitted": ("#0b1f4d", "circle"),
}
"""Compared model and rows -> colour and marker in the plot of the ensemble."""


def learning_curves(
    trials: Sequence[Trial], tasks: Mapping[str, Task], best: Trial | None, labels: Mapping[int, str] = {}
) -> go.Figure | None:
    """Plot score and metrics of every trial over its rounds, the best trial as a thick line; None without rounds.

    Args:
        labels: number of a trial -> its name, for trials that have one.
    """
    trials = [trial for trial in trials if trial.rows]
    if not trials:
        return None
    names = ["score", *tasks]
    rows = (len(names) + 1) // 2
    titles = [metric_name(name, tasks) for name in names]
    plot = make_subplots(rows, 2, subplot_titles=titles, vertical_spacing=0.3 / rows)
    shown = set()
    for trial in sorted(trials, key=lambda trial: (trial is best, list(STATE_STYLES).index(trial.state))):
        legend = "best trial" if trial is best else trial.shown_state
        label = labels.get(trial.number, f"trial {trial.number}")
        look = BEST if trial is best else STATE_STYLES[trial.state]
        line = {key: value for key, value in look.items() if key != "opacity"}
        for place, name in enumerate(names):
            plot.add_scatter(
                x=[row.round for row in trial.rows],
                y=[row.score if name == "score" else row.metrics.get(name) for row in trial.rows],
                mode="lines+markers",
                line=line,
                opacity=look["opacity"],
                name=legend,
                legendgroup=legend,
                showlegend=legend not in shown,
                hovertemplate=f"{label}, round %{{x}}: %{{y:.4f}}<extra></extra>",
                row=place // 2 + 1,
                col=place % 2 + 1,
            )
            shown.add(legend)
    plot.update_xaxes(title_text="round", dtick=max(1, max(len(trial.rows) for trial in trials) // 8))
    return with_layout(plot, HEIGHT * rows)


def ensemble_comparison(estimates: EnsembleEstimates, tasks: Mapping[str, Task]) -> go.Figure:
    """Plot the metrics of the ensemble and of the best single model, each with its confidence interval."""
    shown = estimates.tasks_and_score
    plot = make_subplots(1, len(shown), subplot_titles=[metric_name(name, tasks) for name in shown])
    for place, found in enumerate(shown.values(), start=1):
        compared = {"ensemble, dev": found.dev, "ensemble, cross-fitted": found.cross_fitted}
        if found.best_single:
            compared["best single model, dev"] = found.best_single.dev
            compared["best single model, cross-fitted"] = found.best_single.cross_fitted
        for side, (color, symbol) in COMPARED.items():
            if estimate := compared.get(side):
                value, low, high = estimate.value, estimate.low, estimate.high
                plot.add_scatter(
                    x=[side],
                    y=[value],
                    error_y={"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]},
                    mode="markers",
                    marker={"color": color, "symbol": symbol, "size": 11},
                    name=side,
                    legendgroup=side,
                    showlegend=place == 1,
                    hovertemplate=f"{side}: %{{y:.4f}} [{low:.4f}, {high:.4f}]<extra></extra>",
                    row=1,
                    col=place,
                )
    plot.update_xaxes(showticklabels=False)
    return with_layout(plot, HEIGHT)


def scored_study(trials: Sequence[Trial], name: str) -> optuna.Study:
    """Return a study of the trials that have a score and did not fail, all as complete ones.

    Optuna's plots skip trials that were stopped early, and unfinished ones.

    Args:
        name: the objective; a trial's value is its best value of it.
    """
    study = optuna.create_study(direction=objective(name).direction)
    for trial in trials:
        values = trial_values(trial.rows, [name])
        if values and trial.state != TrialState.FAIL.name:
            study.add_trial(create_trial(values=values, params=trial.params, distributions=trial.optuna_distributions))
    return study


def pareto_front(study: optuna.Study, names: Sequence[str]) -> go.Figure | None:
    """Plot the finished trials and their Pareto front.

    Args:
        names: the objectives.

    Returns:
        None without finished trials, or if there are not two or three objectives.
    """
    if len(names) not in (2, 3) or not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    return with_layout(optuna.visualization.plot_pareto_front(study, target_names=list(names)), HEIGHT + 100, top=20)


def importances(study: optuna.Study, name: str) -> go.Figure | None:
    """Plot the importance of each parameter for an objective; None if no parameter or no value varies."""
    values = {trial.value for trial in study.get_trials(deepcopy=False)}
    if len(values) < 2 or not _varied(study):
        return None
    plot = optuna.visualization.plot_param_importances(study, params=_varied(study), target_name=name)
    return with_layout(plot, HEIGHT, top=10)


def slices(study: optuna.Study, name: str) -> go.Figure | None:
    """Plot an objective over each parameter that varies; None if no parameter varies."""
    if not _varied(study):
        return None
    return with_layout(optuna.visualization.plot_slice(study, params=_varied(study), target_name=name), HEIGHT, top=10)


def parallel(study: optuna.Study, name: str) -> go.Figure | None:
    """Plot each trial as a line through its parameters and an objective; None if fewer than two parameters vary."""
    if len(_varied(study)) < 2:
        return None
    plot = optuna.visualization.plot_parallel_coordinate(study, params=_varied(study), target_name=name)
    return with_layout(plot, HEIGHT, top=30).update_layout(margin_l=90, margin_r=40)


def _varied(study: optuna.Study) -> list[str]:
    """Return the names of the parameters that have several values."""
    found: dict[str, set[Any]] = {}
    for trial in study.get_trials(deepcopy=False):
        for name, value in trial.params.items():
            found.setdefault(name, set()).add(value)
    return sorted(name for name, values in found.items() if len(values) > 1)


def metric_name(name: str, tasks: Mapping[str, Task]) -> str:
    """Return the name of a task's metric for readers; other names, such as "score", are returned as they are."""
    if name not in tasks:
        return name
    return f"{name}: {METRICS[tasks[name].metric].title}"


def with_layout(plot: go.Figure, height: int, *, top: int = 50) -> go.Figure:
    """Set a plot's height in pixels and the layout that all plots of the page share; return the plot."""
    return plot.update_layout(
        height=height,
        title=None,
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 12},
        margin={"l": 50, "r": 20, "t": top, "b": 40},
    )
