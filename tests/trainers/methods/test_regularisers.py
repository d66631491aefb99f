"""Test the regularisers: when a term is 0, what it costs, and what it does not change."""

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from model.multitask import Multitask
from tests.trainers.small_models import HIGH_DROPOUT, NO_DROPOUT, SmallModels, enlarged_copy, gradients
from trainers.methods.averaging import follow
from trainers.methods.forward import Forward
from trainers.methods.regularisers import BRANCHES, REGULARISERS, Clean
from trainers.methods.smart import SmartConfig

NAMES = ("sst", "qqp", "sts")
SMOOTH = SmartConfig(lambda_s=1.0)
PLACE = (3, "sst", 0)

every_regulariser = pytest.mark.parametrize("name", REGULARISERS)
every_branch = pytest.mark.parametrize("mode", BRANCHES)


@pytest.fixture
def models(corpus, pretrained) -> SmallModels:
    return SmallModels(corpus, pretrained)


def passing(models: SmallModels, model: Multitask, smart: SmartConfig = SMOOTH, **changes: Any) -> Forward:
    forward = Forward(model, models.batch(model, *NAMES), 0, PLACE, smart, teacher=enlarged_copy(model))
    return replace(forward, **changes)


def clean_outputs(forward: Forward, count: int = 2) -> Clean:
    return [forward.outputs(forward.embedded, masks) for masks in ("dropout", "second dropout")[:count]]


def term(forward: Forward, name: str) -> dict[str, Tensor]:
    return REGULARISERS[name].term(forward, clean_outputs(forward, REGULARISERS[name].clean_passes))


@every_regulariser
def test_a_term_is_positive_per_task_with_gradients_for_the_encoder_and_its_own_head(name, models):
    model = models.model()
    terms = term(passing(models, model), name)
    assert set(terms) == set(NAMES)
    for task, value in terms.items():
        assert value.shape == () and value.item() > 0
        pulled = {part for part, gradient in gradients(model, value).items() if gradient.any()}
        assert {part.split(".")[1] for part in pulled if part.startswith("heads.")} == {task}
        assert "encoder.layers.0.query.weight" in pulled
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


@every_regulariser
def test_the_draws_of_a_term_depend_on_seed_and_place_only(name, models):
    forward = passing(models, models.model())

    def measured(**changes: Any) -> list[float]:
        torch.rand(7)
        return [value.item() for value in term(replace(forward, **changes), name).values()]

    here = measured()
    assert here == measured()
    assert here != measured(seed=1)
    assert here != measured(place=(4, "sst", 0))


@every_regulariser
def test_a_term_does_not_change_the_dropout_masks_of_later_passes(name, models):
    forward = passing(models, models.model(**HIGH_DROPOUT))
    before = forward.outputs(forward.embedded)
    term(forward, name)
    after = forward.outputs(forward.embedded)
    assert all(torch.equal(before[task], after[task]) for task in NAMES)


COSTS = {
    "smart": (1 + 1 + 1, 0),  # the clean pass, a step of the search, the end
    "bregman": (1, 1),
    "r_drop": (2, 0),
}


@every_regulariser
def test_a_term_costs_the_documented_number_of_forward_passes(name, models):
    forward, forward_passes = passing(models, models.model()), {"model": 0, "teacher": 0}

    def count(which: str):
        def counted(*arguments: Any) -> None:
            forward_passes[which] += 1

        return counted

    forward.model.register_forward_hook(count("model"))
    assert forward.teacher is not None
    forward.teacher.register_forward_hook(count("teacher"))
    term(forward, name)
    assert (forward_passes["model"], forward_passes["teacher"]) == COSTS[name]


# SMART's dropout.


def test_every_value_of_smart_s_dropout_has_an_entry_in_the_registry():
    assert set(BRANCHES) == set(get_args(SmartConfig.model_fields["dropout"].annotation))


