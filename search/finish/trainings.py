"""Turn the best configs of a run into a space: each config once under each seed."""

import optuna

from model.errors import InputError
from search.finish.best_configs import SPACE, BestConfigs
from search.suggest.space import CheckedSpace, Space, TrialShape, trial_shape
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus


def check_trainings(best: BestConfigs, corpus: Corpus) -> CheckedSpace:
    """Return the space of all trainings; its two parameters, trial and seed, determine a config.

    Raises:
        InputError: a config cannot be trained on the corpus.
    """
    shapes = [_shape(best, number, corpus) for number in best.configs]

    def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
        config = best.configs[trial.suggest_categorical("trial", list(best.configs))]
        return config.replace(seed=trial.suggest_categorical("seed", list(range(best.seed, best.seed + best.seeds))))

    points = [{"trial": number, "seed": seed} for number, seed in best.trainings]
    tasks = dict.fromkeys(task for shape in shapes for task in shape.tasks)
    # Durations in steps, turned into passes, may differ by a few examples: such rounds are not compared.
    comparable = all(shape.matches(shapes[0]) for shape in shapes)
    return CheckedSpace(
        Space(SPACE, best.model_dump_json(), suggest, points), tuple(tasks), shapes[0] if comparable else None
    )


def training_names(best: BestConfigs) -> dict[int, str]:
    """Return the names of the trainings in the progress lines: number of a trial of the new run -> its name."""
    return {place: f"trial {number} of {best.run}, seed {seed}" for place, (number, seed) in enumerate(best.trainings)}


def _shape(best: BestConfigs, number: int, corpus: Corpus) -> TrialShape:
    try:
        return trial_shape(best.configs[number], corpus)
    except InputError as error:
        raise InputError(f"The config of trial {number} of run {best.run!r}: {error}") from None
