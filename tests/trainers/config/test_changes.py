"""Test configs with changes during a run: results depend only on the config, also after resuming and cloning."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import interrupted, outcome, small_config, small_stage
from tests.trainers.config.test_train_config import configs
from trainers.config.changes import MAY_CHANGE, may_change
from trainers.config.dotted_paths import difference, locate_field
from trainers.config.parsing import describe
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import next_rows
from trainers.folder import Folder
from trainers.methods.batch_schedules import BATCH_SCHEDULES
from trainers.training.rounds import RoundRow
from trainers.training.step_plan import Step, plan_steps, plan_with_changes
from trainers.training.training import Training
from trainers.trial import Origin, read_rows, run_trial

SMOOTH = {"lambda_s": 1.0}
BREGMAN = {"mu": 1.0, "early_beta": 0.75, "beta": 0.5}


def changing(config: TrainConfig, **values: Any) -> TrainConfig:
    """Return a config with new values from given rounds on: round_2={...}."""
    rounds = {int(name.removeprefix("round_")): found for name, found in values.items()}
    return config.replace(changes=[{"round": round, "values": found} for round, found in rounds.items()])


# Which changes are valid.


@settings(max_examples=10)
@given(configs(), configs())
def test_the_difference_of_two_configs_turns_one_into_the_other(one, other):
    before, after = (config.model_dump(mode="json") for config in (one, other))
    for path, value in difference(before, after).items():
        place, key = locate_field(before, path, "")
        place[key] = value
    assert before == after
    assert difference(after, after) == {}


def test_a_difference_names_the_fields_that_differ_and_no_others():
    one = small_config(small_stage(learning_rate=1e-3, batch_size={"sst": 1, "qqp": 2, "sts": 3}))
    other = one.replace(
        smart=SMOOTH, stages=(one.stages[0].replace(learning_rate=1, batch_size={"sst": 1, "qqp": 4, "sts": 3}),)
    )
    assert difference(one.model_dump(mode="json"), other.model_dump(mode="json")) == {
        "smart.lambda_s": 1,
        "stages.0.learning_rate": 1,
        "stages.0.batch_size.qqp": 4,
    }


def test_the_config_of_a_round_has_all_changes_up_to_the_round():
    config = changing(
        small_config(small_stage(rounds=5)), round_2={"dropout": 0.3, "smart.lambda_s": 2}, round_4={"dropout": 0}
    )
    assert [config.at(round).dropout for round in range(1, 6)] == [0.1, 0.3, 0.3, 0, 0]
    assert [config.at(round).smart_of("sst").lambda_s for round in range(1, 6)] == [0, 2, 2, 2, 2]
    assert config.at(1) == config.replace(changes=())
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


FIXED = {
    "encoder": "minilm:2",
    "precision": "bfloat16",
    "pairs": "separate",
    "pooling": "mean",
    "head.hidden": [1],
    "shared_layers": [{"tasks": ["sst", "qqp"]}],
    "averaging.kind": "ema",
    "averaging": {"kind": "none", "beta": 0.5},
    "stages.0.steps": 8,
    "stages.0.rounds": 1,
    "stages.0.tasks": ["sst"],
    "stages.0.objective": "mlm",
    "stages.0.batch_schedule": "cycle",
    "stages.0.update": "separate",
    "stages.0.surgery": "pcgrad",
    "stages.0.trainable_layers": 1,
    "stages": [small_stage().model_dump(mode="json")],
    "also_scored": ["cfimdb"],
    "seed": 1,
}


@pytest.mark.parametrize("path", FIXED)
def test_the_model_the_tasks_the_stages_and_the_rounds_may_not_change(path):
    with pytest.raises(pydantic.ValidationError) as caught:
        changing(small_config(), round_2={path: FIXED[path]})
    assert f"{path} cannot change during a run; round 2 changes it. Change only dropout, " in describe(caught.value)


def test_every_field_is_listed_as_changeable_or_as_fixed():
    listed = {part for path in [*FIXED, *MAY_CHANGE] for part in path.split(".")} | {"changes"}
    listed |= {"passes", "epochs", "examples", "texts", "mlm", "simcse", "accumulate"}  # further fields of a stage
    assert {*TrainConfig.model_fields, *Stage.model_fields} <= listed
    assert not any(may_change(path) for path in FIXED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(2, {}), (2, {})], "changes has the rounds 2, 2. Name each round once, in ascending order"),
        ([(2, {}), (1, {})], "changes has the rounds 2, 1. Name each round once, in ascending order"),
        ([(3, {})], "changes names round 3, but the run has 2 rounds. Name an earlier round"),
        ([(2, {"dropout": 1.5})], "Config field dropout: "),
        ([(2, {"smart": {"sst": {}}})], "smart.sst has no effect with lambda_s 0"),
        ([(2, {"bregman.mu": 1})], "round 2 turns bregman on or off"),
        ([(2, {"dropot": 0})], "Unknown config field in the changes of round 2: 'dropot'; did you mean 'dropout'"),
        ([(2, {"stages.1.learning_rate": 0.1})], "Unknown config field in the changes of round 2: '1'"),
    ],
)
def test_invalid_changes_are_refused(changes, message):
    with pytest.raises(pydantic.ValidationError) as caught:
        small_config(changes=[{"round": round, "values": values} for round, values in changes])
    assert message in describe(caught.value)


# The plan.

SIZES = {"sst": 40, "qqp": 70, "sts": 23}
BATCH_SIZES = st.fixed_dictionaries(dict.fromkeys(SIZES, st.integers(1, 12)))


@st.composite
def schedules(draw: st.DrawFn) -> TrainConfig:
    """Draw configs with one stage, counted in examples, whose batch sizes change up to twice."""
    name, rounds, passes = draw(st.sampled_from(list(BATCH_SCHEDULES))), draw(st.integers(2, 4)), draw(st.floats(2, 4))
    stage = small_stage(batch_schedule=name, batch_size=draw(BATCH_SIZES), rounds=rounds, passes=passes)
    places = sorted(draw(st.sets(st.integers(1, rounds), min_size=1, max_size=2)))
    return changing(small_config(stage), **{f"round_{at}": {"stages.0.batch_size": draw(BATCH_SIZES)} for at in places})


def examples(step: Step) -> int:
    return sum(step.rows.values())


@settings(max_examples=40)
@given(schedules())
def test_a_plan_with_changes_takes_the_streams_in_order_and_counts_its_rows(config):
    steps, rounds = plan_with_changes(config, SIZES)
    assert [step.examples for step in steps] == np.cumsum([examples(step) for step in steps]).tolist()
    assert (rounds[0].start, rounds[-1].stop, len(rounds)) == (0, len(steps), config.stages[0].rounds)
    assert all(one.stop == other.start for one, other in pairwise(rounds))
    taken = dict.fromkeys(SIZES, 0)
    for round in rounds:
        now = config.at(round.number).stages[0].batch_sizes(SIZES)
        for step in steps[round.start : round.stop]:
            for task, count in step.rows.items():
                assert len(next_rows(SIZES[task], 0, task, taken[task], count)) == count <= now[task]
                assert count == now[task] or (taken[task] + count) % SIZES[task] == 0, "a short batch ends a pass"
                taken[task] += count


@settings(max_examples=40)
@given(schedules())
def test_rounds_of_a_changed_plan_have_equally_many_examples_up_to_a_few_steps(config):
    parts = [config.at(round) for round in (1, *(change.round for change in config.changes))]
    slack = max(examples(step) for part in parts for step in plan_steps(part, SIZES))
    _, rounds = plan_with_changes(config, SIZES)
    share = (config.stages[0].passes or 0) * sum(SIZES.values()) / len(rounds)
    for start, end in pairwise([0, *(round.examples for round in rounds)]):
        assert abs(end - start - share) < 2 * slack


@settings(max_examples=40)
@given(schedules())
def test_a_change_does_not_affect_the_steps_before_it(config):
    *earlier, last = config.changes
    (steps, rounds), (before, earlier_rounds) = (
        plan_with_changes(config, SIZES),
        plan_with_changes(config.replace(changes=earlier), SIZES),
    )
    start = rounds[last.round - 1].start
    assert (steps[:start], rounds[: last.round - 1]) == (before[:start], earlier_rounds[: last.round - 1])


def test_warm_up_and_decay_continue_with_the_new_number_of_steps():
    stage = small_stage(passes=1, rounds=4, batch_schedule="cycle", batch_size=6)
    sizes = dict.fromkeys(SIZES, 48)
    steps, rounds = plan_with_changes(changing(small_config(stage), round_3={"stages.0.batch_size": 12}), sizes)
    shares = [step.done / step.steps for step in steps]
    assert [{step.steps for step in steps[round.start : round.stop]} for round in rounds] == [{8}, {8}, {4}, {4}]
    assert shares == [0, 1 / 8, 2 / 8, 3 / 8, 2 / 4, 3 / 4]


def test_a_change_to_the_same_values_does_not_change_the_plan():
    config = small_config(small_stage(tasks=("qqp",)), small_stage(passes=2, rounds=5, batch_size=7))
    same = changing(config, round_2={"dropout": 0.1}, round_4={"stages.1.batch_size": 7})
    assert plan_with_changes(same, SIZES) == plan_with_changes(config, SIZES)


# Training.

STAGE = small_stage(batch_schedule="cycle", batch_size=6, passes=0.5, rounds=3)  # 4 steps: 2, 1, 1
PLAIN = small_config(STAGE)
RICH = small_config(
    small_stage(tasks=("qqp",), steps=1, rounds=1),
    STAGE.replace(trainable_layers=1, surgery="gradvac", rounds=2),
    smart={"lambda_s": 1.0, "every": 2},
    bregman=BREGMAN,
    averaging={"kind": "ema", "beta": 0.9},
)

CHANGED: dict[str, tuple[TrainConfig, dict[str, Any]]] = {
    "learning rate": (PLAIN, {"stages.0.learning_rate": 1e-3}),
    "dropout": (PLAIN, {"dropout": 0.5}),
    "no dropout, then some": (PLAIN.replace(dropout=0), {"dropout": 0.5}),
    "attention dropout": (PLAIN, {"attention_dropout": 0.5}),
    "head dropout": (PLAIN, {"head_dropout": 0.5}),
    "SMART from nothing": (PLAIN, {"smart.lambda_s": 1.0}),
    "SMART to nothing": (PLAIN.replace(smart=SMOOTH), {"smart.lambda_s": 0.0}),
    "SMART for one task": (PLAIN.replace(smart=SMOOTH), {"smart": {"sts": {"lambda_s": 5.0}}}),
    "mu": (PLAIN.replace(bregman=BREGMAN), {"bregman.mu": 5.0}),
    "the teacher's pace, and its dropout": (PLAIN.replace(bregman=BREGMAN), {"bregman.beta": 0.1, "dropout": 0.5}),
    "R-Drop": (PLAIN, {"regularisers.r_drop": 1.0}),
    "weights of classes": (PLAIN, {"class_weights.sst": [1, 2, 3, 2, 1]}),
    "batch sizes": (PLAIN, {"stages.0.batch_size": 9}),
    "batch ratios": (PLAIN, {"stages.0.batch_size": {"sst": 2, "qqp": 11, "sts": 5}}),
    "averaging": (PLAIN.replace(averaging={"kind": "ema"}), {"averaging.beta": 0.1}),
    "betas": (PLAIN, {"optimizer.betas": [0.5, 0.5]}),
    "weight decay from nothing": (PLAIN.replace(optimizer={"weight_decay": 0}), {"optimizer.weight_decay": 0.5}),
    "a rate for each layer": (PLAIN, {"optimizer.layer_decay": 0.5}),
    "warm-up and clipping": (PLAIN, {"optimizer": {"warmup": 0.5, "decay": False, "clip_norm": 0.01}}),
    "everything at once": (
        RICH,
        {
            "dropout": 0.5,
            "smart.lambda_s": 3.0,
            "bregman.mu": 2.0,
            "stages.1.batch_size": 4,
            "optimizer.layer_decay": 0.9,
        },
    ),
}


class Runs:
    """Start runs on one corpus from the same pretrained weights."""

    def __init__(self, corpus, pretrained):
        self.corpus, self.pretrained = corpus, pretrained
        self.unchanged: dict[str, dict[str, Any]] = {}
        """Config as JSON -> the results of a run with it."""

    def rows(self, folder: Folder, config: TrainConfig, origin: Origin | None = None) -> Iterator[RoundRow]:
        return run_trial(folder, config, self.corpus, self.pretrained, dev_limit=6, origin=origin)

    def whole(self, folder: Folder, config: TrainConfig, origin: Origin | None = None) -> dict[str, Any]:
        """Train to the end and return the results."""
        assert list(self.rows(folder, config, origin))[-1].last
        return outcome(folder)

    def without_changes(self, folder: Folder, config: TrainConfig) -> dict[str, Any]:
        """Return the results of a run with a config that several tests share; train it once."""
        key = config.model_dump_json()
        if key not in self.unchanged:
            self.unchanged[key] = self.whole(folder, config)
        return self.unchanged[key]


@pytest.fixture(scope="module")
def runs(corpus, pretrained) -> Runs:
    return Runs(corpus, pretrained)


def behind(result: dict[str, Any], round: int) -> dict[str, Any]:
    """Return the results of a run after a round."""
    later = {
        kind: {name: digest for name, digest in result[kind].items() if int(name[:5]) > round}
        for kind in ("predictions", "weights")
    }
    return later | {"rows": [row for row in result["rows"] if row.round > round]}


@pytest.mark.parametrize("name", CHANGED)
def test_a_clone_that_continues_with_changes_ends_with_the_bits_of_an_uninterrupted_run(name, runs, tmp_path):
    base, values = CHANGED[name]
    config = changing(base, round_3=values)
    fresh = runs.whole(Folder.at(tmp_path / "fresh"), config)
    donor, clone = Folder.at(tmp_path / "donor"), Folder.at(tmp_path / "clone")
    without = runs.without_changes(Folder.at(tmp_path / "without"), base)
    assert behind(fresh, 2) != behind(without, 2), "the change does something"
    rows = runs.rows(donor, base)
    assert [next(rows).round for _ in range(2)] == [1, 2]
    assert runs.whole(clone, config, Origin(donor, 2)) == behind(fresh, 2)


@pytest.mark.parametrize("name", CHANGED)
def test_a_run_with_changes_that_is_killed_ends_with_the_same_bits(name, runs, tmp_path):
    base, values = CHANGED[name]
    config, folder = changing(base, round_2=values, round_3={"dropout": 0.25}), Folder.at(tmp_path / "killed")
    expected = runs.whole(Folder.at(tmp_path / "whole"), config)
    ends = [0, *(row.steps for row in expected["rows"])]
    for start, end in pairwise(ends):  # in every round
        with interrupted(end - start):
            list(runs.rows(folder, config))
        assert len(read_rows(folder)) == ends.index(start)
        next(rows := runs.rows(folder, config))
        if start:  # a resumed run reports its last row again
            next(rows)
    assert runs.whole(folder, config) == expected


def test_a_change_to_the_same_values_keeps_all_bits(runs, tmp_path):
    values = {"dropout": 0.1, "smart.lambda_s": 1.0, "stages.1.batch_size": 6}
    expected = runs.whole(Folder.at(tmp_path / "whole"), RICH)
    assert runs.whole(Folder.at(tmp_path / "turned"), changing(RICH, round_2=values, round_3={})) == expected


def test_a_change_without_effect_keeps_all_bits(runs, tmp_path):
    config = RICH.replace(averaging={"kind": "none"})
    expected = runs.whole(Folder.at(tmp_path / "whole"), config)
    turned = changing(config, round_2={"averaging.beta": 0.5}, round_3={"averaging.beta": 0.6})
    assert runs.whole(Folder.at(tmp_path / "turned"), turned) == expected, "model, teacher and moments stay"


def test_a_clone_of_a_clone_without_its_origin_trains_from_the_start_and_reports_its_own_rounds(runs, tmp_path):
    first = changing(PLAIN, round_2={"dropout": 0.5})
    second = changing(PLAIN, round_2={"dropout": 0.5}, round_3={"smart.lambda_s": 1.0})
    donor, clone, gone = (Folder.at(tmp_path / name) for name in ("donor", "clone", "gone"))
    next(runs.rows(donor, PLAIN))
    next(runs.rows(clone, first, Origin(donor, 1)))
    expected = behind(runs.whole(Folder.at(tmp_path / "fresh"), second), 2)
    assert runs.whole(Folder.at(tmp_path / "second"), second, Origin(clone, 2)) == expected
    assert runs.whole(gone, second, Origin(Folder.at(tmp_path / "nothing"), 2)) == expected
    clone.write("checkpoints/00002/state.pt", b"damaged")
    assert runs.whole(Folder.at(tmp_path / "damaged"), second, Origin(clone, 2)) == expected


def test_trainable_parameters_stay_the_same_objects(runs):
    training = Training(changing(RICH, round_3={"dropout": 0.5}), runs.corpus, runs.pretrained, dev_limit=2)
    rounds = iter(training)
    assert [next(rounds).round for _ in range(2)] == [1, 2]
    before, trained = list(training.model.parameters()), [p.requires_grad for p in training.model.parameters()]
    next(rounds)
    assert all(one is other for one, other in zip(before, training.model.parameters(), strict=True))
    assert trained == [p.requires_grad for p in training.model.parameters()] and not all(trained)
    assert not any(p.requires_grad for p in training.teacher.parameters()) if training.teacher else False
