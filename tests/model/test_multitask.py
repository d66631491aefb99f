"""Test that a task's outputs do not depend on the other tasks of a batch, for every encoding and pooling."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.bert import Bert, BertConfig
from model.heads import PAIR_FEATURES, build_head, build_shared_layer, cosine
from model.multitask import POOLINGS, Inputs, Multitask

CONFIG = BertConfig(vocabulary=40, width=16, layers=2, heads=2, feed_forward=24, positions=32)
LENGTHS = {"sst": [5, 3, 9], "qqp": [4, 8, 3, 6, 7, 5], "sts": [12, 4, 6, 3, 9, 7]}
OUTPUTS = {"sst": 5, "qqp": 1, "sts": 1}
SEPARATE = {"qqp": "separate", "sts": "separate"}
MIXED = {"qqp": "separate", "sts": "both"}
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-6}

every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
every_encoding = pytest.mark.parametrize("encodings", [{}, SEPARATE, MIXED], ids=["concatenated", "separate", "mixed"])


def inputs(lengths: dict[str, list[int]]) -> Inputs:
    """Draw sequences of these lengths; a task has the same sequences in every call."""
    flat = [length for task in lengths.values() for length in task]
    parts = [
        torch.randint(40, (sum(task),), generator=torch.Generator().manual_seed(sum(task))) for task in lengths.values()
    ]
    tokens, offsets = torch.cat(parts), torch.tensor([0, *flat]).cumsum(0)
    return Inputs(tokens, torch.zeros_like(tokens), offsets, {task: len(rows) for task, rows in lengths.items()})


def sequences(batch: Inputs, task: str, chosen: slice) -> Inputs:
    """Return some of a task's sequences as inputs of a task "part"."""
    before = 0
    for name, count in batch.sequences.items():
        if name == task:
            break
        before += count
    offsets = batch.offsets[before : before + batch.sequences[task] + 1]
    starts, ends = offsets[:-1][chosen], offsets[1:][chosen]
    inside = slice(int(starts[0]), int(ends[-1]))
    return Inputs(
        batch.tokens[inside],
        batch.segments[inside],
        torch.cat([starts, ends[-1:]]) - starts[0],
        {"part": len(starts)},
    )


def network(
    encodings: dict[str, str] | None = None,
    features: str = "u_v_difference",
    sharing: tuple[str, ...] = (),
    pooling: str = "pooled",
    dropout: float = 0.0,
) -> Multitask:
    torch.manual_seed(0)
    encodings = encodings or {}
    separate = {task: features for task, encoding in encodings.items() if encoding == "separate"}
    widths = {task: PAIR_FEATURES[features].width(16) if task in separate else 16 for task in OUTPUTS}
    shared: dict[str, nn.Module] = {}
    if sharing:
        layer = build_shared_layer(widths[sharing[0]], 16, activation="relu", dropout=dropout)
        shared = dict.fromkeys(sharing, layer)
        widths |= dict.fromkeys(sharing, 16)
    heads = {task: head(widths[task], count, dropout, encodings.get(task) == "both") for task, count in OUTPUTS.items()}
    for module in (*heads.values(), *shared.values()):
        for name, parameter in module.named_parameters():
            nn.init.normal_(parameter, std=0.5) if "weight" in name else None
    encoder = Bert(CONFIG, dropout, dropout)
    return Multitask(encoder, heads, encodings=encodings, features=separate, shared=shared, pooling=pooling)


def head(features: int, outputs: int, dropout: float, cosine: bool) -> nn.Module:
    return build_head(
        features + cosine, outputs, low=0.0, high=5.0, initial_output=0.0, dropout=dropout, cosine=cosine, hidden=()
    )


def predict(model: Multitask, batch: Inputs) -> dict[str, Tensor]:
    return model(model.embed(batch.tokens), batch)


def pool(model: Multitask, batch: Inputs) -> Tensor:
    return model.pool(model.embed(batch.tokens), batch)


def test_outputs_have_a_row_per_row_and_a_column_per_output():
    outputs = predict(network(MIXED), inputs(LENGTHS))
    shapes = {task: tuple(output.shape) for task, output in outputs.items()}
    assert shapes == {"sst": (3, 5), "qqp": (3, 1), "sts": (2, 1)}


