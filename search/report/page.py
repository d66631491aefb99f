"""A run -> report.html: one file that needs no network, from the run's files alone."""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.io
import plotly.offline
from markupsafe import Markup

from search.ensemble.members import FOLDER, METRICS, read_ensemble
from search.ensemble.predict import ALL_DEV
from search.report import search_plots
from search.report.answer_plots import trade_offs
from search.report.costs import cost, lineage, pulls, variants
from search.report.task_sections import read_tokenizer, sections
from search.runs.objectives import ENSEMBLE, SCORE, directions
from search.runs.rebuilt_study import rebuild_study
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.methods.gradient_ratios import remarks
from trainers.tasks import Task

FILE = "report.html"
RANKED = 20
FEW = 20
"""Ended trials below which the parameters' plots get a warning."""
WORDS = {"train": "training", "eval": "evaluating", "save": "saving"}
CONTAMINATED = (
    "Figures of qqp are contaminated: MiniLM's weights come from training on sentence pairs that included Quora's "
    "duplicate questions, so the encoder may have seen pairs of the dev and test splits."
)
GENERATED = "The data are the generated sample: its figures show that all parts work, and nothing about language."
LEAKS = (
    "If these are the course's files: they leak a little, and are left as they are so that figures compare. 15 pairs "
    "of STS dev and 18 of STS test are also in its train split, and 1 and 2 sentences of SST."
)


def write(run: Run) -> str:
    """Write `report.html`; return its path or URI."""
    run.folder.write(FILE, render(run))
    return f"{run.folder}/{FILE}"


def render(run: Run) -> str:
    """Return the report as HTML; what the run has too little of for a figure is told in words."""
    trials, folder = run.trials(), run.folder / FOLDER
    metrics = folder.read_json(METRICS) if folder.exists(METRICS) else None
    ensemble = read_ensemble(run) if metrics else None
    judged = [(trial, trial.best_row) for trial in trials if trial.judged]
    # In a run of recipes some score fewer tasks than others: their scores do not compare with the others'.
    ranked = sorted(judged, key=lambda found: (-len(found[1]["metrics"]), -found[1]["score"]))
    # What a trial adds to an ensemble is known of those that finished; what it scored, of all.
    objective = run.objectives[0] if len(run.objectives) == 1 and run.objectives != [ENSEMBLE] else SCORE
    study = search_plots.judged_study(trials, objective)
    everywhere = folder.read_json(ALL_DEV) if folder.exists(ALL_DEV) else {}
    searched = {name: run.tasks[name] for name in run.search["tasks"]}
    return _template(run.tasks).render(
        name=run.folder.name,
        search=run.search,
        plotly=Markup(plotly.offline.get_plotlyjs()),
        facts=_facts(run.search, searched, trials),
        notes=notes(run.search),
        metrics=metrics,
        scored=[*metrics["rows"], SCORE] if metrics else [],
        members=ensemble.members if ensemble else {},
        rules=ensemble.rules if ensemble else {},
        everywhere=everywhere,
        home=run.folder.uri,
        ranked=ranked[:RANKED],
        judged=len(ranked),
        passages=lineage(ranked[0][0], {trial.number: trial for trial in trials}) if ranked else [],
        told=len(study.get_trials(deepcopy=False)),
        few=FEW,
        parameters=sorted({name for trial, _ in ranked for name in trial.params}),
        failures=[trial for trial in trials if trial.state == "FAIL"],
        curves=search_plots.learning_curves(trials, searched, ranked[0][0] if ranked else None),
        comparison=search_plots.comparison(metrics, [*metrics["rows"], SCORE], run.tasks) if metrics else None,
        objective=objective,
        importances=search_plots.importances(study, objective),
        slices=search_plots.slices(study, objective),
        parallel=search_plots.parallel(study, objective),
        **_pareto(run),
        **_analysis(run, ranked),
    )


