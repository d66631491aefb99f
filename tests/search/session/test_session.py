"""Test what a command that trains does before its first trial."""

import tempfile
from pathlib import Path

import pytest

from model.errors import InputError
from search.launch.run_search import prepare_search
from search.runs.search_record import RequestedSettings
from search.session.machines import Machines
from search.session.session import session
from search.tune.slots import Slots
from trainers.folder import Folder

SPACE = Path(__file__).parents[3] / "spaces" / "smart.py"


@pytest.mark.usefixtures("without_ray")
def test_if_ray_does_not_start_the_error_says_how_to_continue_the_prepared_run(tiny_encoder, tmp_path, monkeypatch):
    location = Folder.at(tmp_path / "runs" / "my run")

    def prepare(slots: Slots):
        requested = RequestedSettings(encoder=str(tiny_encoder), rows=96)
        prepared = prepare_search(location, SPACE, requested, False, slots)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))  # too long for Ray's sockets
        (tmp_path / ("long" * 30)).mkdir()
        return prepared

    with (
        pytest.raises(InputError, match=r"Ray does not start .* The run is ready: add --name 'my run' --resume\."),
        session(Machines(None, 1, 1.0, 0.0), prepare),
    ):
        pass
    assert location.exists("search.json")
