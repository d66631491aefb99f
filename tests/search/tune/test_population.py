"""Populations on a real study, real files and real trainings, one trial at a time, as Tune would ask for them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from model.encoder import Pretrained
from search.report.page import render
from search.report.trial_history import lineage
from search.runs.run import STUDY, Run
from search.runs.study import opened_study
from search.runs.trial_record import Clone, Trial, clone_of
from search.suggest.space import Checked, call, check_space, load_space, tried_configs
from search.tune.exploit_explore import donors
from search.tune.population import Population
from search.tune.searcher import StudySearcher
from search.tune.tune_schedulers import PopulationScheduler
from tests.conftest import WALL_CLOCK, outcome
from tests.search.example_run import tiny_pretrained, write_search
from trainers.config.train_config import TrainConfig
from trainers.folder import Folder
from trainers.trial import CONFIG, Origin, run_trial

SIZE, ROUNDS = 5, 4
SPACE = f"""
from trainers.config import Stage, TrainConfig

def suggest(trial):
    stage = Stage(
        tasks=("sst",),
        examples=64,
        rounds={ROUNDS},
        batch_size=trial.suggest_int("batch_size", 2, 8),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        trainable_layers=trial.suggest_int("trainable_layers", 0, 1),
        batch_schedule=trial.suggest_categorical("batch_schedule", ["cycle", "shuffle"]),
    )
    return TrainConfig(dropout=trial.suggest_float("dropout", 0, 0.5), stages=(stage,))
