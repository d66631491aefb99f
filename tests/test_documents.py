"""Test that the code blocks of README and docs/ run, unless a comment above a block says why it cannot run."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from search.suggest.space import example_configs, load_space
from tests.conftest import small_config, small_stage
from tests.waiting import LIMIT_SECONDS
from trainers.data.declared_tasks import declared_tasks
from trainers.data.generated_sample import sample_corpus
from trainers.methods import batch_schedules, regularisers, surgery
from trainers.tasks import TASKS
from trainers.training.training import Training

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
LANGUAGES = {"sh", "python", "json", "text"}
REDUCED = {
    "search.launch": "--rows 96 --trials 2 --dev-rows 24 --concurrency 1",
    "search.reproduce": "--rows 96 --scale 0.05 --dev-rows 24",
    "search.finish": "--top 1 --dev-rows 24 --concurrency 1",
    "trainers.fit": "--rows 32 --dev-rows 24",
}
"""Command -> options that make a document's command short. They are appended: the last value of an option counts."""
MARK = re.compile(r"<!-- not run: (\S.*) -->|<!-- ci: test -->")
REGISTRIES = {
    "trainers/methods/batch_schedules.py": (batch_schedules, batch_schedules.BATCH_SCHEDULES),
    "trainers/methods/surgery.py": (surgery, surgery.SURGERIES),
    "trainers/methods/regularisers.py": (regularisers, regularisers.REGULARISERS),
}


@dataclass(frozen=True)
class Block:
    document: str
    language: str
    text: str
    runs: bool

    @property
    def file(self) -> str:
        """The file that the first line of a Python block names; "" if it names none."""
        found = re.match(r"# ([\w/]+\.py)\b", self.text)
        return found[1] if found else ""


def blocks_of(document: str) -> Iterator[Block]:
    text = (ROOT / document).read_text()
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE):
        above = text[: match.start()].rstrip("\n").rsplit("\n", 1)[-1]
        yield Block(document, match[2], match[3], not MARK.fullmatch(above.strip()))


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the project's spaces and examples, and the sample in the course's file format in `DIR`."""
    place = tmp_path_factory.mktemp("workspace")
    for name in ("spaces", "examples"):
        (place / name).symlink_to(ROOT / name)
    write_course_files(place / "DIR")
    for block in BLOCKS:
        if block.language == "python" and "/" not in block.file and block.file:
            (place / block.file).write_text(block.text)
    return place


def write_course_files(directory: Path) -> None:
    directory.mkdir()
    for name, splits in sample_corpus().splits.items():
        task = TASKS[name]
        for split, rows in splits.items():
            lines = ["\t".join(["id", *task.text_columns, task.label_column])]
            for identifier, *texts, label in zip(rows.ids, *rows.texts, rows.labels.tolist(), strict=True):
                # A corpus numbers classes from 0; a file numbers them from the lowest label.
                shown = f"{label:.2f}" if task.kind == "regression" else f"{label + task.low:.0f}"
                lines.append("\t".join([identifier, *texts, shown]))
            (directory / task.files[split]).write_text("\n".join(lines) + "\n")


def run(workspace: Path, command: str, encoder: Path) -> None:
    """Run a command; it must end with exit code 0."""
    module = next((name for name in REDUCED if f"python -m {name} " in command), None)
    if module and "--list" not in command:
        recorded = "config.json" in command or module == "search.finish"  # a trial or a run names the encoder
        command += f" {REDUCED[module]}" + ("" if recorded else f" --encoder {encoder}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, cwd=workspace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


(FIRST,) = (
    line
    for block in BLOCKS
    for line in block.text.splitlines()
    if block.document == "README.md" and "--name first" in line and "--resume" not in line
)
"""README's command that trains the run `first`, on which other commands work."""


@pytest.fixture(scope="session")
def first_run(workspace: Path, tiny_encoder: Path) -> None:
    """Train the run `first` with README's command."""
    run(workspace, FIRST, tiny_encoder)


def test_every_block_names_its_language():
    assert [block for block in BLOCKS if block.language not in LANGUAGES] == []


def commands() -> list[str]:
    """Return the commands that the documents print, each once."""
    blocks = [block for block in BLOCKS if block.language == "sh" and block.runs]
    lines = [line for block in blocks for line in block.text.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line for line in lines if line != FIRST))


