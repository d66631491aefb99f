"""Regularisers: what each is 0 for, what it costs, and what it leaves alone."""

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from model.multitask import Multitask
from tests.trainers.passes import STILL, WILD, Case, gradients, moved
from trainers.methods.averaging import follow
from trainers.methods.regularisers import BRANCHES, REGULARISERS, Clean, Forward
from trainers.methods.smart import SmartConfig

NAMES = ("sst", "qqp", "sts")
SMOOTH = SmartConfig(lambda_s=1.0)
PLACE = (3, "sst", 0)

every_regulariser = pytest.mark.parametrize("name", REGULARISERS)
every_branch = pytest.mark.parametrize("mode", BRANCHES)


@pytest.fixture
def case(corpus, pretrained) -> Case:
    return Case(corpus, pretrained)


def passing(case: Case, model: Multitask, smart: SmartConfig = SMOOTH, **changes: Any) -> Forward:
    batch = case.batch(model, *NAMES)
    forward = Forward(model, batch.inputs, batch.tasks, model.embed(batch.inputs.tokens), 0, PLACE, smart, moved(model))
    return replace(forward, **changes)


def clean_outputs(forward: Forward, count: int = 2) -> Clean:
    return [forward.outputs(forward.embedded, masks) for masks in ("dropout", "second dropout")[:count]]


def term(forward: Forward, name: str) -> dict[str, Tensor]:
    return REGULARISERS[name].term(forward, clean_outputs(forward, REGULARISERS[name].clean_passes))


@every_regulariser
def test_a_term_is_a_positive_number_a_task_that_pulls_at_the_encoder_and_its_own_head(name, case):
    model = case.model()
    terms = term(passing(case, model), name)
    assert set(terms) == set(NAMES)
    for task, value in terms.items():
        assert value.shape == () and value.item() > 0
        pulled = {part for part, gradient in gradients(model, value).items() if gradient.any()}
        assert {part.split(".")[1] for part in pulled if part.startswith("heads.")} == {task}
        assert "encoder.layers.0.query.weight" in pulled
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


@every_regulariser
def test_a_term_is_drawn_by_its_place_and_by_nothing_else(name, case):
    forward = passing(case, case.model())

    def measured(**changes: Any) -> list[float]:
        torch.rand(7)
        return [value.item() for value in term(replace(forward, **changes), name).values()]

    here = measured()
    assert here == measured()
    assert here != measured(seed=1)
    assert here != measured(place=(4, "sst", 0))


@every_regulariser
def test_a_term_leaves_later_passes_the_units_that_they_drop(name, case):
    forward = passing(case, case.model(**WILD))
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
def test_a_term_costs_no_pass_that_it_does_not_need(name, case):
    forward, forward_passes = passing(case, case.model()), {"model": 0, "teacher": 0}

    def count(which: str):
        def counted(*arguments: Any) -> None:
            forward_passes[which] += 1

        return counted

    forward.model.register_forward_hook(count("model"))
    assert forward.teacher is not None
    forward.teacher.register_forward_hook(count("teacher"))
    term(forward, name)
    assert (forward_passes["model"], forward_passes["teacher"]) == COSTS[name]


# SMART's branches.


def test_every_setting_of_smart_s_dropout_has_its_branches():
    assert set(BRANCHES) == set(get_args(SmartConfig.model_fields["dropout"].annotation))


@every_branch
def test_unmoved_embeddings_are_predicted_alike_unless_branches_are_untied(mode, case):
    forward = passing(case, case.model(**WILD), SMOOTH.replace(dropout=mode))
    predict, target = BRANCHES[mode](forward, clean_outputs(forward, 1))
    divergences = forward.divergences(predict(forward.embedded), target)
    assert forward.model.training
    if mode == "untied":
        assert all(value.item() > 1e-4 for value in divergences.values()), "it measures dropout"
    else:
        assert {task: value.item() for task, value in divergences.items()} == dict.fromkeys(NAMES, 0.0)


def test_branches_without_dropout_are_those_of_evaluation(case):
    model = case.model(**WILD)
    forward = passing(case, model, SMOOTH.replace(dropout="off"))
    clean = clean_outputs(forward, 1)
    _, target = BRANCHES["off"](forward, clean)
    still = model.eval()(forward.embedded, forward.inputs)
    assert all(torch.equal(target[task], still[task]) for task in NAMES)
    assert not any(torch.equal(target[task], clean[0][task]) for task in NAMES)


@every_branch
def test_branches_do_not_matter_without_dropout(mode, case):
    model = case.model(**STILL)
    tied, other = (term(passing(case, model, SMOOTH.replace(dropout=how)), "smart") for how in ("tied", mode))
    assert all(torch.equal(tied[task], other[task]) for task in NAMES)


@pytest.mark.parametrize("mode", ["tied", "off"])
def test_dropout_by_itself_is_not_taken_for_roughness(mode, case):
    faint = SMOOTH.replace(dropout=mode, radius=1e-12, step_size=1e-12, noise_scale=1e-12)
    found = term(passing(case, case.model(**WILD), faint), "smart")
    assert all(value.item() < 1e-9 for value in found.values()), "what is left would be dropout"


def test_a_larger_radius_is_rougher_and_the_search_finds_more_than_its_noise(case):
    model = case.model(**STILL)
    found = [term(passing(case, model, SMOOTH.replace(radius=radius)), "smart") for radius in (1e-3, 2e-3)]
    noise = SMOOTH.replace(radius=2e-3, step_size=1e-9, noise_scale=1.0)  # cut to the radius, and hardly moved
    random = term(passing(case, model, noise), "smart")
    for task in NAMES:
        assert found[0][task] < found[1][task]
        assert random[task] < found[1][task] / 10


# The proximal term.


def test_a_teacher_that_is_the_model_asks_for_nothing_in_spite_of_dropout(case):
    """So the momentum is the method: without it, a step begins where the term and its gradient are 0."""
    model = case.model(**WILD)
    terms = term(passing(case, model, teacher=copy.deepcopy(model)), "bregman")
    for value in terms.values():
        assert value.item() == 0.0
        found = gradients(model, value)
        assert found and not any(gradient.any() for gradient in found.values())


def test_the_term_falls_as_the_teacher_follows(case):
    model = case.model(**WILD)
    teacher = moved(model)
    before = term(passing(case, model, teacher=teacher), "bregman")
    follow(teacher, model, 0.99)
    after = term(passing(case, model, teacher=teacher), "bregman")
    assert all(0 < after[task].item() < before[task].item() / 100 for task in NAMES)


def test_nothing_is_asked_of_the_teacher(case):
    model = case.model()
    teacher = moved(model).requires_grad_(True)
    terms = term(passing(case, model, teacher=teacher), "bregman")
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


# R-Drop.


def test_two_passes_agree_without_dropout_and_differ_with_it(case):
    still, wild = (passing(case, case.model(**how)) for how in (STILL, WILD))
    assert all(value.item() == 0.0 for value in term(still, "r_drop").values())
    first, second = clean_outputs(wild)
    assert not any(torch.equal(first[task], second[task]) for task in NAMES)
    quarter = {task: value / 4 for task, value in wild.divergences(first, second).items()}
    torch.testing.assert_close(term(wild, "r_drop"), quarter)
