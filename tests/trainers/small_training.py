"""What tests of the loop share: trainings of the tiny model, and what came of them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.pretrained import Pretrained
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.training.checkpoint import read_weights
from trainers.training.training import RoundResult, Training

TASKS = ("sst", "qqp", "sts")


@dataclass
class Trainer:
    """What a training is made of, beside its config."""

    corpus: Corpus
    pretrained: Pretrained

    def __call__(self, config: TrainConfig, resume: Folder | None = None, dev_limit: int = 20) -> Training:
        """Begin a training, or go on with one."""
        return Training(config, self.corpus, self.pretrained, resume=resume, dev_limit=dev_limit)

    def weights(self, config: TrainConfig) -> dict[str, Tensor]:
        """Train to the end; return the weights that were trained."""
        training = self(config, dev_limit=2)
        assert list(training)
        return weights_of(training)

    def saved(self, folder: Folder) -> dict[str, Tensor]:
        """Read the weights of a checkpoint."""
        return read_weights(folder)


def weights_of(training: Training) -> dict[str, Tensor]:
    """Copy the weights that are trained."""
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether weights are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def comparable(results: list[RoundResult]) -> list[dict[str, Any]]:
    """Return results without what a clock measured."""
    found = []
    for result in results:
        values = {name: value for name, value in vars(result).items() if not name.endswith("_seconds")}
        found.append({**values, "predictions": {name: rows.tolist() for name, rows in result.predictions.items()}})
    return found
