"""Kept rounds of one architecture -> the mean of their weights: one more candidate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from search.ensemble.members import FOLDER, SOUP, home_of
from search.ensemble.predict import Each, load
from search.runs.run import Run
from search.selection.candidates import Candidate, Candidates, Standings
from search.selection.shortlist import standing
from trainers.config.train_config import TrainConfig
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.predictions import write_predictions
from trainers.evaluation.scores import predictions, score
from trainers.training.checkpoint import read_weights, write_weights
from trainers.trial import CHECKPOINTS, CONFIG, PREDICTIONS, round_name

INGREDIENTS = 5
"""The most rounds of a soup, of as many trials."""
ROUND = 1
"""The number under which a soup's weights and predictions lie."""

Pot = frozenset[Candidate]
"""Rounds whose weights are averaged; their order does not matter."""


@dataclass(frozen=True)
class Soup:
    """The mean of the weights of some rounds, and what it predicts."""

    name: Candidate
    ingredients: Pot
    outputs: dict[str, np.ndarray]
    """Task -> outputs [rows, outputs]."""
    ids: dict[str, list[str]]
    """Task -> of the rows: those that its candidates predict."""


class Averages:
    """Means of weights, each evaluated once on the rows of the candidates."""

    def __init__(self, run: Run, candidates: Mapping[str, Candidates], views: Mapping[str, np.ndarray], each: Each):
        """Take the candidates of the run's tasks and what each view sees of their rows; evaluate nothing yet."""
        self.run, self.candidates, self.views, self.each = run, candidates, views, each
        self.ids = {task: found.ids for task, found in candidates.items()}
        self.outputs: dict[Pot, dict[str, np.ndarray]] = {}

    def evaluate(self, pots: Sequence[Pot]) -> None:
        """Evaluate those means that have not been."""
        new = [pot for pot in dict.fromkeys(pots) if pot not in self.outputs]
        found = self.each(evaluate_mean, [(self.run.folder.uri, numbers(pot), self.ids) for pot in new])
        self.outputs |= zip(new, found, strict=True)

    def scores(self, pots: Sequence[Pot]) -> np.ndarray:
        """Return the score of each mean in every view of the rows, [pots, views]."""
        self.evaluate(pots)
        return np.stack([self._score(self.outputs[pot]) for pot in pots])

    def _score(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        libraries = {task: found.library for task, found in self.candidates.items()}
        metrics = {
            task: standing(library.kind, predictions(library.kind, outputs[task]), library.labels, self.views[task])
            for task, library in libraries.items()
        }
        return score({task: found[:, 0] for task, found in metrics.items()}, libraries)


Recipe = Callable[[list[list[Candidate]], np.ndarray, Averages], list[Pot]]
"""(for every view its ingredients, the best first; [views], scores of the first ones; averages) -> a pot for each."""


def uniform(ranked: list[list[Candidate]], best: np.ndarray, averages: Averages) -> list[Pot]:
    """Average all ingredients."""
    return [frozenset(found) for found in ranked]


def greedy(ranked: list[list[Candidate]], best: np.ndarray, averages: Averages) -> list[Pot]:
    """Add ingredients from best to worst if the score of the mean does not fall.

    Source: Wortsman et al. 2022 (Model soups), recipe 1.
    """
    pots = [frozenset(found[:1]) for found in ranked]
    for place in range(1, INGREDIENTS):
        larger = [pot | set(found[place : place + 1]) for pot, found in zip(pots, ranked, strict=True)]
        reached = averages.scores(larger).diagonal()
        pots = [new if up else old for new, old, up in zip(larger, pots, reached >= best, strict=True)]
        best = np.maximum(best, reached)
    return pots


SOUPS: dict[str, Recipe] = {
    "none": lambda ranked, best, averages: [frozenset() for _ in ranked],
    "uniform": uniform,
    "greedy": greedy,
}


def cook(recipe: str, run: Run, standings: Mapping[str, Standings], averages: Averages) -> list[Soup | None]:
    """Make the soup of a run's rounds in every view: by all rows, and by the rows outside of each fold.

    All that a view's soup is made of was chosen by what the view sees, from the first ingredient on, so that it is a
    candidate like any other when the selection is cross-fitted.

    Args:
        recipe: a name in SOUPS.
        standings: of the run's own tasks.

    Returns:
        [views]; None where nothing was added to the first ingredient.
    """
    names, scores = _scored(run, standings)
    architectures = {trial: architecture(config_of(run, trial)) for trial in {name.trial for name in names}}
    if len(architectures) < 2:
        return [None] * scores.shape[1]
    order = (-scores).argsort(axis=0, kind="stable")
    ranked = [_ingredients([names[number] for number in column], architectures) for column in order.T]
    pots = SOUPS[recipe](ranked, scores.max(axis=0), averages)
    averages.evaluate([pot for pot in pots if len(pot) > 1])
    own = Candidate(run.folder.uri, None, ROUND)
    return [Soup(own, pot, averages.outputs[pot], averages.ids) if len(pot) > 1 else None for pot in pots]


def evaluate_mean(
    location: str, rounds: Sequence[tuple[int | None, int]], ids: Mapping[str, Sequence[str]], device: str = "cpu"
) -> dict[str, np.ndarray]:
    """Average the weights of some rounds of one run, and predict dev rows: task -> outputs [rows, outputs].

    Args:
        location: the run's path or URI.
        rounds: trial and round of each.
        ids: task -> of the rows, in the order of the result.
    """
    run = Run.open(location)
    corpus = run.corpus()
    model = load(run, home_of(run, rounds[0][0]), mean_weights(run, rounds), device)
    rows = {}
    for task, wanted in ids.items():
        place = {identifier: row for row, identifier in enumerate(corpus.splits[task]["dev"].ids)}
        rows[task] = np.array([place[identifier] for identifier in wanted])
    return evaluate(model, corpus, "dev", rows)


def mean_weights(run: Run, rounds: Sequence[tuple[int | None, int]]) -> dict[str, Tensor]:
    """Average the weights of some rounds of a run: name -> tensor; they must be of one architecture."""
    total: dict[str, Tensor] = {}
    for trial, round in rounds:
        weights = read_weights(home_of(run, trial) / CHECKPOINTS / round_name(round))
        assert not total or {n: w.shape for n, w in total.items()} == {n: w.shape for n, w in weights.items()}
        total = {name: total[name] + weight if total else weight for name, weight in weights.items()}
    return {name: weight / len(rounds) for name, weight in total.items()}


def architecture(config: TrainConfig) -> tuple[object, ...]:
    """Return all of a config that decides what its weights mean: means of weights make sense where it is equal.

    The seed is a part: heads that start from different draws do not average.
    """
    heads = tuple((task, config.head_of(task)) for task in config.tasks)
    language = any(stage.objective == "mlm" for stage in config.stages)
    return config.encoder, config.seed, config.pairs, config.pooling, heads, config.shared_layers, language


def write_soup(run: Run, soup: Soup | None) -> None:
    """Write a soup in place of the one before: a trial's directory with config, weights and predictions."""
    (run.folder / FOLDER).delete(SOUP)
    if not soup:
        return
    home, rounds = home_of(run, None), numbers(soup.ingredients)
    home.write_json(CONFIG, home_of(run, rounds[0][0]).read_json(CONFIG))
    write_weights(home / CHECKPOINTS / round_name(ROUND), mean_weights(run, rounds))
    for task, outputs in soup.outputs.items():
        write_predictions(home / PREDICTIONS, f"{round_name(ROUND)}-{task}.parquet", soup.ids[task], outputs)


def numbers(pot: Pot) -> list[tuple[int | None, int]]:
    """List trial and round of each ingredient, ascending."""
    return [(name.trial, name.round) for name in sorted(pot)]


def config_of(run: Run, trial: int | None) -> TrainConfig:
    """Read the config of a trial."""
    return TrainConfig.model_validate(home_of(run, trial).read_json(CONFIG))


def _scored(run: Run, standings: Mapping[str, Standings]) -> tuple[list[Candidate], np.ndarray]:
    """Return the run's rounds that predict all its tasks, and their scores [rounds, views]."""
    places = [{name: place for place, name in enumerate(found.names)} for found in standings.values()]
    names = [name for name in places[0] if name.run == run.folder.uri and all(name in place for place in places)]
    metrics = {
        task: found.figures[[place[name] for name in names], :, 0]
        for (task, found), place in zip(standings.items(), places, strict=True)
    }
    return names, score(metrics, standings)


def _ingredients(names: Sequence[Candidate], architectures: Mapping[int | None, tuple[object, ...]]) -> list[Candidate]:
    """Return the best round of each of the best few trials that are made like the very best one.

    Args:
        names: the best first.
    """
    alike = [name for name in names if architectures[name.trial] == architectures[names[0].trial]]
    best: dict[int | None, Candidate] = {}
    for name in alike:
        best.setdefault(name.trial, name)
    return list(best.values())[:INGREDIENTS]
