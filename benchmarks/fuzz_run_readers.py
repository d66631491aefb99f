"""The readers of the files of a run directory that `benchmarks.fuzz` tests."""

from collections.abc import Callable
from pathlib import Path

import optuna
import torch

from benchmarks.fuzz_reader import Reader
from model.errors import InputError
from model.pretrained import load_encoder, save_encoder
from search.ensemble.build import write as write_ensemble
from search.ensemble.choose import choose
from search.ensemble.estimates import read_estimates
from search.ensemble.members import read_ensemble
from search.ensemble.predict import read_all_dev
from search.report.dev_predictions import ensemble_predictions, round_predictions
from search.runs.run import Run
from search.runs.search_record import read_search
from search.runs.study import opened_study
from search.suggest.warm_start import warm_trials
from tests.search.example_run import ExampleTrial, example_corpus, example_run, tiny_pretrained
from trainers.evaluation.predictions import submission
from trainers.evaluation.scores import predictions
from trainers.folder import Folder
from trainers.training.checkpoint import CheckpointError, read_state, read_weights, write_state, write_weights
from trainers.trial import read_config


def write_run(place: Path) -> None:
    """Write a run of two trials with every file of a run directory."""
    run = example_run(place, example_corpus(place.with_name("corpora")), [ExampleTrial(0), ExampleTrial(1)])
    save_encoder(place / "encoder", tiny_pretrained())
    write_ensemble(run, choose([run]))
    run.folder.write_json("ensemble/all_dev_rows.json", {"sst": 0.5, "score": 0.5})
    split, task = run.corpus().splits["sst"]["dev"], run.tasks["sst"]
    probabilities = predictions(task.kind, torch.randn(len(split), task.outputs).numpy())
    run.folder.write(
        f"ensemble/predictions/{task.submission}-dev-output.csv", submission(task, split.ids, probabilities)
    )
    checkpoint = run.trial_folder(1) / "checkpoints" / "00003"
    write_weights(checkpoint, {"a.weight": torch.ones(8, 4), "b": torch.arange(5)})
    write_state(checkpoint, {"step": 3, "model": {"a": torch.ones(8)}})
    trial = run.trials()[0]
    record = {"state": "COMPLETE", "values": [0.5], "params": trial.params, "distributions": trial.distributions}
    run.folder.write_json("warm_start.json", [record | {"intermediate_values": {"1": 0.4}, "from": "a", "trial": 3}])
    with opened_study(run, None):
        pass


def of_run(read: Callable[[Run], object]) -> Callable[[Path], object]:
    """Return a reader of a directory from a reader of a run."""
    return lambda place: read(Run(Folder.at(place)))


def read_study(run: Run) -> None:
    """Open the study, after repairs."""
    with opened_study(run, None) as study:
        study.ask()


def read_round(run: Run) -> object:
    """Read the predictions of a round as the report does."""
    return round_predictions(run.trials()[1], 3, run.tasks["sst"], run.corpus().splits["sst"]["dev"])


def read_ensemble_rows(run: Run) -> object:
    """Read the ensemble's prediction file as the report does."""
    return ensemble_predictions(run, run.tasks["sst"], run.corpus().splits["sst"]["dev"])


def of_checkpoint(read: Callable[[Folder], object]) -> Callable[[Path], object]:
    """Return a reader of a directory from a reader of a checkpoint, whose errors the trial handles itself."""

    def read_place(place: Path) -> object:
        try:
            return read(Folder.at(place / TRIAL / "checkpoints/00003"))
        except CheckpointError as error:
            raise InputError(str(error)) from error

    return read_place


optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIAL = "trials/00001"
RUN_READERS = {
    "search": Reader(write_run, "search.json", lambda place: read_search(Folder.at(place))),
    "trial": Reader(write_run, f"{TRIAL}/trial.json", of_run(lambda run: (run.trials(), run.table()))),
    "trial-repaired": Reader(write_run, f"{TRIAL}/trial.json", of_run(read_study)),
    "trial-config": Reader(write_run, f"{TRIAL}/config.json", lambda place: read_config(Folder.at(place / TRIAL))),
    "rounds": Reader(write_run, f"{TRIAL}/rounds.jsonl", of_run(lambda run: (run.trials(), run.table()))),
    "rounds-repaired": Reader(write_run, f"{TRIAL}/rounds.jsonl", of_run(read_study)),
    "predictions": Reader(write_run, f"{TRIAL}/predictions/00003-sst.parquet", of_run(read_round)),
    "journal": Reader(write_run, "study.journal", of_run(read_study)),
    "warm-start": Reader(write_run, "warm_start.json", of_run(warm_trials)),
    "members": Reader(write_run, "ensemble/members.json", of_run(read_ensemble)),
    "metrics": Reader(write_run, "ensemble/metrics.json", of_run(read_estimates)),
    "all-dev": Reader(write_run, "ensemble/all_dev_rows.json", of_run(read_all_dev)),
    "submission": Reader(write_run, "ensemble/predictions/sst-dev-output.csv", of_run(read_ensemble_rows)),
    "checkpoint": Reader(write_run, f"{TRIAL}/checkpoints/00003/weights.safetensors", of_checkpoint(read_weights)),
    "state": Reader(write_run, f"{TRIAL}/checkpoints/00003/state.pt", of_checkpoint(read_state)),
    "encoder": Reader(write_run, "encoder/model.safetensors", lambda place: load_encoder(place / "encoder")),
    "encoder-config": Reader(write_run, "encoder/config.json", lambda place: load_encoder(place / "encoder")),
}
"""Readers of the files of a run, by name."""
