"""Test the checks of a config against its tasks."""

from typing import Any

import pytest

from model.errors import InputError
from tests.conftest import small_config, small_stage
from trainers.config.task_checks import check_tasks
from trainers.tasks import TASKS

JOINT = small_stage()
FROZEN = (JOINT.replace(trainable_layers=0),)
COSINE = {"output": "cosine"}
FAULTS: dict[str, dict[str, Any]] = {
    "Unknown task 'ssst'; did you mean 'sst'?": {"stages": (small_stage(tasks=("ssst",)),)},
    "Unknown task 'quora'": {"also_scored": ("quora",)},
    "head.qqp.output 'sigmoid' is for regressions, and qqp is binary. Use 'linear'": {
        "head": {"qqp": {"output": "sigmoid"}}
    },
    "head.sst.output 'stairs' is for regressions, and sst is classification. Use 'linear'": {
        "head": {"sst": {"output": "stairs"}}
    },
    "head.sts.output 'cosine' needs separately encoded pairs, and pairs is 'concatenated'. Set pairs to 'separate'": {
        "head": {"sts": COSINE}
    },
    "head.qqp.features 'hadamard' needs separately encoded pairs, and pairs is 'concatenated'. "
    "Leave head.qqp.features out, or set pairs to 'separate'.": {"head": {"qqp": {"features": "hadamard"}}},
    "head.sst.features 'hadamard' needs separately encoded pairs, and sst has single sentences. "
    "Leave head.sst.features out.": {
        "head": {"sst": {"features": "hadamard"}},
        "pairs": "separate",
    },
    "head.sts.output 'cosine' ignores features, and head.sts.features is 'u_v'. Leave it out": {
        "head": {"sts": COSINE | {"features": "u_v"}},
        "pairs": "separate",
    },
    "head.sts.output 'cosine' has no layers, and shared_layers names sts. Remove sts there": {
        "head": {"sts": COSINE},
        "pairs": "separate",
        "shared_layers": [{"tasks": ("qqp", "sts")}],
    },
    "head.sts.output 'cosine' has no weights, so a stage of sts with trainable_layers 0 trains nothing.": {
        "head": {"sts": COSINE},
        "pairs": "separate",
        "stages": FROZEN,
    },
    "head.sst.cosine needs concatenated pairs, and sst has single sentences. Leave it out.": {
        "head": {"sst": {"cosine": True}}
    },
    "head.qqp.cosine needs concatenated pairs, and pairs is 'separate'. "
    "Leave it out, or set head.qqp.features to 'cosine'.": {"head": {"qqp": {"cosine": True}}, "pairs": "separate"},
    "class_weights.sst has 2 weights, and sst has 5 classes. Give one weight for each class": {
        "class_weights": {"sst": (1, 2)}
    },
    "class_weights.qqp has 5 weights, and qqp has 2 classes. Give one weight for each class": {
        "class_weights": {"qqp": (1, 2, 3, 4, 5)}
    },
    "class_weights.sts is set, and sts has no classes. Leave it out": {"class_weights": {"sts": (1, 2)}},
    "head.output 'sigmoid' is for regressions, and no task is a regression. Use 'linear'": {
        "head": {"output": "sigmoid"},
        "stages": (small_stage(tasks=("sst", "qqp")),),
    },
    "head.features 'u_v' needs separately encoded pairs, and pairs is 'concatenated'. Leave head.features out": {
        "head": {"features": "u_v"}
    },
    "head.cosine needs concatenated pairs, and pairs is 'separate'. Leave head.cosine out": {
        "head": {"cosine": True},
        "pairs": "separate",
    },
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_setting_that_makes_no_sense_for_a_task_is_refused(words):
    config = small_config().replace(**FAULTS[words])
    with pytest.raises(InputError) as caught:
        check_tasks(config, TASKS)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"output": "sigmoid", "hidden": (1,)}},
        {"head": {"features": "relational"}, "pairs": "separate"},
        {"head": {"cosine": True}},
        {"head": {"sts": COSINE}, "pairs": "separate"},
        {"head": COSINE, "pairs": "separate", "stages": (small_stage(tasks=("qqp",), trainable_layers=0), JOINT)},
        {"class_weights": {"sst": (1, 2, 3, 4, 5), "qqp": (1, 2)}},
    ],
)
def test_a_setting_for_all_tasks_may_make_sense_for_some_of_them_only(changes):
    check_tasks(small_config().replace(**changes), TASKS)
