"""Configs against their tasks: what means nothing for a task is refused, and told by its field."""

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
    "head.qqp.output 'sigmoid' makes a value, and qqp is binary": {"head": {"qqp": {"output": "sigmoid"}}},
    "head.sst.output 'stairs' makes a value, and sst is classification": {"head": {"sst": {"output": "stairs"}}},
    "head output 'cosine' of sts needs pairs that are encoded apart": {"head": {"sts": COSINE}},
    "head.qqp.features are those of pairs encoded apart": {"head": {"qqp": {"features": "hadamard"}}},
    "head.sst.features are those of pairs encoded apart": {
        "head": {"sst": {"features": "hadamard"}},
        "pairs": "separate",
    },
    "head.sts.output 'cosine' reads no features but 'cosine', not 'u_v'": {
        "head": {"sts": COSINE | {"features": "u_v"}},
        "pairs": "separate",
    },
    "take sts out of its shared layer": {
        "head": {"sts": COSINE},
        "pairs": "separate",
        "shared_layers": [{"tasks": ("qqp", "sts")}],
    },
    "sts has no weights, and a frozen encoder leaves nothing to train": {
        "head": {"sts": COSINE},
        "pairs": "separate",
        "stages": FROZEN,
    },
    "head.sst.cosine is for concatenated pairs": {"head": {"sst": {"cosine": True}}},
    "head.qqp.cosine is for concatenated pairs": {"head": {"qqp": {"cosine": True}}, "pairs": "separate"},
    "class_weights.sst has 2 weights, and sst has 5 classes": {"class_weights": {"sst": (1, 2)}},
    "class_weights.qqp has 5 weights, and qqp has 2 classes": {"class_weights": {"qqp": (1, 2, 3, 4, 5)}},
    "class_weights.sts has 2 weights, and sts has 0 classes": {"class_weights": {"sts": (1, 2)}},
    "head.output 'sigmoid' makes a value, and no task is a regression": {
        "head": {"output": "sigmoid"},
        "stages": (small_stage(tasks=("sst", "qqp")),),
    },
    "head.features are those of pairs encoded apart, and there are none": {"head": {"features": "u_v"}},
    "head.cosine is for concatenated pairs, and there are none": {"head": {"cosine": True}, "pairs": "separate"},
}


@pytest.mark.parametrize("words", FAULTS)
def test_what_means_nothing_for_a_task_is_refused(words):
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
def test_what_means_something_for_a_task_may_be_asked_of_all(changes):
    check_tasks(small_config().replace(**changes), TASKS)
