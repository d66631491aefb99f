"""Names of recipes -> every training that they need, once under each seed: a space whose points are all tried."""

import fnmatch
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import optuna

from model.errors import InputError
from search.suggest.space import Checked, Space
from trainers.config.parsing import with_values
from trainers.config.train_config import DURATIONS, Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import text_sets
from trainers.recipes.registry import LISTED, RECIPES, configs, recipe
from trainers.training.step_plan import Step, plan

OPTIONS = ("encoder", "seed")
"""Fields of a config that have options of their own."""
Trainings = dict[str, TrainConfig]
"""Name of a recipe, or of a group's member -> config."""


def chosen(patterns: Iterable[str]) -> list[str]:
    """Return the recipes that names and globs mean; a glob without "/" means no members of groups.

    Raises:
        InputError: a name is unknown, or a glob means none.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern not in RECIPES and any(character in pattern for character in "*?["):
            known = [part for name in RECIPES for part in configs(name)] if "/" in pattern else RECIPES
            matching = fnmatch.filter(known, pattern)
            if not matching:
                raise InputError(f"No recipe is like {pattern!r}. {LISTED}")
            found |= dict.fromkeys(matching)
        else:
            recipe(pattern)
            found[pattern] = None
    return list(found)


def trainings_of(names: Iterable[str], assignments: list[str]) -> Trainings:
    """Return the trainings of recipes.

    Args:
        assignments: "field=value", a change of every config.

    Raises:
        InputError: a recipe has no such field, or refuses the value.
    """
    for assignment in assignments:
        field = assignment.partition("=")[0]
        if field in OPTIONS:
            raise InputError(f"--set {assignment}: every training gets its {field} from --{field}. Pass that.")
    trainings: Trainings = {}
    for part, config in (found for name in names for found in configs(name).items()):
        try:
            trainings[part] = with_values(config, assignments)
        except InputError as error:
            raise InputError(f"Recipe {part}: {error}") from None
    return trainings


def trained_as(trainings: Trainings) -> dict[str, str]:
    """Return for each training the first one with the same config: names of one system in different tables."""
    first: dict[str, str] = {}
    return {name: first.setdefault(config.model_dump_json(), name) for name, config in trainings.items()}


def check_texts(trainings: Trainings, data: str) -> None:
    """Refuse trainings whose text sets the data lack, before all of them are read.

    Raises:
        InputError: says which trainings need which text sets.
    """
    _refuse({name: sorted(config.texts) for name, config in trainings.items()}, text_sets(data), "text set")


def check_trainings(
    trainings: Trainings, corpus: Corpus, *, encoder: str, seeds: Sequence[int], scale: float
) -> Checked:
    """Make the space of all trainings under all seeds; what is trained is a function of its two parameters.

    Args:
        scale: what every stage's duration is multiplied by.

    Raises:
        InputError: the data lack what a recipe needs.
    """
    _refuse({name: _tasks(config) for name, config in trainings.items()}, corpus.splits, "task")
    fitted = {name: _scaled_training(name, config, scale, corpus) for name, config in trainings.items()}

    def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
        name = trial.suggest_categorical("recipe", list(fitted))
        return fitted[name].replace(seed=trial.suggest_categorical("seed", list(seeds)))

    points = [{"recipe": name, "seed": seed} for seed in seeds for name in fitted]
    source = json.dumps({name: config.model_dump(mode="json") for name, config in fitted.items()})
    space = Space(Path("trainers/recipes/registry.py"), source, suggest, points, {"encoder": encoder})
    tasks = dict.fromkeys(task for config in fitted.values() for task in config.tasks)
    return Checked(space, tuple(tasks), None)


def _tasks(config: TrainConfig) -> list[str]:
    """Return all tasks whose rows a config trains on, for their texts alone too, or is scored on."""
    return list(dict.fromkeys([*config.tasks, *(task for stage in config.stages for task in stage.tasks)]))


def _refuse(needed: Mapping[str, Iterable[str]], known: Collection[str], what: str) -> None:
    """Refuse trainings that need what the data lack.

    Args:
        needed: name -> the tasks, or the text sets, of a training.
    """
    wanted = dict.fromkeys(source for sources in needed.values() for source in sources)
    lacking = {source: [name for name in needed if source in needed[name]] for source in wanted if source not in known}
    if lacking:
        told = "; ".join(f"{what} {source}, for {', '.join(names)}" for source, names in lacking.items())
        raise InputError(f"The data lack {told}. Pass --data that have it, or leave these recipes out.")


def _scaled_training(name: str, config: TrainConfig, scale: float, corpus: Corpus) -> TrainConfig:
    try:
        return scaled(config, scale, corpus)
    except InputError as error:
        raise InputError(f"Recipe {name}: {error}") from None


def scaled(config: TrainConfig, scale: float, corpus: Corpus) -> TrainConfig:
    """Let every stage take that share of its optimiser steps, and cut none into more rounds than it then has.

    A supervised stage goes on until each of its tasks has had a turn. With scale 1 only rounds may change.

    Raises:
        InputError: the config asks for what the data or the installation lack.
    """
    whole = config.replace(stages=tuple(stage.replace(rounds=1) for stage in config.stages))
    steps, _ = plan(whole, corpus)
    own = [[step for step in steps if step.stage == place] for place in range(len(config.stages))]
    return config.replace(stages=tuple(_scaled_stage(*pair, scale) for pair in zip(config.stages, own, strict=True)))


def _scaled_stage(stage: Stage, steps: Sequence[Step], scale: float) -> Stage:
    count = max(round(scale * len(steps)), _all_had_turns(steps) if stage.supervised else 1)
    duration = {} if count == len(steps) else dict.fromkeys(DURATIONS) | {"steps": count}
    return stage.replace(**duration, rounds=min(stage.rounds, count))


def _all_had_turns(steps: Sequence[Step]) -> int:
    """Return after how many steps each task that they train has been trained."""
    first: dict[str, int] = {}
    for count, step in enumerate(steps, start=1):
        for task in step.rows:
            first.setdefault(task, count)
    return max(first.values())
