"""Train a run and make its results; a step that fails does not prevent the others."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from optuna.trial import TrialState

from model.errors import InputError
from search.ensemble import build
from search.runs.run import Run, write_table
from search.runs.trial_record import RUNNING, Trial
from search.session.session import Session
from trainers.faults import fault_of, machine_fault
from trainers.interruption import FAULT
from trainers.output import tell

Step = Callable[[], object]


def conclude(run: Run, train: Step, results: Mapping[str, Step]) -> None:
    """Train a run, then make the table of its rounds and the other results; end the command with code 1 on a failure.

    A step that fails prints one line; the later steps are still taken.

    Args:
        train: trains the run.
        results: the line for a result that is missing, such as "No ensemble was built" -> makes the result.

    Raises:
        Exception: the training failed, or a result did for another reason than bad input; the first such error. If
            the training failed on account of the machine, no result is made: a resume makes them.
        SystemExit: a result has bad input, for example because no trial has finished, or most trials failed.
    """
    steps: dict[str, Step] = {
        "The training ended early": train,
        "No table of rounds was written": partial(write_table, run),
        **results,
    }
    errors: list[Exception] = []
    code = 0
    for missing, step in steps.items():
        try:
            step()
        except Exception as error:
            if step is train and machine_fault(error):
                raise
            tell(f"{missing}. {_sentence(fault_of(error).reason)}")
            code = FAULT
            if step is train or not isinstance(error, InputError):
                errors.append(error)
    if errors:
        raise errors[0]
    if code:
        raise SystemExit(code)
    check_failures(run.trials())


def build_ensemble(session: Session) -> None:
    """Build the ensemble of a run from all rounds that have finished; the run's workers predict with it."""
    from search.tune import ray_cluster  # here, because Ray reads its environment when it is imported

    build.build([session.run], starmap=ray_cluster.starmap(session.slots))


def check_failures(trials: Iterable[Trial]) -> None:
    """End the command with code 1 if more than half of the ended trials have failed.

    Args:
        trials: the trials of a run whose results have been written.
    """
    ended = [trial.state for trial in trials if trial.state != RUNNING]
    failed = ended.count(TrialState.FAIL.name)
    if 2 * failed > len(ended):
        tell(f"{failed} of {len(ended)} ended trials failed; the report and the lines above give the reasons.")
        raise SystemExit(FAULT)


def _sentence(reason: str) -> str:
    """Return a reason as a sentence; a name or a path at its beginning keeps its case."""
    first, space, rest = reason.rstrip(".").partition(" ")
    return (first.capitalize() if first.isalpha() and first.islower() else first) + space + rest + "."
