"""Test populations on a real study with real trainings, one trial at a time; the tests act as Tune."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from search.suggest.space import CheckedSpace, check_space, example_configs, load_space, suggest_config
from search.tune.exploit_explore import donors
from search.tune.population import Population
from search.tune.searcher import StudySearcher
from search.tune.tune_schedulers import PopulationScheduler
from tests.conftest import NO_CLOCK, outcome
from tests.search.example_run import tiny_pretrained, write_search
from tests.search.listener import RecordingListener
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
    """Raised where a real driver would be killed."""


@dataclass
class PopulationSearch:
    """A population in a run, and its trainings."""

    run: Run
    checked: CheckedSpace
    pretrained: Pretrained
    order: list[tuple[int, int]] = field(default_factory=list)
    """(trial, round), in the order of training."""

    @contextmanager
    def session(self) -> Iterator[StudySearcher]:
        """Open the run as a driver does; the end of the block is like the death of the driver."""
        with opened_study(self.run, None) as study:
            assert self.checked.shape
            population = Population(self.run, study, self.checked.space, self.checked.shape)
            yield StudySearcher(
                study,
                self.run,
                population,
                self.checked.shape,
                trials=SIZE,
                spent=lambda: False,
                **RecordingListener().arguments,
            )

    def train(self, searcher: StudySearcher, given: dict[str, Any]) -> None:
        """Train a trial until the trial scheduler stops it or it finishes."""
        origin = given["origin"] and Origin(Folder.at(given["origin"]["folder"]), given["origin"]["round"])
        config, trial = TrainConfig.model_validate_json(given["train"]), SimpleNamespace(config=given)
        before = {one.number: len(one.rows) for one in self.run.trials()}
        turns = PopulationScheduler(self.run.trials())
        for row in run_trial(Folder.at(given["folder"]), config, self.corpus, self.pretrained, origin=origin):
            if len(self.trials[given["number"]].rows) > before[given["number"]]:
                self.order.append((given["number"], row.round))
            stopped = turns.on_trial_result(None, trial, row.to_json()) == TrialScheduler.STOP
            if row.last or stopped:
                searcher.on_trial_complete("a", row.to_json())
                return
            searcher.on_trial_result("a", row.to_json())

    def run_to_end(self) -> None:
        """Run the search to its end."""
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

    def outcome(self) -> Any:
        """Return the whole outcome of the search, without times."""
        with opened_study(self.run, None) as study:
            states = [(frozen.state.name, frozen.value, frozen.user_attrs) for frozen in study.get_trials()]
        found = {
            number: (trial.params, trial.state, trial.values, trial.reason, trial.clone, trial.folder.read(CONFIG))
            for number, trial in self.trials.items()
        }
        rows = {number: [replace(row, **NO_CLOCK) for row in trial.rows] for number, trial in self.trials.items()}
        return states, found, rows, sorted((trial.number, round) for trial, round in self.run.rounds_with_weights())


@pytest.fixture(scope="module")
def pretrained() -> Pretrained:
    return tiny_pretrained()


@pytest.fixture(scope="module")
def begin(sample_corpus_directory: Path, pretrained: Pretrained, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that begins a search in a directory of its own."""
    place = tmp_path_factory.mktemp("space") / "space.py"
    place.write_text(SPACE)
    numbers = itertools.count()

    def begin() -> PopulationSearch:
        home = tmp_path_factory.mktemp(f"search-{next(numbers)}")
        run = write_search(
            home / "run", sample_corpus_directory, tasks=("sst",), rounds=ROUNDS, trial_scheduler="population"
        )
        space = load_space(place)
        return PopulationSearch(run, check_space(space, example_configs(space), run.corpus()), pretrained)

    return begin


@pytest.fixture(scope="module")
def whole(begin) -> PopulationSearch:
    search = begin()
    search.run_to_end()
    return search


def clones(search: PopulationSearch) -> dict[int, tuple[Trial, Clone]]:
    return {number: (trial, trial.clone) for number, trial in search.trials.items() if trial.clone}


def test_a_population_trains_as_many_rounds_as_without_clones_and_none_twice(whole):
    assert len(whole.order) == len(set(whole.order)) == SIZE * ROUNDS
    assert len(whole.trials) == SIZE + len(clones(whole)) > SIZE + 1, "some trials were replaced"
    ended = [trial.state for trial in whole.trials.values()]
    assert ended.count("COMPLETE") == SIZE and ended.count("PRUNED") == len(clones(whole))
    assert not list(Path(whole.run.folder.path).rglob("state.pt"))


