"""Load a space file and check its configs before any worker starts."""

import contextlib
import difflib
import importlib.util
import math
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import optuna
import pydantic
from optuna.distributions import BaseDistribution

from model.errors import InputError
from search.runs.plain_values import printable
from search.suggest.optuna_internals import LookupTrial
from search.suggest.space_trial import SpaceTrial, check_stored
from trainers.config.parsing import describe
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.step_plan import plan

Suggest = Callable[[optuna.trial.BaseTrial], TrainConfig]

RANDOM_POINTS = 20
"""Number of random points at which a space is checked before the search starts."""


@dataclass(frozen=True)
class Space:
    """A search space, as a space file defines it."""

    path: Path
    source: str
    suggest: Suggest
    start: list[dict[str, Any]]
    fixed: dict[str, Any] = field(default_factory=dict)
    """Config field -> value that replaces the value from `suggest` in every config."""
    pass_range: tuple[float, float] | None = None
    """The fewest and the most passes that a time budget may choose; None: `suggest` decides."""
    passes: float | None = None
    """The passes of each config that were chosen for the time budget; None: `suggest` decides."""


@dataclass(frozen=True)
class TrialShape:
    """The tasks and rounds of a trial. All trials of a search share them, so that their rounds can be compared."""

    tasks: tuple[str, ...]
    rounds: int
    """Judged rounds of a trial."""
    examples: int
    """Examples of a judged round."""
    slack: int
    """Examples of the largest step; a round may be longer by this number."""

    def __str__(self) -> str:
        return f"{self.rounds} rounds of {self.examples:,} examples of {', '.join(self.tasks)}"

    def matches(self, other: "TrialShape") -> bool:
        """Return whether the rounds of two trials can be compared: equal except for the last step of a round."""
        close = abs(self.examples - other.examples) <= max(self.slack, other.slack)
        return set(self.tasks) == set(other.tasks) and self.rounds == other.rounds and close


@dataclass(frozen=True)
class CheckedSpace:
    """A space after the check that its configs can be trained on a corpus."""

    space: Space
    tasks: tuple[str, ...]
    """All tasks on which configs are scored."""
    shape: TrialShape | None
    """The shape of all trials; None if trials are not compared with each other."""


