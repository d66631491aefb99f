"""Make damaged and missing predictions of rounds again, from the weights of the round."""

from model.errors import InputError
from search.ensemble.predict import DamagedRounds, StarMap, check_rounds
from search.ensemble.soup import evaluate_mean
from search.runs.run import Run
from search.selection.candidates import Candidate
from trainers.evaluation.evaluate import dev_rows
from trainers.evaluation.predictions import read_predictions, write_predictions
from trainers.folder import Folder
from trainers.trial import PREDICTIONS, round_name


def repair_predictions(run: Run, starmap: StarMap) -> None:
    """Evaluate each round again that has weights, but not all of its predictions. The run must be locked.

    A round whose weights are damaged as well stays as it is.

    Args:
        starmap: calls the evaluation of each round, here or on other machines.
    """
    damaged: dict[Candidate, dict[str, list[str]]] = {}
    for trial, number in run.rounds_with_weights():
        row = next(row for row in trial.rows if row.round == number)
        tasks = [task for task in run.search.tasks if task in row.metrics]
        if unreadable := [task for task in tasks if not _readable(trial.folder / PREDICTIONS, number, task)]:
            damaged[Candidate(run.folder.uri, trial.number, number)] = {
                task: _dev_ids(run, task) for task in unreadable
            }
    jobs = {name: (name.run, [(name.trial, name.round)], ids) for name, ids in damaged.items() if _loads(name)}
    for name, outputs in zip(jobs, starmap(evaluate_mean, list(jobs.values())), strict=True):
        assert name.trial is not None
        folder = run.trial_folder(name.trial) / PREDICTIONS
        for task, ids in damaged[name].items():
            write_predictions(folder, _file(name.round, task), ids, outputs[task])
            run.note(
                f"{folder}/{_file(name.round, task)} was missing or damaged: made again from the weights of the round."
            )


def _file(number: int, task: str) -> str:
    return f"{round_name(number)}-{task}.parquet"


def _readable(folder: Folder, number: int, task: str) -> bool:
    try:
        read_predictions(folder, _file(number, task))
    except InputError:
        return False
    return True


def _loads(name: Candidate) -> bool:
    try:
        check_rounds([name])
    except DamagedRounds:
        return False
    return True


def _dev_ids(run: Run, task: str) -> list[str]:
    """Return the ids of the dev rows on which rounds of a run are scored."""
    corpus = run.corpus()
    ids = corpus.splits[task]["dev"].ids
    return [ids[row] for row in dev_rows(corpus, task, run.search.dev_rows)]