def test_the_trial_with_the_fewest_rounds_is_trained_next(whole):
    rounds = [round for _, round in whole.order]
    assert rounds == [round for round in range(1, ROUNDS + 1) for _ in range(SIZE)]


def test_the_worst_trial_of_a_round_is_replaced_by_a_clone_of_the_best(whole):
    trials = whole.trials
    for number, (trial, clone) in clones(whole).items():
        old, donor = trials[clone.replaced], trials[clone.trial]
        assert (old.state, old.reason) == (
            "PRUNED",
            f"replaced by a clone of trial {clone.trial} at round {clone.round}",
        )
        assert old.rows[-1].round == clone.round == trial.rows[0].round - 1
        scores = {other.number: other.scores[clone.round] for other in trials.values() if clone.round in other.scores}
        assert len(scores) == SIZE
        assert scores[old.number] == min(scores.values()) < scores[donor.number] == max(scores.values())
        assert number > old.number


def test_a_clone_has_the_config_of_its_donor_up_to_the_copied_round_and_then_new_values(whole):
    moved = set()
    for trial, clone in clones(whole).values():
        donor = whole.trials[clone.trial]
        config, before = (TrainConfig.model_validate_json(one.folder.read(CONFIG)) for one in (trial, donor))
        assert config.at(clone.round) == before.at(clone.round)
        for one, found in ((trial, config), (donor, before)):
            fixed = optuna.trial.FixedTrial(one.params)
            assert found.at(ROUNDS) == suggest_config(whole.checked.space, fixed), (
                "the study's parameters must give the config"
            )
        moved |= {name for name, value in trial.params.items() if value != donor.params[name]}
    assert {"learning_rate", "dropout"} <= moved <= {"learning_rate", "dropout", "batch_size"}


def test_every_config_trains_again_to_the_same_bits_without_a_population(whole, tmp_path):
    for number, (trial, clone) in clones(whole).items():
        folder = Folder.at(tmp_path / str(number))
        config = TrainConfig.model_validate_json(trial.folder.read(CONFIG))
        for _ in zip(
            range(trial.rows[-1].round), run_trial(folder, config, whole.corpus, whole.pretrained), strict=False
        ):
            pass
        alone, cloned = outcome(folder), outcome(trial.folder)
        assert [row for row in alone["rows"] if row.round > clone.round] == cloned["rows"]
        assert cloned["predictions"].items() <= alone["predictions"].items()
        assert cloned["weights"].items() <= alone["weights"].items()


def killed_at(place: str, search: PopulationSearch, count: int) -> None:
    """Search until the driver reaches a place for the n-th time and is killed."""
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
            search.run_to_end()
    finally:
        setattr(owner, name, real)


@pytest.mark.parametrize(("place", "lost"), [("add", False), ("add", True), ("end", False), ("config", False)])
def test_a_driver_killed_while_it_replaces_a_trial_resumes_to_the_same_outcome(place, lost, begin, whole):
    """Kill the driver before the clone exists, before the old trial has ended, or before the clone has files."""
    search = begin()
    killed_at(place, search, 2)
    if lost:
        search.run.folder.delete(STUDY)
    search.run_to_end()
    assert search.outcome() == whole.outcome()
    assert search.order == whole.order


def test_a_search_that_is_killed_after_every_round_equals_an_uninterrupted_search(begin, whole):
    search = begin()
    for turn in itertools.count():
        with search.session() as searcher:
            if (given := searcher.suggest("a")) == Searcher.FINISHED:
                searcher.close()
                break
            if turn % 3:  # every third time the driver is killed before the worker starts
                search.train(searcher, given)
        if turn % 4 == 0:
            search.run.folder.delete(STUDY)
    assert search.outcome() == whole.outcome()
    assert search.order == whole.order


def test_a_trial_without_a_full_state_is_no_donor(begin):
    search = begin()
    with search.session() as searcher:
        while len(search.order) < SIZE:
            search.train(searcher, searcher.suggest("a"))
        scores = {number: trial.scores[1] for number, trial in search.trials.items()}
        ((worst, (best,)),) = ((number, found) for number in scores if (found := donors(scores, number)))
        assert isinstance(searcher.order, Population)
        state = search.run.trial_folder(best) / "checkpoints" / "00001"
        content = state.read("state.pt")
        state.delete("state.pt")
        assert searcher.order.replacement(worst) is None
        state.write("state.pt", content)
        examples = search.trials[best].examples
        assert (begun := searcher.order.replacement(worst))
        assert clone_of(begun) == Clone(best, 1, examples, worst)