@every_encoding
@pytest.mark.parametrize("task", LENGTHS)
def test_a_task_has_the_same_outputs_alone_and_among_other_tasks(task, encodings):
    model = network(encodings, sharing=("qqp", "sts") if encodings != MIXED else ())
    together, alone = predict(model, inputs(LENGTHS)), predict(model, inputs({task: LENGTHS[task]}))
    assert list(alone) == [task]
    torch.testing.assert_close(together[task], alone[task], **CLOSE)


def test_the_order_of_tasks_changes_no_output():
    model = network(MIXED)
    one, other = predict(model, inputs(LENGTHS)), predict(model, inputs(dict(reversed(LENGTHS.items()))))
    for task in LENGTHS:
        torch.testing.assert_close(one[task], other[task], **CLOSE)


@every_pooling
@every_encoding
def test_without_dropout_training_mode_equals_evaluation_mode(encodings, pooling):
    model, batch = (
        network(encodings, pooling=pooling, sharing=() if encodings == MIXED else ("qqp", "sts")),
        inputs(LENGTHS),
    )
    trained, evaluated = predict(model.train(), batch), predict(model.eval(), batch)
    for task in LENGTHS:
        assert torch.equal(trained[task], evaluated[task])


# Encodings.


@every_pooling
@pytest.mark.parametrize("features", PAIR_FEATURES)
def test_a_separately_encoded_pair_combines_its_first_and_second_side(features, pooling):
    model, batch = network(SEPARATE, features, pooling=pooling), inputs(LENGTHS)
    u, v = (pool(model, sequences(batch, "qqp", side)) for side in (slice(0, 3), slice(3, 6)))
    expected = model.heads["qqp"](PAIR_FEATURES[features].function(u, v))
    torch.testing.assert_close(predict(model, batch)["qqp"], expected, **CLOSE)


@pytest.mark.parametrize(("features", "symmetric"), [("hadamard", True), ("cosine", True), ("u_v", False)])
def test_swapping_the_sides_of_separate_pairs_changes_asymmetric_features_only(features, symmetric):
    model, batch = network(SEPARATE, features).double(), inputs({"qqp": LENGTHS["qqp"]})
    first, second = (sequences(batch, "qqp", side) for side in (slice(0, 3), slice(3, 6)))
    swapped = Inputs(
        torch.cat([second.tokens, first.tokens]),
        torch.cat([second.segments, first.segments]),
        torch.cat([second.offsets[:-1], second.offsets[-1] + first.offsets]),
        batch.sequences,
    )
    found = torch.allclose(predict(model, batch)["qqp"], predict(model, swapped)["qqp"], rtol=0, atol=1e-12)
    assert found == symmetric


@pytest.mark.parametrize("sharing", [(), ("qqp", "sts")])
def test_the_encoding_both_appends_the_cosine_of_the_sides_to_the_concatenated_features(sharing):
    model, batch = network({"sts": "both"}, sharing=sharing), inputs(LENGTHS)
    whole, u, v = (pool(model, sequences(batch, "sts", part)) for part in (slice(0, 2), slice(2, 4), slice(4, 6)))
    x = model.shared["qqp+sts"](whole) if sharing else whole
    _, _, last, _ = model.heads["sts"].children()
    expected = last(torch.cat([x, 5 * (cosine(u, v) + 1) / 2], dim=-1))
    torch.testing.assert_close(predict(model, batch)["sts"], expected, **CLOSE)


@every_encoding
def test_the_default_encoding_is_concatenated(encodings):
    assert (
        network(encodings).encodings
        == {"sst": "concatenated", "qqp": "concatenated", "sts": "concatenated"} | encodings
    )


# Shared layers.


def test_tasks_that_share_a_layer_use_the_same_parameters():
    model, batch = network(sharing=("qqp", "sts")), inputs(LENGTHS)
    names = [name for name, _ in model.named_parameters() if name.startswith("shared.")]
    assert (
        names
        == ["shared.qqp+sts.1.weight", "shared.qqp+sts.1.bias"]
        == [n for n in model.state_dict() if "shared" in n]
    )
    for task in LENGTHS:
        parts = pool(model, sequences(batch, task, slice(None)))
        entering = model.shared["qqp+sts"](parts) if task != "sst" else parts
        torch.testing.assert_close(predict(model, batch)[task], model.heads[task](entering), **CLOSE)


