"""Plot models' dev predictions of one task, and trials' metrics of pairs of tasks."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.report.dev_predictions import DevPredictions
from search.report.prediction_metrics import confusion_matrix, divide, signed_errors
from search.report.run_data import BestRound
from search.report.search_plots import BEST, HEIGHT, STATE_STYLES, with_layout
from trainers.tasks import Kind, Task

MODEL_COLORS = ["#0b1f4d", "#3b82f6"]
"""Colours of the best round and of the ensemble."""
LABEL_COLORS = {"train": "#d4dae1", "dev": "#9aa5b1"}
"""Colours of the labels of each split."""
WORST_COLOR = "#c2410c"
MAX_CLASSES = 10
"""Largest number of classes with which a confusion matrix shows its counts as text."""
BINS = 50
"""Bins of a histogram."""
GRID = 100
"""Cells per side of a density scatter plot: points are binned, so that the page's size does not grow with the rows."""


def classification(task: Task, models: Sequence[DevPredictions], labels: dict[str, np.ndarray]) -> go.Figure:
    """Plot each model's confusion matrix, and the share of each class among labels and predictions.

    Args:
        labels: split -> labels [rows].
    """
    low, high = int(task.low), int(task.high)
    classes = [str(label) for label in range(low, high + 1)]
    titles = [model.model for model in models]
    plot = make_subplots(1, len(models) + 1, subplot_titles=[*titles, "share of each class"])
    for place, model in enumerate(models, start=1):
        plot.add_trace(_matrix(confusion_matrix(model, low, high), classes), row=1, col=place)
        plot.update_yaxes(title_text="true class", autorange="reversed", type="category", row=1, col=place)
        plot.update_xaxes(title_text="predicted class", type="category", row=1, col=place)
    bars = [(f"labels, {split}", values, LABEL_COLORS[split]) for split, values in labels.items()]
    bars += [(f"predictions, {model.model}", model.values, MODEL_COLORS[index]) for index, model in enumerate(models)]
    for name, values, color in bars:
        counts = np.bincount(values.astype(np.int64) - low, minlength=len(classes))
        share = counts / counts.sum()
        plot.add_bar(x=classes, y=share, name=name, marker_color=color, row=1, col=len(models) + 1)
    plot.update_xaxes(title_text="class", type="category", row=1, col=len(models) + 1)
    plot.update_yaxes(tickformat=".0%", row=1, col=len(models) + 1)
    return _with_legend_below(with_layout(plot, HEIGHT + 60))


def regression(task: Task, models: Sequence[DevPredictions], labels: dict[str, np.ndarray]) -> go.Figure:
    """Plot histograms of labels, predictions and errors, and each model's predictions over the labels.

    Args:
        labels: split -> labels [rows].
    """
    titles = ["labels and predictions", "errors: prediction - label", *[model.model for model in models]]
    plot = make_subplots(1, len(titles), subplot_titles=titles)
    limits = _limits([[task.low, task.high], labels["dev"], *[model.values for model in models]])
    plot.add_trace(_histogram("labels, dev", labels["dev"], limits, LABEL_COLORS["dev"], fill="tozeroy"), row=1, col=1)
    error_limits = _limits([signed_errors(model) for model in models])
    for index, (model, color) in enumerate(zip(models, MODEL_COLORS, strict=False)):
        plot.add_trace(_histogram(f"predictions, {model.model}", model.values, limits, color), row=1, col=1)
        errors = _histogram("errors", signed_errors(model), error_limits, color, showlegend=False)
        plot.add_trace(errors, row=1, col=2)
        plot.add_traces(_scatter(model, limits, color, legend=index == len(models) - 1), rows=1, cols=index + 3)
        plot.update_xaxes(title_text="label", row=1, col=index + 3)
        plot.update_yaxes(title_text="prediction", row=1, col=index + 3)
    plot.update_xaxes(zerolinecolor="#5b6673", row=1, col=2)
    for column in (1, 2):
        plot.update_yaxes(tickformat=".0%", row=1, col=column)
    return _with_legend_below(with_layout(plot, HEIGHT + 40))


PLOTS: dict[Kind, Callable[[Task, Sequence[DevPredictions], dict[str, np.ndarray]], go.Figure]] = {
    "classification": classification,
    "binary": classification,
    "regression": regression,
}


def trade_offs(ranked: Sequence[BestRound], tasks: Sequence[str]) -> go.Figure | None:
    """Plot each task's metric against each other task's, one point per trial; None for fewer than two tasks or trials.

    Args:
        ranked: the best trial first.
    """
    pairs = list(combinations(tasks, 2))
    if not pairs or len(ranked) < 2:
        return None
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    plot = make_subplots(rows, columns, vertical_spacing=0.3 / rows)
    for place, (x_task, y_task) in enumerate(pairs):
        row, column = place // columns + 1, place % columns + 1
        plot.add_trace(_points(ranked, x_task, y_task), row=row, col=column)
        plot.update_xaxes(title_text=x_task, row=row, col=column).update_yaxes(title_text=y_task, row=row, col=column)
    return with_layout(plot.update_layout(showlegend=False), HEIGHT * rows, top=20)