def load_space(path: Path) -> Space:
    """Load a space file.

    Raises:
        InputError: the file does not exist, raises an error or does not define `suggest`.
    """
    if not path.is_file():
        raise InputError(f"There is no space file {path}. Pass one such as spaces/smart.py.")
    spec = importlib.util.spec_from_file_location("space", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file. A space is a .py file that defines suggest(trial).")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise any error, or call `exit`
        raise InputError(f"{path} cannot be loaded: {_describe_error(error, path)}. Correct it.") from error
    suggest = getattr(module, "suggest", None)
    if not callable(suggest):
        raise InputError(f"{path} does not define suggest(trial). Define it; it returns a TrainConfig.")
    start = getattr(module, "START", [])
    if not isinstance(start, list) or not all(isinstance(point, dict) for point in start):
        raise InputError(f"{path}: START is not a list of parameter dicts. Write START = [{...}].")
    pass_range = getattr(module, "PASSES", None)
    if pass_range is not None and not _is_range(pass_range):
        raise InputError(
            f"{path}: PASSES is {pass_range!r}, not two positive numbers, the smaller one first. Write "
            "PASSES = (0.5, 4)."
        )
    return Space(path, path.read_text(), cast(Suggest, suggest), start, pass_range=pass_range)


def example_configs(space: Space, trials: int = RANDOM_POINTS) -> list[TrainConfig]:
    """Return the configs of a space at its START points and at random points.

    Raises:
        InputError: `suggest` raises an error or does not return a TrainConfig, a START point lies outside the space,
            no random point is feasible, or the space has a range of passes and configs of several stages.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [_start_config(space, point) for point in space.start]
    for _ in range(trials):
        with contextlib.suppress(optuna.TrialPruned):
            configs.append(suggest_config(space, study.ask()))
    if not configs:
        raise InputError(f"{space.path}: all {trials} random points are infeasible. Widen the space.")
    stages = max(len(config.stages) for config in configs)
    if space.pass_range and stages > 1:
        raise InputError(
            f"{space.path}: PASSES needs configs of one stage, and a config has {stages}. Remove PASSES, or all "
            "stages but one."
        )
    return configs


def check_space(space: Space, configs: list[TrainConfig], corpus: Corpus) -> CheckedSpace:
    """Check example configs of a space against the data and against each other.

    Raises:
        InputError: the data lack something that a config needs, or the rounds of two configs cannot be compared.
    """
    shapes = [trial_shape(config, corpus) for config in configs]
    for shape in shapes:
        if not shape.matches(shapes[0]):
            raise InputError(
                f"{space.path}: trials would have rounds that cannot be compared: {shapes[0]} and {shape}. "
                "Give every config the same tasks, rounds and examples (a stage's `passes` or `examples`)."
            )
    return CheckedSpace(space, shapes[0].tasks, shapes[0])


def suggest_config(space: Space, trial: optuna.trial.BaseTrial) -> TrainConfig:
    """Return the config that a space suggests for a trial.

    Raises:
        InputError: `suggest` raises an error or does not return a TrainConfig.
        optuna.TrialPruned: the space calls this point infeasible.
    """
    try:
        config = space.suggest(cast(optuna.trial.BaseTrial, SpaceTrial(trial, space.path)))
        if isinstance(config, TrainConfig):
            # Validated even without fixed fields: `suggest` may use pydantic's `model_copy`, which checks nothing.
            config = TrainConfig.model_validate(dict(config) | space.fixed)
            config = with_passes(config, space.passes)
    except pydantic.ValidationError as error:
        raise InputError(f"{space.path}: {describe(error)}") from error
    except (InputError, optuna.TrialPruned):
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise any error, or call `exit`
        raise InputError(f"{space.path}: suggest raised {_describe_error(error, space.path)}. Correct it.") from error
    if not isinstance(config, TrainConfig):
        raise InputError(f"{space.path}: suggest returned {type(config).__name__}, not a TrainConfig. Return one.")
    return config


def with_passes(config: TrainConfig, passes: float | None) -> TrainConfig:
    """Return a config of one stage with another number of passes; the same config for None."""
    if passes is None:
        return config
    (stage,) = config.stages
    return config.replace(stages=(stage.lasting(passes=passes),))


def trial_shape(config: TrainConfig, corpus: Corpus) -> TrialShape:
    """Return the tasks and rounds of a trial with this config.

    Raises:
        InputError: the data or the installation lack something that the config needs, or no round is judged.
    """
    steps, rounds = plan(config, corpus)
    judged = [round for round in rounds if round.judged]
    if not judged:
        raise InputError(f"No round trains all of {', '.join(config.tasks)}. Train longer, or use fewer rounds.")
    before = steps[judged[0].start - 1].examples if judged[0].start else 0
    slack = max(sum(step.rows.values()) for step in steps)
    return TrialShape(config.tasks, len(judged), (judged[-1].examples - before) // len(judged), slack)


def _is_range(found: Any) -> bool:
    """Return whether a value is a pair of positive numbers, the smaller one first."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        return False
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in found)
    return numbers and 0 < found[0] <= found[1] < math.inf


def _start_config(space: Space, point: dict[str, Any]) -> TrainConfig:
    """Return the config of a START point.

    Raises:
        InputError: a value cannot be stored or lies outside the space, or the names are not those that `suggest` asks
            for at this point.
    """
    where = f"{space.path}: START point {point}"
    for name, value in point.items():
        check_stored(space.path, f"START point {point} has {name!r}:", value, "Give a value that suggest can draw.")

    def value_of(name: str, distribution: BaseDistribution) -> Any:
        if name not in point:
            unused = [other for other in point if other not in trial.params]
            if misspelt := difflib.get_close_matches(name, map(str, unused), n=1):
                raise InputError(f"{where} has {misspelt[0]!r}, which suggest does not use; did you mean {name!r}?")
            raise InputError(f"{where} lacks {name!r}, which suggest asks for. Add it.")
        return point[name]

    trial = LookupTrial(value_of)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna only warns about a value outside its range, and uses it
        config = suggest_config(space, trial)
    for name in point.keys() - trial.params.keys():
        nearest = difflib.get_close_matches(str(name), trial.params, n=1)
        remedy = f"; did you mean {nearest[0]!r}?" if nearest else ". Remove it."
        raise InputError(f"{where} has {name!r}, which suggest does not use at this point{remedy}")
    return config


def _describe_error(error: BaseException, path: Path) -> str:
    """Describe an error in one line, with the line of the space file that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    where = f" (line {lines[-1]})" if lines else ""
    return printable(f"{type(error).__name__}: {error}{where}")
