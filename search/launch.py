"""The command line of a search: space and data -> trials -> ensemble -> report."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import optuna
import pandas
import typer

from model.errors import InputError
from search import ensemble, report
from search.lock import locked
from search.prepare import Prepared, prepare_run
from search.runs import SEARCH, Run, write_table
from search.study import checked_url, enqueue, opened_study, url_of
from trainers.command import command
from trainers.files import Folder

if TYPE_CHECKING:
    from search.cluster import Slots

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

EXAMPLE = "Example: python -m search.launch spaces/smart.py --name first --trials 12"


@app.command(epilog=EXAMPLE)
def main(
    space: Annotated[Path, typer.Argument(help="A file that defines suggest(trial) -> TrainConfig.")],
    name: Annotated[str | None, typer.Option(help="The run's name; by default the space's and the UTC time.")] = None,
    data: Annotated[
        str | None, typer.Option(help="sample (default), hub, or a directory with the course's files.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Training rows of each task, sampled; default all.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm (default), minilm:LAYERS, a hub id, or a directory.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier sessions included.")] = 12,
    time_budget: Annotated[str | None, typer.Option(help="Of this session, such as 2h or 90m.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Trials at once; default as many as fit.")] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.01, help="Each trial has as many threads.")] = 1.0,
    gpus_per_trial: Annotated[float | None, typer.Option(min=0, help="Default 1 if there is a GPU, else 0.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, or auto for the one this machine is in.")] = None,
    storage: Annotated[str, typer.Option(help="The folder, or URI, under which runs lie.")] = "runs",
    study: Annotated[str | None, typer.Option(help="An Optuna storage URL; default a journal in the run.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the search and of every trial; default 0.")] = None,
    dev_rows: Annotated[int | None, typer.Option(min=1, help="Dev rows a task that rounds are scored on.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Serve the live views beside the search.")] = False,
) -> None:
    """Search a space, build an ensemble of the best trials, and write a report."""
    label = name or f"{space.stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    def begun() -> bool:
        return (Folder.at(storage) / label).exists(SEARCH)

    with command("search.launch", resumable=begun, extra=() if name else ("--name", label)):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        location = Folder.at(storage) / label
        seconds = _seconds(time_budget)
        asked = {
            "data": data,
            "rows": rows,
            "encoder": encoder,
            "seed": seed,
            "dev_rows": dev_rows,
            "study": checked_url(study),
        }
        if not address:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # all of Ray's sockets on loopback
        from search import cluster  # here, because Ray reads its environment when it is imported

        wanted = (concurrency, cpus_per_trial, gpus_per_trial)
        if address:  # what fits is known once the cluster has been joined, else before Ray has been started
            with cluster.started_ray(address, dashboard) as ray_page:
                slots = cluster.choose_slots(cluster.nodes(), *wanted)
                prepared = prepare_run(location, space, asked, resume, slots.count)
                _search(prepared, slots, ray_page if dashboard else "", study, trials, seconds)
        else:
            slots = cluster.choose_slots(cluster.machine(), *wanted)
            prepared = prepare_run(location, space, asked, resume, slots.count)
            with cluster.started_ray(None, dashboard) as ray_page:
                _search(prepared, slots, ray_page if dashboard else "", study, trials, seconds)


def _search(
    prepared: Prepared, slots: "Slots", ray_page: str, study: str | None, trials: int, seconds: float | None
) -> None:
    """Search a prepared run, then build its ensemble and write its report.

    Args:
        ray_page: where Ray's own page is, if the live views are to be shown.
    """
    from search import cluster, driver  # here, because Ray reads its environment when it is imported

    run = prepared.run
    with locked(run.folder), opened_study(run, url_of(run, study)) as opened, _dashboard(run, ray_page):
        enqueue(opened, prepared.space.start)
        _introduce(prepared, slots, trials)
        driver.search(run, opened, prepared.space, prepared.shape, slots, trials=trials, seconds=seconds)
        write_table(run)
        any_kept = bool(run.kept())
        if any_kept:
            ensemble.build([run], each=cluster.starmap(slots))
        print(report.write(run))
    if not any_kept:
        print("No trial finished a round; the report says why.", file=sys.stderr)
        raise SystemExit(1)


def _introduce(prepared: Prepared, slots: "Slots", trials: int) -> None:
    """Say what is searched, on what, and how to look at it."""
    run, search = prepared.run, prepared.run.search
    print(
        f"Run {search['name']} at {run.folder}: up to {trials} trials of {search['rounds']} rounds, {search['space']}."
    )
    if search["data"] == "sample":
        print("Data: the generated sample. For real work pass --data hub, or --data DIR with the course's files.")
    else:
        print(f"Data: {search['data']}" + (f", {search['rows']} training rows a task." if search["rows"] else "."))
    if search["encoder"].startswith("minilm"):
        print("Encoder: all-MiniLM-L6-v2, small and quick. For real work pass --encoder bert-base-uncased.")
    print(*prepared.notes, sep="\n")
    print(f"At once: {slots.count}, each with {slots.cpus:g} CPU, {slots.gpus:g} GPU and as many threads as CPUs.")
    print(f"Look at it with: python -m search.dashboard {shlex.quote(str(run.folder))}", flush=True)


@contextmanager
def _dashboard(run: Run, ray_page: str) -> Iterator[None]:
    """Serve the study's live view from a process of its own while the search goes on, if there is a page of Ray's."""
    if not ray_page:
        yield
        return
    print(f"Ray's own page: http://{ray_page}", flush=True)
    viewer = subprocess.Popen([sys.executable, "-m", "search.dashboard", str(run.folder)])
    try:
        yield
    finally:
        viewer.terminate()
        viewer.wait()


def _seconds(text: str | None) -> float | None:
    """Read a duration."""
    if text is None:
        return None
    try:
        seconds = pandas.Timedelta(text).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds >= 1:  # also what is not a number; without a unit it would be nanoseconds
        raise InputError(f"--time-budget {text!r} is not a duration. Write it with a unit, such as 2h, 90m or 1h30m.")
    return seconds


if __name__ == "__main__":
    app()
