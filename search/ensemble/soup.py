"""Make a soup, the mean of the weights of several rounds with one architecture, as one more candidate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from search.ensemble.members import member_folder
from search.ensemble.predict import StarMap, check_rounds, load_model
from search.runs.run import Run
from search.selection.candidates import Candidate, CandidateMetrics, Candidates
from search.selection.library import tasks_of
from search.selection.shortlist import metric_and_loss
from trainers.config.train_config import TrainConfig
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.predictions import write_predictions
from trainers.evaluation.scores import predictions, score
from trainers.folder import Folder
from trainers.training.checkpoint import CheckpointError, read_weights, write_weights
from trainers.trial import CHECKPOINTS, CONFIG, PREDICTIONS, read_config, round_name

MAX_INGREDIENTS = 5
"""Maximum number of rounds in a soup; each is from another trial."""
ROUND = 1
"""Round number under which a soup's weights and predictions are stored."""

Ingredients = frozenset[Candidate]
"""Rounds whose weights are averaged."""


@dataclass(frozen=True)
class Soup:
    """The mean of the weights of some rounds, and its predictions."""

    name: Candidate
    ingredients: Ingredients
    outputs: dict[str, np.ndarray]
    """Task -> outputs [rows, outputs]."""
    ids: dict[str, list[str]]
    """Task -> ids of the rows, the same rows that the task's candidates predict."""


