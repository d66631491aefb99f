"""Test that the project's search spaces are found by name."""

from search.launch.space_file import own_spaces, space_file
from trainers.start import ROOT


def test_every_space_of_the_project_is_found_by_its_name():
    files = {path.stem: path for path in (ROOT / "spaces").glob("*.py")}
    assert own_spaces() == files
    assert [space_file(name) for name in files] == list(files.values())
