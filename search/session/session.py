"""Open a run for training: choose slots, prepare the run directory, start Ray, lock the run, open its study."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna

from model.errors import InputError
from model.whole_files import delete_partial
from search.runs.lock import locked
from search.runs.names import check_run_name, derived_name
from search.runs.run import Run
from search.runs.scratch import private_scratch
from search.runs.search_record import SEARCH
from search.runs.study import enqueue, opened_study, study_url
from search.session.machines import Machines
from search.session.prepare import Prepared, run_exists
from search.tune.budgets import Limits
from search.tune.ray_environment import set_ray_environment
from search.tune.slots import Slots, choose_slots
from trainers.command_line import LEFT, Begun, command, command_on
from trainers.folder import Folder
from trainers.output import libraries_errors_in
from trainers.start import ROOT, announce
from trainers.trial import ROUNDS

RAY_LOG = "ray.log"
"""The file in a run's directory with what Ray prints to the standard error output."""
READING, STARTING = "Reading data ...", "Starting Ray (about 10 s) ..."


@dataclass(frozen=True)
class Session:
    """A locked run with everything that training needs."""

    prepared: Prepared
    study: optuna.Study
    slots: Slots
    limits: Limits

    @property
    def run(self) -> Run:
        """The run."""
        return self.prepared.run

    def train(self, trials: int | None, *, names: Mapping[int, str] | None = None) -> str | None:
        """Train until `trials` trials have ended or a budget is used up; return that budget. See `driver.search`."""
        from search.tune import driver  # here, because Ray reads its environment when it is imported

        _introduce(self.prepared, self.slots)
        return driver.search(
            self.run, self.study, self.prepared.checked, self.slots, trials=trials, limits=self.limits, names=names
        )


@contextmanager
def run_command(module: str, storage: str, name: str | None, stem: str) -> Iterator[Folder]:
    """Run the body of a command that trains a run, see `command`; yield the run directory.

    Args:
        module: the command, as in `python -m MODULE`.
        name: the name of the run; None to derive it from `stem` and the time.

    Raises:
        InputError: the name cannot be that of a run.
    """
    label = derived_name(stem) if name is None else name

    def begun() -> Begun | None:
        run = Folder.at(storage) / label
        trials = run / "trials"
        return (
            Begun(run, any((trials / trial).exists(ROUNDS) for trial in trials.names())) if run.exists(SEARCH) else None
        )

    with command(module, begun=begun, extra=() if name else ("--name", label)):
        check_run_name(label)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with private_scratch():
            yield Folder.at(storage) / label


@contextmanager
def session(
    location: Folder,
    machines: Machines,
    prepare: Callable[[Slots], Prepared],
    *,
    limits: Limits = Limits(),
    study: str | None = None,
    dashboard: bool = False,
) -> Iterator[Session]:
    """Choose the slots of the trials, prepare the run, and yield it locked and with its study open.

    An existing run is locked first. A new run is locked as soon as it is written; on this machine that is before Ray
    starts, on a cluster after it is joined.

    Args:
        location: the run directory.
        prepare: writes or opens the run, given the slots.
        study: the URL of an Optuna storage; None for a journal file in the run.
    """
    with ExitStack() as lock:
        if exists := run_exists(location):
            lock.enter_context(locked(location))
            if location.local:
                delete_partial(location.local)

        def locked_run(slots: Slots) -> Prepared:
            prepared = prepare(slots)
            if not exists:
                lock.enter_context(locked(location))
            return prepared

        with (
            _prepared(machines, locked_run, limits, dashboard) as (prepared, slots, page),
            opened_study(prepared.run, url := study_url(prepared.run, study)) as opened,
            _dashboard(prepared.run, page, url),
        ):
            run = prepared.run
            run.folder.delete(LEFT)
            enqueue(opened, prepared.checked.space.start)
            yield Session(prepared, opened, slots, limits)


