"""Rows of several tasks in one flat list have the outputs that each task has by itself."""

import pytest
import torch
from torch import Tensor

from model.bert import Bert, BertConfig
from model.heads import HEADS, PAIR_FEATURES, u_v
from model.multitask import Inputs, Multitask

CONFIG = BertConfig(vocabulary=40, width=16, layers=2, heads=2, feed_forward=24, positions=32)
LENGTHS = {"sst": [5, 3, 9], "qqp": [4, 8, 3, 6], "sts": [12, 4]}


def inputs(lengths: dict[str, list[int]]) -> Inputs:
    """Draw sequences of these lengths; a task has the same ones in every call."""
    flat = [length for task in lengths.values() for length in task]
    parts = [
        torch.randint(40, (sum(task),), generator=torch.Generator().manual_seed(sum(task))) for task in lengths.values()
    ]
    tokens, offsets = torch.cat(parts), torch.tensor([0, *flat]).cumsum(0)
    return Inputs(tokens, torch.zeros_like(tokens), offsets, {task: len(rows) for task, rows in lengths.items()})


def network(separate: frozenset[str] = frozenset(), pair_features: str = "u_v_difference") -> Multitask:
    torch.manual_seed(0)
    outputs = {"sst": 5, "qqp": 1, "sts": 1}
    widths = {task: 16 * (PAIR_FEATURES[pair_features].width if task in separate else 1) for task in outputs}
    heads = {task: HEADS["linear"](widths[task], count, 0.0, 0.0) for task, count in outputs.items()}
    return Multitask(Bert(CONFIG, 0.0, 0.0), heads, separate, pair_features)


def predict(model: Multitask, batch: Inputs) -> dict[str, Tensor]:
    return model(model.embed(batch.tokens), batch)


def test_every_task_has_its_rows_and_its_outputs():
    outputs = predict(network(), inputs(LENGTHS))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "sst": (3, 5),
        "qqp": (4, 1),
        "sts": (2, 1),
    }


@pytest.mark.parametrize("task", LENGTHS)
def test_a_task_alone_and_among_others_has_equal_outputs(task: str):
    model = network()
    together, alone = predict(model, inputs(LENGTHS)), predict(model, inputs({task: LENGTHS[task]}))
    assert list(alone) == [task]
    torch.testing.assert_close(together[task], alone[task], rtol=0, atol=1e-6)


def test_the_order_of_tasks_changes_no_output():
    model = network()
    one, other = predict(model, inputs(LENGTHS)), predict(model, inputs(dict(reversed(LENGTHS.items()))))
    for task in LENGTHS:
        torch.testing.assert_close(one[task], other[task], rtol=0, atol=1e-6)


@pytest.mark.parametrize("pair_features", PAIR_FEATURES)
def test_a_separate_pair_joins_its_first_and_its_second_side(pair_features: str):
    model = network(frozenset({"qqp"}), pair_features)
    first, second = LENGTHS["qqp"][:2], LENGTHS["qqp"][2:]
    batch = inputs(LENGTHS)
    start = sum(LENGTHS["sst"])
    sides = []
    for lengths, begin in ((first, start), (second, start + sum(first))):
        tokens, offsets = batch.tokens[begin : begin + sum(lengths)], torch.tensor([0, *lengths]).cumsum(0)
        hidden = model.encoder.encode_first(model.embed(tokens), offsets, torch.zeros_like(tokens))
        sides.append(model.encoder.pool(hidden))
    expected = model.heads["qqp"](PAIR_FEATURES[pair_features].function(*sides))
    outputs = predict(model, batch)
    assert {task: len(output) for task, output in outputs.items()} == {"sst": 3, "qqp": 2, "sts": 2}
    torch.testing.assert_close(outputs["qqp"], expected, rtol=0, atol=1e-6)


def test_the_pair_features_decide_the_width_that_enters_the_head():
    model = network(frozenset({"qqp"}), "u_v")
    assert model.pair_features.function is u_v
    assert model.heads["qqp"].get_parameter("1.weight").shape == (1, 32)


def test_a_task_that_is_absent_leaves_its_head_without_gradient():
    model = network()
    predict(model, inputs({"qqp": LENGTHS["qqp"]}))["qqp"].sum().backward()
    absent = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert absent == {f"heads.{task}.1.{kind}" for task in ("sst", "sts") for kind in ("weight", "bias")}


def test_inputs_keep_their_rows_on_another_device():
    moved = inputs(LENGTHS).to("meta")
    assert {moved.tokens.device.type, moved.segments.device.type, moved.offsets.device.type} == {"meta"}
    assert moved.sequences == {"sst": 3, "qqp": 4, "sts": 2}
