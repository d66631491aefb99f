"""Test building models: initial weights, shared layers, heads and outputs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.errors import InputError
from model.heads import PAIR_FEATURES
from model.multitask import Multitask
from tests.conftest import small_config, small_stage
from trainers.config.architecture import HeadConfig, SharedLayer
from trainers.config.encodings import encodings
from trainers.config.task_checks import check_tasks
from trainers.config.train_config import TrainConfig
from trainers.data.batches import inputs
from trainers.evaluation.evaluate import evaluate
from trainers.seeds import seed_of
from trainers.tasks import TASKS
from trainers.training.build_model import build, model_bytes

WIDTH = 32  # width of the tiny encoder
NO_DROPOUT = {"dropout": 0, "attention_dropout": 0, "head_dropout": 0}
PAIR_LAYER = (SharedLayer(tasks=("qqp", "sts")),)
RELATIONAL = {task: HeadConfig(features="relational") for task in ("qqp", "sts")}

SYSTEMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "separate": {"pairs": "separate"},
    "hidden layers, scaled sigmoid": {
        "head": {
            "sst": HeadConfig(hidden=(1,)),
            "qqp": HeadConfig(hidden=(1, 0.25)),
            "sts": HeadConfig(output="sigmoid"),
        }
    },
    "cosine for STS": {
        "pairs": "separate",
        "head": {"qqp": HeadConfig(features="u_v_difference"), "sts": HeadConfig(features="cosine", output="cosine")},
    },
    "relational layer": {
        "pairs": "separate",
        "head": RELATIONAL,
        "shared_layers": (SharedLayer(tasks=("qqp", "sts"), activation="leaky_relu"),),
    },
    "shared layer with a cosine": {"head": {"sts": HeadConfig(cosine=True)}, "shared_layers": PAIR_LAYER},
    "stairs on means": {"head": HeadConfig(output="stairs"), "pooling": "mean"},
}
"""Settings of models: the models of the reports, and some further combinations."""

every_system = pytest.mark.parametrize("changes", SYSTEMS.values(), ids=SYSTEMS)


def bytes_of(model: Multitask) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


@every_system
@pytest.mark.parametrize("objective", ["supervised", "mlm"])
def test_the_bytes_of_the_weights_are_known_before_the_model_is_built(changes, objective, corpus, pretrained):
    first = {"mlm": (small_stage(objective="mlm"),)}.get(objective, ())
    config = small_config(*first, small_stage(), **changes)
    assert model_bytes(config, corpus.tasks, pretrained) == bytes_of(build(config, corpus.tasks, pretrained))


def checked_config(changes: dict[str, Any], **more: Any) -> TrainConfig:
    config = small_config(**changes, **more)
    check_tasks(config, TASKS)
    return config


def linear_layers(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


@every_system
def test_outputs_are_finite_and_have_gradients_for_every_parameter_in_use(corpus, pretrained, changes):
    model = build(checked_config(changes), TASKS, pretrained)
    batch = inputs(corpus, "train", {task: np.arange(6) for task in model.heads}, model.encodings, 512)
    outputs = model(model.embed(batch.tokens), batch)
    assert {task: tuple(values.shape) for task, values in outputs.items()} == {
        "sst": (6, 5),
        "qqp": (6, 1),
        "sts": (6, 1),
    }
    assert all(values.isfinite().all() for values in outputs.values())
    torch.cat([values.square().flatten() for values in outputs.values()]).sum().backward()
    untouched = {name.split(".")[1] for name, weight in model.named_parameters() if weight.grad is None}
    assert untouched == ({"pooler"} if changes.get("pooling") else set())


@every_system
def test_without_dropout_the_outputs_in_training_equal_the_outputs_in_evaluation(corpus, pretrained, changes):
    model, rows = build(checked_config(changes, **NO_DROPOUT), TASKS, pretrained).train(), {"sts": np.arange(12)}
    batch = inputs(corpus, "train", rows, model.encodings, 512)
    trained = model(model.embed(batch.tokens), batch)["sts"].detach().numpy()
    np.testing.assert_allclose(evaluate(model, corpus, "train", rows)["sts"], trained, atol=2e-5)


@every_system
def test_equal_seeds_give_equal_initial_weights_and_different_seeds_different_weights(pretrained, changes):
    def drawn(seed: int) -> dict[str, torch.Tensor]:
        state = build(checked_config(changes, seed=seed), TASKS, pretrained).state_dict()
        return {name: value for name, value in state.items() if name.startswith(("heads", "shared"))}

    first, other = drawn(3), drawn(4)
    torch.manual_seed(99)
    assert all(torch.equal(value, first[name]) for name, value in drawn(3).items())
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


def test_a_plain_model_has_the_pretrained_encoder_and_linear_heads_drawn_by_seed_and_task(pretrained):
    model = build(small_config(seed=5), TASKS, pretrained)
    expected = {f"encoder.{name}": value for name, value in pretrained.weights.items()}
    for task in ("sst", "qqp", "sts"):
        torch.manual_seed(seed_of(5, "head", task))
        layer = nn.Linear(WIDTH, TASKS[task].outputs)
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.constant_(layer.bias, 2.5 if task == "sts" else 0.0)
        expected |= {f"heads.{task}.1.{name}": value for name, value in layer.state_dict().items()}
    state = model.state_dict()
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_initial_weights_of_a_head_do_not_depend_on_other_tasks(pretrained):
    alone = build(small_config(small_stage(tasks=("sts",))), TASKS, pretrained)
    together = build(small_config(), TASKS, pretrained)
    assert torch.equal(alone.heads["sts"].get_parameter("1.weight"), together.heads["sts"].get_parameter("1.weight"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["concatenated", "concatenated", "concatenated"]),
        ({"pairs": "separate"}, ["concatenated", "separate", "separate"]),
        ({"head": {"sts": HeadConfig(cosine=True)}}, ["concatenated", "concatenated", "both"]),
        ({"head": HeadConfig(cosine=True)}, ["concatenated", "both", "both"]),
    ],
)
def test_a_sentence_is_one_sequence_and_a_pair_is_encoded_as_the_config_says(pretrained, changes, expected):
    config = checked_config(changes)
    assert list(encodings(config, TASKS).values()) == expected
    assert build(config, TASKS, pretrained).encodings == encodings(config, TASKS)


@pytest.mark.parametrize("features", PAIR_FEATURES)
def test_the_head_of_separate_pairs_is_as_wide_as_its_features(pretrained, features):
    config = checked_config({"pairs": "separate", "head": {"qqp": HeadConfig(features=features)}})
    model = build(config, TASKS, pretrained)
    widths = {task: linear_layers(model.heads[task])[0].in_features for task in model.heads}
    assert widths == {"sst": WIDTH, "qqp": PAIR_FEATURES[features].width(WIDTH), "sts": 3 * WIDTH}


def test_hidden_widths_are_multiples_of_the_encoder_width(pretrained):
    model = build(checked_config({"head": {"sts": HeadConfig(hidden=(1, 0.25, 0.001))}}), TASKS, pretrained)
    assert [layer.out_features for layer in linear_layers(model.heads["sts"])] == [WIDTH, WIDTH // 4, 1, 1]


@pytest.mark.parametrize("output", ["sigmoid", "stairs", "cosine"])
def test_an_output_setting_for_all_tasks_applies_to_regression_only(corpus, pretrained, output):
    changes = {"head": HeadConfig(output=output), "pairs": "separate"}
    model, rows = build(checked_config(changes), TASKS, pretrained), {task: np.arange(40) for task in ("qqp", "sts")}
    found = evaluate(model, corpus, "dev", rows)
    assert found["qqp"].min() < 0, "a logit has no range"
    assert found["sts"].min() >= 0 and found["sts"].max() <= 5 and found["sts"].std() > 0


def test_the_cosine_of_equal_sentences_is_the_highest_label(corpus, pretrained):
    model = build(checked_config({"head": HeadConfig(output="cosine"), "pairs": "separate"}), TASKS, pretrained).eval()
    batch = inputs(corpus, "train", {"sst": np.array([0, 1, 2, 0, 1, 2])}, {"sst": "concatenated"}, 512)
    batch.sequences.clear()
    batch.sequences["sts"] = 6  # three sentences, each paired with itself
    torch.testing.assert_close(model(model.embed(batch.tokens), batch)["sts"], torch.full((3, 1), 5.0))
    assert not model.own_parameters("sts")


def shared_names(model: Multitask) -> list[str]:
    return [name for name, _ in model.shared.named_parameters()]


def test_a_shared_layer_is_one_module_as_wide_as_the_encoder_drawn_by_its_tasks(pretrained):
    model = build(checked_config(SYSTEMS["relational layer"]), TASKS, pretrained)
    assert shared_names(model) == ["qqp+sts.1.weight", "qqp+sts.1.bias"]
    (layer,) = linear_layers(model.shared)
    assert (layer.in_features, layer.out_features) == (4 * WIDTH, WIDTH)
    assert isinstance(model.shared["qqp+sts"].get_submodule("2"), nn.LeakyReLU)
    torch.manual_seed(seed_of(0, "shared", "qqp", "sts"))
    expected = nn.Linear(4 * WIDTH, WIDTH)
    nn.init.normal_(expected.weight, std=0.02)
    assert torch.equal(layer.weight, expected.weight) and not layer.bias.any()
    assert [linear_layers(model.heads[task])[0].in_features for task in model.heads] == [WIDTH, WIDTH, WIDTH]


def test_a_cosine_with_a_shared_layer_is_one_more_feature_of_its_own_head_only(pretrained):
    model = build(checked_config(SYSTEMS["shared layer with a cosine"]), TASKS, pretrained)
    assert [linear_layers(model.heads[task])[0].in_features for task in model.heads] == [WIDTH, WIDTH, WIDTH + 1]


def test_tasks_with_features_of_different_widths_cannot_share_a_layer(pretrained):
    with pytest.raises(InputError, match="found sst: one sequence, qqp: u_v_difference"):
        checked_config({"pairs": "separate", "shared_layers": (SharedLayer(tasks=("sst", "qqp")),)})
    head = {task: HeadConfig(features="hadamard") for task in ("qqp", "sts")}
    layers = (SharedLayer(tasks=("sst", "qqp", "sts")),)
    build(checked_config({"pairs": "separate", "shared_layers": layers, "head": head}), TASKS, pretrained)