@every_branch
def test_predictions_on_unperturbed_embeddings_are_equal_unless_dropout_is_untied(mode, models):
    forward = passing(models, models.model(**HIGH_DROPOUT), SMOOTH.replace(dropout=mode))
    predict, target = BRANCHES[mode](forward, clean_outputs(forward, 1))
    divergences = forward.divergences(predict(forward.embedded), target)
    assert forward.model.training
    if mode == "untied":
        assert all(value.item() > 1e-4 for value in divergences.values()), "it measures dropout"
    else:
        assert {task: value.item() for task, value in divergences.items()} == dict.fromkeys(NAMES, 0.0)


def test_predictions_with_dropout_off_equal_those_of_evaluation(models):
    model = models.model(**HIGH_DROPOUT)
    forward = passing(models, model, SMOOTH.replace(dropout="off"))
    clean = clean_outputs(forward, 1)
    _, target = BRANCHES["off"](forward, clean)
    still = model.eval()(forward.embedded, forward.batch.inputs)
    assert all(torch.equal(target[task], still[task]) for task in NAMES)
    assert not any(torch.equal(target[task], clean[0][task]) for task in NAMES)


@every_branch
def test_the_dropout_setting_has_no_effect_at_dropout_0(mode, models):
    model = models.model(**NO_DROPOUT)
    tied, other = (term(passing(models, model, SMOOTH.replace(dropout=how)), "smart") for how in ("tied", mode))
    assert all(torch.equal(tied[task], other[task]) for task in NAMES)


@pytest.mark.parametrize("mode", ["tied", "off"])
def test_dropout_alone_does_not_raise_the_smoothness_term(mode, models):
    faint = SMOOTH.replace(dropout=mode, radius=1e-12, step_size=1e-12, noise_scale=1e-12)
    found = term(passing(models, models.model(**HIGH_DROPOUT), faint), "smart")
    assert all(value.item() < 1e-9 for value in found.values()), "any remainder would come from dropout"


def test_a_larger_radius_gives_a_larger_term_and_the_search_exceeds_its_noise(models):
    model = models.model(**NO_DROPOUT)
    found = [term(passing(models, model, SMOOTH.replace(radius=radius)), "smart") for radius in (1e-3, 2e-3)]
    noise = SMOOTH.replace(
        radius=2e-3, step_size=1e-9, noise_scale=1.0
    )  # projected to the radius, with almost no ascent
    random = term(passing(models, model, noise), "smart")
    for task in NAMES:
        assert found[0][task] < found[1][task]
        assert random[task] < found[1][task] / 10


# The proximal term.


def test_the_proximal_term_and_its_gradient_are_0_if_teacher_and_model_are_equal(models):
    """So the method needs momentum: without it, each step starts where the term and its gradient are 0."""
    model = models.model(**HIGH_DROPOUT)
    terms = term(passing(models, model, teacher=copy.deepcopy(model)), "bregman")
    for value in terms.values():
        assert value.item() == 0.0
        found = gradients(model, value)
        assert found and not any(gradient.any() for gradient in found.values())


def test_the_proximal_term_falls_as_the_teacher_moves_towards_the_model(models):
    model = models.model(**HIGH_DROPOUT)
    teacher = enlarged_copy(model)
    before = term(passing(models, model, teacher=teacher), "bregman")
    follow(teacher, model, 0.99)
    after = term(passing(models, model, teacher=teacher), "bregman")
    assert all(0 < after[task].item() < before[task].item() / 100 for task in NAMES)


def test_the_teacher_gets_no_gradient(models):
    model = models.model()
    teacher = enlarged_copy(model).requires_grad_(True)
    terms = term(passing(models, model, teacher=teacher), "bregman")
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


# R-Drop.


def test_r_drop_is_0_without_dropout_and_positive_with_it(models):
    still, wild = (passing(models, models.model(**how)) for how in (NO_DROPOUT, HIGH_DROPOUT))
    assert all(value.item() == 0.0 for value in term(still, "r_drop").values())
    first, second = clean_outputs(wild)
    assert not any(torch.equal(first[task], second[task]) for task in NAMES)
    quarter = {task: value / 4 for task, value in wild.divergences(first, second).items()}
    torch.testing.assert_close(term(wild, "r_drop"), quarter)
