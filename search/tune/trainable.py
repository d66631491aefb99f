"""Train trials in a Ray worker. Each trial is resumed from its own files; Tune's checkpoints are off."""

import traceback
from typing import Any

import torch
from ray import tune

from model.pretrained import load_encoder
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.devices import limit_gpu_memory
from trainers.folder import Folder, local_copy
from trainers.training.kept_rounds import Keep
from trainers.trial import ERROR, Origin, run_trial


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
        """Open the corpus and the encoder.

        Args:
            run: the run directory's URI.
            threads: threads of a trial; by default torch would use all CPUs of the machine.
            device: the device of the model, as torch names it.
            memory: the share of its GPU's memory that a trial may use; None for all of it, or without a GPU.
            dev_rows: the most dev rows per task on which a round is scored.
            keep: the rounds whose weights are kept.
        """
        limit_gpu_memory(memory)
        self.threads, self.device, self.dev_rows, self.keep = threads, device, dev_rows, keep
        self.corpus = Corpus.open(local_copy(Folder.at(run) / "corpus"))
        self.pretrained = load_encoder(local_copy(Folder.at(run) / "encoder"))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial; dropping the generator of the last trial frees its model."""
        torch.set_num_threads(self.threads)
        self.folder, origin = Folder.at(new_config["folder"]), new_config["origin"]
        # Lazy: Tune retries what fails in a step, but not what fails in a reset.
        self.rows = run_trial(
            self.folder,
            TrainConfig.model_validate_json(new_config["train"]),
            self.corpus,
            self.pretrained,
            device=self.device,
            dev_limit=self.dev_rows,
            keep=self.keep,
            origin=origin and Origin(Folder.at(origin["folder"]), origin["round"]),
        )
        return True

    def step(self) -> dict[str, Any]:
        """Train one round."""
        try:
            row = next(self.rows)
        except Exception:  # the driver reads the file: Ray may report only that the worker was lost
            self.folder.write(ERROR, traceback.format_exc())
            raise
        self.folder.delete(ERROR)
        return {**row.to_json(), "done": row.final}
