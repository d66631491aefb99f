"""Write small run directories: with made-up trials that predict the labels plus noise, or with trained trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import optuna
import tokenizers
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from model.bert import Bert, BertConfig
from model.pretrained import Pretrained, save_encoder
from search.runs import search_record
from search.runs.run import Run
from search.runs.search_record import SearchRecord
from search.runs.trial_record import end_trial, start_trial
from tests.example_row import example_row
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.generated_sample import sample_corpus
from trainers.data.prepare import prepare
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.predictions import write_predictions
from trainers.evaluation.scores import predictions, score
from trainers.folder import Folder, publish
from trainers.training.checkpoint import WEIGHTS
from trainers.trial import ROUNDS, round_name, run_trial

TASK_NAMES = ("sst", "qqp", "sts")
PARAMETERS = {
    "lambda_s": FloatDistribution(0.01, 10, log=True),
    "dropout": FloatDistribution(0, 0.5),
    "batch_schedule": CategoricalDistribution(["smart_round_robin", "interleaved"]),
}


@dataclass(frozen=True)
class ExampleTrial:
    """The description of a trial to write."""

    number: int
    state: TrialState = TrialState.COMPLETE
    rounds: int = 3
    skill: float = 1.0
    """Factor of the labels in the last round's outputs; the noise has a standard deviation of 1."""
    tasks: tuple[str, ...] = TASK_NAMES
    parameters: int = len(PARAMETERS)
    """How many of `PARAMETERS` the trial has."""
    reason: str = ""


@cache
def tokenizer() -> str:
    """Return a tokenizer whose tokens are the words of the generated sample, as the text of a `tokenizer.json`."""
    texts = [
        text
        for splits in sample_corpus().splits.values()
        for split in splits.values()
        for side in split.texts
        for text in side
    ]
    words = sorted({word for text in texts for word in text.lower().split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    result = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="[UNK]")
    )
    result.normalizer = tokenizers.normalizers.Lowercase()
    result.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return result.to_str()


def example_corpus(place: Path) -> Path:
    """Tokenise the generated sample into a directory under `place`; return that directory."""
    return prepare("sample", tokenizer(), rows=None, seed=0, cache=place)[0]


def example_search(**changed: object) -> SearchRecord:
    """Return the record of a search, with some fields changed."""
    fields = {
        "dev_rows": 1200,
        "name": "example",
        "space": "spaces/example.py",
        "space_source": "def suggest(trial): ...",
        "tasks": TASK_NAMES,
        "rounds": 3,
        "fingerprint": "0",
        "versions": {"torch": "2", "ray": "2", "optuna": "5", "python": "3"},
        "started": "2026-01-02T03:04:05+00:00",
    }
    return SearchRecord.model_validate(fields | changed)


def write_search(place: Path, corpus: Path, *, tasks: Sequence[str] = TASK_NAMES, **changed: object) -> Run:
    """Write a run directory without trials."""
    folder = Folder.at(place)
    publish(corpus, folder / "corpus")
    (folder / "encoder").write("tokenizer.json", tokenizer())
    search = example_search(name=place.name, tasks=tasks, fingerprint=Corpus.open(corpus).fingerprint)
    search_record.write_search(folder, search.replace(**changed))
    return Run(folder)


# Skip fsync, which took half of the time: these files need not survive a power failure.
@patch("os.fsync", new=lambda descriptor: None)
def write_trial(run: Run, trial: ExampleTrial) -> None:
    """Write a trial's files: its parameters, and each round's row, predictions and (empty) weights."""
    draw = np.random.default_rng(trial.number)
    distributions = dict(list(PARAMETERS.items())[: trial.parameters])
    values = {"lambda_s": float(10 ** draw.uniform(-2, 1)), "dropout": float(draw.uniform(0, 0.5))}
    values |= {"batch_schedule": str(draw.choice(["smart_round_robin", "interleaved"]))}
    params = {name: values[name] for name in distributions}
    folder = run.trial_folder(trial.number)
    frozen = optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
    frozen.number = trial.number
    start_trial(folder, frozen, TrainConfig(stages=(Stage(passes=1),)).model_dump_json())
    corpus = run.corpus()
    scores = [_write_round(folder, corpus, trial, number) for number in range(1, trial.rounds + 1)]
    if trial.state != TrialState.RUNNING:
        values = {TrialState.COMPLETE: sorted(scores)[-1:], TrialState.PRUNED: scores[-1:] or None}
        end_trial(folder, trial.state, values.get(trial.state), trial.reason)


