"""Test the loading and checking of space files, with one error message for each fault."""

from pathlib import Path

import optuna
import pytest

from model.errors import InputError
from search.suggest.space import check_space, example_configs, load_space, suggest_config
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare

GOOD = """
from trainers.recipes.joint import plain

def suggest(trial):
    return plain().replace(dropout=trial.suggest_float("dropout", 0, 0.5))
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "space.py"
    path.write_text(text)
    return path


def test_the_rounds_of_all_configs_of_a_valid_space_can_be_compared(tmp_path, corpus):
    space = load_space(written(tmp_path, GOOD))
    shape = check_space(space, example_configs(space), corpus).shape
    assert shape and (shape.tasks, shape.rounds) == (("sst", "qqp", "sts"), 6)
    assert suggest_config(space, optuna.trial.FixedTrial({"dropout": 0.25})).dropout == 0.25


def test_an_error_names_the_path_as_typed_and_the_line_that_failed(tmp_path, monkeypatch):
    written(tmp_path, "def suggest(trial):\n    raise RuntimeError('no')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^space.py: suggest raised RuntimeError: no \(line 2\)"):
        example_configs(load_space(Path("space.py")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "does not define suggest"),
        ("import nothing_of_that_name", "cannot be loaded: ModuleNotFoundError"),
        ("def suggest(trial): return", "returned NoneType, not a TrainConfig"),
        ("def suggest(trial):\n    raise RuntimeError('no')", "suggest raised RuntimeError: no (line 2)"),
        (GOOD.replace("dropout=", "dropuot="), "Unknown config field 'dropuot'; did you mean 'dropout'?"),
        (GOOD.replace(".replace(dropout=", ".model_copy(update=dict(dropuot=") + ")", "did you mean 'dropout'?"),
        (GOOD.replace("0, 0.5", "1, 2"), "Config field dropout"),
        (GOOD + "START = {'dropout': 0.1}", "START is not a list"),
        (GOOD + "START = [{'dropout': 0.9}]", "0.9"),
        *((GOOD + f"PASSES = {wrong}", "PASSES is") for wrong in ("2", "(2, 1)", "(0, 1)", "('1', 2)", "(True, 2)")),
        (GOOD + "START = [{'learning_rate': 0.1}]", "dropout"),
        (
            "from trainers.recipes import plain\n"
            "def suggest(trial):\n"
            "    stage = plain().stages[0].replace(passes=trial.suggest_float('passes', 1, 9))\n"
            "    return plain().replace(stages=(stage,))",
            "rounds that cannot be compared",
        ),
        (
            "from trainers.recipes import plain\n"
            "def suggest(trial):\n"
            "    tasks = ('sst',) if trial.suggest_float('x', 0, 1) < 0.5 else ('sst', 'qqp')\n"
            "    return plain().replace(stages=(plain().stages[0].replace(tasks=tasks),))",
            "rounds that cannot be compared",
        ),
    ],
)
def test_a_faulty_space_is_an_error_of_one_line_that_names_the_file(tmp_path, corpus, text, expected):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as raised:
        space = load_space(path)
        check_space(space, example_configs(space), corpus)
    assert expected in str(raised.value) and str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_the_main_space_varies_batch_ratios_only_with_the_interleaved_schedule(pretrained, tmp_path):
    corpus = Corpus.open(prepare("sample", pretrained.tokenizer, rows=None, seed=0, cache=tmp_path)[0])
    space = load_space(Path("spaces/smart.py"))
    check_space(space, example_configs(space), corpus)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(30):
        trial = study.ask()
        config = suggest_config(space, trial)
        interleaved = trial.params["batch_schedule"] == "interleaved"
        assert interleaved == ("batch_ratio_sst" in trial.params) == ("batch_ratio_sts" in trial.params)
        assert sum(config.stages[0].batch_sizes(corpus.train_sizes(config.tasks)).values()) == (
            48 if interleaved else 24
        )