def _pareto(run: Run) -> dict[str, Any]:
    """Return what `pareto.html` shows: of several objectives, the finished trials that no other is ahead of."""
    names = run.objectives
    several = rebuild_study(run) if len(names) > 1 else None
    return {
        "objectives": dict(zip(names, directions(names), strict=True)),
        "front": several.best_trials if several else [],
        "pareto": search_plots.pareto_front(several, names) if several else None,
    }


def _analysis(run: Run, ranked: list[tuple[Trial, dict[str, Any]]]) -> dict[str, Any]:
    """Return what `analysis.html` shows.

    Args:
        ranked: judged trials with the rows of their best rounds, the best trial first.
    """
    corpus, names = run.corpus(), run.search["tasks"]
    train_rows = sum(corpus.train_sizes(names).values())
    best = (ranked[0][0], ranked[0][1]["round"]) if ranked else None
    measured = pulls(best[0].rows) if best else []
    return {
        "best": best,
        "readable": read_tokenizer(run) is not None,
        "sections": sections(run, corpus, [run.tasks[name] for name in names], best) if best else [],
        "trade": trade_offs(ranked, names),
        "train_rows": train_rows,
        "costs": [cost(trial, row["score"], train_rows) for trial, row in ranked[:RANKED]],
        "variants": variants([trial for trial, _ in ranked]),
        "pulls": measured,
        "remarks": remarks({pull.name: pull.median for pull in measured}),
    }


def _template(tasks: Mapping[str, Task]) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "interval": _interval, "value": _value}
    environment.filters |= {"share": _share, "seconds": _seconds}
    environment.filters["metric"] = lambda name: search_plots.metric_name(name, tasks)
    return environment.get_template(FILE)


def notes(search: dict[str, Any]) -> list[str]:
    """Return what a reader must know before he believes a figure."""
    notes = []
    if search["data"] == "sample":
        notes.append(GENERATED)
    elif search["data"] != "hub" and {"sst", "sts"} & set(search["tasks"]):
        notes.append(LEAKS)
    if search["encoder"].startswith("minilm") and "qqp" in search["tasks"]:
        notes.append(CONTAMINATED)
    return notes


def _facts(search: dict[str, Any], tasks: Mapping[str, Task], trials: list[Trial]) -> dict[str, str]:
    """Return what was searched, on what, and what it took."""
    states = Counter(trial.state.lower() for trial in trials)
    rows = [row for trial in trials for row in trial.rows]
    seconds = {part: sum(row[f"{part}_seconds"] for row in rows) for part in ("train", "eval", "save")}
    took = ", ".join(f"{timedelta(seconds=round(spent))} {WORDS[part]}" for part, spent in seconds.items())
    examples = sum(trial.examples for trial in trials if trial.rows)
    nodes = sorted({row["node"] for row in rows})
    return {
        "Space": f"{search['space']}, {search['rounds'] or 'own numbers of'} rounds a trial, seed {search['seed']}",
        "Data": search["data"] + (f", {search['rows']:,} training rows a task" if search["rows"] else ""),
        "Tasks": ", ".join(search_plots.metric_name(name, tasks) for name in tasks),
        "Encoder": search["encoder"] + (f", products in {search['precision']}" if "precision" in search else ""),
        "Trials": f"{len(trials)}" + "".join(f", {count} {state}" for state, count in sorted(states.items())),
        "Compute": f"{len(rows)} rounds, {examples:,} training examples; {took}"
        + f"; on {', '.join(nodes)}" * bool(nodes),
        "Time": f"started {search['started']}, last round ended {max((row['ended'] for row in rows), default='never')}",
        "Versions": ", ".join(f"{name} {version}" for name, version in search["versions"].items()),
    }


def _figure(figure: go.Figure, name: str) -> Markup:
    """Return a figure as HTML that uses the page's plotly.js; plotly escapes what could end its script."""
    config = {"displayModeBar": False, "responsive": True}
    return Markup(plotly.io.to_html(figure, include_plotlyjs=False, full_html=False, div_id=name, config=config))


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