"""


class Killed(Exception):
    """The driver is gone, in the middle of whatever it did."""


@dataclass
class World:
    """A population in a run, and what trains it."""

    run: Run
    checked: Checked
    pretrained: Pretrained
    order: list[tuple[int, int]] = field(default_factory=list)
    """(trial, round) as they were trained."""

    @contextmanager
    def session(self) -> Iterator[StudySearcher]:
        """Open the run as a driver does; leaving is being killed."""
        with opened_study(self.run, None) as study:
            assert self.checked.shape
            population = Population(self.run, study, self.checked.space, self.checked.shape)
            yield StudySearcher(study, self.run, population, self.checked.shape, trials=SIZE, spent=lambda: False)

    def train(self, searcher: StudySearcher, given: dict[str, Any]) -> None:
        """Train what was handed out until its turn is over."""
        origin = given["origin"] and Origin(Folder.at(given["origin"]["folder"]), given["origin"]["round"])
        config, trial = TrainConfig.model_validate_json(given["train"]), SimpleNamespace(config=given)
        before = {one.number: len(one.rows) for one in self.run.trials()}
        turns = PopulationScheduler(self.run.trials())
        for row in run_trial(Folder.at(given["folder"]), config, self.corpus, self.pretrained, origin=origin):
            if len(self.trials[given["number"]].rows) > before[given["number"]]:
                self.order.append((given["number"], row["round"]))
            stopped = turns.on_trial_result(None, trial, row) == TrialScheduler.STOP
            if row["last"] or stopped:
                searcher.on_trial_complete("a", row)
                return
            searcher.on_trial_result("a", row)

    def search(self) -> None:
        """Search to the end."""
        with self.session() as searcher:
            while (given := searcher.suggest("a")) != Searcher.FINISHED:
                self.train(searcher, given)
            searcher.close()

    @property
    def corpus(self):
        return self.run.corpus()

    @property
    def trials(self) -> dict[int, Trial]:
        return {trial.number: trial for trial in self.run.trials()}

    def told(self) -> Any:
        """Return all that came of the search, without times."""
        with opened_study(self.run, None) as study:
            states = [(frozen.state.name, frozen.value, frozen.user_attrs) for frozen in study.get_trials()]
        found = {
            number: (trial.params, trial.state, trial.values, trial.reason, trial.clone, trial.folder.read(CONFIG))
            for number, trial in self.trials.items()
        }
        rows = {
            number: [{name: value for name, value in row.items() if name not in WALL_CLOCK} for row in trial.rows]
            for number, trial in self.trials.items()
        }
        return states, found, rows, sorted((trial.number, round) for trial, round in self.run.kept())


@pytest.fixture(scope="module")
def pretrained() -> Pretrained:
    return tiny_pretrained()


@pytest.fixture(scope="module")
def begin(sample_corpus_directory: Path, pretrained: Pretrained, tmp_path_factory: pytest.TempPathFactory):
    """Return what begins a search in a directory of its own."""
    place = tmp_path_factory.mktemp("space") / "space.py"
    place.write_text(SPACE)
    numbers = itertools.count()

    def begin() -> World:
        home = tmp_path_factory.mktemp(f"search-{next(numbers)}")
        run = write_search(
            home / "run", sample_corpus_directory, tasks=("sst",), rounds=ROUNDS, trial_scheduler="population"
        )
        space = load_space(place)
        return World(run, check_space(space, tried_configs(space), run.corpus()), pretrained)

    return begin


@pytest.fixture(scope="module")
def whole(begin) -> World:
    world = begin()
    world.search()
    return world


def clones(world: World) -> dict[int, tuple[Trial, Clone]]:
    return {number: (trial, trial.clone) for number, trial in world.trials.items() if trial.clone}


def test_a_population_trains_as_many_rounds_as_its_size_and_rounds_say_each_of_them_once(whole):
    assert len(whole.order) == len(set(whole.order)) == SIZE * ROUNDS
    assert len(whole.trials) == SIZE + len(clones(whole)) > SIZE + 1, "some were replaced"
    ended = [trial.state for trial in whole.trials.values()]
    assert ended.count("COMPLETE") == SIZE and ended.count("PRUNED") == len(clones(whole))
    assert not list(Path(whole.run.folder.path).rglob("state.pt"))


def test_the_least_advanced_goes_first(whole):
    rounds = [round for _, round in whole.order]
    assert rounds == [round for round in range(1, ROUNDS + 1) for _ in range(SIZE)]


def test_a_trial_is_replaced_if_its_round_was_the_worst_and_by_the_best(whole):
    trials = whole.trials
    for number, (trial, clone) in clones(whole).items():
        old, donor = trials[clone.replaced], trials[clone.trial]
        assert (old.state, old.reason) == (
            "PRUNED",
            f"replaced by a clone of trial {clone.trial} at round {clone.round}",
        )
        assert old.rows[-1]["round"] == clone.round == trial.rows[0]["round"] - 1
        scores = {other.number: other.judged[clone.round] for other in trials.values() if clone.round in other.judged}
        assert len(scores) == SIZE
        assert scores[old.number] == min(scores.values()) < scores[donor.number] == max(scores.values())
        assert number > old.number


def test_a_clone_is_its_donor_but_for_numbers_that_may_change_and_changes_them_from_its_first_round_on(whole):
    moved = set()
    for trial, clone in clones(whole).values():
        donor = whole.trials[clone.trial]
        config, before = (TrainConfig.model_validate_json(one.folder.read(CONFIG)) for one in (trial, donor))
        assert config.at(clone.round) == before.at(clone.round)
        for one, found in ((trial, config), (donor, before)):
            fixed = optuna.trial.FixedTrial(one.params)
            assert found.at(ROUNDS) == call(whole.checked.space, fixed), "the parameters of the study are those it has"
        moved |= {name for name, value in trial.params.items() if value != donor.params[name]}
    assert {"learning_rate", "dropout"} <= moved <= {"learning_rate", "dropout", "batch_size"}


def test_every_config_trains_again_to_the_same_bits_without_a_population(whole, tmp_path):
    for number, (trial, clone) in clones(whole).items():
        folder = Folder.at(tmp_path / str(number))
        config = TrainConfig.model_validate_json(trial.folder.read(CONFIG))
        for _ in zip(
            range(trial.rows[-1]["round"]), run_trial(folder, config, whole.corpus, whole.pretrained), strict=False
        ):
            pass
        alone, cloned = outcome(folder), outcome(trial.folder)
        assert [row for row in alone["rows"] if row["round"] > clone.round] == cloned["rows"]
        assert cloned["predictions"].items() <= alone["predictions"].items()
        assert cloned["weights"].items() <= alone["weights"].items()


def killed_at(place: str, world: World, count: int) -> None:
    """Search, and be killed at the n-th time that a driver comes to a place."""
    left = itertools.count(count - 1, -1)

    def dies(*given: Any, **named: Any) -> Any:
        if next(left) == 0:
            raise Killed
        return real(*given, **named)

    owner: Any = {"add": Population, "end": StudySearcher, "config": Population}[place]
    name = {"add": "_begin", "end": "_replace", "config": "_clone_config"}[place]
    real = getattr(owner, name)
    setattr(owner, name, dies)
    try:
        with pytest.raises(Killed):
            world.search()
    finally:
        setattr(owner, name, real)


@pytest.mark.parametrize(("place", "lost"), [("add", False), ("add", True), ("end", False), ("config", False)])
def test_a_driver_killed_while_it_replaces_a_trial_goes_on_as_if_it_had_not_been(place, lost, begin, whole):
    """Before the clone is there; before the old one has ended; before the clone has files."""
    world = begin()
    killed_at(place, world, 2)
    if lost:
        world.run.folder.delete(STUDY)
    world.search()
    assert world.told() == whole.told()
    assert world.order == whole.order


def test_a_search_that_is_killed_after_every_turn_ends_as_one_that_nothing_stopped(begin, whole):
    world = begin()
    for turn in itertools.count():
        with world.session() as searcher:
            if (given := searcher.suggest("a")) == Searcher.FINISHED:
                searcher.close()
                break
            if turn % 3:  # else killed before the worker starts
                world.train(searcher, given)
        if turn % 4 == 0:
            world.run.folder.delete(STUDY)
    assert world.told() == whole.told()
    assert world.order == whole.order


def test_who_has_no_state_to_clone_is_no_donor(begin):
    world = begin()
    with world.session() as searcher:
        while len(world.order) < SIZE:
            world.train(searcher, searcher.suggest("a"))
        scores = {number: trial.judged[1] for number, trial in world.trials.items()}
        ((worst, (best,)),) = ((number, found) for number in scores if (found := donors(scores, number)))
        assert isinstance(searcher.order, Population)
        state = world.run.trial_folder(best) / "checkpoints" / "00001"
        content = state.read("state.pt")
        state.delete("state.pt")
        assert searcher.order.replacement(worst) is None
        state.write("state.pt", content)
        examples = world.trials[best].examples
        assert (begun := searcher.order.replacement(worst))
        assert clone_of(begun) == Clone(best, 1, examples, worst)


def test_a_value_that_leaves_fewer_steps_than_rounds_is_not_taken_on(begin):
    world = begin()
    with world.session() as searcher:
        world.train(searcher, searcher.suggest("a"))
        told, population = searcher.study.trials[0], searcher.order
        assert isinstance(population, Population)
        params, wide = told.params | {"batch_size": 50}, told.distributions | {"batch_size": IntDistribution(2, 64)}
        donor = create_trial(value=0.0, params=params, distributions=wide)
        donor.number = 0
        found = {population._explored(donor, Clone(0, 1, 16, number))["batch_size"] for number in range(12)}
    assert 50 in found and all(size == 50 or size <= 64 / ROUNDS for size in found)


def test_the_worst_in_the_searchs_only_objective_is_replaced(begin):
    world = begin()
    world.run.search["objective"] = ["seconds"]
    with world.session() as searcher:
        while len(world.order) < SIZE:
            world.train(searcher, searcher.suggest("a"))
        seconds = {number: trial.rows[0]["train_seconds"] for number, trial in world.trials.items()}
        slowest, fastest = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
        assert isinstance(searcher.order, Population)
        assert (begun := searcher.order.replacement(slowest))
        assert (clone := clone_of(begun)) and clone.trial == fastest


def test_who_finishes_first_may_still_be_cloned_by_those_a_round_behind(begin):
    world = begin()
    with world.session() as searcher:
        while not any(trial.state == "COMPLETE" for trial in world.trials.values()):
            world.train(searcher, searcher.suggest("a"))
    with world.session():
        (first,) = (trial for trial in world.trials.values() if trial.state == "COMPLETE")
        assert (first.folder / "checkpoints" / f"{ROUNDS - 1:05d}").exists("state.pt")


def test_while_all_are_training_the_next_one_is_waited_for(begin):
    world = begin()
    with world.session() as searcher:
        given = [searcher.suggest(str(number)) for number in range(SIZE)]
        assert [one["number"] for one in given] == list(range(SIZE))
        assert searcher.suggest("more") is None
        searcher.on_trial_complete("0", None, error=True)
        assert searcher.suggest("more") is None, "who fails is not replaced"
        for number in range(1, SIZE):
            searcher.on_trial_complete(str(number), None, error=True)
        assert searcher.suggest("more") == Searcher.FINISHED


def test_a_budget_ends_everybody_where_he_is(begin):
    world = begin()
    with world.session() as searcher:
        while len(world.order) < SIZE + 2:
            world.train(searcher, searcher.suggest("a"))
        searcher.spent = lambda: True
        assert searcher.suggest("a") == Searcher.FINISHED
        searcher.close()
        assert {frozen.state for frozen in searcher.study.get_trials()} == {TrialState.PRUNED}
    reasons = [trial.reason for trial in world.trials.values()]
    assert reasons.count("ended with the search") == SIZE
    assert not list(Path(world.run.folder.path).rglob("state.pt"))


def test_the_report_tells_how_the_best_trial_came_to_be(whole):
    trials = whole.trials
    trial = max((trial for trial, _ in clones(whole).values()), key=lambda trial: trial.number)
    passages = lineage(trial, trials)
    assert [passage.first for passage in passages] == [1, *(passage.last + 1 for passage in passages[:-1])]
    assert passages[-1].trial == trial.number and passages[-1].last == trial.rows[-1]["round"]
    config = TrainConfig.model_validate_json(trial.folder.read(CONFIG))
    for passage in passages:
        fixed = optuna.trial.FixedTrial(passage.params)
        assert config.at(passage.first) == config.at(passage.last) == call(whole.checked.space, fixed)
    best = max(trials.values(), key=lambda trial: trial.best_row["score"] if trial.judged else 0)
    text = render(whole.run)
    assert ("How the best trial was trained" in text) == (best.clone is not None)
    assert all(f"<td>{one.first} to {one.last}</td>" in text for one in lineage(best, trials) if best.clone)
