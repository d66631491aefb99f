"""Test the commands: which libraries they import before they read their arguments, and in which folders they work."""

import json
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from search.commands import COMMANDS
from search.runs.run import SEARCH
from tests.search.searching import environment
from tests.waiting import LIMIT_SECONDS
from trainers.command_line import resume_command
from trainers.start import LOADING, ROOT
from trainers.training.training import DEV_ROWS

LARGE = ("torch", "ray", "pandas", "scipy", "optuna", "plotly", "sqlalchemy", "pyarrow")
SCRIPT = "import sys\nfrom search.commands import app\nsys.exit(app())\n"
"""The console script that pip writes."""
IMPORTS = """
import atexit, runpy, sys
atexit.register(lambda: print(sorted(set({large}) & set(sys.modules)), file=sys.stderr))
sys.argv[0] = "minbert-tune"
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def script(tmp_path_factory) -> Path:
    """Write the console script of an installation."""
    path = tmp_path_factory.mktemp("bin") / "minbert-tune"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """Return a folder with files that have the names of the project's packages."""
    folder = tmp_path / "crowded"
    (folder / "trainers").mkdir(parents=True)
    for name in ("model.py", "search.py", "trainers/__init__.py"):
        (folder / name).write_text("raise RuntimeError('the wrong file was imported')\n")
    return folder


def run(arguments: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder; PYTHONPATH makes the project importable, as an installation does."""
    found = environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=found,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


MODULES = {name: module.removesuffix(".__main__") for name, module in COMMANDS.items()}


@pytest.mark.parametrize("option", ["--help", "--no-such-option"])
@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_help_and_a_mistyped_option_need_no_large_library(tmp_path, module, option):
    done = run(["-c", IMPORTS.format(large=LARGE, module=module), option], tmp_path)
    assert done.returncode == (0 if option == "--help" else 2)
    assert ("Example: " in done.stdout) == (option == "--help")
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_script_shows_each_command_s_help_with_an_example_for_the_script(script, tmp_path, name):
    done = run([script, name, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: minbert-tune {name} [OPTIONS]")
    assert f"Example: minbert-tune {name} " in done.stdout


def test_the_script_names_its_version_and_the_nearest_command(script, tmp_path):
    assert run([script, "--version"], tmp_path).stdout == f"minbert-tune {version('minbert-tune')}\n"
    mistyped = run([script, "lunch"], tmp_path)
    assert mistyped.returncode == 2 and "Did you mean 'launch'?" in mistyped.stderr


def test_the_script_trains_in_a_folder_with_files_that_have_the_names_of_packages(
    script, crowded, tiny_encoder, user_cache
):
    small = ["--encoder", tiny_encoder, "--rows", "64", "--trials", "1", "--name", "first"]
    done = run([script, "launch", "smart", *small], crowded)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(crowded / "runs" / "first" / "report.html")
    assert f"Look at it with: minbert-tune dashboard {crowded}/runs/first" in done.stdout
    assert json.loads((crowded / "runs" / "first" / SEARCH).read_text())["space"] == str(ROOT / "spaces" / "smart.py")


@pytest.mark.parametrize(
    ("module", "hidden", "kind", "file"),
    [
        ("search.launch", "model", "file", "model.py"),
        ("search.launch", "trainers", "folder", "trainers"),
        ("trainers.fit", "model", "file", "model.py"),
    ],
)
def test_a_file_that_hides_a_package_is_named_in_one_sentence(crowded, module, hidden, kind, file):
    for name in {"model.py", "search.py"} - {file}:
        (crowded / name).unlink()
    if module == "trainers.fit":
        (crowded / "trainers" / "__init__.py").unlink()
        (crowded / "trainers").rmdir()
    done = run(["-m", module, "smart"], crowded)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: The {kind} {crowded / file} hides this project's package {hidden!r}: rename the {kind}, "
        f"start the command in another folder, or start it as `minbert-tune {module.rpartition('.')[2]}`.\n"
    )


def test_the_resume_command_of_the_script_names_the_script(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/minbert-tune", "launch", "smart", "--trials", "3"])
    printed = shlex.split(resume_command("search.launch", ("--name", "a b")))
    assert printed == ["minbert-tune", "launch", "smart", "--trials", "3", "--name", "a b", "--resume"]


def test_the_help_of_fit_names_the_default_number_of_dev_rows(script, tmp_path):
    assert f"default is {DEV_ROWS:,}." in " ".join(run([script, "fit", "--help"], tmp_path).stdout.split())


def test_the_script_trains_a_single_run_in_a_folder_with_files_that_have_the_names_of_packages(
    script, crowded, tiny_encoder, user_cache
):
    small = ["--encoder", tiny_encoder, "--rows", "48", "--set", "stages.0.rounds=1", "--out", "first"]
    done = run([script, "fit", "plain", *small], crowded)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.splitlines()[0], done.stdout.splitlines()[-1]) == (LOADING, str(crowded / "first"))
