"""Turn names of recipes into a space: each training that the recipes need, once under each seed.

One recipe needs one training, a group needs one for each member, and an ensemble needs those of all its members.
"""

import fnmatch
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import optuna

from model.errors import InputError
from search.suggest.space import CheckedSpace, Space
from trainers.config.parsing import with_values
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import text_sets
from trainers.recipes.registry import LISTED, RECIPES, configs, recipe
from trainers.training.step_plan import Step, plan

SPACE = Path("trainers/recipes/registry.py")
"""The path that `search.json` records as the space of a reproduction."""
OPTIONS = ("encoder", "seed")
"""Config fields that `--set` refuses, because they have options of their own."""
Trainings = dict[str, TrainConfig]
"""Name of a recipe, or of a group's member -> config."""


def chosen(patterns: Iterable[str]) -> list[str]:
    """Return the recipes that match names or globs; only a glob with "/" matches members of groups.

    Raises:
        InputError: a name is unknown, or a glob matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern not in RECIPES and any(character in pattern for character in "*?["):
            known = [part for name in RECIPES for part in configs(name)] if "/" in pattern else RECIPES
            matching = fnmatch.filter(known, pattern)
            if not matching:
                raise InputError(f"No recipe matches {pattern!r}. {LISTED}")
            found |= dict.fromkeys(matching)
        else:
            recipe(pattern)
            found[pattern] = None
    return list(found)


def trainings_of(names: Iterable[str], assignments: list[str]) -> Trainings:
    """Return all trainings that some recipes need.

    Args:
        assignments: "field=value", each a change of every config.

    Raises:
        InputError: a recipe has no such field, or the value is invalid.
    """
    for assignment in assignments:
        field = assignment.partition("=")[0]
        if field in OPTIONS:
            raise InputError(f"--set {assignment}: {field} has an option of its own. Pass --{field} instead.")
    trainings: Trainings = {}
    for part, config in (found for name in names for found in configs(name).items()):
        try:
            trainings[part] = with_values(config, assignments)
        except InputError as error:
            raise InputError(f"Recipe {part}: {error}") from None
    return trainings


def trained_as(trainings: Trainings) -> dict[str, str]:
    """Map each training to the first training with the same config, so that equal configs are trained once.

    The reports print some systems under different names in different tables.
    """
    first: dict[str, str] = {}
    return {name: first.setdefault(config.model_dump_json(), name) for name, config in trainings.items()}


def check_texts(trainings: Trainings, data: str) -> None:
    """Check that the data have the text sets of all trainings, before the data are read.

    Raises:
        InputError: a text set is missing.
    """
    _check_sources({name: sorted(config.texts) for name, config in trainings.items()}, text_sets(data), "text set")


def check_trainings(
    trainings: Trainings, corpus: Corpus, *, encoder: str, seeds: Sequence[int], scale: float
) -> CheckedSpace:
    """Return the space of all trainings under all seeds; its two parameters, recipe and seed, determine a config.

    Args:
        scale: factor on the duration of every stage.

    Raises:
        InputError: the data lack a task that a recipe needs.
    """
    _check_sources({name: _tasks(config) for name, config in trainings.items()}, corpus.splits, "task")
    fitted = {name: _scale_training(name, config, scale, corpus) for name, config in trainings.items()}

    def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
        name = trial.suggest_categorical("recipe", list(fitted))
        return fitted[name].replace(seed=trial.suggest_categorical("seed", list(seeds)))

    points = [{"recipe": name, "seed": seed} for seed in seeds for name in fitted]
    source = json.dumps({name: config.model_dump(mode="json") for name, config in fitted.items()})
    space = Space(SPACE, source, suggest, points, {"encoder": encoder})
    tasks = dict.fromkeys(task for config in fitted.values() for task in config.tasks)
    return CheckedSpace(space, tuple(tasks), None)


def scaled(config: TrainConfig, scale: float, corpus: Corpus) -> TrainConfig:
    """Multiply the optimiser steps of every stage by `scale`.

    A supervised stage keeps enough steps to train each of its tasks once. A stage gets fewer rounds if it has fewer
    steps than rounds; scale 1 changes nothing else.

    Raises:
        InputError: the data or the installation lack something that the config needs.
    """
    whole = config.replace(stages=tuple(stage.replace(rounds=1) for stage in config.stages))
    steps, _ = plan(whole, corpus)
    by_stage = [[step for step in steps if step.stage == index] for index in range(len(config.stages))]
    stages = zip(config.stages, by_stage, strict=True)
    return config.replace(stages=tuple(_scale_stage(stage, own, scale) for stage, own in stages))


def _tasks(config: TrainConfig) -> list[str]:
    """Return the tasks that a config is scored on or whose texts it trains on."""
    return list(dict.fromkeys([*config.tasks, *(task for stage in config.stages for task in stage.tasks)]))


def _check_sources(needed: Mapping[str, Iterable[str]], known: Collection[str], kind: str) -> None:
    """Check that the data have all tasks, or all text sets, that some trainings need.

    Args:
        needed: name of a training -> names of the tasks or text sets.
        kind: "task" or "text set".
    """
    wanted = dict.fromkeys(source for sources in needed.values() for source in sources)
    lacking = {source: [name for name in needed if source in needed[name]] for source in wanted if source not in known}
    if lacking:
        listed = "; ".join(f"{kind} {source}, needed by {', '.join(names)}" for source, names in lacking.items())
        raise InputError(f"The data lack {listed}. Pass other --data, or leave these recipes out.")


def _scale_training(name: str, config: TrainConfig, scale: float, corpus: Corpus) -> TrainConfig:
    try:
        return scaled(config, scale, corpus)
    except InputError as error:
        raise InputError(f"Recipe {name}: {error}") from None


def _scale_stage(stage: Stage, steps: Sequence[Step], scale: float) -> Stage:
    count = max(round(scale * len(steps)), _steps_until_all_tasks(steps) if stage.supervised else 1)
    shorter = stage.replace(rounds=min(stage.rounds, count))
    return shorter if count == len(steps) else shorter.lasting(steps=count)


def _steps_until_all_tasks(steps: Sequence[Step]) -> int:
    """Return the number of steps after which each task has been trained at least once."""
    first: dict[str, int] = {}
    for count, step in enumerate(steps, start=1):
        for task in step.rows:
            first.setdefault(task, count)
    return max(first.values())