@contextmanager
def _prepared(
    machines: Machines, prepare: Callable[[Slots], Prepared], limits: Limits, dashboard: bool
) -> Iterator[tuple[Prepared, Slots, str | None]]:
    """Start Ray; yield a prepared run, the slots of its trials, and the address of Ray's dashboard, if requested."""
    set_ray_environment(machines.address)
    from search.tune import ray_cluster  # here, because Ray reads its environment when it is imported

    def chosen(nodes: list[dict[str, float]]) -> Slots:
        slots = choose_slots(nodes, machines.concurrency, machines.cpus, machines.gpus)
        limits.check(slots.gpus)
        return slots

    if machines.address:  # the slots are known after the cluster is joined; on this machine, before Ray starts
        announce(f"Joining the Ray cluster at {machines.address} ...")
        with ray_cluster.started_ray(machines.address, dashboard) as page:
            slots = chosen(ray_cluster.cluster_nodes())
            announce(READING)
            prepared = prepare(slots)
            with libraries_errors_in(_ray_log(prepared.run)):
                yield prepared, slots, page if dashboard else None
    else:
        slots = chosen(ray_cluster.local_node())
        announce(READING)
        prepared = prepare(slots)
        announce(STARTING)
        with ExitStack() as stack:
            stack.enter_context(libraries_errors_in(_ray_log(prepared.run)))
            try:
                page = stack.enter_context(ray_cluster.started_ray(None, dashboard))
            except InputError as error:  # the run has no trial yet, so the same command may start it
                name = shlex.quote(prepared.run.search.name)
                raise InputError(f"{error} The run is ready: give the same command, with --name {name}.") from error
            yield prepared, slots, page if dashboard else None


def _ray_log(run: Run) -> Path:
    """Return the file for what Ray prints: in the run's directory, or nowhere if that is on an object store."""
    return run.folder.local / RAY_LOG if run.folder.local else Path(os.devnull)


@contextmanager
def _dashboard(run: Run, page: str | None, study: str | None) -> Iterator[None]:
    """Serve the dashboard of the study from another process while the run is trained, if requested.

    Args:
        page: the address of Ray's dashboard, "" if there is none; None if no dashboard was requested.
        study: the URL of the study's database; None for a journal file.
    """
    if page is None:
        yield
        return
    if page:
        print(f"Ray's dashboard: http://{page} (asks for the token in RAY_AUTH_TOKEN: export your own)", flush=True)
    # -P: Python does not search the current folder for modules, where a file may hide one of the project's packages.
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Secrets of URLs stand in the viewer's environment: the list of processes shows its arguments to every user.
    secret = {"MINBERT_RUN": run.folder.uri} | ({"MINBERT_STUDY": study} if study else {})
    arguments = ["env:MINBERT_RUN", *(["--study", "env:MINBERT_STUDY"] if study else [])]
    viewer = subprocess.Popen(
        [sys.executable, "-P", "-m", "search.dashboard", *arguments], env=os.environ | secret | {"PYTHONPATH": paths}
    )
    try:
        yield
    finally:
        viewer.terminate()
        viewer.wait()


def _introduce(prepared: Prepared, slots: Slots) -> None:
    """Print the data, the encoder and the slots of a run, and the command that shows it."""
    search = prepared.run.search
    if search.data == "sample":
        print("Data: the generated sample. For real work pass --data hub, or --data DIR with the course's files.")
    else:
        print(f"Data: {search.data}" + (f", {search.rows} training rows per task." if search.rows else "."))
    if search.encoder.startswith("minilm"):
        print("Encoder: all-MiniLM-L6-v2, small and quick. For real work pass --encoder bert-base-uncased.")
    print(*prepared.notes, *prepared.run.notes, sep="\n")
    print(f"Rounds are scored on at most {prepared.run.search.dev_rows:,} dev rows per task.")
    if search.precision:
        print(f"Precision of matrix products: {search.precision}.")
    print(f"At once: {slots.count}, each with {slots.cpus:g} CPU, {slots.gpus:g} GPU, {slots.threads} threads.")
    print(f"Look at it with: {command_on('search.dashboard', prepared.run.folder.uri)}", flush=True)