class WeightAverages:
    """Means of weights, each evaluated once on the rows of the candidates."""

    def __init__(
        self, run: Run, candidates: Mapping[str, Candidates], masks: Mapping[str, np.ndarray], starmap: StarMap
    ):
        """Store the candidates and the row masks [masks, rows] of the run's tasks; evaluate nothing yet."""
        self.run, self.candidates, self.masks, self.starmap = run, candidates, masks, starmap
        self.ids = {task: found.ids for task, found in candidates.items()}
        self.outputs: dict[Ingredients, dict[str, np.ndarray]] = {}

    def evaluate(self, soups: Sequence[Ingredients]) -> None:
        """Evaluate the means that are not yet evaluated.

        Raises:
            DamagedRounds: the weights of some ingredients cannot be used.
        """
        new = [soup for soup in dict.fromkeys(soups) if soup not in self.outputs]
        jobs = [(self.run.folder.uri, trial_rounds(soup), self.ids) for soup in new]
        try:
            self.outputs |= zip(new, self.starmap(evaluate_mean, jobs), strict=True)
        except CheckpointError:
            check_rounds(set().union(*new))  # names the damaged ones
            raise

    def scores(self, soups: Sequence[Ingredients]) -> np.ndarray:
        """Return the score of each mean on the rows of each mask, [soups, masks]."""
        self.evaluate(soups)
        return np.stack([self._score(self.outputs[soup]) for soup in soups])

    def _score(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        libraries = {task: found.library for task, found in self.candidates.items()}
        metrics = {}
        for task, library in libraries.items():
            predicted = predictions(library.task.kind, outputs[task])
            metrics[task], _ = metric_and_loss(library.task, predicted, library.labels, self.masks[task])
        return score(metrics, tasks_of(libraries))


SoupMethod = Callable[[list[list[Candidate]], np.ndarray, WeightAverages], list[Ingredients]]
"""Choose the ingredients for each row mask.

The arguments are the possible ingredients per mask, the best first; the scores [masks] of the first ones; the averages.
"""


def uniform(ranked: list[list[Candidate]], best: np.ndarray, averages: WeightAverages) -> list[Ingredients]:
    """Average all possible ingredients."""
    return [frozenset(found) for found in ranked]


def greedy(ranked: list[list[Candidate]], best: np.ndarray, averages: WeightAverages) -> list[Ingredients]:
    """Add ingredients from best to worst, each if the score of the mean does not fall.

    Source: Wortsman et al. 2022 (Model soups), recipe 1.
    """
    soups = [frozenset(found[:1]) for found in ranked]
    for place in range(1, MAX_INGREDIENTS):
        larger = [soup | set(found[place : place + 1]) for soup, found in zip(soups, ranked, strict=True)]
        scores = averages.scores(larger).diagonal()
        soups = [new if better else old for new, old, better in zip(larger, soups, scores >= best, strict=True)]
        best = np.maximum(best, scores)
    return soups


SOUPS: dict[str, SoupMethod] = {
    "none": lambda ranked, best, averages: [frozenset() for _ in ranked],
    "uniform": uniform,
    "greedy": greedy,
}


def make_soups(
    method: str, run: Run, measured: Mapping[str, CandidateMetrics], averages: WeightAverages
) -> list[Soup | None]:
    """Make one soup per row mask: chosen on all rows, and on the rows outside each fold.

    Every choice for a mask's soup, from the first ingredient on, uses the rows of the mask only. So cross-fitting
    treats a soup like any other candidate.

    Args:
        method: a name in SOUPS.
        measured: metrics of the candidates of the run's own tasks.

    Returns:
        [masks]; None where the soup would have a single ingredient.
    """
    names, scores = _scores(run, measured)
    architectures = {trial: architecture(config_of(run, trial)) for trial in {name.trial for name in names}}
    if len(architectures) < 2:
        return [None] * scores.shape[1]
    order = (-scores).argsort(axis=0, kind="stable")
    ranked = [_possible_ingredients([names[number] for number in column], architectures) for column in order.T]
    soups = SOUPS[method](ranked, scores.max(axis=0), averages)
    averages.evaluate([soup for soup in soups if len(soup) > 1])
    name = Candidate(run.folder.uri, None, ROUND)
    return [Soup(name, soup, averages.outputs[soup], averages.ids) if len(soup) > 1 else None for soup in soups]


def evaluate_mean(
    location: str, rounds: Sequence[tuple[int | None, int]], ids: Mapping[str, Sequence[str]], device: str = "cpu"
) -> dict[str, np.ndarray]:
    """Average the weights of some rounds of one run; return outputs for dev rows: task -> [rows, outputs].

    Args:
        location: the run's path or URI.
        rounds: (trial, round) of each ingredient.
        ids: task -> ids of the rows, in the order of the result.
    """
    run = Run.open(location)
    corpus = run.corpus()
    model = load_model(run, member_folder(run, rounds[0][0]), mean_weights(run, rounds), device)
    rows = {}
    for task, wanted in ids.items():
        place = {identifier: row for row, identifier in enumerate(corpus.splits[task]["dev"].ids)}
        rows[task] = np.array([place[identifier] for identifier in wanted])
    return evaluate(model, corpus, "dev", rows)


def mean_weights(run: Run, rounds: Sequence[tuple[int | None, int]]) -> dict[str, Tensor]:
    """Average the weights of some rounds of a run, all of one architecture: name -> tensor."""
    total: dict[str, Tensor] = {}
    for trial, round in rounds:
        weights = read_weights(member_folder(run, trial) / CHECKPOINTS / round_name(round))
        assert not total or {n: w.shape for n, w in total.items()} == {n: w.shape for n, w in weights.items()}
        total = {name: total[name] + weight if total else weight for name, weight in weights.items()}
    return {name: weight / len(rounds) for name, weight in total.items()}


def architecture(config: TrainConfig) -> tuple[object, ...]:
    """Return the fields of a config that decide the meaning of its weights; weights with equal fields can be averaged.

    The seed is one of them: heads with different initial weights do not average.
    """
    heads = tuple((task, config.head_of(task)) for task in config.tasks)
    has_mlm_head = any(stage.objective == "mlm" for stage in config.stages)
    return config.encoder, config.seed, config.pairs, config.pooling, heads, config.shared_layers, has_mlm_head


def write_soup(run: Run, soup: Soup, folder: Folder) -> None:
    """Write config, weights and predictions of a run's soup into `folder`, like those of a trial."""
    rounds = trial_rounds(soup.ingredients)
    folder.write(CONFIG, config_of(run, rounds[0][0]).model_dump_json(indent=2))
    write_weights(folder / CHECKPOINTS / round_name(ROUND), mean_weights(run, rounds))
    for task, outputs in soup.outputs.items():
        write_predictions(folder / PREDICTIONS, f"{round_name(ROUND)}-{task}.parquet", soup.ids[task], outputs)


def trial_rounds(ingredients: Ingredients) -> list[tuple[int | None, int]]:
    """List (trial, round) of each ingredient, ascending."""
    return [(name.trial, name.round) for name in sorted(ingredients)]


def config_of(run: Run, trial: int | None) -> TrainConfig:
    """Read the config of a trial."""
    return read_config(member_folder(run, trial))


def _scores(run: Run, measured: Mapping[str, CandidateMetrics]) -> tuple[list[Candidate], np.ndarray]:
    """Return the run's rounds that predict all its tasks, and their scores [rounds, masks]."""
    places = [{name: place for place, name in enumerate(found.names)} for found in measured.values()]
    names = [name for name in places[0] if name.run == run.folder.uri and all(name in place for place in places)]
    metrics = {
        task: found.metrics[[place[name] for name in names]]
        for (task, found), place in zip(measured.items(), places, strict=True)
    }
    return names, score(metrics, {task: found.task for task, found in measured.items()})


def _possible_ingredients(
    names: Sequence[Candidate], architectures: Mapping[int | None, tuple[object, ...]]
) -> list[Candidate]:
    """Return the best round of each of the best few trials that have the architecture of the best trial.

    Args:
        names: candidates, the best first.
    """
    alike = [name for name in names if architectures[name.trial] == architectures[names[0].trial]]
    best: dict[int | None, Candidate] = {}
    for name in alike:
        best.setdefault(name.trial, name)
    return list(best.values())[:MAX_INGREDIENTS]
