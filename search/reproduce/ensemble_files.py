"""Write the course's prediction files of the ensembles of recipes: every dev and test row of each task."""

from itertools import starmap

from model.errors import InputError
from search.ensemble.members import Ensemble, member_folder
from search.ensemble.predict import DamagedRounds, StarMap, check_rounds, tasks_of_models, write_prediction_files
from search.reproduce.results import results
from search.runs.kept_checkpoints import ensemble_rounds
from search.runs.run import Run
from search.selection.candidates import Candidate
from trainers.recipes.registry import recipe
from trainers.recipes.systems import EnsembleOf

FOLDER = "reproduction"
"""Name of the folder in a run directory; it holds RECIPE/seed-SEED/ with the files of an ensemble."""


def write_ensembles(run: Run, starmap: StarMap = starmap) -> list[str]:
    """Write the prediction files of each ensemble of a run under each seed; return a note for each.

    Args:
        starmap: calls a function for each model, here or on other machines.
    """
    ensembles = {name: found for name, found in results(run).items() if isinstance(recipe(name), EnsembleOf)}
    return [
        _write(run, f"{name}/seed-{seed}", result.ensemble, starmap)
        for name, found in ensembles.items()
        for seed, result in enumerate(found, start=run.search.seed)
    ]


def _write(run: Run, name: str, ensemble: Ensemble | None, starmap: StarMap) -> str:
    """Write the prediction files of an ensemble; return a note that names them, or says why there are none."""
    folder = run.folder / FOLDER / name
    try:
        write_prediction_files(run, _predictable(run, ensemble), folder, member_folder(run, None), starmap)
    except InputError as error:
        return f"No prediction files of {name}: {error}"
    return f"Prediction files of {name}, with all dev and test rows: {folder}."


def _predictable(run: Run, ensemble: Ensemble | None) -> Ensemble:
    """Return an ensemble after a check that its models can be loaded.

    Raises:
        InputError: a training has not finished, or weights were deleted or are damaged.
    """
    if not ensemble:
        raise InputError("Not all of its trainings have finished.")
    models = tasks_of_models(ensemble)
    saved = {(trial.number, round) for trial, round in run.rounds_with_weights()}
    if lost := sum((trial, round) not in saved for _, trial, round in models):
        raise InputError(
            f"The weights of {lost} of its {len(models)} models were not kept. "
            f"Train it in a new run with --keep {ensemble_rounds(run.reproduction)}."
        )
    try:
        check_rounds(Candidate(*model) for model in models)
    except DamagedRounds as found:
        raise InputError(f"{'; '.join(found.rounds.values())}. Train it in a new run.") from None
    return ensemble