def reads_first(command: str) -> bool:
    return bool(re.search(r"\bfirst\b", command))


@pytest.mark.parametrize("command", [command for command in commands() if not reads_first(command)])
def test_a_command_of_the_documents_runs(command, workspace, tiny_encoder):
    run(workspace, command, tiny_encoder)


def test_the_commands_of_the_documents_on_the_run_first_run(workspace, first_run, tiny_encoder):
    for command in filter(reads_first, commands()):
        run(workspace, command, tiny_encoder)


@pytest.mark.parametrize("name", sorted({block.file for block in BLOCKS if block.file.endswith("_space.py")}))
def test_a_space_of_the_documents_gives_configs(name, workspace):
    same = {block.text for block in BLOCKS if block.file == name and "START" not in block.text}
    assert len(same) <= 1, "two documents print different versions of one space"
    assert example_configs(load_space(workspace / name))


def test_the_scripts_of_the_documents_run(workspace, first_run, monkeypatch):
    monkeypatch.chdir(workspace)
    scripts = [block for block in BLOCKS if block.language == "python" and block.runs and not block.file]
    assert scripts
    for number, block in enumerate(scripts):
        script = workspace / f"script{number}.py"
        script.write_text(block.text)
        runpy.run_path(str(script))


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_an_example_script_runs(name, workspace, tiny_encoder):
    run(workspace, f"python examples/{name} --encoder {tiny_encoder} --rows 48", tiny_encoder)


def test_the_example_notebook_runs(workspace, first_run, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "explore_a_search.ipynb", as_version=4)
    NotebookClient(notebook, timeout=LIMIT_SECONDS, resources={"metadata": {"path": str(workspace)}}).execute()
    assert all(cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code")


def test_the_tasks_that_the_documents_declare_can_be_read(tmp_path):
    (declared,) = (block.text for block in BLOCKS if block.language == "json")
    (tmp_path / "tasks.json").write_text(declared)
    for name in re.findall(r'"(\S+\.tsv)"', declared):
        (tmp_path / name).touch()
    assert list(declared_tasks(tmp_path)) == ["nli"]


@pytest.fixture(scope="module")
def extended():
    """Run the blocks of docs/extending.md, each in the file that it names; remove the new entries afterwards."""
    before = {name: dict(registry) for name, (_, registry) in REGISTRIES.items()}
    added = []
    for block in BLOCKS:
        if block.file in REGISTRIES:
            module, registry = REGISTRIES[block.file]
            exec(block.text, {**vars(module)})
            added += registry.keys() - before[block.file].keys()
    yield added
    for name, (_, registry) in REGISTRIES.items():
        for entry in registry.keys() - before[name].keys():
            del registry[entry]


def test_a_config_can_name_the_entries_that_the_documents_add_and_they_change_training(extended, corpus, pretrained):
    batch_schedule, treatment, regulariser = extended
    configs = {
        "plain": small_config(small_stage(batch_schedule="cycle", rounds=1)),
        "batch schedule": small_config(small_stage(batch_schedule=batch_schedule, rounds=1)),
        "surgery": small_config(small_stage(batch_schedule="cycle", surgery=treatment, rounds=1)),
        "regulariser": small_config(small_stage(batch_schedule="cycle", rounds=1), regularisers={regulariser: 0.1}),
    }
    results = {name: next(iter(Training(config, corpus, pretrained, dev_limit=12))) for name, config in configs.items()}
    assert all(result.finite for result in results.values())
    assert len({result.predictions["sst"].tobytes() for result in results.values()}) == len(configs)
    assert f"sst.{regulariser}" in results["regulariser"].ratios


def test_files_that_the_documents_name_exist():
    """Check the links, and the paths of the project in backticks, of README, docs/ and CONTRIBUTING.md."""
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link]
        missing = [link for link in links if not ((ROOT / document).parent / link).exists()]
        paths = re.findall(r"`((?:model|trainers|search|spaces|tests|benchmarks|examples|docs|\.ci)/[\w./-]*)`", text)
        missing += [path for path in paths if not (ROOT / path).exists()]
        assert missing == [], document


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    # A table and an image cannot be broken into lines.
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "!["))] == []