def _matrix(counts: np.ndarray, classes: list[str]) -> go.Heatmap:
    """Draw a confusion matrix [classes, classes], coloured by shares of the true class."""
    of_true = np.nan_to_num(divide(counts, counts.sum(axis=1, keepdims=True)))
    return go.Heatmap(
        x=classes,
        y=classes,
        z=of_true,
        customdata=counts,
        text=[
            [f"{count}<br>{share:.0%}" for count, share in zip(*row, strict=True)]
            for row in zip(counts, of_true, strict=True)
        ],
        texttemplate="%{text}" if len(classes) <= MAX_CLASSES else None,
        hovertemplate="true %{y}, predicted %{x}: %{customdata} rows, %{z:.1%} of the class<extra></extra>",
        colorscale="Blues",
        zmin=0,
        zmax=1,
        showscale=False,
    )


def _limits(values: Sequence[Any]) -> tuple[float, float]:
    """Return limits of an axis that contain all values; they differ even if all values are equal."""
    low, high = min(np.min(found) for found in values), max(np.max(found) for found in values)
    return (float(low), float(high)) if low < high else (float(low) - 0.5, float(high) + 0.5)


def _histogram(name: str, values: np.ndarray, limits: tuple[float, float], color: str, **look: Any) -> go.Scatter:
    """Draw a histogram of values [rows] as a stepped line: bars of several histograms would hide each other."""
    counts, edges = np.histogram(values, BINS, limits)
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


def _scatter(model: DevPredictions, limits: tuple[float, float], color: str, *, legend: bool) -> list[go.Scatter]:
    """Draw predictions over labels, darker where there are more rows, and mark the row with the largest error."""
    counts, x_edges, y_edges = np.histogram2d(model.labels, model.values, GRID, [limits, limits])
    columns, rows = np.nonzero(counts)
    width = x_edges[1] - x_edges[0]
    worst = np.abs(signed_errors(model)).argmax()
    found = counts[columns, rows]
    look = {"size": 5, "color": np.log(found), "colorscale": [[0, "#93c5fd"], [1, color]], "cmin": 0}
    return [
        go.Scatter(
            x=limits, y=limits, mode="lines", line={"color": "#d4dae1", "width": 1}, hoverinfo="skip", showlegend=False
        ),
        go.Scatter(
            x=x_edges[columns] + width / 2,
            y=y_edges[rows] + width / 2,
            mode="markers",
            marker=look,
            customdata=found,
            showlegend=False,
            hovertemplate="label %{x:.2f}, prediction %{y:.2f}: %{customdata} rows<extra></extra>",
        ),
        go.Scatter(
            x=[model.labels[worst]],
            y=[model.values[worst]],
            mode="markers",
            marker={"size": 12, "color": WORST_COLOR, "symbol": "circle-open", "line": {"width": 2}},
            name="row with the largest error",
            showlegend=legend,
            hovertemplate="row with the largest error: label %{x:.2f}, prediction %{y:.2f}<extra></extra>",
        ),
    ]


def _points(ranked: Sequence[BestRound], x_task: str, y_task: str) -> go.Scatter:
    """Draw the metrics of two tasks for every trial, with a large point for the best trial."""
    shown = [found for found in ranked if {x_task, y_task} <= found.row.metrics.keys()]
    best = [found is ranked[0] for found in shown]
    return go.Scatter(
        x=[found.row.metrics[x_task] for found in shown],
        y=[found.row.metrics[y_task] for found in shown],
        mode="markers+text",
        text=[f"trial {found.trial.number}" if large else "" for large, found in zip(best, shown, strict=True)],
        textposition="bottom center",
        marker={
            "size": [14 if large else 9 for large in best],
            "color": [
                BEST["color"] if large else STATE_STYLES[found.trial.state]["color"]
                for large, found in zip(best, shown, strict=True)
            ],
        },
        customdata=[[found.trial.number, found.row.round, found.row.score] for found in shown],
        hovertemplate="trial %{customdata[0]}, round %{customdata[1]}: %{x:.4f}, %{y:.4f}, score %{customdata[2]:.4f}"
        "<extra></extra>",
    )


def _with_legend_below(plot: go.Figure) -> go.Figure:
    return plot.update_layout(legend={"orientation": "h", "y": -0.2, "yanchor": "top"}, margin_b=70)
