"""Test configs: conversion to JSON, and errors for contradictions and for settings without an effect."""

from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.heads import ACTIVATIONS, OUTPUTS, PAIR_FEATURES
from tests.conftest import small_config, small_stage
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.parsing import describe
from trainers.config.train_config import DURATIONS, Stage, TrainConfig
from trainers.methods.averaging import AveragingConfig
from trainers.methods.batch_schedules import BATCH_SCHEDULES
from trainers.methods.mlm import MlmConfig
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import NORMS, SmartConfig
from trainers.methods.surgery import SURGERIES
from trainers.tasks import TASKS

POSITIVE = st.floats(0, 1e300, exclude_min=True)
NOT_NEGATIVE = st.floats(0, 1e300)
SHARES = st.floats(0, 1, exclude_max=True)
WITHIN = st.floats(0, 1, exclude_min=True, exclude_max=True)
COUNTS = st.integers(1, 10**12)
NAMES = st.lists(st.sampled_from(list(TASKS)), min_size=2, unique=True).map(tuple)


def names(registry: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from(list(registry))


def some(tasks: tuple[str, ...], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a value for all tasks, or values by task."""
    return values | st.dictionaries(st.sampled_from(tasks), values)


SMARTS = st.builds(
    SmartConfig,
    lambda_s=POSITIVE,
    norm=names(NORMS),
    radius=POSITIVE,
    step_size=POSITIVE,
    noise_scale=POSITIVE,
    ascent_steps=COUNTS,
    dropout=st.sampled_from(["tied", "off", "untied"]),
    every=COUNTS,
    share=WITHIN,
)
HEADS = st.fixed_dictionaries(
    {
        "features": names(PAIR_FEATURES),
        "cosine": st.booleans(),
        "hidden": st.lists(POSITIVE, max_size=2),
        "activation": names(ACTIVATIONS),
        "output": st.sampled_from([output for output in OUTPUTS if output != "cosine"]),
    }
)


@st.composite
def stages(draw: st.DrawFn, tasks: tuple[str, ...], objective: str) -> Stage:
    duration = draw(st.sampled_from(DURATIONS))
    update = draw(st.sampled_from(["together", "separate"]))
    compared = objective == "supervised" and update == "together"
    lasts: Any = draw(COUNTS if duration in ("steps", "examples") else POSITIVE)
    settings: dict[str, Any] = {
        "supervised": {},
        "mlm": {
            "texts": ("imdb",),
            "mlm": draw(st.builds(MlmConfig, share=WITHIN | st.just("one"), always_mask=st.booleans())),
        },
        "simcse": {"simcse": draw(st.builds(SimcseConfig, temperature=POSITIVE))},
    }[objective]
    sources = tasks + settings.get("texts", ())
    return small_stage(
        objective=objective,
        tasks=tasks,
        batch_schedule=draw(names(BATCH_SCHEDULES)),
        batch_size=draw(COUNTS | st.fixed_dictionaries(dict.fromkeys(sources, COUNTS))),
        accumulate=1 if objective == "simcse" else draw(COUNTS),
        update=update,
        surgery=draw(names(SURGERIES)) if compared else "sum",
        learning_rate=draw(POSITIVE),
        trainable_layers=draw(st.none() | COUNTS),
        rounds=draw(COUNTS),
        **settings,
        **{duration: lasts},
    )


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    tasks = draw(NAMES)
    before = draw(st.lists(st.sampled_from(["mlm", "simcse", "supervised"]), max_size=2))
    return small_config(
        *(draw(stages(tasks, objective)) for objective in [*before, "supervised"]),
        encoder=draw(st.text()),
        pairs=draw(st.sampled_from(["concatenated", "separate"])),
        pooling=draw(st.sampled_from(["pooled", "first", "mean"])),
        head=draw(some(tasks, HEADS)),
        shared_layers=draw(st.just([]) | st.just([{"tasks": tasks, "activation": "tanh"}])),
        dropout=draw(WITHIN),
        attention_dropout=draw(SHARES),
        head_dropout=draw(SHARES),
        smart=draw(st.just(SmartConfig()) | some(tasks, SMARTS)),
        bregman={"mu": draw(some(tasks, NOT_NEGATIVE)), "beta": draw(SHARES)},
        regularisers=draw(st.just({}) | st.fixed_dictionaries({"r_drop": some(tasks, NOT_NEGATIVE)})),
        class_weights=draw(st.dictionaries(st.sampled_from(tasks), st.lists(POSITIVE, min_size=2, max_size=5))),
        averaging=draw(st.builds(AveragingConfig, kind=st.sampled_from(["none", "ema", "swa"]), beta=SHARES)),
        optimizer=draw(
            st.builds(
                OptimizerConfig,
                betas=st.tuples(SHARES, SHARES),
                eps=POSITIVE,
                weight_decay=NOT_NEGATIVE,
                clip_norm=st.none() | POSITIVE,
                warmup=SHARES,
                decay=st.booleans(),
                layer_decay=WITHIN,
            )
        ),
        also_scored=draw(st.sampled_from([(), ("another",)])),
        seed=draw(st.integers(0, 2**63)),
    )


@settings(max_examples=20)
@given(configs())
def test_a_config_is_equal_after_conversion_to_json_and_back(config):
    text = config.model_dump_json()
    assert TrainConfig.model_validate_json(text) == config
    assert TrainConfig.model_validate_json(text).model_dump_json() == text
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


BY_TASK: dict[str, Any] = {
    "head": {"sst": {"hidden": [1.0]}, "sts": {"output": "sigmoid"}},
    "smart": {"sst": {"lambda_s": 1.0}, "qqp": {"lambda_s": 2.0, "norm": "linf"}},
    "bregman": {"mu": {"sts": 0.5}},
    "regularisers": {"r_drop": {"sst": 1.0}},
}


@pytest.mark.parametrize("field", BY_TASK)
def test_a_setting_by_task_leaves_other_tasks_at_the_default(field):
    config = small_config(**{field: BY_TASK[field]})
    assert config.head_of("sst").hidden == ((1.0,) if field == "head" else ())
    assert config.head_of("sts").output == ("sigmoid" if field == "head" else "linear")
    assert config.head_of("qqp") == small_config().head_of("qqp")
    found = [config.smart_of(task).lambda_s for task in ("sst", "qqp", "sts")]
    assert found == ([1.0, 2.0, 0.0] if field == "smart" else [0.0, 0.0, 0.0])
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_scored_tasks_are_the_trained_tasks_in_order_of_first_use_and_then_those_in_also_scored():
    first, second = small_stage(tasks=("qqp",)), small_stage(tasks=("sst", "qqp"))
    texts = small_stage(objective="mlm", tasks=("cfimdb",))
    assert small_config(texts, first, second).tasks == ("qqp", "sst")
    assert small_config(second, first).tasks == ("sst", "qqp")
    further = small_config(first, also_scored=("sts", "qqp"))
    assert (further.tasks, further.trained) == (("qqp", "sts"), ("qqp",))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"sst": 8, "qqp": 8}),
        ({"batch_size": {"qqp": 3, "sst": 5}}, {"sst": 5, "qqp": 3}),
        ({"batch_schedule": "interleaved", "batch_size": 64}, {"sst": 3, "qqp": 64}),
        ({"batch_schedule": "interleaved", "batch_size": {"qqp": 3, "sst": 5}}, {"sst": 5, "qqp": 3}),
    ],
)
def test_batch_sizes_are_as_given_or_proportional_to_rows_if_interleaved(changes, expected):
    stage = small_stage(tasks=("sst", "qqp"), **changes)
    assert list(stage.batch_sizes({"qqp": 141_506, "sst": 8_544, "sts": 6_040}).items()) == list(expected.items())


STAGE_FAULTS: dict[str, dict[str, Any]] = {
    "a stage needs exactly one of passes, epochs, steps, examples; given: none. Set one": {"steps": None},
    "given: epochs, steps": {"steps": 2, "epochs": 1},
    "the stage has neither a task nor a text set. Name at least one in tasks or texts": {"tasks": ()},
    "tasks and texts name 'sst' more than once. Name it once": {"tasks": ("sst", "qqp", "sst")},
    "tasks and texts name 'a' more than once. Name it once": {"objective": "mlm", "texts": ("a", "a")},
    "batch_size names sst, but the stage trains qqp, sst, sts. Give a batch size for each of these": {
        "batch_size": {"sst": 4}
    },
    "texts names a, but a supervised stage needs labels. Set texts to []": {"texts": ("a",)},
    "the settings in mlm have no effect with objective 'supervised'. Leave them out": {"mlm": {"share": 0.2}},
    "the settings in mlm have no effect with objective 'simcse'. Leave them out": {
        "objective": "simcse",
        "mlm": {"share": "one"},
    },
    "the settings in simcse have no effect with objective 'mlm'. Leave them out": {
        "objective": "mlm",
        "simcse": {"temperature": 0.1},
    },
    "accumulate 2 leaves objective 'simcse' fewer negatives": {"objective": "simcse", "accumulate": 2},
    "trainable_layers 0 freezes the encoder, but objective 'simcse' trains nothing else": {
        "objective": "simcse",
        "trainable_layers": 0,
    },
    "simcse.supervised needs text sets of two or three columns, and tasks names sst, qqp, sts. Set tasks to []": {
        "objective": "simcse",
        "simcse": {"supervised": True},
        "texts": ("a",),
    },
    "update 'separate' has no effect on sst alone. Use 'together'": {"tasks": ("sst",), "update": "separate"},
    "surgery 'pcgrad' compares the gradients of several tasks, and tasks names 1. Use 'sum'": {
        "tasks": ("sst",),
        "surgery": "pcgrad",
    },
    "surgery 'pcgrad' needs supervised tasks, and the objective is 'mlm'. Use 'sum'": {
        "objective": "mlm",
        "surgery": "pcgrad",
    },
    "surgery 'pcgrad' compares tasks in one optimiser step, and update 'separate' gives each its own step.": {
        "update": "separate",
        "surgery": "pcgrad",
    },
}


@pytest.mark.parametrize("words", STAGE_FAULTS)
def test_a_stage_with_a_contradiction_or_a_setting_without_effect_is_refused(words):
    with pytest.raises(pydantic.ValidationError) as caught:
        small_stage(**STAGE_FAULTS[words])
    assert words in describe(caught.value)
    with pytest.raises(pydantic.ValidationError) as caught:
        small_stage().replace(**STAGE_FAULTS[words])
    assert words in describe(caught.value)


ONE = {"cfimdb": 1.0}
"""A weight for a task that no stage in these tests trains."""
OTHERS = "which no stage trains. The tasks are: sst, qqp, sts"
FAULTS: dict[str, dict[str, Any]] = {
    "no stage has objective 'supervised', so no task would be scored. Add a supervised stage": {
        "stages": (small_stage(objective="mlm"),)
    },
    f"head names task 'cfimdb', {OTHERS}": {"head": {"cfimdb": {}}},
    f"shared_layers names task 'cfimdb', {OTHERS}": {"shared_layers": [{"tasks": ("sts", "cfimdb")}]},
    f"smart names task 'cfimdb', {OTHERS}": {"smart": {"cfimdb": {"lambda_s": 1}}},
    f"bregman.mu names task 'cfimdb', {OTHERS}": {"bregman": {"mu": ONE}},
    f"class_weights names task 'cfimdb', {OTHERS}": {"class_weights": {"cfimdb": (1, 2)}, "also_scored": ("cfimdb",)},
    f"regularisers.r_drop names task 'cfimdb', {OTHERS}": {"regularisers": {"r_drop": ONE}, "also_scored": ("cfimdb",)},
    "shared_layers names task 'sts' more than once. Name it in one layer, once": {
        "shared_layers": [{"tasks": ("qqp", "sts")}, {"tasks": ("sts", "sst")}]
    },
    "shared_layers names task 'qqp' more than once. Name it in one layer, once": {
        "shared_layers": [{"tasks": ("qqp", "qqp")}]
    },
    "smart.sst has no effect with lambda_s 0. Set smart.sst.lambda_s, or leave sst out": {"smart": {"sst": {}}},
    "SMART's settings have no effect with lambda_s 0. Set lambda_s, or leave the settings out": {
        "smart": {"radius": 0.1}
    },
    "regularisers names 'smart', whose weight is another field. Set smart.lambda_s": {"regularisers": {"smart": 1}},
    "regularisers names 'bregman', whose weight is another field. Set bregman.mu": {"regularisers": {"bregman": 1}},
    "Unknown regulariser 'rdrop'; did you mean 'r_drop'? Known: r_drop.": {"regularisers": {"rdrop": 1}},
    "dropout and attention_dropout are 0. Set one of them above 0": {
        "stages": (small_stage(objective="simcse"), small_stage()),
        "dropout": 0,
        "attention_dropout": 0,
    },
    "output 'cosine' uses the cosine alone, without hidden layers or further features": {
        "head": {"output": "cosine", "hidden": (1,)}
    },
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_config_with_a_contradiction_or_a_setting_without_effect_is_refused(words):
    with pytest.raises(pydantic.ValidationError) as caught:
        small_config().replace(**FAULTS[words])
    assert words in describe(caught.value)


def test_a_task_that_is_only_scored_may_have_a_head():
    config = small_config(also_scored=("cfimdb",), head={"cfimdb": {"hidden": (1,)}})
    assert config.head_of("cfimdb").hidden == (1,)
