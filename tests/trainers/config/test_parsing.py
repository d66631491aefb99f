"""Test the parsing of configs from plain data and command lines, and its errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from model.errors import InputError
from tests.conftest import small_config, small_stage
from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.changes import Change
from trainers.config.optimizer_config import OptimizerConfig
from trainers.config.parsing import describe, parse_config, read_config, with_values
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus_record import CorpusRecord
from trainers.data.declared_tasks import TaskDeclaration
from trainers.methods.averaging import AveragingConfig
from trainers.methods.bregman import BregmanConfig
from trainers.methods.mlm import MlmConfig
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import SmartConfig
from trainers.settings import Config

SHARED = ({"tasks": ("qqp", "sts")},)
FOR_ALL = small_config(shared_layers=SHARED)
CHANGING = small_config(changes=[{"round": 2, "values": {"dropout": 0.5}}])
BY_TASK = small_config(shared_layers=SHARED, head={"sst": {}}, smart={"sst": {"lambda_s": 1}})
PLACES: dict[str, tuple[TrainConfig, type[Config]]] = {
    "": (FOR_ALL, TrainConfig),
    "optimizer.": (FOR_ALL, OptimizerConfig),
    "averaging.": (FOR_ALL, AveragingConfig),
    "bregman.": (FOR_ALL, BregmanConfig),
    "smart.": (FOR_ALL, SmartConfig),
    "smart.sst.": (BY_TASK, SmartConfig),
    "head.": (FOR_ALL, HeadConfig),
    "head.sst.": (BY_TASK, HeadConfig),
    "shared_layers.0.": (FOR_ALL, SharedLayer),
    "stages.0.": (FOR_ALL, Stage),
    "stages.0.mlm.": (FOR_ALL, MlmConfig),
    "stages.0.simcse.": (FOR_ALL, SimcseConfig),
    "changes.0.": (CHANGING, Change),
}
"""Start of a dotted path -> a config that has this path, and the class of the config there."""
FIELDS = [(config, prefix, kind, field) for prefix, (config, kind) in PLACES.items() for field in kind.model_fields]
FLOATS = [
    (config, prefix + field)
    for config, prefix, kind, field in FIELDS
    if "'type': 'number'" in str(kind.model_json_schema()["properties"][field])
    and "'type': 'object'" not in str(kind.model_json_schema()["properties"][field])
]

every_place = pytest.mark.parametrize(
    ("prefix", "config", "kind"), [(prefix, *what) for prefix, what in PLACES.items()]
)
every_field = pytest.mark.parametrize(
    ("config", "prefix", "kind", "field"), FIELDS, ids=[prefix + field for _, prefix, _, field in FIELDS]
)


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every field that a user can set."""
    if isinstance(data, dict) and data:
        inside = data.items()
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        inside = enumerate(data)
    else:
        yield path.removeprefix("."), data
        return
    for name, value in inside:
        yield from leaves(value, f"{path}.{name}")


def at(data: Any, prefix: str) -> dict[str, Any]:
    """Return the plain data at a path."""
    for name in prefix.split(".")[:-1]:
        data = data[int(name) if name.isdecimal() else name]
    return data


@pytest.mark.parametrize("config", [FOR_ALL, BY_TASK, CHANGING, small_config(bregman={"mu": {"sst": 1}})])
def test_setting_every_field_to_its_own_value_changes_nothing(config):
    assignments = [f"{path}={json.dumps(value)}" for path, value in leaves(config.model_dump(mode="json"))]
    assert len(assignments) > 50
    assert with_values(config, assignments) == config


