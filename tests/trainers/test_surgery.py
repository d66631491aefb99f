import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchjd.aggregation import PCGradWeighting

from trainers.surgery import BLOCK, SURGERIES, gramian, pcgrad, weighted_sum

COUNTS = st.integers(2, 5)
SEEDS = st.integers(0, 2**32)
every_surgery = pytest.mark.parametrize("name", SURGERIES)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def jacobian(count, seed, size=4, dtype=torch.float64):
    """Random gradients [tasks, parameters]; few parameters, so that many conflict."""
    return torch.randn(count, size, generator=draw(seed), dtype=dtype)


def orders(count, seed):
    """The orders in which a surgery with this seed meets the other tasks, one a task."""
    generator = draw(seed)
    return [torch.randperm(count, generator=generator).tolist() for _ in range(count)]


def textbook(gradients, orders):
    """PCGrad as published, on flattened gradients [tasks, parameters]: the oracle."""
    projected = gradients.clone()
    for task, order in enumerate(orders):
        for other in order:
            product = projected[task] @ gradients[other]
            if other != task and product < 0:
                projected[task] -= product / (gradients[other] @ gradients[other]) * gradients[other]
    return projected.sum(0)


def assert_equal(found, expected, tolerance=1e-12):
    """Relative to the length of the vectors: a sum that nearly cancels has no digits of its own."""
    worst = float((found - expected).norm() / (expected.norm() + 1e-30))
    assert worst <= tolerance or float(found.norm() + expected.norm()) < tolerance, f"differs by {worst:.1e}"


@every_surgery
@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 5), seed=SEEDS)
def test_orthogonal_gradients_are_summed(name, count, seed):
    lengths = 10 ** torch.randn(count, generator=draw(seed), dtype=torch.float64)
    assert torch.equal(SURGERIES[name](torch.diag(lengths), draw(seed)), torch.ones(count, dtype=torch.float64))


@every_surgery
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_gradients_that_do_not_conflict_are_summed(name, count, seed):
    agreeing = jacobian(count, seed).abs()
    weights = SURGERIES[name](agreeing @ agreeing.T, draw(seed))
    assert torch.equal(weights, torch.ones(count, dtype=torch.float64))


@every_surgery
def test_a_single_task_keeps_its_gradient(name):
    matrix, bias = torch.randn(3, 2), torch.randn(5)
    gradients = [[matrix, None, bias]]
    first, unused, last = weighted_sum(gradients, SURGERIES[name](gramian(gradients), draw(0)))
    assert first is not None and torch.equal(first, matrix)
    assert unused is None
    assert last is not None and torch.equal(last, bias)


