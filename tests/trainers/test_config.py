"""Configs: nothing gets lost in JSON, and nothing wrong gets in."""

import json
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import InputError
from model.heads import HEADS, PAIR_FEATURES
from tests.conftest import small_config, small_stage
from trainers.batch_schedules import BATCH_SCHEDULES
from trainers.config import (
    DURATIONS,
    SECTIONS,
    OptimizerConfig,
    Stage,
    TrainConfig,
    describe,
    parse_config,
    with_values,
)
from trainers.frozen import Config
from trainers.objectives import OBJECTIVES
from trainers.smart import NORMS, SmartConfig
from trainers.surgery import SURGERIES
from trainers.tasks import TASKS

POSITIVE = st.floats(0, 1e300, exclude_min=True)
SHARES = st.floats(0, 1, exclude_max=True)
COUNTS = st.integers(1, 10**12)
PREFIXES: dict[type[Config], str] = {TrainConfig: ""} | {
    kind: "stages.0." if name == "stages" else f"{name}." for name, kind in SECTIONS.items()
}
"""Kind of config -> how a user's path to one of its fields begins."""
FIELDS = [(kind, prefix, field) for kind, prefix in PREFIXES.items() for field in kind.model_fields]
FLOATS = [
    prefix + field
    for kind, prefix, field in FIELDS
    if "'type': 'number'" in str(kind.model_json_schema()["properties"][field])
]

every_field = pytest.mark.parametrize(
    ("kind", "prefix", "field"), FIELDS, ids=[prefix + field for _, prefix, field in FIELDS]
)


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    tasks = draw(st.lists(st.sampled_from(list(TASKS)), min_size=1, unique=True))
    sizes = st.fixed_dictionaries(dict.fromkeys(tasks, COUNTS))
    duration = draw(st.sampled_from(DURATIONS))
    lasts: Any = draw(COUNTS if duration in ("steps", "examples") else POSITIVE)
    return Stage(
        objective=draw(st.sampled_from(list(OBJECTIVES))),
        tasks=tuple(tasks),
        batch_schedule=draw(st.sampled_from(list(BATCH_SCHEDULES))),
        batch_size=draw(COUNTS | sizes),
        surgery=draw(st.sampled_from(list(SURGERIES))) if len(tasks) > 1 else "sum",
        learning_rate=draw(POSITIVE),
        rounds=draw(COUNTS),
        **{duration: lasts},
    )


