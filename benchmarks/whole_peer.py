"""The peer of `benchmarks.whole`: plain Ray Tune with a plain training loop; the best checkpoint predicts.

`benchmarks.whole` runs `python -m benchmarks.whole_peer FOLDER ...` and measures its time.
"""

import json
import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import torch
import typer
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch.optim import AdamW
from transformers import AutoTokenizer, DataCollatorWithPadding, get_linear_schedule_with_warmup

from benchmarks.whole_data import NAMES, prediction_files
from benchmarks.whole_loop import Checkpoint, PeerModel, Rows, batches, loss_of, predict, tokenized
from benchmarks.whole_space import BATCH_SIZE, PASSES, ROUNDS, parameters
from model.checkpoint_files import CONFIG, find_checkpoint
from model.files.json_text import read_json_object
from trainers.config.optimizer_config import OptimizerConfig
from trainers.data.course_files import read_directory
from trainers.data.stratified import sample_training_rows
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.predictions import submission
from trainers.evaluation.scores import predictions, score
from trainers.tasks import TASKS

CORES = 2
PREDICT_SECONDS = 40
"""Seconds reserved for stopping the processes and predicting with the best checkpoint."""
WEIGHTS = "model.pt"
SEARCH = "search.json"
OPTIMIZER = OptimizerConfig()


@dataclass(frozen=True)
class Job:
    """The settings that all trials share."""

    checkpoint: Checkpoint
    means: dict[str, float]
    """Task -> mean label of its training rows."""
    counts: Path
    """Directory in which each trial counts its training tokens; a trial stopped within a round does not report them."""
    seed: int
    fused: bool
    """Whether to use torch's fused AdamW, which is not its default on a CPU."""


def train(config: dict[str, Any], job: Job, rows: dict[str, Rows], dev: dict[str, Rows]) -> None:
    """Train one trial; report its dev score per round, with a checkpoint if the score is the best so far."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(job.checkpoint.directory))
    model = PeerModel(job.checkpoint, config["dropout"], job.means)
    steps = math.ceil(PASSES * math.ceil(len(rows[NAMES[0]]) / BATCH_SIZE))
    optimizer = AdamW(model.parameters(), lr=config["learning_rate"], fused=job.fused)
    schedule = get_linear_schedule_with_warmup(optimizer, round(OPTIMIZER.warmup * steps), steps)
    sources = {task: batches(rows[task], BATCH_SIZE, collate) for task in NAMES}
    ends = {math.ceil(steps * number / ROUNDS) for number in range(1, ROUNDS + 1)}
    tokens, best = 0, -math.inf
    for step in range(1, steps + 1):
        found = {task: next(source) for task, source in sources.items()}
        torch.stack([loss_of(model, task, batch, config["lambda_s"]) for task, batch in found.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip_norm or math.inf)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += sum(int(batch["attention_mask"].sum()) for batch in found.values())
        (job.counts / str(tune.get_context().get_trial_id())).write_text(str(tokens))
        if step in ends:
            reached = _score(model, dev, collate)
            with tempfile.TemporaryDirectory() as folder:
                if reached > best:
                    torch.save(model.state_dict(), Path(folder) / WEIGHTS)
                saved = tune.Checkpoint.from_directory(folder) if reached > best else None
                tune.report({"score": reached}, checkpoint=saved)
            best = max(best, reached)


def main(
    folder: Annotated[Path, typer.Argument(help="Directory of all results.")],
    data: Annotated[Path, typer.Option(help="The data directory that `split_dev` wrote.")],
    rows: Annotated[int, typer.Option()],
    encoder: Annotated[str, typer.Option(help="minilm or minilm:LAYERS.")],
    seed: Annotated[int, typer.Option()],
    until: Annotated[float, typer.Option(help="Latest time of the predictions, in seconds since 1970.")],
    fused: Annotated[bool, typer.Option("--fused", help="Use torch's fused AdamW.")] = False,
) -> None:
    """Search, then predict the hidden half with the best checkpoint."""
    checkpoint = checkpoint_of(encoder)
    splits = sample_training_rows(read_directory(data), rows, seed).splits
    train_rows, dev, test = (
        {task: tokenized(checkpoint, splits[task][split]) for task in NAMES} for split in ("train", "dev", "test")
    )
    means = {task: float(splits[task]["train"].labels.mean()) for task in NAMES}
    counts = folder / "tokens"
    counts.mkdir(parents=True)
    job = Job(checkpoint, means, counts, seed, fused)
    grid = _search(folder, job, train_rows, dev, until)
    best = grid.get_best_result(scope="all")
    assert best.config
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(checkpoint.directory))
    saved = best.get_best_checkpoint("score", "max")
    assert saved, "no trial finished a round in time"
    model = PeerModel(checkpoint, best.config["dropout"], means)
    with saved.as_directory() as place:
        model.load_state_dict(torch.load(Path(place) / WEIGHTS, weights_only=True))
    for task, path in prediction_files(folder).items():
        found = predictions(TASKS[task].kind, predict(model, task, test[task], collate))
        path.write_text(submission(TASKS[task], splits[task]["test"].ids, found))
    result = {
        "trials": len(grid),
        "rounds": sum((found.metrics or {}).get("training_iteration", 0) for found in grid),
        "tokens": sum(int(path.read_text()) for path in counts.iterdir()),
        "best": best.config,
    }
    (folder / SEARCH).write_text(json.dumps(result))


def checkpoint_of(encoder: str) -> Checkpoint:
    """Return the checkpoint that "minilm" or "minilm:LAYERS" names."""
    name, _, layers = encoder.partition(":")
    directory = find_checkpoint(name)
    return Checkpoint(directory, int(layers or read_json_object(directory / CONFIG)["num_hidden_layers"]))


def _search(folder: Path, job: Job, rows: dict[str, Rows], dev: dict[str, Rows], until: float) -> tune.ResultGrid:
    """Run Tune with its Optuna searcher, ASHA and a time budget."""
    scratch = tempfile.mkdtemp(prefix="ray-")  # a short path, because paths of sockets are limited
    try:
        ray.init(address="local", num_cpus=CORES, include_dashboard=False, _temp_dir=scratch)
        return tune.Tuner(
            tune.with_resources(tune.with_parameters(train, job=job, rows=rows, dev=dev), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=OptunaSearch(parameters, metric="score", mode="max", seed=job.seed),
                scheduler=ASHAScheduler(max_t=ROUNDS),
                num_samples=-1,
                max_concurrent_trials=CORES,
                time_budget_s=until - time.time() - PREDICT_SECONDS,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.absolute()),
                verbose=1,
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="score"),
            ),
        ).fit()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _score(model: PeerModel, dev: dict[str, Rows], collate: DataCollatorWithPadding) -> float:
    """Return the overall dev score."""
    reached = {}
    for task, rows in dev.items():
        labels = np.array([row["label"] for row in rows], np.float32)
        predicted = predictions(TASKS[task].kind, predict(model, task, rows, collate))
        reached[task] = METRICS[TASKS[task].metric].compute(predicted, labels)
    return float(score(reached, TASKS))


if __name__ == "__main__":
    typer.run(main)