def example_run(
    place: Path,
    corpus: Path,
    trials: Sequence[ExampleTrial] | None = None,
    *,
    tasks: Sequence[str] = TASK_NAMES,
    **changed: object,
) -> Run:
    """Write a run directory with the given trials, or by default with four ended trials."""
    run = write_search(place, corpus, tasks=tasks, **changed)
    default = (
        ExampleTrial(0, skill=1.5),
        ExampleTrial(1, skill=1.2),
        ExampleTrial(2, TrialState.PRUNED, rounds=1, skill=0.5, reason="stopped early"),
        ExampleTrial(3, TrialState.FAIL, rounds=0, reason="the loss is <not> finite"),
    )
    for trial in default if trials is None else trials:
        write_trial(run, trial)
    return run


def tiny_pretrained() -> Pretrained:
    """Return an encoder with one layer and random weights."""
    torch.manual_seed(0)
    shape = BertConfig(vocabulary=2000, width=16, layers=1, heads=2, feed_forward=32)
    # With BERT's initial weights, the output of the first token hardly depends on the sentence.
    weights = {name: 40 * weight if weight.dim() == 2 else weight for name, weight in Bert(shape).state_dict().items()}
    return Pretrained(shape, weights, tokenizer())


def trained_run(place: Path, corpus: Path, seeds: tuple[int, int] = (0, 1)) -> Run:
    """Train two trials with a tiny encoder for two rounds; with equal seeds both start with the same heads."""
    pretrained = tiny_pretrained()
    run = write_search(place, corpus, encoder="tiny", rounds=2)
    save_encoder(place / "encoder", pretrained)
    for number, (seed, rate) in enumerate(zip(seeds, (3e-3, 1e-2), strict=True)):
        stage = Stage(steps=12, rounds=2, batch_size=8, batch_schedule="interleaved", learning_rate=rate)
        config = TrainConfig(encoder="tiny", stages=(stage,), seed=seed)
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
        frozen.number = number
        folder = run.trial_folder(number)
        start_trial(folder, frozen, config.model_dump_json())
        rows = list(run_trial(folder, config, run.corpus(), pretrained))
        end_trial(folder, TrialState.COMPLETE, [max(row.score or 0.0 for row in rows)], "")
    return run


def candidate_file(run: Run, trial: int, number: int, task: str) -> tuple[Folder, str]:
    """Return the folder and the name of the file with a round's predictions of a task."""
    return run.trial_folder(trial) / "predictions", f"{round_name(number)}-{task}.parquet"


def outputs_of(corpus: Corpus, task: str, skill: float, draw: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Return the ids of the dev rows, and outputs [rows, width]: `skill` times the labels, plus noise."""
    split = corpus.splits[task]["dev"]
    labels, kind, width = split.labels, corpus.tasks[task].kind, corpus.tasks[task].outputs
    signal = np.eye(width)[labels.astype(int)] if kind == "classification" else labels[:, None] - labels.mean()
    return split.ids, (skill * signal + draw.normal(size=(len(labels), width))).astype(np.float32)


def _write_round(folder: Folder, corpus: Corpus, trial: ExampleTrial, number: int) -> float:
    """Write the files of a round; return its score."""
    draw = np.random.default_rng([trial.number, number])
    metrics = {}
    for task in trial.tasks:
        ids, outputs = outputs_of(corpus, task, trial.skill * number / trial.rounds, draw)
        write_predictions(folder / "predictions", f"{round_name(number)}-{task}.parquet", ids, outputs)
        metric, predicted = METRICS[corpus.tasks[task].metric], predictions(corpus.tasks[task].kind, outputs)
        metrics[task] = float(metric.compute(predicted, corpus.splits[task]["dev"].labels))
    (folder / "checkpoints" / round_name(number)).write(WEIGHTS, b"")
    row = example_row(
        number,
        last=number == 3,
        score=float(score(metrics, corpus.tasks)),
        metrics=metrics,
        losses={f"{task}.task": 1.0 / number for task in trial.tasks},
        loss=1.0 / number,
        ratios={"qqp.smart": 0.2, "sst.smart": 0.0001 * number},
        examples=256 * number,
        tokens=5000 * number,
        steps=16 * number,
        train_seconds=2.0,
        eval_seconds=0.5,
        ended=f"2026-01-02T03:0{number}:00.000+00:00",
    )
    folder.append_json(ROUNDS, row.to_json())
    return row.score or 0.0