CONFIGS = st.builds(
    TrainConfig,
    encoder=st.text(),
    pairs=st.sampled_from(["concatenated", "separate"]),
    pair_features=st.sampled_from(list(PAIR_FEATURES)),
    head=st.sampled_from(list(HEADS)),
    dropout=SHARES,
    attention_dropout=SHARES,
    head_dropout=SHARES,
    smart=st.builds(
        SmartConfig,
        lambda_s=st.just(0.0) | POSITIVE,
        norm=st.sampled_from(list(NORMS)),
        radius=POSITIVE,
        step_size=POSITIVE,
        noise_scale=POSITIVE,
        ascent_steps=COUNTS,
    ),
    optimizer=st.builds(
        OptimizerConfig,
        betas=st.tuples(SHARES, SHARES),
        eps=POSITIVE,
        weight_decay=st.just(0.0) | POSITIVE,
        clip_norm=st.none() | POSITIVE,
        warmup=SHARES,
    ),
    stages=st.lists(stages(), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**63),
)


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a user can set: dotted paths with their values."""
    if isinstance(data, dict):
        inside = data.items()
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        inside = enumerate(data)
    else:
        yield path.removeprefix("."), data
        return
    for name, value in inside:
        yield from leaves(value, f"{path}.{name}")


@settings(max_examples=60)
@given(CONFIGS)
def test_json_loses_nothing(config):
    text = config.model_dump_json()
    assert TrainConfig.model_validate_json(text) == config
    assert TrainConfig.model_validate_json(text).model_dump_json() == text
    assert parse_config(json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))) == config


@settings(max_examples=25)
@given(CONFIGS)
def test_setting_every_field_to_what_it_is_changes_nothing(config):
    assignments = [f"{path}={json.dumps(value)}" for path, value in leaves(config.model_dump(mode="json"))]
    assert with_values(config, assignments) == config


def test_a_value_is_set_wherever_it_lies():
    config = small_config(small_stage(), small_stage())
    changed = with_values(
        config,
        [
            "smart.lambda_s=5",
            "encoder=some/where",
            "optimizer.betas.1=0.98",
            "optimizer.clip_norm=null",
            'stages.1.tasks=["sst","sts"]',
            'stages.1.batch_size={"sst": 3, "sts": 4}',
            "stages.1.batch_size.sts=5",
            "stages.1.steps=null",
            "stages.1.passes=2.5",
            "stages.1.batch_schedule=cycle",
            "seed=1",
            "seed=2",
        ],
    )
    assert changed.smart.lambda_s == 5
    assert changed.encoder == "some/where"
    assert changed.optimizer.betas == (0.9, 0.98) and changed.optimizer.clip_norm is None
    assert changed.stages[0] == config.stages[0]
    assert changed.stages[1].batch_sizes() == {"sst": 3, "sts": 5}
    assert (changed.stages[1].steps, changed.stages[1].passes) == (None, 2.5)
    assert changed.stages[1].batch_schedule == "cycle"
    assert changed.seed == 2, "the later of two values counts"
    assert config == small_config(small_stage(), small_stage()), "the config itself was changed"


@every_field
def test_an_unknown_field_is_told_with_the_nearest_of_its_section(kind, prefix, field):
    misspelt = prefix + field[:-1] + "_"
    with pytest.raises(InputError, match=f"did you mean '{field}'"):
        with_values(small_config(), [f"{misspelt}=1"])
    data = small_config().model_dump(mode="json")
    place = data["stages"][0] if kind is Stage else data[prefix[:-1]] if prefix else data
    place[field[:-1] + "_"] = 1
    with pytest.raises(InputError, match=f"did you mean '{field}'"):
        parse_config(data)


@every_field
def test_a_section_made_alone_names_the_nearest_field_too(kind, prefix, field):
    with pytest.raises(pydantic.ValidationError) as caught:
        kind.model_validate({**required(kind), field[:-1] + "_": 1})
    assert f"did you mean '{field}'" in describe(caught.value)


def required(kind: type[Config]) -> dict[str, Any]:
    needed: dict[type[Config], dict[str, Any]] = {Stage: {"steps": 1}, TrainConfig: {"stages": [{"steps": 1}]}}
    return needed.get(kind, {})


@pytest.mark.parametrize("path", FLOATS)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-1", "much"])
def test_a_number_that_is_none_is_refused_wherever_one_is_read(path, value):
    value = f"[{value}, {value}]" if path.endswith("betas") and value != "much" else value
    with pytest.raises(InputError, match=rf"Config field {path}"):
        with_values(small_config(), [f"{path}={value}"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("smart.lambda_s", "there is no '='"),
        ("=5", "Unknown config field"),
        ("", "there is no '='"),
        ("stages.1.steps=5", "Known: 0"),
        ("stages.-1.steps=5", "Known: 0"),
        ("stages.x=5", "Known: 0"),
        ("stages.².steps=5", "Known: 0"),
        ("stages..steps=5", "Known: 0"),
        ("dropout.x=5", "Unknown config field"),
        ("encoder.0=x", "Unknown config field"),
        ("seed.x=5", "Unknown config field"),
        ("optimizer.clip_norm.x=5", "Unknown config field"),
        ("stages.0.batch_size.sst=5", "Unknown config field"),
        ("stages=[]", "Config field stages: "),
        ("stages=5", "Config field stages: "),
        ("stages.0.steps=null", "lasts exactly one of passes, epochs, steps, examples; given: none"),
        ("stages.0.epochs=1", "given: epochs, steps"),
        ("stages.0.steps=1.5", "Config field stages.0.steps: "),
        ("stages.0.steps=0", "Config field stages.0.steps: "),
        ("stages.0.batch_size=0", "Config field stages.0.batch_size"),
        ('stages.0.batch_size={"sst": 4}', r"batch_size is for \['sst'\], the stage trains \['qqp', 'sst', 'sts'\]"),
        ("stages.0.tasks=[]", "Config field stages.0.tasks: "),
        ('stages.0.tasks=["sst", "sst"]', "task 'sst' is named twice"),
        ('stages.0.tasks=["ssst"]', "Unknown task 'ssst'; did you mean 'sst'"),
        ("stages.0.objective=supervise", "Unknown objective 'supervise'; did you mean 'supervised'"),
        ("stages.0.batch_schedule=smrt", "Unknown batch schedule 'smrt'; did you mean 'smart'"),
        ("stages.0.surgery=pcgrd", "Unknown surgery 'pcgrd'; did you mean 'pcgrad'"),
        ("head=linea", "Unknown head 'linea'; did you mean 'linear'"),
        ("pair_features=u_w", "Unknown pair features 'u_w'; did you mean 'u_v'"),
        ("pairs=seperate", "Config field pairs: .*'separate'"),
        ("smart.norm=l2_tokens", "Unknown norm 'l2_tokens'; did you mean 'l2_token'"),
        ("smart.ascent_steps=0", "Config field smart.ascent_steps: "),
        ("dropout=1", "Config field dropout: "),
        ("optimizer.warmup=1", "Config field optimizer.warmup: "),
        ("optimizer.betas=[0.9]", "Config field optimizer.betas.1: "),
        ("optimizer.betas=[0.9, 1]", "Config field optimizer.betas.1: "),
        ("seed=-1", "Config field seed: "),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_sentence_that_names_field_or_value(assignment, message):
    with pytest.raises(InputError, match=message) as caught:
        with_values(small_config(), [assignment])
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_surgery_needs_two_tasks():
    with pytest.raises(pydantic.ValidationError) as caught:
        small_stage(tasks=("sst",), surgery="pcgrad")
    assert "nothing to compare in a stage of one task; use 'sum'" in describe(caught.value)


@every_field
def test_a_copy_with_other_values_is_checked_as_if_made_anew(kind, prefix, field):
    whole = kind.model_validate(required(kind))
    assert whole.replace(**{field: getattr(whole, field)}) == whole
    with pytest.raises(pydantic.ValidationError):
        whole.replace(**{field: object()})
    with pytest.raises(pydantic.ValidationError):
        whole.replace(**{field + "_": 1})


def test_scored_tasks_are_those_of_all_stages_in_order_of_first_use():
    first, second = small_stage(tasks=("qqp",)), small_stage(tasks=("sst", "qqp"))
    assert small_config(first, second).tasks == ("qqp", "sst")
    assert small_config(second, first).tasks == ("sst", "qqp")