def test_shared_layers_are_named_after_their_tasks():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    shared = {"sst": first, "qqp": second, "cfimdb": first, "sts": second}
    heads = {task: nn.Linear(16, 1) for task in shared}
    model = Multitask(Bert(CONFIG), heads, shared=shared)
    assert dict(model.shared.named_children()) == {"sst+cfimdb": first, "qqp+sts": second}


def test_a_shared_layer_has_no_gradient_from_other_tasks():
    model, batch = network(sharing=("qqp", "sts")), inputs(LENGTHS)
    layer = list(model.shared.parameters())
    outputs = predict(model, batch)
    assert torch.autograd.grad(outputs["sst"].sum(), layer, allow_unused=True, retain_graph=True) == (None, None)
    for task in ("qqp", "sts"):
        gradients = torch.autograd.grad(outputs[task].sum(), layer, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)


def test_every_parameter_is_shared_or_belongs_to_one_task():
    model = network(sharing=("qqp", "sts"))
    model.mlm_head = nn.Linear(16, 40)
    parts = [model.shared_parameters(), *(model.own_parameters(task) for task in OUTPUTS)]
    flat = [id(parameter) for part in parts for parameter in part]
    assert len(flat) == len(set(flat)) and set(flat) == {id(parameter) for parameter in model.parameters()}
    assert {id(weight) for weight in model.mlm_head.parameters()} < {id(weight) for weight in model.shared_parameters()}
    assert "mlm_head.weight" in model.state_dict() and "mlm_head.weight" not in network().state_dict()


def test_the_head_of_an_absent_task_has_no_gradient():
    model = network(sharing=("qqp", "sts"))
    model.mlm_head = nn.Linear(16, 40)
    predict(model, inputs({"qqp": LENGTHS["qqp"]}))["qqp"].sum().backward()
    absent = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert absent == {
        f"{module}.{kind}" for module in ("heads.sst.1", "heads.sts.1", "mlm_head") for kind in ("weight", "bias")
    }


# Pooling.


def test_mean_pooling_averages_the_tokens_of_each_sequence():
    model, batch = network(pooling="mean").double(), inputs(LENGTHS)
    hidden = model.encoder.encode(model.embed(batch.tokens), batch.offsets, batch.segments)
    by_hand = [hidden[start:end].mean(dim=0) for start, end in batch.offsets.unfold(0, 2, 1).tolist()]
    torch.testing.assert_close(pool(model, batch), torch.stack(by_hand), rtol=0, atol=1e-12)


@every_pooling
def test_the_features_of_a_sequence_do_not_depend_on_other_sequences(pooling):
    model, batch = network(pooling=pooling).double(), inputs(LENGTHS)
    found = pool(model, batch)
    for place in range(3):
        alone = pool(model, sequences(batch, "sst", slice(place, place + 1)))
        torch.testing.assert_close(found[place : place + 1], alone, rtol=0, atol=1e-12)


def test_pooled_features_are_the_pooler_of_the_first_hidden_states():
    first, pooled = network(pooling="first"), network(pooling="pooled")
    batch = inputs(LENGTHS)
    raw = pool(first, batch)
    hidden = first.encoder.encode(first.embed(batch.tokens), batch.offsets, batch.segments)
    torch.testing.assert_close(raw, hidden[batch.offsets[:-1]], **CLOSE)
    torch.testing.assert_close(pool(pooled, batch), torch.tanh(pooled.get_submodule("encoder.pooler")(raw)), **CLOSE)


def test_moving_inputs_to_another_device_keeps_offsets_on_the_cpu():
    before = inputs(LENGTHS)
    moved = before.to("meta")
    assert {moved.tokens.device.type, moved.segments.device.type} == {"meta"}
    assert moved.offsets is before.offsets
    assert moved.sequences == {"sst": 3, "qqp": 6, "sts": 6}
