"""Test that a space can only suggest what the storage of a study keeps unchanged."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from model.errors import InputError
from search.suggest.space import Space, example_configs, load_space, suggest_config

SPACE = """
import numpy as np
from trainers.recipes.joint import plain

START = {start}

def suggest(trial):
    {line}
    return plain().replace(dropout=trial.suggest_float("dropout", 0, 0.5))
"""
STORES = "a study stores only None, True, False, text and finite numbers of at most 64 bits"


def space(folder: Path, line: str = "pass", start: str = "[]") -> Space:
    """Write and load a space that executes a line before it suggests a dropout."""
    (folder / "space.py").write_text(SPACE.format(line=line, start=start))
    return load_space(folder / "space.py")


@pytest.mark.parametrize(
    ("choices", "shown"),
    [
        ("[(), (0.5,), (0.5, 0.25)]", "() (tuple)"),
        ("['a', [1]]", "[1] (list)"),
        ("[{'a': 1}]", "{'a': 1} (dict)"),
        ("[{1}]", "{1} (set)"),
        ("[b'a']", "b'a' (bytes)"),
        ("[len]", "<built-in function len> (builtin_function_or_method)"),
        ("[1.0, float('inf')]", "inf (float)"),
        ("[float('nan')]", "nan (float)"),
        ("['\\ud800']", "'\\ud800' (str)"),
        ("[2 ** 63]", "9223372036854775808 (int)"),
        ("[np.float32(0.5)]", "np.float32(0.5) (numpy.float32)"),
        ("np.arange(3)", "np.int64(0) (numpy.int64)"),
        ("[np.bool_(True)]", "np.True_ (numpy.bool)"),
        ("[(0,) * 100]", "(0, 0, 0, 0, 0, 0, ...) (tuple)"),
    ],
)
def test_a_choice_that_a_storage_changes_is_an_error_before_the_search_starts(tmp_path, choices, shown):
    numpy, named = "Turn a NumPy number into a number of Python with .item().", "Name the choices and look them up: "
    with pytest.raises(InputError) as raised:
        example_configs(space(tmp_path, f"trial.suggest_categorical('hidden', {choices})"))
    expected = f"{tmp_path}/space.py: parameter 'hidden' has the choice {shown}, but {STORES}. "
    assert str(raised.value).startswith(expected + (numpy if "numpy" in shown else named))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("trial.suggest_categorical('\\ud800', [1])", "the name of a parameter is '\\ud800' (str)"),
        ("trial.suggest_int(3, 1, 2)", "the name of a parameter is 3 (int)"),
        ("trial.suggest_float('x', 0, float('inf'))", "parameter 'x' is between 0 and inf. Give finite ends"),
        ("trial.suggest_float('x', float('nan'), 1)", "parameter 'x' is between nan and 1. Give finite ends"),
        ("trial.suggest_int('x', 0, 10 ** 30)", "Give finite ends of at most 64 bits"),
        ("trial.set_user_attr('a', np.float32(1))", "user attribute 'a' is np.float32(1.0) (numpy.float32)"),
        ("trial.set_user_attr('a', [np.int64(1)])", "user attribute 'a' is [np.int64(1)] (list)"),
        ("trial.set_user_attr('a', float('nan'))", "user attribute 'a' is nan (float)"),
        ("trial.set_user_attr('a', ['\\ud800'])", "user attribute 'a' is ['\\ud800'] (list)"),
        ("trial.set_user_attr('a', {1})", "user attribute 'a' is {1} (set)"),
        ("trial.set_user_attr('clone', 1)", "the search itself uses the user attribute 'clone'. Rename yours."),
        ("trial.set_user_attr('stopped', [1])", "the search itself uses the user attribute 'stopped'. Rename yours."),
        ("trial.set_user_attr(1, 1)", "the name of a user attribute is 1 (int)"),
        ("raise SystemExit(3)", "suggest raised SystemExit: 3 (line 8)"),
        ("raise ValueError('\\ud800')", "suggest raised ValueError: \\ud800 (line 8)"),
    ],
)
def test_whatever_else_a_storage_cannot_write_is_an_error_too(tmp_path, line, fault):
    with pytest.raises(InputError) as raised:
        example_configs(space(tmp_path, line))
    assert fault in str(raised.value) and str(raised.value).encode()


@pytest.mark.parametrize(
    ("start", "fault"),
    [
        ("[{'dropuot': 0.1}]", "has 'dropuot', which suggest does not use; did you mean 'dropout'?"),
        ("[{}]", "START point {} lacks 'dropout', which suggest asks for. Add it."),
        ("[{'dropout': 0.1, 'dropouts': 1}]", "has 'dropouts', which suggest does not use at this point; did you mean"),
        ("[{'dropout': 0.1, 'layers': 1}]", "has 'layers', which suggest does not use at this point. Remove it."),
        ("[{'dropout': np.float32(0.5)}]", "has 'dropout': np.float32(0.5) (numpy.float32), but a study stores only"),
        ("[{'dropout': float('nan')}]", "has 'dropout': nan (float), but a study stores only"),
        ("[{'dropout': (1,)}]", "finite numbers of at most 64 bits. Give a value that suggest can draw."),
    ],
)
def test_a_start_point_with_a_wrong_name_or_value_is_an_error_that_names_it(tmp_path, start, fault):
    with pytest.raises(InputError) as raised:
        example_configs(space(tmp_path, start=start))
    assert fault in str(raised.value)


def test_a_storage_gives_back_what_a_space_may_suggest(tmp_path):
    wanted: dict[str, list[Any]] = {
        "text": ["a", "ü\n"],
        "mixed": [None, True, 7, 0.5, "a"],
        "numpy": [0.1],
    }
    lines = [
        "trial.suggest_categorical('text', ['a', 'ü\\n'])",
        "trial.suggest_categorical('mixed', [None, True, 7, 0.5, 'a'])",
        "trial.suggest_categorical('numpy', [np.float64(0.1)])",
        "trial.suggest_float('low', np.float32(0.5), np.float64(2), log=np.bool_(True))",
        "trial.suggest_int('step', np.int64(0), 8, step=np.int64(4))",
        "trial.set_user_attr('list', [1, {'a': None}])",
    ]
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    study, checked = optuna.create_study(storage=storage, study_name="s"), space(tmp_path, "; ".join(lines))
    for _ in range(3):
        suggest_config(checked, study.ask())
    again = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal"))))
    for trial in again.get_trials():
        assert {name: trial.distributions[name] for name in wanted} == {
            name: optuna.distributions.CategoricalDistribution(choices) for name, choices in wanted.items()
        }
        assert all(trial.params[name] in wanted[name] for name in wanted)
        assert 0.5 <= trial.params["low"] <= 2 and trial.params["step"] in (0, 4, 8)
        assert trial.user_attrs == {"list": [1, {"a": None}]}
