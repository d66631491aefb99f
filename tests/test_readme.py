"""The README's code runs as printed."""

import re
from pathlib import Path

import pytest

from tests.conftest import small_config, small_stage
from trainers.data.declared_tasks import declared_tasks
from trainers.methods import batch_schedules, regularisers, surgery
from trainers.training.training import Training

README = (Path(__file__).parent.parent / "README.md").read_text()
EXTENSIONS = {
    "trainers/batch_schedules.py": batch_schedules,
    "trainers/surgery.py": surgery,
    "trainers/regularisers.py": regularisers,
}


@pytest.fixture(scope="module")
def extended():
    """Run the README's section on extending, each block in the file that it names; forget it afterwards."""
    registries = (batch_schedules.BATCH_SCHEDULES, surgery.SURGERIES, regularisers.REGULARISERS)
    before = [dict(registry) for registry in registries]
    section = README.partition("## Extending\n")[2].partition("\n## ")[0]
    added = {}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        module = EXTENSIONS[block.partition(":")[0].removeprefix("# ")]
        exec(block, {**vars(module)})
    for registry, known in zip(registries, before, strict=True):
        (added[id(registry)],) = registry.keys() - known.keys()
    yield [added[id(registry)] for registry in registries]
    for registry, known in zip(registries, before, strict=True):
        for name in registry.keys() - known.keys():
            del registry[name]


def test_what_the_section_on_extending_adds_can_be_named_in_a_config_and_changes_training(extended, corpus, pretrained):
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


def test_every_field_that_the_readme_sets_exists():
    """Commands with --set are tried against a recipe."""
    from trainers.config.parsing import with_values
    from trainers.recipes.registry import configs

    for line in re.findall(r"python -m trainers\.fit (.*)", README):
        name = line.split()[0]
        if name.endswith(".json"):  # of a run that a reader has
            continue
        values = [quoted or bare for quoted, bare in re.findall(r"--set (?:'([^']*)'|(\S+))", line)]
        known = [value for value in values if "smallest_first" not in value and "small_outputs" not in value]
        (config,) = configs(name).values()
        assert (with_values(config, known) != config) == bool(known)


def test_the_tasks_that_the_readme_declares_can_be_read(tmp_path):
    (declared,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "tasks.json").write_text(declared)
    for name in re.findall(r'"(\S+\.tsv)"', declared):
        (tmp_path / name).touch()
    assert list(declared_tasks(tmp_path)) == ["nli"]