@every_surgery
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_weights_are_a_function_of_gramian_and_generator(name, count, seed):
    gradients, state = jacobian(count, seed), torch.get_rng_state()
    first, second = (SURGERIES[name](gradients @ gradients.T, draw(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (count,) and first.dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), state), "a draw came from the global generator"


@every_surgery
@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_weights_do_not_depend_on_the_unit_of_the_loss(name, scale):
    gradients = jacobian(4, 3)
    inner = gradients @ gradients.T
    torch.testing.assert_close(SURGERIES[name](scale * inner, draw(1)), SURGERIES[name](inner, draw(1)))


@every_surgery
def test_renaming_the_tasks_renames_the_weights(name):
    gradients, renamed = jacobian(3, 11), [2, 0, 1]
    assert bool(((gradients @ gradients.T) < 0).any())

    def outcomes(jacobian):
        found = [SURGERIES[name](jacobian @ jacobian.T, draw(seed)) for seed in range(200)]
        return {tuple(weights.round(decimals=9).tolist()) for weights in found}

    expected = {tuple(weights[task] for task in renamed) for weights in outcomes(gradients)}
    assert outcomes(gradients[renamed]) == expected


@every_surgery
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_stretching_a_gradient_changes_its_own_share_and_no_other(name, count, seed):
    gradients = jacobian(count, seed)

    def combined(stretch):
        stretched = torch.cat([stretch * gradients[:1], gradients[1:]])
        return SURGERIES[name](stretched @ stretched.T, draw(seed)) @ stretched

    assert_equal(combined(1) + combined(4), 2 * combined(2.5), 1e-9)  # others + stretch * own


@every_surgery
def test_a_gradient_of_zeros_changes_nothing(name):
    gradients = jacobian(3, 11)
    with_zeros = torch.cat([gradients, torch.zeros(1, 4, dtype=torch.float64)])
    for seed in range(20):
        weights = SURGERIES[name](with_zeros @ with_zeros.T, draw(seed))
        assert bool(weights.isfinite().all())
        possible = [
            textbook(gradients, order) for order in itertools.product(itertools.permutations(range(3)), repeat=3)
        ]
        possible += [gradients.sum(0)]
        assert min(float((weights @ with_zeros - each).norm()) for each in possible) < 1e-12


@every_surgery
def test_a_gradient_that_is_not_finite_is_not_hidden(name):
    gradients = [[torch.tensor([1.0, float("nan")])], [torch.tensor([-1.0, 1.0])]]
    (combined,) = weighted_sum(gradients, SURGERIES[name](gramian(gradients), draw(0)))
    assert combined is not None and not bool(combined.isfinite().all())


@settings(max_examples=100, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_pcgrad_on_the_gramian_equals_the_flattened_textbook_in_the_same_orders(count, seed):
    gradients = jacobian(count, seed)
    found = pcgrad(gradients @ gradients.T, draw(seed)) @ gradients
    assert_equal(found, textbook(gradients, orders(count, seed)), 1e-9)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pcgrad_of_float32_gradients_in_many_tensors_equals_the_textbook(count):
    flat = jacobian(count, count, size=60, dtype=torch.float32) - 0.3 * torch.arange(count)[:, None]
    parts = [[part.reshape(shape) for part, shape in zip(row.split([24, 30, 6]), SHAPES, strict=True)] for row in flat]
    combined = weighted_sum(parts, pcgrad(gramian(parts), draw(5)))
    found = torch.cat([part.flatten() for part in combined if part is not None])
    assert_equal(found.double(), textbook(flat.double(), orders(count, 5)), 1e-6)


SHAPES = [(4, 6), (5, 3, 2), (6,)]


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_pcgrad_of_two_tasks_equals_torchjd(seed):
    gradients = jacobian(2, seed)
    inner = gradients @ gradients.T
    torch.testing.assert_close(pcgrad(inner, draw(seed)), PCGradWeighting()(inner), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_pcgrad_of_three_tasks_is_among_the_results_of_all_orders_and_so_is_torchjd(seed):
    gradients = jacobian(3, seed)
    inner = gradients @ gradients.T
    possible = [textbook(gradients, order) for order in itertools.product(itertools.permutations(range(3)), repeat=3)]
    torch.manual_seed(seed)
    for weights in (pcgrad(inner, draw(seed)), PCGradWeighting()(inner)):
        assert min(float((weights @ gradients - each).norm()) for each in possible) < 1e-9


def test_pcgrad_reaches_every_result_that_an_order_can_give():
    gradients = jacobian(3, 11)
    possible = {
        tuple(textbook(gradients, order).round(decimals=9).tolist())
        for order in itertools.product(itertools.permutations(range(3)), repeat=3)
    }
    found = [pcgrad(gradients @ gradients.T, draw(seed)) @ gradients for seed in range(200)]
    assert len(possible) > 1
    assert {tuple(each.round(decimals=9).tolist()) for each in found} == possible


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_pcgrad_of_two_tasks_conflicts_with_neither_whatever_the_order(seed):
    gradients = jacobian(2, seed)
    results = [pcgrad(gradients @ gradients.T, draw(other)) @ gradients for other in range(seed, seed + 4)]
    assert all(torch.equal(result, results[0]) for result in results)
    assert bool((gradients @ results[0] >= -1e-12 * gradients.norm() ** 2).all())


def test_pcgrad_of_opposite_gradients_is_zero():
    gradient = jacobian(1, 0)
    gradients = torch.cat([gradient, -gradient])
    assert torch.equal(pcgrad(gradients @ gradients.T, draw(0)) @ gradients, torch.zeros(4, dtype=torch.float64))


def test_pcgrad_skips_a_gradient_whose_square_is_rounded_to_nothing():
    inner = torch.tensor([[1.0, -1e-30], [-1e-30, 0.0]])
    assert pcgrad(inner, draw(0)).tolist() == [1.0, 1.0]


def ragged(seed):
    """Gradients of three tasks; the third parameter belongs to two of them, the last one to none."""
    generator = draw(seed)

    def some(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return [[some(2, 5), some(7), some(3) if task else None, None] for task in range(3)]


def flattened(gradients):
    """[tasks, parameters], 0 where a task has none."""
    shapes = [
        next((p for p in parameter if p is not None), torch.zeros(0)) for parameter in zip(*gradients, strict=True)
    ]
    rows = [
        torch.cat(
            [(torch.zeros_like(shape) if p is None else p).flatten() for p, shape in zip(task, shapes, strict=True)]
        )
        for task in gradients
    ]
    return torch.stack(rows)


def test_the_gramian_is_that_of_the_flattened_gradients_and_none_is_zero():
    gradients = ragged(4)
    jacobian = flattened(gradients)
    inner = gramian(gradients)
    torch.testing.assert_close(inner, jacobian @ jacobian.T, rtol=1e-12, atol=1e-12)
    assert torch.equal(inner, inner.T)


def test_the_gramian_of_large_float32_tensors_keeps_six_digits():
    gradients = [[torch.randn(3 * BLOCK + 5, generator=draw(seed))] for seed in range(2)]
    exact = flattened(gradients).double()
    torch.testing.assert_close(gramian(gradients), exact @ exact.T, rtol=2e-6, atol=2e-6 * float(exact.norm()) ** 2)


def test_the_gramian_takes_gradients_that_lie_transposed_in_memory():
    left, right = torch.randn(4, 6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64).T
    torch.testing.assert_close(gramian([[left], [right]])[0, 1], (left * right).sum())


def test_the_weighted_sum_is_that_of_the_flattened_gradients_and_leaves_them_alone():
    gradients, weights = ragged(4), torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
    before, jacobian = flattened(gradients), flattened(gradients)
    combined = weighted_sum(gradients, weights)
    assert combined[3] is None
    found = torch.cat([part.flatten() for part in combined if part is not None])
    torch.testing.assert_close(found, weights @ jacobian)
    assert torch.equal(flattened(gradients), before)


def test_the_sum_is_the_gradient_of_the_summed_losses_of_a_network():
    torch.manual_seed(0)
    shared, unused = nn.Linear(3, 4), nn.Linear(2, 2)
    heads = [nn.Linear(4, 1) for _ in range(3)]
    hidden = shared(torch.randn(8, 3)).tanh()
    losses = [head(hidden).square().mean() for head in heads]
    parameters = [*shared.parameters(), *unused.parameters()]
    gradients = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    combined = weighted_sum(gradients, SURGERIES["sum"](gramian(gradients), draw(0)))
    torch.stack(losses).sum().backward()
    for parameter, gradient in zip(parameters, combined, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(gradient, parameter.grad)


def test_surgery_of_micro_batches_added_up_is_surgery_of_the_one_large_batch():
    torch.manual_seed(0)
    shared, heads = nn.Linear(3, 4).double(), [nn.Linear(4, 1).double() for _ in range(3)]
    rows = torch.randn(3, 12, 3, dtype=torch.float64)

    def gradients(part):
        losses = [head(shared(part[task]).tanh()).square().sum() / 12 for task, head in enumerate(heads)]
        return [torch.autograd.grad(loss, list(shared.parameters())) for loss in losses]

    parts = [gradients(rows[:, :5]), gradients(rows[:, 5:])]  # unequal, weighted by their rows
    added = [[a + b for a, b in zip(first, second, strict=True)] for first, second in zip(*parts, strict=True)]
    large = gradients(rows)
    for found, expected in zip(
        weighted_sum(added, pcgrad(gramian(added), draw(1))),
        weighted_sum(large, pcgrad(gramian(large), draw(1))),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
