"""How many dev rows a task the rounds of a search are scored on: so few that evaluation stays a small part of it."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from model.errors import InputError
from search.selection.cross_fitting import FOLDS
from search.suggest.space import Shape
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.training import DEV_ROWS

SHARE = 0.15
"""Of the passes of a trial, what evaluation may take."""
TRAINED = 3
"""Forward passes that a trained example costs: one, and a backward pass that costs two."""
SMOOTHED = 5
"""Further ones under SMART: an ascent step's two, which leave the parameters alone, and a second TRAINED."""
FEWEST = 100
"""Fewer say too little: on 100 rows the standard error of an accuracy is 3 to 5 points already."""


def settled_rows(
    asked: int | None, shape: Shape | None, configs: Iterable[TrainConfig], labelled: Mapping[str, int]
) -> int:
    """Return on at most how many dev rows a task rounds are scored.

    The number holds for all trials of a search, and keeps to the share in those that train with least work: scores on
    other rows would not compare. Where trials are not compared, it is that of a single run.

    Args:
        asked: what was asked for; None to let it follow from the work.
        shape: what the rounds of all trials look like; None where trials are not compared.
        configs: some that will be trained.
        labelled: task -> labelled dev rows.

    Raises:
        InputError: no ensemble could be chosen on so few.
    """
    passes = min(map(passes_of, configs), default=TRAINED)
    rows = asked or (affordable_rows(passes * shape.examples, labelled.values()) if shape else DEV_ROWS)
    for task, count in labelled.items():
        if min(rows, count) < FOLDS:
            raise InputError(
                f"Rounds would be scored on {min(rows, count)} labelled dev rows of {task}; the ensemble needs "
                f"{FOLDS}. Add dev rows, or raise --dev-rows."
            )
    return rows


def passes_of(config: TrainConfig) -> int:
    """Return how many forward passes a trained example costs if the encoder trains; SMART counts if it is never lazy.

    Source: the counts of Jiang et al. 2020 (SMART), algorithm 1, with one ascent step.
    """
    smoothed = [config.smart_of(task) for task in config.trained]
    always = all(smart.lambda_s and smart.every == 1 and smart.share == 1 for smart in smoothed)
    return TRAINED + SMOOTHED * always


def affordable_rows(work: int, labelled: Collection[int]) -> int:
    """Return the largest limit, up to `DEV_ROWS`, with which evaluation keeps to its share; at least `FEWEST`.

    The candidates of the ensemble are scored on the rows of rounds too: fewer make its choice noisier as well.

    Args:
        work: forward passes of a round's training, in rows.
        labelled: labelled dev rows of each task.
    """
    passes = SHARE / (1 - SHARE) * work
    limits = range(DEV_ROWS, FEWEST, -1)
    return next((limit for limit in limits if sum(min(limit, count) for count in labelled) <= passes), FEWEST)


def labelled_rows(corpus: Corpus, tasks: Iterable[str]) -> dict[str, int]:
    """Count the dev rows of tasks that have a label."""
    return {task: int(np.isfinite(corpus.splits[task]["dev"].labels).sum()) for task in tasks}
