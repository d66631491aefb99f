"""Start trainings of the tiny model for the tests of the training loop, and compare their weights and results."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.pretrained import Pretrained
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.training.rounds import RoundResult
from trainers.training.training import Training

TASKS = ("sst", "qqp", "sts")


@dataclass
class Trainer:
    """Start trainings on one corpus with one pretrained encoder."""

    corpus: Corpus
    pretrained: Pretrained

    def __call__(self, config: TrainConfig, resume: Folder | None = None, dev_limit: int = 20) -> Training:
        """Return a new or a resumed training."""
        return Training(config, self.corpus, self.pretrained, resume=resume, dev_limit=dev_limit)

    def weights(self, config: TrainConfig) -> dict[str, Tensor]:
        """Train to the end; return the trained weights."""
        training = self(config, dev_limit=2)
        assert list(training)
        return weights_of(training)


def weights_of(training: Training) -> dict[str, Tensor]:
    """Return a copy of the weights of the trained model; the averaged model may differ."""
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Return whether two sets of weights are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def comparable(results: list[RoundResult]) -> list[dict[str, Any]]:
    """Return results in a form that can be compared with `==`, without the measured seconds."""
    found = []
    for result in results:
        values = {name: value for name, value in vars(result).items() if not name.endswith("_seconds")}
        found.append({**values, "predictions": {name: rows.tolist() for name, rows in result.predictions.items()}})
    return found
