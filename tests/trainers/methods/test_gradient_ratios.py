"""Test the ratios between the gradients of regularisers and losses, and the remarks about them."""

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.small_models import SmallModels, enlarged_copy, gradients
from trainers.methods.forward import Forward
from trainers.methods.gradient_ratios import gradient_ratios, probed_parameters, remarks
from trainers.methods.objectives import Loss, supervised
from trainers.methods.smart import SmartConfig

TASKS = ("sst", "qqp", "sts")


def pulling(weights: nn.Parameter, *direction: float) -> Tensor:
    """Return a term with the given gradient."""
    return (weights * torch.tensor(direction)).sum()


def test_a_ratio_is_the_quotient_of_two_gradients_norms():
    weights = nn.Parameter(torch.ones(2))
    loss = Loss({"loss": pulling(weights, 3, 4), "smart": pulling(weights, 0, 1)}, {"smart": 2.5})
    assert gradient_ratios({"sst": loss}, [weights]) == pytest.approx({"sst.smart": 2.5 * 1 / 5})


def test_ratios_equal_the_ratios_from_separate_backward_passes(corpus, pretrained):
    models = SmallModels(corpus, pretrained)
    model = models.model()
    weights = {"smart": 0.7, "bregman": 1.5, "r_drop": 2.0}
    forward = Forward(
        model,
        models.batch(model, *TASKS),
        seed=0,
        place=(0, 0),
        smart=SmartConfig(lambda_s=1),
        weights={name: dict.fromkeys(TASKS, weight) for name, weight in weights.items()},
        teacher=enlarged_copy(model),
    )
    losses = supervised(forward)
    ratios = gradient_ratios(losses, model.shared_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert set(ratios) == {f"{task}.{name}" for task in TASKS for name in weights}
    for task, loss in losses.items():
        lengths: dict[str, float] = {}
        for name, term in loss.terms.items():
            model.zero_grad()
            (term * weights.get(name, 1.0)).backward(retain_graph=True)
            found = [p.grad for p in model.shared_parameters() if p.grad is not None]
            lengths[name] = float(nn.utils.parameters_to_vector(found).norm())
        for name in weights:
            assert ratios[f"{task}.{name}"] == pytest.approx(lengths[name] / lengths["loss"], rel=1e-4)
    assert gradients(model, losses["sst"].total), "the graph is kept"


def test_ratios_are_measured_on_trainable_parameters_from_the_last_layer_upwards(corpus, pretrained):
    model = SmallModels(corpus, pretrained).model()
    *_, last, pooler = model.encoder.blocks()
    heads = list(model.heads.parameters())
    assert set(probed_parameters(model)) == {*last, *pooler, *heads}
    pooler[0].requires_grad_(False)
    assert set(probed_parameters(model)) == {*last, *pooler[1:], *heads}


def test_a_task_whose_loss_has_no_gradient_has_no_ratios():
    weights, others = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    plain = Loss({"loss": pulling(weights, 3, 4)})
    flat = Loss({"loss": pulling(weights, 0, 0), "r_drop": pulling(weights, 1, 1)}, {"r_drop": 1.0})
    bent = Loss({"loss": pulling(weights, 3, 4), "r_drop": pulling(weights, 1, 1)}, {"r_drop": 1.0})
    assert gradient_ratios({"sst": plain, "qqp": flat}, [weights]) == {}
    assert gradient_ratios({"sst": bent}, [others]) == {}, "nothing that the task uses is shared"
    assert gradient_ratios({"sst": bent}, []) == {}, "nothing shared is trained"
    assert set(gradient_ratios({"sst": bent, "qqp": flat}, [weights, others])) == {"sst.r_drop"}


def test_a_remark_is_made_about_an_inert_and_about_a_dominant_regulariser():
    found = remarks({"sst.smart": 1e-5, "qqp.smart": 0.5, "sts.r_drop": 250.0, "qqp.bregman": 2e-3})
    assert found == {
        "sst.smart": "smart of sst is inert: its gradient is 1e-05 times the task loss's.",
        "sts.r_drop": "r_drop of sts dominates: its gradient is 250 times the task loss's.",
    }
