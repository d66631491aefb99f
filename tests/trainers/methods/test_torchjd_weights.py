import runpy
import sys

import pytest
import torch
from torchjd import aggregation

from model.errors import InputError
from tests.conftest import surgeries
from trainers.methods import surgery, torchjd_weights
from trainers.methods.surgery import SURGERIES, check_surgery
from trainers.methods.torchjd_weights import WEIGHTINGS


def jacobian(count, seed, size=10):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weigh(name, gradients):
    memory = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    return torchjd_weights.torchjd_weights(name, gradients @ gradients.T, memory, torch.Generator())[0]


@surgeries(*WEIGHTINGS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_combined_gradient_equals_torchjd_s_times_the_number_of_tasks_if_it_averages(name, count):
    entry = WEIGHTINGS[name]
    aggregator = getattr(aggregation, entry.name.removesuffix("Weighting"))(**entry.options)
    for seed in range(10):
        gradients = jacobian(count, seed)
        scaled = gradients / gradients.square().sum(1).mean().sqrt()  # FairGrad alone depends on the unit
        expected = (count if entry.averages else 1) * aggregator(scaled)
        difference = float((weigh(name, gradients) @ scaled - expected).norm() / expected.norm())
        assert difference < 1e-6, f"differs by {difference:.1e}"


@surgeries("upgrad", "mgda")
@pytest.mark.parametrize("count", [2, 3])
def test_upgrad_and_mgda_conflict_with_no_task(name, count):
    for seed in range(100):
        gradients = jacobian(count, seed)
        assert bool((gradients @ (weigh(name, gradients) @ gradients) >= -1e-6).all()), f"seed {seed}"


@surgeries("upgrad", "dualproj")
def test_projections_do_not_change_gradients_without_conflict(name):
    for seed in range(20):
        torch.testing.assert_close(weigh(name, jacobian(3, seed).abs()), torch.ones(3, dtype=torch.float64))


@surgeries("upgrad")
def test_the_weights_of_upgrad_equal_those_in_its_documentation(name):
    gradients = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([1.1109, 0.7894], dtype=torch.float64)
    torch.testing.assert_close(weigh(name, gradients) / 2, expected, rtol=0, atol=1e-4)


@surgeries("mgda")
def test_mgda_finds_the_shortest_average(name):
    gradients = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(weigh(name, gradients), torch.tensor([1.6, 0.4], dtype=torch.float64))


@surgeries("cagrad")
def test_cagrad_stays_as_near_the_mean_as_its_radius(name):
    gradients = jacobian(3, 2)
    mean = gradients.mean(0)
    found = weigh(name, gradients) @ gradients / 3
    assert float((found - mean).norm() / mean.norm()) == pytest.approx(0.4, rel=1e-6)
    assert bool((gradients @ found).min() > (gradients @ mean).min())


@surgeries("imtl_g")
def test_imtl_g_has_equal_projections_on_every_gradient(name):
    gradients = jacobian(3, 2)
    along = gradients @ (weigh(name, gradients) @ gradients) / gradients.norm(dim=1)
    torch.testing.assert_close(along, along[0].expand(3))


@surgeries("fairgrad")
def test_fairgrad_weighs_a_task_by_one_over_its_gain(name):
    gradients = jacobian(3, 2)
    weights = weigh(name, gradients)
    shares = weights * (gradients @ (weights @ gradients))
    torch.testing.assert_close(shares, shares[0].expand(3), rtol=1e-5, atol=0)


@pytest.mark.parametrize("absent", ["torchjd.aggregation", "quadprog", "qpsolvers"])
def test_a_missing_package_is_an_error_that_says_what_to_install(absent, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)  # as if it were not installed
    with pytest.raises(InputError, match=r"Surgery 'upgrad' needs .*pip install '\.\[torchjd\]'"):
        check_surgery("upgrad")


def test_our_own_surgeries_need_no_optional_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    for name in SURGERIES.keys() - WEIGHTINGS.keys():
        check_surgery(name)


def test_importing_the_training_does_not_import_torchjd(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    for module in (torchjd_weights, surgery):
        runpy.run_path(str(module.__file__))
