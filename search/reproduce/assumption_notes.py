"""Say what the recipes of a run assume, and what changes with another edition of Quora."""

from collections import Counter
from collections.abc import Iterator, Mapping

from search.runs.run import Run
from trainers.config.train_config import TrainConfig
from trainers.recipes.registry import configs
from trainers.recipes.reports.assumptions import ASSUMPTIONS, assumptions
from trainers.training.step_plan import plan_steps

LISTED = 3
"""Largest number of recipes that a note names one by one; more are named by their patterns."""
QUORA = "qqp"
"""The task whose data the course published in several editions."""


def assumption_notes(run: Run) -> list[str]:
    """Return a note for each assumption of a run's recipes, and one for each recipe computed for another edition."""
    recipes = run.reproduction.recipes
    found = [note for name in recipes for note in _edition_notes(run, name)]
    for assumption in ASSUMPTIONS:
        if taking := [name for name in recipes if assumption.holds_for(name)]:
            names = taking if len(taking) <= LISTED else assumption.recipes
            found.append(f"Assumed in {', '.join(names)}: {assumption.text}.")
    return found


def steps_by_stage(config: TrainConfig, sizes: Mapping[str, int]) -> list[int]:
    """Return the number of optimiser steps of each stage of a config.

    Args:
        sizes: source -> number of training rows.
    """
    counts = Counter(step.stage for step in plan_steps(config, sizes))
    return [counts[index] for index in range(len(config.stages))]


def _edition_notes(run: Run, recipe: str) -> Iterator[str]:
    """Yield what changes in a recipe whose proportions were computed for another number of rows of Quora."""
    for rows in {assumption.quora for assumption in assumptions(recipe) if assumption.quora}:
        for name, config in configs(recipe).items():
            sources = dict.fromkeys(source for stage in config.stages for source in stage.sources)
            sizes = run.corpus().train_sizes(sources)
            if sizes.get(QUORA, rows) != rows:
                found, meant = (steps_by_stage(config, sizes | {QUORA: count}) for count in (sizes[QUORA], rows))
                changes = [
                    f"stage {index} has {here:,} optimiser steps in place of {there:,}"
                    for index, (here, there) in enumerate(zip(found, meant, strict=True))
                    if here != there
                ]
                yield (
                    f"{name} was computed for {rows:,} training rows of {QUORA}, and this run has {sizes[QUORA]:,}: "
                    f"before any --scale, {' and '.join(changes) or 'its number of steps stays the same'}."
                )
