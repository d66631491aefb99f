"""Write `report.html`, the report of a run: one file that a browser shows without a network."""

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.io
import plotly.offline
from markupsafe import Markup

from search.ensemble.estimates import Estimate
from search.report.header import facts, notes
from search.report.run_data import read_run_data
from search.report.search_plots import metric_name
from search.report.sections import SECTIONS
from search.runs.run import Run
from trainers.folder import Folder
from trainers.tasks import Task

FILE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"


def write(run: Run, out: Folder | None = None) -> str:
    """Write `report.html` into `out`, by default the run directory; return its path or URI."""
    folder = out or run.folder
    folder.write(FILE, render(run))
    return str(folder / FILE)


def render(run: Run) -> str:
    """Return the report as HTML, made from the run's files alone."""
    data, environment = read_run_data(run), _environment(run.tasks)
    sections = []
    for section in SECTIONS:
        contents = section.contents(data)
        if contents is not None:
            html = environment.get_template(f"{section.anchor}.html").render(vars(contents))
            sections.append((section, Markup(html)))
    return environment.get_template(FILE).render(
        name=run.folder.name,
        plotly=Markup(plotly.offline.get_plotlyjs()),
        facts=facts(run, data.trials),
        notes=[*notes(run.search), *run.notes],
        sections=sections,
    )


def _environment(tasks: Mapping[str, Task]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plot": partial(_plot, itertools.count(1)), "interval": _interval, "value": _value}
    environment.filters |= {"share": _share, "seconds": _seconds}
    environment.filters["metric"] = lambda name: metric_name(name, tasks)
    return environment


def _plot(numbers: Iterator[int], plot: go.Figure) -> Markup:
    """Return a plot as HTML that uses the page's copy of plotly.js.

    Plotly escapes text that could end its script, but not the id: it is a number, never a name from a file.
    """
    config, identifier = {"displayModeBar": False, "responsive": True}, f"plot-{next(numbers)}"
    return Markup(plotly.io.to_html(plot, include_plotlyjs=False, full_html=False, div_id=identifier, config=config))


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
