"""Train trials in a Ray worker. Each trial is resumed from its own files; Tune's checkpoints are off."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from ray import tune

from model.encoder import Pretrained
from model.pretrained import load_encoder
from search.tune.trials.failures import described
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.devices import limit_gpu_memory
from trainers.folder import Folder, local_copy
from trainers.training.kept_rounds import Keep
from trainers.training.rounds import RoundRow
from trainers.trial import Origin, run_trial


class SearchTrial(tune.Trainable):
    """Train trials one after another in one process, which opens the corpus and loads the encoder once."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]  `tune.with_parameters` passes the rest
        self,
        config: dict[str, Any],
        *,
        run: str,
        threads: int,
        device: str,
        memory: float | None,
        dev_rows: int,
        keep: Keep,
    ) -> None:
        """Start the first trial.

        Args:
            run: the run directory's URI.
            threads: threads of a trial; by default torch would use all CPUs of the machine.
            device: the device of the model, as torch names it.
            memory: the share of its GPU's memory that a trial may use; None for all of it, or without a GPU.
            dev_rows: the most dev rows per task on which a round is scored.
            keep: the rounds whose weights are kept.
        """
        self.root, self.threads, self.device = Folder.at(run), threads, device
        self.memory, self.dev_rows, self.keep = memory, dev_rows, keep
        self.reset_config(config)

    @cached_property
    def corpus(self) -> Corpus:
        """The run's data; opened by the first trial, because Ray says little about an error before that."""
        return Corpus.open(local_copy(self.root / "corpus"))

    @cached_property
    def pretrained(self) -> Pretrained:
        """The run's encoder."""
        return load_encoder(local_copy(self.root / "encoder"))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial; dropping the generator of the last trial frees its model."""
        self.folder = Folder.at(new_config["folder"])
        # Lazy: Tune retries what fails in a step, but not what fails in a reset.
        self.rows = self._rows(new_config["train"], new_config["origin"])
        return True

    def step(self) -> dict[str, Any]:
        """Train one round.

        Raises:
            TrialFailed: any error, described as text, because its class may not survive the way to the driver.
        """
        try:
            row = next(self.rows)
        except Exception as error:
            raise described(error, str(self.folder)) from None
        return {**row.to_json(), "done": row.final}

    def _rows(self, config: str, origin: dict[str, Any] | None) -> Iterator[RoundRow]:
        """Yield the row of each round of a trial."""
        limit_gpu_memory(self.memory)
        torch.set_num_threads(self.threads)
        yield from run_trial(
            self.folder,
            TrainConfig.model_validate_json(config),
            self.corpus,
            self.pretrained,
            device=self.device,
            dev_limit=self.dev_rows,
            keep=self.keep,
            origin=Origin(Folder.at(origin["folder"]), origin["round"]) if origin else None,
        )
