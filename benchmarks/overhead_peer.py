"""The peer of `benchmarks.overhead`: Tune's defaults with a plain function that loads everything in every trial.

`benchmarks.overhead` runs `python -m benchmarks.overhead_peer FOLDER ...`.
"""

import json
import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import torch
import typer
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch.optim import AdamW
from transformers import AutoTokenizer, DataCollatorWithPadding

from benchmarks.overhead_space import BATCH_SIZE, ROUNDS
from benchmarks.whole_data import NAMES
from benchmarks.whole_loop import Checkpoint, PeerModel, batches, loss_of, predict, tokenized
from benchmarks.whole_space import PASSES, parameters
from model.checkpoint_files import find_checkpoint
from trainers.data.raw_rows import RawSplit, TextColumn

ROWS, ROUNDS_FILE = "rows.json", "rounds.jsonl"


def train(config: dict[str, Any], folder: Path, layers: int) -> None:
    """Train one trial; write begin and end of each round to `ROUNDS_FILE`."""
    torch.set_num_threads(1)
    checkpoint = Checkpoint(find_checkpoint("minilm"), layers)
    splits = {
        name: RawSplit(
            TextColumn(found["ids"]), tuple(map(TextColumn, found["texts"])), np.array(found["labels"], np.float32)
        )
        for name, found in json.loads((folder / ROWS).read_text()).items()
    }
    rows = {name: tokenized(checkpoint, split) for name, split in splits.items()}
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(checkpoint.directory))
    means = {task: float(splits[f"{task} train"].labels.mean()) for task in NAMES}
    model = PeerModel(checkpoint, config["dropout"], means)
    optimizer = AdamW(model.parameters(), lr=config["learning_rate"])
    steps = math.ceil(PASSES * len(rows[f"{NAMES[0]} train"]) / BATCH_SIZE)
    sources = {task: batches(rows[f"{task} train"], BATCH_SIZE, collate) for task in NAMES}
    begun, done = time.time(), 0
    for number in range(1, ROUNDS + 1):
        for _ in range(math.ceil(steps * number / ROUNDS) - done):
            losses = [loss_of(model, task, next(source), config["lambda_s"]) for task, source in sources.items()]
            torch.stack(losses).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            done += 1
        score = -float(
            np.mean([np.square(predict(model, task, rows[f"{task} dev"], collate)).mean() for task in NAMES])
        )
        trial = tune.get_context().get_trial_id()
        with (folder / ROUNDS_FILE).open("a") as file:
            file.write(json.dumps({"trial": trial, "begun": begun, "ended": time.time()}) + "\n")
        tune.report({"score": score})
        begun = time.time()


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with the rows, in which the rounds are written.")],
    trials: Annotated[int, typer.Option()],
    slots: Annotated[int, typer.Option()],
    layers: Annotated[int, typer.Option()],
) -> None:
    """Run Tune with its Optuna searcher and without early stopping."""
    scratch = tempfile.mkdtemp(prefix="ray-")  # a short path, because paths of sockets are limited
    try:
        ray.init(address="local", num_cpus=slots, include_dashboard=False, _temp_dir=scratch)
        tune.Tuner(
            tune.with_resources(tune.with_parameters(train, folder=folder, layers=layers), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(parameters, metric="score", mode="max", seed=0),
                num_samples=trials,
                max_concurrent_trials=slots,
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
