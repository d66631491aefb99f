"""Test how run directories are created and reopened: their content, and the checks before any training."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from model.errors import InputError
from model.pretrained import load_encoder, read_pretrained
from search.launch.run_search import prepare_search
from search.runs.search_record import SEARCH, RequestedSettings, write_search
from search.session.prepare import Prepared
from search.session.scored_rows import FEWEST
from search.tune.slots import Slots
from tests.conftest import ROWS
from tests.search.searching import SPACE
from trainers.data.corpus import Corpus
from trainers.folder import Folder
from trainers.training import disk


@pytest.fixture(autouse=True)
def cached(user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.py"
    path.write_text(SPACE.replace("rounds=4", "rounds=2"))
    return path


def prepare(space: Path, *, resume: bool = False, slots: int = 1, trials: int = 30, **changed: Any) -> Prepared:
    location = Folder.at(space.parent / "run")
    return prepare_search(location, space, RequestedSettings(**changed), resume, Slots(slots, 1, 0), trials=trials)


def test_a_new_run_holds_the_corpus_and_the_encoder_and_a_resumed_run_reads_them_from_its_directory(
    space: Path, tiny_encoder: Path, corpus: Corpus
):
    first = prepare(space, encoder=str(tiny_encoder), rows=ROWS, seed=3)
    search = first.run.search
    assert search.requested.replace(precision=None) == RequestedSettings(
        encoder=str(tiny_encoder),
        rows=ROWS,
        seed=3,
        keep=40,
        dev_rows=FEWEST,  # evaluation on the fewest rows already exceeds its share of half an epoch
    )
    assert (search.tasks, search.rounds, search.space_source) == (("sst", "qqp", "sts"), 2, space.read_text())
    assert first.run.corpus().fingerprint == search.fingerprint != corpus.fingerprint, "another seed samples other rows"
    written, public = load_encoder(first.run.local_path("encoder")), read_pretrained(str(tiny_encoder))
    assert (written.config, written.tokenizer) == (public.config, public.tokenizer)
    assert all(torch.equal(written.weights[name], public.weights[name]) for name in public.weights)
    again = prepare(space, resume=True)
    assert (again.run.search, again.checked.shape) == (search, first.checked.shape)


def test_an_unfinished_run_directory_of_a_killed_process_is_written_again(space: Path, tiny_encoder: Path):
    run = prepare(space, encoder=str(tiny_encoder), rows=ROWS).run
    run.folder.delete(SEARCH)
    (run.folder / "corpus").write("corpus.json", "half")
    with pytest.raises(InputError, match=r"There is no run 'run' at .* to resume\. Pass its --name, or"):
        prepare(space, resume=True)
    assert prepare(space, encoder=str(tiny_encoder), rows=ROWS).run.corpus().splits


def test_a_resumed_run_reports_that_the_versions_of_libraries_have_changed(space: Path, tiny_encoder: Path):
    run = prepare(space, encoder=str(tiny_encoder), rows=ROWS).run
    assert not [note for note in prepare(space, resume=True).notes if "bits may differ" in note]
    write_search(run.folder, run.search.replace(versions=run.search.versions | {"torch": "1.0"}))
    assert [note for note in prepare(space, resume=True).notes if "bits may differ" in note]


def test_a_disk_without_room_for_the_run_is_an_error_that_names_each_part(space: Path, tiny_encoder: Path):
    with pytest.raises(InputError) as raised:
        prepare(space, encoder=str(tiny_encoder), rows=ROWS, slots=10**9, trials=10**9)
    assert re.fullmatch(
        r".*/run has [\d,.]+ GiB of disk space, but may need [\d,.]+ GiB: \d+ MiB for the weights of 40 rounds "
        r"\(--keep\), \d+ MiB for the full states of 13 stopped trials \(--keep\), [\d,.]+ GiB for the checkpoints of "
        r"1000000000 trials at the same time, [\d,.]+ GiB for data, encoder, predictions and ensemble\. "
        r"Free some space, lower --keep or --concurrency, or pass another --storage\.",
        str(raised.value),
    )
    assert not (space.parent / "run").exists()


def test_the_rounds_that_keep_their_weights_are_recorded_counted_and_printed(space: Path, tiny_encoder: Path):
    with pytest.raises(InputError, match=r"GiB for the weights of 100000000 rounds"):
        prepare(space, encoder=str(tiny_encoder), rows=ROWS, keep=10**8, trials=10**8)
    prepared = prepare(space, encoder=str(tiny_encoder), rows=ROWS)
    assert prepared.run.search.keep == prepared.run.keep.count == 40
    (line,) = [note for note in prepared.notes if "--keep" in note]
    assert re.fullmatch(
        r"The run keeps at most the weights of 40 rounds, \d+ MiB, and the full states of 13 stopped trials, \d+ MiB, "
        r"as --keep decides\. In all it needs at most \d+ MiB\.",
        line,
    )


def test_full_states_of_stopped_trials_are_counted_only_where_trials_are_stopped(
    space: Path, tiny_encoder: Path, tmp_path: Path
):
    def line(number: int, rounds: int = 2, **settings: Any) -> str:
        home = tmp_path / str(number)
        home.mkdir()
        (home / "space.py").write_text(space.read_text().replace("rounds=2", f"rounds={rounds}"))
        found = prepare(home / "space.py", encoder=str(tiny_encoder), rows=ROWS, **settings).notes
        return next(note for note in found if "--keep" in note)

    assert "the full states of 13 stopped trials" in line(0, trial_scheduler="hyperband")
    assert "the full states of 4 stopped trials" in line(1, trials=4)
    assert "the full states of 2 stopped trials" in line(2, keep=8)
    counted = [line(3, keep=2), line(4, rounds=1)]
    counted += [line(5, trial_scheduler="none"), line(6, trial_scheduler="population")]
    assert not [text for text in counted if "stopped" in text]


def test_a_short_run_needs_no_room_for_more_rounds_and_trials_than_it_has(space: Path, tiny_encoder: Path):
    prepared = prepare(space, encoder=str(tiny_encoder), rows=ROWS, slots=10**9, trials=1)
    assert prepared.run.keep.count == 40
    assert any(note.startswith("The run keeps at most the weights of 2 rounds, ") for note in prepared.notes)


def test_a_resumed_run_keeps_its_number_of_rounds_unless_it_gets_another(space: Path, tiny_encoder: Path):
    prepare(space, encoder=str(tiny_encoder), rows=ROWS, keep=7)
    assert prepare(space, resume=True).run.keep.count == 7
    assert prepare(space, resume=True, keep=3).run.keep.count == 3
    assert prepare(space, resume=True).run.search.keep == 3
    with pytest.raises(InputError, match="GiB for the weights of 100000000 rounds"):
        prepare(space, resume=True, keep=10**8, trials=10**8)
    assert prepare(space, resume=True).run.search.keep == 3, "a refused command changes nothing"


def test_files_that_a_resumed_run_has_already_written_need_no_further_room(
    space: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
):
    run = prepare(space, encoder=str(tiny_encoder), rows=ROWS).run
    (note,) = [note for note in prepare(space, resume=True).notes if "--keep" in note]
    needed = int(note.split()[-2]) * 2**20
    run.trial_folder(0).write("large", bytes(needed))
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 2**20)
    assert prepare(space, resume=True)
    run.trial_folder(0).delete("large")
    with pytest.raises(InputError, match="MiB of disk space, but may need"):
        prepare(space, resume=True)


def test_fewer_dev_rows_than_an_ensemble_needs_are_an_error(space: Path, tiny_encoder: Path):
    with pytest.raises(InputError, match=r"scored on 3 labelled dev rows of sst; the ensemble needs 5. Add"):
        prepare(space, encoder=str(tiny_encoder), rows=ROWS, dev_rows=3)
    assert not (space.parent / "run").exists()
