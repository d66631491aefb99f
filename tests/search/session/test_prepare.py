"""Test how run directories are created and reopened: their content, and the checks before any training."""

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


@pytest.fixture(autouse=True)
def cached(user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.py"
    path.write_text(SPACE.replace("rounds=4", "rounds=2"))
    return path


def prepare(space: Path, *, resume: bool = False, slots: int = 1, **changed: Any) -> Prepared:
    location = Folder.at(space.parent / "run")
    return prepare_search(location, space, RequestedSettings(**changed), resume, Slots(slots, 1, 0))


def test_a_new_run_holds_the_corpus_and_the_encoder_and_a_resumed_run_reads_them_from_its_directory(
    space: Path, tiny_encoder: Path, corpus: Corpus
):
    first = prepare(space, encoder=str(tiny_encoder), rows=ROWS, seed=3)
    search = first.run.search
    assert search.requested.replace(precision=None) == RequestedSettings(
        encoder=str(tiny_encoder),
        rows=ROWS,
        seed=3,
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


def test_a_disk_without_room_for_the_checkpoints_is_an_error(space: Path, tiny_encoder: Path):
    with pytest.raises(
        InputError, match=r"has .* GiB free; the checkpoints of 1000000000 trials at the same time need .* Free"
    ):
        prepare(space, encoder=str(tiny_encoder), rows=ROWS, slots=10**9)
    assert not (space.parent / "run").exists()


def test_fewer_dev_rows_than_an_ensemble_needs_are_an_error(space: Path, tiny_encoder: Path):
    with pytest.raises(InputError, match=r"scored on 3 labelled dev rows of sst; the ensemble needs 5. Add"):
        prepare(space, encoder=str(tiny_encoder), rows=ROWS, dev_rows=3)
    assert not (space.parent / "run").exists()
