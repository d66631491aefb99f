"""Test that interrupted trials, and trials with damaged files, resume and end with the same bits."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import InputError
from tests.conftest import interrupted, outcome, small_config, small_stage
from tests.example_row import example_row
from tests.stores import object_store
from trainers.config.train_config import TrainConfig
from trainers.evaluation.evaluate import evaluate
from trainers.evaluation.predictions import read_predictions
from trainers.folder import Folder
from trainers.methods.smart import SmartConfig
from trainers.training.build_model import build, model_bytes
from trainers.training.checkpoint import STATE, WEIGHTS, read_state, read_weights, write_state
from trainers.training.disk import used_bytes
from trainers.training.kept_rounds import Keep, training_bytes
from trainers.training.rounds import RoundRow
from trainers.training.step_plan import plan
from trainers.trial import ROUNDS, clear_unfinished, read_rows, round_name, run_trial

SMART = SmartConfig(lambda_s=1.0)
FOUR = small_config(small_stage(batch_schedule="smart_round_robin", surgery="pcgrad", rounds=4, steps=8), smart=SMART)


class Trials:
    """Run trials on one corpus with one encoder."""

    def __init__(self, corpus, pretrained):
        self.corpus, self.pretrained = corpus, pretrained

    def rows(self, folder: Folder, config: TrainConfig = FOUR) -> Iterator[RoundRow]:
        return run_trial(folder, config, self.corpus, self.pretrained, dev_limit=12)

    def run(self, folder: Folder, config: TrainConfig = FOUR) -> dict[str, Any]:
        """Train to the end; return the outcome."""
        assert list(self.rows(folder, config))[-1].last
        return outcome(folder)

    def stops(self) -> list[int]:
        """Return the number of steps of each session, so that each session ends in the middle of the next round."""
        _, rounds = plan(FOUR, self.corpus)
        starts = [0, *(round.start for round in rounds[1:])]
        return [later - start + 1 for start, later in pairwise(starts)]


@pytest.fixture(scope="module")
def trials(corpus, pretrained) -> Trials:
    return Trials(corpus, pretrained)


@pytest.fixture(scope="module")
def whole(trials, tmp_path_factory) -> Path:
    """Train a trial of four rounds to its end; return its directory."""
    path = tmp_path_factory.mktemp("whole")
    trials.run(Folder.at(path))
    return path


@pytest.fixture(scope="module")
def stopped(trials, tmp_path_factory) -> Path:
    """Interrupt the same trial in the middle of its fourth round; return its directory."""
    path = tmp_path_factory.mktemp("stopped")
    with interrupted(7):
        list(trials.rows(Folder.at(path)))
    assert [row.round for row in read_rows(Folder.at(path))] == [1, 2, 3]
    return path


@pytest.fixture
def copy(stopped, tmp_path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "copy"))


def lines(path: Path) -> list[str]:
    return (path / ROUNDS).read_text().splitlines()


def test_a_trial_interrupted_in_every_round_ends_with_the_same_bits(trials, whole, tmp_path):
    folder = Folder.at(tmp_path)
    for steps in trials.stops():
        with interrupted(steps):
            list(trials.rows(folder))
    assert trials.run(folder) == outcome(Folder.at(whole))
    assert len(lines(tmp_path)) == len(read_rows(folder)) == 4, "no round was trained twice"


def test_a_trial_on_a_store_that_cannot_append_ends_with_the_same_bits(trials, whole, tmp_path):
    store = object_store(tmp_path)
    for steps in trials.stops():
        with interrupted(steps):
            list(trials.rows(store))
    assert trials.run(store) == outcome(Folder.at(whole))


def test_a_trial_interrupted_between_rounds_ends_with_the_same_bits(trials, whole, tmp_path):
    folder = Folder.at(tmp_path)
    next(trials.rows(folder))
    for number in (1, 2, 3):
        rows = trials.rows(folder)
        assert [next(rows).round, next(rows).round] == [number, number + 1]
    assert trials.run(folder) == outcome(Folder.at(whole))


def spoil(*places: tuple[int, str], damage: Callable[[bytes], bytes] | None = None) -> Callable[[Path], None]:
    """Damage the files of rounds, or delete them."""

    def apply(path: Path) -> None:
        for number, name in places:
            file = path / "checkpoints" / round_name(number) / name
            content = file.read_bytes()
            file.unlink()
            if damage:
                file.write_bytes(damage(content))

    return apply


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def hole(content: bytes) -> bytes:
    """Return the content of a file after a power failure: it was renamed, but its last pages were not written."""
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def forget_last_row(path: Path) -> None:
    (path / ROUNDS).write_text("".join(line + "\n" for line in lines(path)[:-1]))


def tear_last_row(path: Path) -> None:
    (path / ROUNDS).write_text((path / ROUNDS).read_text()[:-40])


def damage_row(number: int) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        rows = lines(path)
        rows[number - 1] = rows[number - 1].replace('"finite": true', '"finite": 7')
        (path / ROUNDS).write_text("".join(row + "\n" for row in rows))

    return apply


def spoil_a_round_without_a_row(path: Path) -> None:
    forget_last_row(path)
    for name in (STATE, WEIGHTS):
        spoil((3, name), damage=lambda content: b"no checkpoint")(path)


def change_state(**changes: object) -> Callable[[Path], None]:
    """Write the newest state again with other fields, as if it were of another config."""

    def apply(path: Path) -> None:
        place = Folder.at(path / "checkpoints" / round_name(3))
        write_state(place, read_state(place) | changes)

    return apply


DAMAGE = {
    "newest state absent": (spoil((3, STATE)), 3),
    "newest state cut": (spoil((3, STATE), damage=cut), 3),
    "newest state empty": (spoil((3, STATE), damage=lambda content: b""), 3),
    "newest state of zeros": (spoil((3, STATE), damage=lambda content: bytes(len(content))), 3),
    "newest state with a hole": (spoil((3, STATE), damage=hole), 3),
    "newest weights absent": (spoil((3, WEIGHTS)), 3),
    "newest weights cut": (spoil((3, WEIGHTS), damage=cut), 3),
    "newest weights of zeros": (spoil((3, WEIGHTS), damage=lambda content: bytes(len(content))), 3),
    "newest weights with a hole": (spoil((3, WEIGHTS), damage=hole), 3),
    "newest state of another plan": (change_state(step=10**6), 3),
    "newest state of another optimiser": (change_state(optimizer={"state": {}, "param_groups": []}), 3),
    "both states cut": (spoil((2, STATE), (3, STATE), damage=cut), 3),
    "all checkpoints absent": (lambda path: shutil.rmtree(path / "checkpoints"), 3),
    "checkpoint without a row": (forget_last_row, 2),
    "last row torn": (tear_last_row, 2),
    "last row damaged": (damage_row(3), 2),
    "row in the middle damaged": (damage_row(2), 1),
    "first row damaged": (damage_row(1), 0),
    "newest weights of another type": (spoil((3, WEIGHTS), damage=lambda found: found.replace(b"F32", b"I32")), 3),
    "checkpoint without a row, damaged": (spoil_a_round_without_a_row, 2),
}


@pytest.mark.parametrize(("damage", "resumed"), DAMAGE.values(), ids=DAMAGE)
def test_a_trial_with_damaged_files_resumes_from_undamaged_ones_and_ends_with_the_same_bits(
    damage, resumed, trials, copy, whole
):
    damage(copy)
    rows = list(trials.rows(Folder.at(copy)))
    assert rows[0].round == max(1, resumed)
    assert rows[-1].last
    assert outcome(Folder.at(copy)) == outcome(Folder.at(whole))


def test_a_state_that_is_not_used_is_named_in_a_line(trials, copy, capsys):
    spoil((3, STATE), damage=cut)(copy)
    trials.run(Folder.at(copy))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{copy}/checkpoints/{round_name(3)}/{STATE}: ") and "The state is not used" in line


@pytest.mark.parametrize("name", ["predictions", "checkpoints"])
def test_a_round_whose_files_cannot_be_written_is_not_recorded(name, trials, whole, tmp_path):
    (tmp_path / name).write_text("no directory")
    with pytest.raises(InputError, match=f"{name} is a file, not a folder"):
        list(trials.rows(Folder.at(tmp_path)))
    assert read_rows(Folder.at(tmp_path)) == []
    (tmp_path / name).unlink()
    assert trials.run(Folder.at(tmp_path)) == outcome(Folder.at(whole))


def test_unfinished_files_of_killed_workers_are_deleted_when_the_trial_resumes(trials, whole, copy):
    left = ("checkpoints/00004/.state.pt.1.partial", "predictions/.00004-sst.parquet.1.partial", "checkpoints/00009/x")
    for name in left:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"half")
    trials.run(Folder.at(copy))
    named = [sorted(str(path.relative_to(home)) for path in home.rglob("*")) for home in (copy, whole)]
    assert named[0] == named[1]


def test_only_files_with_the_names_of_rounds_are_deleted(trials, copy):
    mine = ("checkpoints/notes", "checkpoints/.mine", "predictions/00004", "predictions/4-sst.parquet")
    for name in ("checkpoints/00004", "predictions/00004-sst.parquet", *mine):
        (copy / name).write_text("mine")
    clear_unfinished(Folder.at(copy), {1, 2, 3})
    left = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and path.read_bytes() == b"mine"}
    assert left == {*mine} - {"predictions/00004"}


@pytest.mark.parametrize("name", ["checkpoints", "predictions"])
def test_a_link_in_the_place_of_a_folder_is_refused_and_nothing_behind_it_deleted(name, trials, copy, tmp_path):
    documents = tmp_path / "documents"
    (documents / "00009").mkdir(parents=True)
    (documents / "00009" / "letter").write_text("mine")
    shutil.rmtree(copy / name)
    (copy / name).symlink_to(documents)
    with pytest.raises(InputError, match=f"{name} is a symbolic link"):
        list(trials.rows(Folder.at(copy)))
    assert [str(path.relative_to(documents)) for path in documents.rglob("*")] == ["00009", "00009/letter"]


def test_the_last_row_is_yielded_again_before_training_continues(trials, copy):
    before = read_rows(Folder.at(copy))
    rows = trials.rows(Folder.at(copy))
    assert next(rows) == before[-1]
    assert read_rows(Folder.at(copy)) == before
    assert next(rows).round == 4


def test_a_finished_trial_yields_its_last_row_and_changes_no_file(trials, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    assert list(trials.rows(Folder.at(whole))) == [read_rows(Folder.at(whole))[-1]]
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_if_a_round_was_trained_twice_the_later_row_counts(tmp_path):
    folder = Folder.at(tmp_path)
    assert read_rows(folder) == []
    first, second, again = example_row(2, score=0.1), example_row(1, score=0.2), example_row(2, score=0.3)
    for row in (first, second, again):
        folder.append_json(ROUNDS, row.to_json())
    assert read_rows(folder) == [second, again]


def test_the_weights_of_a_round_reproduce_its_predictions(trials, whole):
    folder, model = Folder.at(whole), build(FOUR, trials.corpus.tasks, trials.pretrained)
    for row in read_rows(folder):
        name = round_name(row.round)
        model.load_state_dict(read_weights(folder / "checkpoints" / name))
        for task in FOUR.tasks:
            ids, outputs = read_predictions(folder / "predictions", f"{name}-{task}.parquet")
            every = trials.corpus.splits[task]["dev"].ids
            chosen = np.array([every.index(identifier) for identifier in ids])
            assert len(ids) == 12
            found = evaluate(model, trials.corpus, "dev", {task: chosen})[task]
            assert np.array_equal(outputs, found)


def test_a_running_trial_keeps_two_states_and_the_weights_of_its_best_rounds(trials, tmp_path):
    stage = small_stage(tasks=("sst", "sts"), batch_size=4, rounds=26, steps=26, learning_rate=1e-3)
    seen: dict[int, RoundRow] = {}
    dropped = 0
    config = small_config(stage)
    for row in trials.rows(Folder.at(tmp_path), config):
        seen[row.round] = row
        files = {path.parent.name: path.name for path in (tmp_path / "checkpoints").glob(f"*/{STATE}")}
        assert sorted(files) == [round_name(number) for number in sorted(seen)[-2:]]
        weights = {int(path.parent.name) for path in (tmp_path / "checkpoints").glob(f"*/{WEIGHTS}")}
        assert weights == Keep.of(config.tasks).best(seen) | set(sorted(seen)[-2:])
        assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {round_name(one) for one in weights}
        dropped = len(seen) - len(weights)
        one = model_bytes(config, trials.corpus.tasks, trials.pretrained)
        assert used_bytes(tmp_path / "checkpoints") < 1.1 * training_bytes([config], one, Keep.of(config.tasks))
    assert dropped > 0, "no weights were deleted, so the test proves nothing"
    assert len(list((tmp_path / "predictions").iterdir())) == 2 * 26, "predictions are never deleted"


@pytest.fixture
def diverged(trials, tmp_path) -> Path:
    stage = small_stage(learning_rate=1e30, rounds=3, steps=6)
    list(trials.rows(Folder.at(tmp_path), small_config(stage, optimizer={"warmup": 0.0})))
    return tmp_path


def test_a_trial_that_is_not_finite_records_one_row_of_valid_json_and_ends(trials, diverged):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    (line,) = lines(diverged)
    row = RoundRow.from_entries(json.loads(line, parse_constant=refuse))
    assert (row.finite, row.score, row.metrics, row.loss) == (False, None, {}, None)
    assert not (diverged / "predictions").exists() and not (diverged / "checkpoints").exists()
    assert all(value is None or math.isfinite(value) for value in row.losses.values())
    assert list(trials.rows(Folder.at(diverged))) == [row], "started again, the trial does not train"