def test_a_value_is_set_at_any_depth():
    config = small_config(small_stage(), small_stage())
    changed = with_values(
        config,
        [
            "smart.lambda_s=5",
            "encoder=some/where",
            "optimizer.betas.1=0.98",
            "optimizer.clip_norm=null",
            'head={"sst": {"hidden": [1]}}',
            "head.sst.hidden=[2, 0.5]",
            "bregman.mu=2",
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
    assert changed.smart_of("qqp").lambda_s == 5
    assert changed.encoder == "some/where"
    assert changed.optimizer.betas == (0.9, 0.98) and changed.optimizer.clip_norm is None
    assert (changed.head_of("sst").hidden, changed.head_of("qqp").hidden) == ((2, 0.5), ())
    assert changed.bregman.mu == 2
    assert changed.stages[0] == config.stages[0]
    assert changed.stages[1].batch_sizes({}) == {"sst": 3, "sts": 5}
    assert (changed.stages[1].steps, changed.stages[1].passes) == (None, 2.5)
    assert changed.stages[1].batch_schedule == "cycle"
    assert changed.seed == 2, "the later of two values counts"
    assert config == small_config(small_stage(), small_stage()), "the config itself was changed"


def test_a_new_duration_of_a_stage_replaces_the_old_one():
    (stage,) = with_values(small_config(), ["stages.0.passes=2", "stages.0.epochs=3"]).stages
    assert (stage.passes, stage.epochs, stage.steps, stage.examples) == (None, 3, None, None)


def test_a_single_regulariser_may_be_added_by_its_path():
    assert with_values(small_config(), ["regularisers.r_drop=2"]).regularisers == {"r_drop": 2}


def test_these_tests_cover_every_kind_of_config():
    parts = {kind for kind in Config.__subclasses__() if kind.__module__.startswith("trainers.")}
    inner = parts - {TaskDeclaration, CorpusRecord}  # of the data, not of a run
    assert {kind for _, kind in PLACES.values()} == inner


@every_field
def test_the_error_of_an_unknown_field_names_the_nearest_field_of_the_same_config(config, prefix, kind, field):
    misspelt = field[:-1] + "_"
    with pytest.raises(InputError, match=f"did you mean '{field}'"):
        with_values(config, [f"{prefix}{misspelt}=1"])
    data = config.model_dump(mode="json")
    at(data, prefix)[misspelt] = 1
    with pytest.raises(InputError, match=f"did you mean '{field}'"):
        parse_config(data)


@every_place
def test_the_error_of_a_config_built_alone_names_the_nearest_field_too(prefix, config, kind):
    whole = at(config.model_dump(mode="json"), prefix)
    for field in kind.model_fields:
        with pytest.raises(pydantic.ValidationError) as caught:
            kind.model_validate({**whole, field[:-1] + "_": 1})
        assert f"did you mean '{field}'" in describe(caught.value)


@every_field
def test_a_copy_with_new_values_is_validated_like_a_new_config(config, prefix, kind, field):
    whole = kind.model_validate(at(config.model_dump(mode="json"), prefix))
    assert whole.replace(**{field: getattr(whole, field)}) == whole
    with pytest.raises(pydantic.ValidationError):
        whole.replace(**{field: object()})
    with pytest.raises(pydantic.ValidationError):
        whole.replace(**{field + "_": 1})


@pytest.mark.parametrize(("config", "path"), FLOATS, ids=[path for _, path in FLOATS])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-1", "much"])
def test_a_number_that_is_not_finite_is_refused_in_every_field(config, path, value):
    several = {"betas": f"[{value}, {value}]", "hidden": f"[{value}]"}
    value = several.get(path.split(".")[-1], value) if value != "much" else value
    with pytest.raises(InputError, match=rf"^Config field {path}[.0-9]*: "):
        with_values(config, [f"{path}={value}"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("smart.lambda_s", "has no '='. Write field=value"),
        ("=5", "Unknown config field"),
        ("", "has no '='. Write field=value"),
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
        ("bregman.mu.sst=5", "Unknown config field"),
        ("smart.sst.lambda_s=5", "Unknown config field"),
        ("stages=[]", "Config field stages: "),
        ("stages=5", "Config field stages: "),
        ("stages.0.steps=null", "a stage needs exactly one of passes, epochs, steps, examples; given: none. Set one"),
        ("stages.0.steps=1.5", "Config field stages.0.steps: "),
        ("stages.0.steps=0", "Config field stages.0.steps: "),
        ("stages.0.accumulate=0", "Config field stages.0.accumulate: "),
        ("stages.0.trainable_layers=-1", "Config field stages.0.trainable_layers: "),
        ("stages.0.batch_size=0", "Config field stages.0.batch_size: "),
        ('stages.0.batch_size={"sst": 0}', "Config field stages.0.batch_size.sst: "),
        ("stages.0.tasks=[]", "Config field stages.0: the stage has neither a task nor a text set"),
        ("stages.0.update=seperate", "Config field stages.0.update: .*'separate'"),
        ("stages.0.objective=supervise", "Unknown objective 'supervise'; did you mean 'supervised'"),
        ("stages.0.batch_schedule=cycel", "Unknown batch schedule 'cycel'; did you mean 'cycle'"),
        ("stages.0.surgery=pcgrd", "Unknown surgery 'pcgrd'; did you mean 'pcgrad'"),
        ("stages.0.mlm.share=two", "Config field stages.0.mlm.share: "),
        ("stages.0.mlm.pairs=single", "Config field stages.0.mlm.pairs: "),
        ("pairs=seperate", "Config field pairs: .*'separate'"),
        ("pooling=cls", "Config field pooling: .*'first'"),
        ("head=[]", "Config field head: "),
        ("head.features=u_w", "Unknown features 'u_w'; did you mean 'u_v'"),
        ("head.activation=rel", "Unknown activation 'rel'; did you mean 'relu'"),
        ("head.output=sigmo", "Config field head.output: Unknown output 'sigmo'; did you mean 'sigmoid'"),
        ('head={"sst": {"output": "sigmo"}}', "Config field head.sst.output: Unknown output 'sigmo'"),
        ('shared_layers=[{"tasks": ["sst"]}]', "Config field shared_layers.0.tasks: "),
        ("smart=5", "Config field smart: "),
        ('smart={"sst": {"lambda_s": 1}, "qqp": 5}', "Config field smart.qqp: "),
        ('smart={"sst": {"lambda_s": -1}}', "Config field smart.sst.lambda_s: "),
        ("smart.norm=l2_tokens", "Unknown norm 'l2_tokens'; did you mean 'l2_token'"),
        ("smart.dropout=on", "Config field smart.dropout: .*'tied', 'off' or 'untied'"),
        ("smart.ascent_steps=0", "Config field smart.ascent_steps: "),
        ("smart.share=0", "Config field smart.share: "),
        ("bregman.mu=-1", "Config field bregman.mu: "),
        ('bregman.mu={"sst": -1}', "Config field bregman.mu.sst: "),
        ('regularisers={"r_drop": {"sst": -1}}', "Config field regularisers.r_drop.sst: "),
        ('regularisers={"rdrop": 1}', "Unknown regulariser 'rdrop'; did you mean 'r_drop'"),
        ('class_weights={"sst": [1, 0]}', "Config field class_weights.sst.1: "),
        ("averaging.kind=em", "Config field averaging.kind: .*'ema'"),
        ("dropout=1", "Config field dropout: "),
        ("optimizer.warmup=1", "Config field optimizer.warmup: "),
        ("optimizer.layer_decay=0", "Config field optimizer.layer_decay: "),
        ("optimizer.betas=[0.9]", "Config field optimizer.betas.1: "),
        ("optimizer.betas=[0.9, 1]", "Config field optimizer.betas.1: "),
        ("seed=-1", "Config field seed: "),
        ('changes=[{"round": 0, "values": {}}]', "Config field changes.0.round: "),
        ('changes=[{"round": 2, "values": {"dropout": 1}}]', "Config field dropout: "),
        ('changes=[{"round": 2, "values": {"dropot": 0}}]', "changes of round 2: 'dropot'; did you mean 'dropout'"),
    ],
)  # fmt: skip
def test_the_error_of_a_bad_value_names_the_field_or_the_value(assignment, message):
    with pytest.raises(InputError, match=message) as caught:
        with_values(small_config(), [assignment])
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["{small_outputs: 0.01}", "{'small_outputs': 0.01}", "[a, b]", "(1, 2)", "'a'", '"a', '{"a": 1,}', "[" * 100_000],
)
def test_a_value_that_begins_like_json_but_is_none_is_an_error_that_says_what_json_wants(value):
    with pytest.raises(InputError) as raised:
        with_values(small_config(), [f"regularisers={value}"])
    text = str(raised.value)
    assert text.startswith("--set regularisers: the value is not JSON (") and len(text) < 300
    assert 'Write names and text in double quotes, as in {"name": 0.5}' in text


def test_a_number_of_thousands_of_digits_is_an_error_of_its_field():
    with pytest.raises(InputError, match="Config field dropout"):
        with_values(small_config(), ["dropout=" + "9" * 5000])


def test_a_config_is_read_from_a_file(tmp_path: Path):
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + CHANGING.model_dump_json().encode())
    assert read_config(tmp_path / "config.json") == CHANGING


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", r"line 1: .*"),
        (b'{"seed": 1, "seed": 2}', "'seed' occurs twice in one object"),
        (b'{"dropout": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "its values are nested too deeply"),
        (b"\xff", "byte 0xff is not UTF-8"),
    ],
)
def test_a_file_that_is_not_plain_json_is_an_error_of_one_line(tmp_path: Path, content: bytes, fault: str):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"^/.*/config\.json holds no config: {fault}\. Pass a trial's [^\n]*$"):
        read_config(tmp_path / "config.json")


def test_a_config_that_is_no_ordinary_file_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="it is no ordinary file"):
        read_config(tmp_path)


def test_a_long_value_is_shortened_in_the_error_of_its_field(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"dropout": "9" * 5000}))
    with pytest.raises(InputError, match=r"^Config field dropout: .{1,200}$"):
        read_config(tmp_path / "config.json")
