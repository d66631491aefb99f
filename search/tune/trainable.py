"""One trial for Ray Tune: Ray calls, Training answers, files remember. Tune's own checkpoints are off."""

import traceback
from collections.abc import Mapping
from typing import Any

import torch
from ray import tune

from model.pretrained import load_encoder
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.devices import limit_gpu_memory
from trainers.folder import Folder, local_copy
from trainers.trial import ERROR, Origin, run_trial

METRICS = "metrics/"


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a round from what Tune tells searchers and schedulers: it joins nested names by a slash."""
    metrics = {name.removeprefix(METRICS): value for name, value in result.items() if name.startswith(METRICS)}
    return {"metrics": metrics, **result}


class SearchTrial(tune.Trainable):
    """Drive trials one after another in one process, which has mapped the corpus and loaded the encoder once."""

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride]  `tune.with_parameters` hands over the rest
        self, config: dict[str, Any], *, run: str, threads: int, device: str, memory: float | None, dev_rows: int
    ) -> None:
        """Open what all trials of this process share.

        Args:
            run: the run directory's URI.
            threads: the CPUs that a trial was given; a worker sees all of the machine's.
            memory: the share of its GPU's memory; None for all, or without a GPU.
        """
        limit_gpu_memory(memory)
        self.threads, self.device, self.dev_rows = threads, device, dev_rows
        self.corpus = Corpus.open(local_copy(Folder.at(run) / "corpus"))
        self.pretrained = load_encoder(local_copy(Folder.at(run) / "encoder"))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Turn to another trial; the model of the one before goes with its generator."""
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
            origin=origin and Origin(Folder.at(origin["folder"]), origin["round"]),
        )
        return True

    def step(self) -> dict[str, Any]:
        """Train one round."""
        try:
            row = next(self.rows)
        except Exception:  # for the driver, which may hear of a lost worker only
            self.folder.write(ERROR, traceback.format_exc())
            raise
        self.folder.delete(ERROR)
        return {**row, "done": row["last"] or not row["finite"]}