def test_a_value_that_leaves_fewer_steps_than_rounds_is_not_used(begin):
    search = begin()
    with search.session() as searcher:
        search.train(searcher, searcher.suggest("a"))
        frozen, population = searcher.study.trials[0], searcher.order
        assert isinstance(population, Population)
        params = frozen.params | {"batch_size": 50}
        wide = frozen.distributions | {"batch_size": IntDistribution(2, 64)}
        donor = create_trial(value=0.0, params=params, distributions=wide)
        donor.number = 0
        found = {population._explored(donor, Clone(0, 1, 16, number))["batch_size"] for number in range(12)}
    assert 50 in found and all(size == 50 or size <= 64 / ROUNDS for size in found)


def test_the_trial_with_the_worst_value_of_the_objective_is_replaced(begin):
    search = begin()
    search.run.search = search.run.search.replace(objective=("seconds",))
    with search.session() as searcher:
        while len(search.order) < SIZE:
            search.train(searcher, searcher.suggest("a"))
        seconds = {number: trial.rows[0].train_seconds for number, trial in search.trials.items()}
        slowest, fastest = max(seconds, key=seconds.__getitem__), min(seconds, key=seconds.__getitem__)
        assert isinstance(searcher.order, Population)
        assert (begun := searcher.order.replacement(slowest))
        assert (clone := clone_of(begun)) and clone.trial == fastest


def test_a_finished_trial_may_still_be_cloned_by_trials_a_round_behind(begin):
    search = begin()
    with search.session() as searcher:
        while not any(trial.state == "COMPLETE" for trial in search.trials.values()):
            search.train(searcher, searcher.suggest("a"))
    with search.session():
        (first,) = (trial for trial in search.trials.values() if trial.state == "COMPLETE")
        assert (first.folder / "checkpoints" / f"{ROUNDS - 1:05d}").exists("state.pt")


def test_the_searcher_makes_tune_wait_while_all_trials_are_in_training(begin, monkeypatch):
    monkeypatch.setattr("search.tune.trials.retries.FAILURES", 1)
    search = begin()
    with search.session() as searcher:
        given = [searcher.suggest(str(number)) for number in range(SIZE)]
        assert [one["number"] for one in given] == list(range(SIZE))
        assert searcher.suggest("more") is None
        searcher.on_trial_complete("0", None, error=True)
        assert searcher.suggest("more") is None, "a failed trial is not replaced"
        for number in range(1, SIZE):
            searcher.on_trial_complete(str(number), None, error=True)
        assert searcher.suggest("more") == Searcher.FINISHED


def test_a_used_up_budget_leaves_every_trial_and_its_states_to_a_resume(begin):
    search = begin()
    with search.session() as searcher:
        while len(search.order) < SIZE + 2:
            search.train(searcher, searcher.suggest("a"))
        searcher.spent = lambda: True
        assert searcher.suggest("a") == Searcher.FINISHED
        searcher.close()
        left = {trial.number for trial in search.trials.values() if trial.state == "RUNNING"}
        running = [frozen.number for frozen in searcher.study.get_trials() if frozen.state == TrialState.RUNNING]
        assert len(running) == SIZE and set(running) == left
    for number in left:
        assert list(Path(search.trials[number].folder.path).rglob("state.pt"))
    with search.session() as searcher:
        assert {searcher.suggest(str(place))["number"] for place in range(SIZE)} == left


def test_the_report_shows_the_lineage_of_the_best_trial(whole):
    trials = whole.trials
    trial = max((trial for trial, _ in clones(whole).values()), key=lambda trial: trial.number)
    passages = lineage(trial, trials)
    assert [passage.first for passage in passages] == [1, *(passage.last + 1 for passage in passages[:-1])]
    assert passages[-1].trial == trial.number and passages[-1].last == trial.rows[-1].round
    config = TrainConfig.model_validate_json(trial.folder.read(CONFIG))
    for passage in passages:
        fixed = optuna.trial.FixedTrial(passage.params)
        assert config.at(passage.first) == config.at(passage.last) == suggest_config(whole.checked.space, fixed)
    best = max(trials.values(), key=lambda trial: trial.best_row.score if trial.scores else 0)
    text = render(whole.run)
    assert ("How the best trial was trained" in text) == (best.clone is not None)
    assert all(f"<td>{one.first} to {one.last}</td>" in text for one in lineage(best, trials) if best.clone)
