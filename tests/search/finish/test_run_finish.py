"""Test the command without training: what it prepares, and every kind of bad input."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search.finish.best_configs import best_configs, recorded_configs
from search.finish.length import Length
from search.finish.run_finish import prepare_finish
from search.runs.run import Run
from search.runs.search_record import SEARCH, RequestedSettings, write_search
from search.session.prepare import Prepared
from search.tune.slots import Slots
from tests.conftest import ROWS, small_config, small_stage
from tests.search.example_run import ExampleTrial, write_trial
from tests.search.finish.searched_run import SEARCHED, dropout_config, finish, set_config
from tests.search.recipe_runs import recipe_run
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.trial import CONFIG

NEW = f"{SEARCHED}-finish"
SLOTS = Slots(2, 1, 0)


def measured(searched: Run, seconds: float | None) -> Callable[[Corpus, Slots], Length]:
    """Return a function that returns the length of two trainings, if a pass takes 10 s."""
    configs = best_configs(searched, 2, 1).configs
    return lambda corpus, slots: Length(configs, len(configs), slots, dict.fromkeys(configs, 10.0), seconds)


def prepared(searched: Run, seconds: float | None = None) -> Prepared:
    """Prepare a run on `ROWS` rows that trains the two configs of the searched run, two at once."""
    requested = RequestedSettings(encoder=searched.search.encoder, seed=2, rows=ROWS, trial_scheduler="none")
    location = Folder.at(f"{searched.folder.uri}-finish")
    return prepare_finish(location, requested, best_configs(searched, 2, 1), measured(searched, seconds), False, SLOTS)


def test_without_a_budget_each_config_trains_its_passes_on_the_new_rows(searched: Run):
    found = prepared(searched)
    assert f"2 trainings of 2 passes over {3 * ROWS} rows, as in the search: about 0:00:27 of" in found.notes[-1]
    assert found.run.search.trial_scheduler == "none" and not found.run.search.stops_early
    assert found.checked.shape and found.checked.shape.examples == pytest.approx(2 * 3 * ROWS / 2, abs=24)


def test_a_budget_chooses_the_passes_and_the_run_records_them(searched: Run):
    found = prepared(searched, seconds=20.0)
    assert f"2 trainings of 1.5 passes over {3 * ROWS} rows, as --time-budget decides: about 0:00:20" in found.notes[-1]
    assert found.checked.shape and found.checked.shape.examples == pytest.approx(1.5 * 3 * ROWS / 2, abs=24)
    assert found.run.search.space_source.count('"passes":1.5') == 2


def test_rows_on_which_a_config_cannot_be_trained_are_an_error_before_the_measurement(searched: Run):
    set_config(searched, 0, dropout_config().replace(stages=(small_stage(passes=0.01, rounds=9),)))
    ended = finish(Path(searched.folder.uri).parent, SEARCHED)
    assert ended.exit_code == 2 and "Measuring" not in ended.stdout
    assert "Error: The config of trial 0 of run 'searched': Stage 0 has 1 optimiser steps, fewer than" in ended.stderr


Arguments = Callable[[Run], list[object]]


def options(*given: object) -> Arguments:
    return lambda searched: [SEARCHED, *given]


def damaged(searched: Run) -> list[object]:
    searched.folder.write(SEARCH, "{}")
    return [SEARCHED]


def moved_data(searched: Run) -> list[object]:
    write_search(searched.folder, searched.search.replace(data="moved"))
    return [SEARCHED]


def two_stages(searched: Run) -> list[object]:
    set_config(searched, 1, small_config(small_stage(), small_stage()))
    return [SEARCHED, "--time-budget", "1h"]


def unreadable_configs(searched: Run) -> list[object]:
    for trial in searched.trials():
        trial.folder.delete(CONFIG)
    return [SEARCHED]


def reproduction(searched: Run) -> list[object]:
    corpus, place = searched.local_path("corpus"), Path(searched.folder.uri)
    recipe_run(place.with_name("recipes"), corpus, ["plain"], [])
    return ["recipes"]


FAULTS: dict[str, tuple[Arguments, str]] = {
    "unknown run": (lambda searched: ["nowhere"], "There is no run 'nowhere': no search.json was found at this path"),
    "reproduction": (reproduction, "Run 'recipes' is a reproduction of the reports, not a search. Pass a run of"),
    "unit": (options("--time-budget", "90"), "--time-budget '90' is not a duration. Write it with a unit"),
    "damaged run": (damaged, "search.json was edited or written by another version of this project"),
    "moved data": (moved_data, "'searched' was searched on --data moved, and there is no such directory. Start the"),
    "several stages": (two_stages, "--time-budget: the config of trial 1 has 2 stages, and passes can be chosen for"),
    "budget on a cluster": (
        options("--time-budget", "1h", "--address", "127.0.0.1:1"),
        "--time-budget: the speed of training can be measured on this machine only",
    ),
    "no config": (unreadable_configs, "'searched' has 2 trials, and none has a score and a config that can be trained"),
    "more trials than fit": (options("--concurrency", 9999), "--concurrency 9999: only"),
    "name": (options("--name", "a/b"), "--name 'a/b' is no name of a run"),
    "existing run": (options("--name", SEARCHED), "'searched' exists, and search.finish did not start it. Pass"),
    "nothing to resume": (options("--resume"), "There is no run 'searched-finish'"),
}


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("arguments", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_input_is_one_sentence_with_a_remedy_and_leaves_no_run_behind(
    searched: Run, arguments: Arguments, message: str
):
    storage = Path(searched.folder.uri).parent
    arguments_of_command = arguments(searched)
    before = sorted(storage.iterdir())
    ended = finish(storage, *arguments_of_command)
    assert ended.exit_code == 2, ended.output
    assert ended.stderr.startswith("Error: ") and ended.stderr.endswith(".\n") and ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert sorted(storage.iterdir()) == before


@pytest.mark.parametrize("option", ["--top", "--seeds", "--rows", "--dev-rows", "--keep"])
def test_a_number_out_of_range_is_an_error_that_names_its_option(searched: Run, option: str):
    ended = finish(Path(searched.folder.uri).parent, SEARCHED, option, "0")
    assert ended.exit_code == 2 and f"Error: Invalid value for '{option}'" in ended.stderr


RESUMES: dict[str, tuple[Arguments, str]] = {
    "without --resume": (options(), "Run 'searched-finish' exists with 1 ended trials. Pass --resume"),
    "top": (options("--resume", "--top", 1), "was made with --top 2, not with --top 1. Leave --top out to resume"),
    "seeds": (options("--resume", "--seeds", 2), "was made with --seeds 1, not with --seeds 2. Leave --seeds out"),
    "rows": (options("--resume", "--rows", 9), f"was made with --rows {ROWS}, not with --rows 9. Leave --rows out"),
    "source": (
        lambda searched: ["other", "--name", NEW, "--resume"],
        "Run 'searched-finish' trains configs of run 'searched', not of 'other'. Pass another --name",
    ),
}


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("arguments", "message"), RESUMES.values(), ids=RESUMES)
def test_an_existing_run_is_not_changed_by_a_command_that_does_not_continue_it(
    searched: Run, arguments: Arguments, message: str
):
    new = prepared(searched).run
    write_trial(new, ExampleTrial(0))
    run = Path(new.folder.uri)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    ended = finish(run.parent, *arguments(searched))
    assert ended.exit_code == 2, ended.output
    assert ended.stderr.startswith("Error: ") and ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("resume", [True, False], ids=["resumed", "after a failed start"])
def test_a_run_trains_what_it_has_recorded_whatever_the_budget(searched: Run, resume: bool):
    first = prepared(searched, seconds=20.0)
    recorded = recorded_configs(first.run)
    again = prepare_finish(first.run.folder, RequestedSettings(), recorded, measured(searched, 5.0), resume, SLOTS)
    assert again.run.search == first.run.search
    assert f"2 trainings of 1.5 passes over {3 * ROWS} rows, as the run's first command decided." in again.notes
    assert (again.checked.shape, again.checked.space.start) == (first.checked.shape, first.checked.space.start)
