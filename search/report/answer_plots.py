"""A model's answers to a task's dev rows, and trials' metrics on several tasks -> the figures of their analysis."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.report.answer_metrics import confusion, shares, signed_errors
from search.report.answers import Answers
from search.report.search_plots import BEST, HEIGHT, STYLES, laid_out
from search.runs.trial_record import Trial
from trainers.tasks import Kind, Task

MODELS = ["#0b1f4d", "#3b82f6"]
"""Colours of the best round and of the ensemble."""
SPLITS = {"train": "#d4dae1", "dev": "#9aa5b1"}
WORST = "#c2410c"
LEGIBLE = 10
"""Classes up to which the cells of a confusion matrix are written in."""
BINS = 50
"""Of a histogram."""
GRID = 100
"""Cells a side of a density scatter: what is drawn does not grow with the rows."""


def classification(task: Task, models: Sequence[Answers], labels: dict[str, np.ndarray]) -> go.Figure:
    """Draw each model's confusion matrix, and how often each class is the label and is predicted.

    Args:
        labels: split -> [rows].
    """
    low, high = int(task.low), int(task.high)
    classes = [str(label) for label in range(low, high + 1)]
    titles = [model.model for model in models]
    figure = make_subplots(1, len(models) + 1, subplot_titles=[*titles, "share of each class"])
    for place, model in enumerate(models, start=1):
        figure.add_trace(_matrix(confusion(model, low, high), classes), row=1, col=place)
        figure.update_yaxes(title_text="true", autorange="reversed", type="category", row=1, col=place)
        figure.update_xaxes(title_text="predicted", type="category", row=1, col=place)
    bars = [(f"labels, {split}", values, SPLITS[split]) for split, values in labels.items()]
    bars += [(f"predicted, {model.model}", model.values, MODELS[place]) for place, model in enumerate(models)]
    for name, values, color in bars:
        counts = np.bincount(values.astype(np.int64) - low, minlength=len(classes))
        share = counts / counts.sum()
        figure.add_bar(x=classes, y=share, name=name, marker_color=color, row=1, col=len(models) + 1)
    figure.update_xaxes(title_text="class", type="category", row=1, col=len(models) + 1)
    figure.update_yaxes(tickformat=".0%", row=1, col=len(models) + 1)
    return _with_legend_below(laid_out(figure, HEIGHT + 60))


def regression(task: Task, models: Sequence[Answers], labels: dict[str, np.ndarray]) -> go.Figure:
    """Draw labels and values as histograms, the errors, and values over labels with the worst row marked.

    Args:
        labels: split -> [rows].
    """
    titles = ["labels and values", "errors: value - label", *[model.model for model in models]]
    figure = make_subplots(1, len(titles), subplot_titles=titles)
    ends = _ends([[task.low, task.high], labels["dev"], *[model.values for model in models]])
    figure.add_trace(_histogram("labels, dev", labels["dev"], ends, SPLITS["dev"], fill="tozeroy"), row=1, col=1)
    reach = _ends([signed_errors(model) for model in models])
    for place, model in enumerate(models):
        color = MODELS[place]
        figure.add_trace(_histogram(f"values, {model.model}", model.values, ends, color), row=1, col=1)
        errors = _histogram("errors", signed_errors(model), reach, color, showlegend=False)
        figure.add_trace(errors, row=1, col=2)
        figure.add_traces(_scatter(model, ends, color, legend=place == len(models) - 1), rows=1, cols=place + 3)
        figure.update_xaxes(title_text="label", row=1, col=place + 3)
        figure.update_yaxes(title_text="value", row=1, col=place + 3)
    figure.update_xaxes(zerolinecolor="#5b6673", row=1, col=2)
    for place in (1, 2):
        figure.update_yaxes(tickformat=".0%", row=1, col=place)
    return _with_legend_below(laid_out(figure, HEIGHT + 40))


FIGURES: dict[Kind, Callable[[Task, Sequence[Answers], dict[str, np.ndarray]], go.Figure]] = {
    "classification": classification,
    "binary": classification,
    "regression": regression,
}


def trade_offs(ranked: Sequence[tuple[Trial, dict[str, Any]]], tasks: Sequence[str]) -> go.Figure | None:
    """Set each task's metric against each other's, one point a trial; None with fewer than two tasks or trials.

    Args:
        ranked: trials with the row of their best round, the best trial first.
    """
    pairs = list(combinations(tasks, 2))
    if not pairs or len(ranked) < 2:
        return None
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = make_subplots(rows, columns, vertical_spacing=0.3 / rows)
    for place, (across, up) in enumerate(pairs):
        row, column = place // columns + 1, place % columns + 1
        figure.add_trace(_points(ranked, across, up), row=row, col=column)
        figure.update_xaxes(title_text=across, row=row, col=column).update_yaxes(title_text=up, row=row, col=column)
    return laid_out(figure.update_layout(showlegend=False), HEIGHT * rows, top=20)


def _matrix(counts: np.ndarray, classes: list[str]) -> go.Heatmap:
    """Draw counts [classes, classes], coloured by their share of the true class."""
    of_true = np.nan_to_num(shares(counts, counts.sum(axis=1, keepdims=True)))
    return go.Heatmap(
        x=classes,
        y=classes,
        z=of_true,
        customdata=counts,
        text=[
            [f"{count}<br>{share:.0%}" for count, share in zip(*row, strict=True)]
            for row in zip(counts, of_true, strict=True)
        ],
        texttemplate="%{text}" if len(classes) <= LEGIBLE else None,
        hovertemplate="true %{y}, predicted %{x}: %{customdata} rows, %{z:.1%} of the class<extra></extra>",
        colorscale="Blues",
        zmin=0,
        zmax=1,
        showscale=False,
    )


def _ends(values: Sequence[Any]) -> tuple[float, float]:
    """Return the ends of a histogram that holds all values, and is not empty if all are equal."""
    low, high = min(np.min(found) for found in values), max(np.max(found) for found in values)
    return (float(low), float(high)) if low < high else (float(low) - 0.5, float(high) + 0.5)


def _histogram(name: str, values: np.ndarray, ends: tuple[float, float], color: str, **look: Any) -> go.Scatter:
    """Draw the share of values [rows] in each bin as steps: lines stay readable where bars would hide each other."""
    counts, edges = np.histogram(values, BINS, ends)
    width = edges[1] - edges[0]
    return go.Scatter(
        x=edges[:-1] + width / 2,
        y=counts / len(values),
        mode="lines",
        line={"shape": "hvh", "color": color, "width": 1.5},
        name=name,
        hovertemplate=f"{name}, %{{x:.2f}}: %{{y:.1%}}<extra></extra>",
        **look,
    )


def _scatter(model: Answers, ends: tuple[float, float], color: str, *, legend: bool) -> list[go.Scatter]:
    """Draw values over labels, the darker the more rows lie in a place, and mark the worst."""
    counts, across, up = np.histogram2d(model.labels, model.values, GRID, [ends, ends])
    columns, rows = np.nonzero(counts)
    width = across[1] - across[0]
    worst = np.abs(signed_errors(model)).argmax()
    found = counts[columns, rows]
    look = {"size": 5, "color": np.log(found), "colorscale": [[0, "#93c5fd"], [1, color]], "cmin": 0}
    return [
        go.Scatter(
            x=ends, y=ends, mode="lines", line={"color": "#d4dae1", "width": 1}, hoverinfo="skip", showlegend=False
        ),
        go.Scatter(
            x=across[columns] + width / 2,
            y=up[rows] + width / 2,
            mode="markers",
            marker=look,
            customdata=found,
            showlegend=False,
            hovertemplate="label %{x:.2f}, value %{y:.2f}: %{customdata} rows<extra></extra>",
        ),
        go.Scatter(
            x=[model.labels[worst]],
            y=[model.values[worst]],
            mode="markers",
            marker={"size": 12, "color": WORST, "symbol": "circle-open", "line": {"width": 2}},
            name="worst row",
            showlegend=legend,
            hovertemplate="the worst row: label %{x:.2f}, value %{y:.2f}<extra></extra>",
        ),
    ]


def _points(ranked: Sequence[tuple[Trial, dict[str, Any]]], across: str, up: str) -> go.Scatter:
    """Draw two metrics of every trial, the best trial large."""
    shown = [(trial, row) for trial, row in ranked if {across, up} <= row["metrics"].keys()]
    best = [trial is ranked[0][0] for trial, _ in shown]
    return go.Scatter(
        x=[row["metrics"][across] for _, row in shown],
        y=[row["metrics"][up] for _, row in shown],
        mode="markers+text",
        text=[f"trial {trial.number}" if chosen else "" for chosen, (trial, _) in zip(best, shown, strict=True)],
        textposition="bottom center",
        marker={
            "size": [14 if chosen else 9 for chosen in best],
            "color": [
                BEST["color"] if chosen else STYLES[trial.state]["color"]
                for chosen, (trial, _) in zip(best, shown, strict=True)
            ],
        },
        customdata=[[trial.number, row["round"], row["score"]] for trial, row in shown],
        hovertemplate="trial %{customdata[0]}, round %{customdata[1]}: %{x:.4f}, %{y:.4f}, score %{customdata[2]:.4f}"
        "<extra></extra>",
    )


def _with_legend_below(figure: go.Figure) -> go.Figure:
    return figure.update_layout(legend={"orientation": "h", "y": -0.2, "yanchor": "top"}, margin_b=70)
