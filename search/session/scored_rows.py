"""Choose the number of dev rows on which rounds are scored, so that evaluation takes a bounded share of the time."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from model.errors import InputError
from search.selection.cross_fitting import FOLDS
from search.suggest.space import TrialShape
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.training import DEV_ROWS

EVALUATION_SHARE = 0.25
"""The largest share of a trial's forward passes that evaluation may take."""
TRAIN_COST = 3
"""Cost of a training example in forward passes: 1, and 2 for the backward pass."""
SMART_COST = 5
"""Additional cost under SMART: 2 for the ascent step, without gradients of parameters, and TRAIN_COST once more."""
FEWEST = 200
"""The smallest automatic limit: with 200 rows the standard error of an accuracy is already 2 to 3.5 points."""


def dev_row_limit(
    requested: int | None, shape: TrialShape | None, configs: Iterable[TrainConfig], labelled: Mapping[str, int]
) -> int:
    """Return the largest number of dev rows per task on which rounds are scored.

    All trials of a search use the same number, because scores on different rows cannot be compared. The number keeps
    evaluation within its share for the config whose training costs least. If trials are not compared, the number is
    that of a single run.

    Args:
        requested: the number from the command line; None to derive it from the cost of training.
        shape: the shape of all trials; None if trials are not compared.
        configs: examples of the configs that will be trained.
        labelled: the number of labelled dev rows of each task.

    Raises:
        InputError: the rows are too few to choose an ensemble.
    """
    cost = min(map(example_cost, configs), default=TRAIN_COST)
    rows = requested or (affordable_rows(cost * shape.examples, labelled.values()) if shape else DEV_ROWS)
    for task, count in labelled.items():
        if min(rows, count) < FOLDS:
            raise InputError(
                f"Rounds would be scored on {min(rows, count)} labelled dev rows of {task}; the ensemble needs "
                f"{FOLDS}. Add dev rows, or raise --dev-rows."
            )
    return rows


def example_cost(config: TrainConfig) -> int:
    """Return the cost of a training example in forward passes; SMART counts if it applies to every step and row.

    Source: the counts of Jiang et al. 2020 (SMART), algorithm 1, with one ascent step.
    """
    smoothed = [config.smart_of(task) for task in config.trained]
    always = all(smart.lambda_s and smart.every == 1 and smart.share == 1 for smart in smoothed)
    return TRAIN_COST + SMART_COST * always


def affordable_rows(work: int, labelled: Collection[int]) -> int:
    """Return the largest limit from `FEWEST` to `DEV_ROWS` with which evaluation keeps to its share.

    Candidates of the ensemble are scored on the same rows: fewer rows also make the choice of members noisier.

    Args:
        work: cost of training one round, in forward passes of one row.
        labelled: the number of labelled dev rows of each task.
    """
    passes = EVALUATION_SHARE / (1 - EVALUATION_SHARE) * work
    limits = range(DEV_ROWS, FEWEST, -1)
    return next((limit for limit in limits if sum(min(limit, count) for count in labelled) <= passes), FEWEST)


def labelled_rows(corpus: Corpus, tasks: Iterable[str]) -> dict[str, int]:
    """Count the dev rows of tasks that have a label."""
    return {task: int(np.isfinite(corpus.splits[task]["dev"].labels).sum()) for task in tasks}
