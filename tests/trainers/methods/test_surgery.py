import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchjd.aggregation import GradVacWeighting, PCGradWeighting

from tests.conftest import surgeries
from trainers.methods.surgery import BLOCK, SURGERIES, TARGET_STEP, gradvac, gramian, weighted_sum

COUNTS = st.integers(2, 5)
SEEDS = st.integers(0, 2**32)
OURS = ("sum", "pcgrad", "gradvac")


every_surgery = surgeries(*SURGERIES)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def blank(count):
    """The memory of a surgery at the start."""
    return torch.zeros(count, count, dtype=torch.float64)


def weigh(name, inner, seed=0):
    """The weights of a surgery's first step."""
    return SURGERIES[name](inner, blank(len(inner)), draw(seed))[0]


def jacobian(count, seed, size=4, dtype=torch.float64):
    """Return random gradients [tasks, parameters], with few parameters so that many gradients conflict."""
    return torch.randn(count, size, generator=draw(seed), dtype=dtype)


def orders(count, seed):
    """Return, for each task, the order in which a surgery with this seed takes the other tasks."""
    generator = draw(seed)
    return [torch.randperm(count, generator=generator).tolist() for _ in range(count)]


def textbook(gradients, orders):
    """Return PCGrad's result as published, on flattened gradients [tasks, parameters]."""
    projected = gradients.clone()
    for task, order in enumerate(orders):
        for other in order:
            product = projected[task] @ gradients[other]
            if other != task and product < 0:
                projected[task] -= product / (gradients[other] @ gradients[other]) * gradients[other]
    return projected.sum(0)


def assert_equal(found, expected, tolerance=1e-12):
    """Compare relative to the norm of the vectors: a sum that nearly cancels has few correct digits."""
    worst = float((found - expected).norm() / (expected.norm() + 1e-30))
    assert worst <= tolerance or float(found.norm() + expected.norm()) < tolerance, f"differs by {worst:.1e}"


@surgeries(*OURS)
@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 5), seed=SEEDS)
def test_orthogonal_gradients_are_summed(name, count, seed):
    lengths = 10 ** torch.randn(count, generator=draw(seed), dtype=torch.float64)
    assert torch.equal(weigh(name, torch.diag(lengths), seed), torch.ones(count, dtype=torch.float64))


@surgeries(*OURS)
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_gradients_without_conflict_are_summed(name, count, seed):
    agreeing = jacobian(count, seed).abs()
    weights = weigh(name, agreeing @ agreeing.T, seed)
    assert torch.equal(weights, torch.ones(count, dtype=torch.float64))


@every_surgery
@pytest.mark.parametrize("count", [1, 2, 5])
def test_orthogonal_gradients_of_equal_norm_are_summed_up_to_a_factor(name, count):
    weights = weigh(name, 7 * torch.eye(count, dtype=torch.float64))
    assert bool((weights >= 1 - 1e-9).all())
    torch.testing.assert_close(weights, weights[0].expand(count))


@surgeries(*OURS)
def test_a_single_task_keeps_its_gradient(name):
    matrix, bias = torch.randn(3, 2), torch.randn(5)
    gradients = [[matrix, None, bias]]
    first, unused, last = weighted_sum(gradients, weigh(name, gramian(gradients), 0))
    assert first is not None and torch.equal(first, matrix)
    assert unused is None
    assert last is not None and torch.equal(last, bias)


@every_surgery
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_weights_and_memory_are_a_function_of_gramian_memory_and_generator(name, count, seed):
    gradients, state = jacobian(count, seed), torch.get_rng_state()
    memory = torch.rand(count, count, generator=draw(seed + 1), dtype=torch.float64)
    given = memory.clone()
    (first, kept), (second, again) = (SURGERIES[name](gradients @ gradients.T, memory, draw(seed)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(kept, again)
    assert first.shape == (count,) and first.dtype == torch.float64
    assert kept.shape == (count, count) and kept.dtype == torch.float64
    assert torch.equal(memory, given), "the memory was changed in place"
    assert torch.equal(torch.get_rng_state(), state), "a draw came from the global generator"


@surgeries(*(name for name in SURGERIES if name != "gradvac"))
def test_a_surgery_without_memory_returns_the_memory_unchanged(name):
    gradients, memory = jacobian(3, 11), torch.rand(3, 3, dtype=torch.float64)
    weights, kept = SURGERIES[name](gradients @ gradients.T, memory, draw(0))
    assert kept is memory
    assert torch.equal(weights, weigh(name, gradients @ gradients.T))


@every_surgery
@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_weights_do_not_depend_on_the_scale_of_the_loss(name, scale):
    gradients = jacobian(4, 3)
    inner = gradients @ gradients.T
    torch.testing.assert_close(weigh(name, scale * inner, 1), weigh(name, inner, 1))


@every_surgery
def test_renaming_the_tasks_renames_weights_and_memory(name):
    gradients, renamed = jacobian(3, 11), [2, 0, 1]
    memory = torch.rand(3, 3, generator=draw(1), dtype=torch.float64)
    assert bool(((gradients @ gradients.T) < 0).any())

    def outcomes(jacobian, memory, order):
        seeds = range(100 if name in OURS else 1)  # torchjd's draw nothing
        found = [SURGERIES[name](jacobian @ jacobian.T, memory, draw(seed)) for seed in seeds]
        named = [(weights[order], memory[order][:, order]) for weights, memory in found]
        return {tuple(torch.cat([weights, kept.flatten()]).round(decimals=6).tolist()) for weights, kept in named}

    expected = outcomes(gradients, memory, renamed)
    assert outcomes(gradients[renamed], memory[renamed][:, renamed], [0, 1, 2]) == expected


@surgeries(*OURS)
@settings(max_examples=30, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_scaling_a_gradient_changes_its_own_part_of_the_sum_only(name, count, seed):
    gradients = jacobian(count, seed)
    memory = torch.rand(count, count, generator=draw(seed + 1), dtype=torch.float64) - 0.5

    def combined(stretch):
        stretched = torch.cat([stretch * gradients[:1], gradients[1:]])
        return SURGERIES[name](stretched @ stretched.T, memory, draw(seed))[0] @ stretched

    assert_equal(combined(1) + combined(4), 2 * combined(2.5), 1e-9)  # others + stretch * own


@surgeries(*OURS)
def test_a_gradient_of_zeros_changes_nothing(name):
    gradients = jacobian(3, 11)
    with_zeros = torch.cat([gradients, torch.zeros(1, 4, dtype=torch.float64)])
    possible = [textbook(gradients, order) for order in itertools.product(itertools.permutations(range(3)), repeat=3)]
    possible += [gradients.sum(0)]
    for seed in range(20):
        weights = weigh(name, with_zeros @ with_zeros.T, seed)
        assert bool(weights.isfinite().all())
        assert min(float((weights @ with_zeros - each).norm()) for each in possible) < 1e-12


DEGENERATE = {
    "zeros": [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
    "one of zeros": [[1.0, 2.0], [-1.0, 0.5], [0.0, 0.0]],
    "opposite": [[1.0, 2.0], [-1.0, -2.0], [2.0, -1.0]],
    "equal": [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]],
    "of very different lengths": [[1e-6, 2e-6], [-1e6, 2e6], [1.0, -1.0]],
}


@every_surgery
@pytest.mark.parametrize("gradients", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_weights_and_memory_are_finite_for_all_gradients(name, gradients, rounding):
    rows = torch.tensor(gradients, dtype=torch.float64)
    noise = torch.randn(3, 3, generator=draw(0), dtype=torch.float64)
    memory = blank(3)
    for seed in range(5):
        weights, memory = SURGERIES[name](rows @ rows.T * (1 + rounding * (noise + noise.T)), memory, draw(seed))
        assert bool(weights.isfinite().all()) and bool(memory.isfinite().all())


@every_surgery
def test_a_gradient_that_is_not_finite_makes_the_sum_not_finite(name):
    gradients = [[torch.tensor([1.0, float("nan")])], [torch.tensor([-1.0, 1.0])]]
    (combined,) = weighted_sum(gradients, weigh(name, gramian(gradients), 0))
    assert combined is not None and not bool(combined.isfinite().all())


@settings(max_examples=100, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_pcgrad_on_the_gramian_equals_the_flattened_textbook_in_the_same_orders(count, seed):
    gradients = jacobian(count, seed)
    found = weigh("pcgrad", gradients @ gradients.T, seed) @ gradients
    assert_equal(found, textbook(gradients, orders(count, seed)), 1e-9)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pcgrad_of_float32_gradients_in_many_tensors_equals_the_textbook(count):
    flat = jacobian(count, count, size=60, dtype=torch.float32) - 0.3 * torch.arange(count)[:, None]
    parts = [[part.reshape(shape) for part, shape in zip(row.split([24, 30, 6]), SHAPES, strict=True)] for row in flat]
    combined = weighted_sum(parts, weigh("pcgrad", gramian(parts), 5))
    found = torch.cat([part.flatten() for part in combined if part is not None])
    assert_equal(found.double(), textbook(flat.double(), orders(count, 5)), 1e-6)


SHAPES = [(4, 6), (5, 3, 2), (6,)]


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_pcgrad_of_two_tasks_equals_torchjd(seed):
    gradients = jacobian(2, seed)
    inner = gradients @ gradients.T
    torch.testing.assert_close(weigh("pcgrad", inner, seed), PCGradWeighting()(inner), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_pcgrad_of_three_tasks_is_among_the_results_of_all_orders_and_so_is_torchjd(seed):
    gradients = jacobian(3, seed)
    inner = gradients @ gradients.T
    possible = [textbook(gradients, order) for order in itertools.product(itertools.permutations(range(3)), repeat=3)]
    torch.manual_seed(seed)
    for weights in (weigh("pcgrad", inner, seed), PCGradWeighting()(inner)):
        assert min(float((weights @ gradients - each).norm()) for each in possible) < 1e-9


def test_pcgrad_draws_every_order_of_projections():
    gradients = jacobian(3, 11)
    possible = {
        tuple(textbook(gradients, order).round(decimals=9).tolist())
        for order in itertools.product(itertools.permutations(range(3)), repeat=3)
    }
    found = [weigh("pcgrad", gradients @ gradients.T, seed) @ gradients for seed in range(200)]
    assert len(possible) > 1
    assert {tuple(each.round(decimals=9).tolist()) for each in found} == possible


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_pcgrad_of_two_tasks_conflicts_with_neither_task_in_any_order(seed):
    gradients = jacobian(2, seed)
    results = [weigh("pcgrad", gradients @ gradients.T, other) @ gradients for other in range(seed, seed + 4)]
    assert all(torch.equal(result, results[0]) for result in results)
    assert bool((gradients @ results[0] >= -1e-12 * gradients.norm() ** 2).all())


def test_pcgrad_of_opposite_gradients_is_zero():
    gradient = jacobian(1, 0)
    gradients = torch.cat([gradient, -gradient])
    assert torch.equal(weigh("pcgrad", gradients @ gradients.T, 0) @ gradients, torch.zeros(4, dtype=torch.float64))


def test_pcgrad_skips_a_gradient_whose_squared_norm_rounds_to_0():
    inner = torch.tensor([[1.0, -1e-30], [-1e-30, 0.0]])
    assert weigh("pcgrad", inner, 0).tolist() == [1.0, 1.0]


def turned(gradients, orders, targets):
    """Return GradVac's result as published, on flattened gradients [tasks, parameters]; move the targets in place."""

    def sine(cosine):
        return (1 - cosine**2).sqrt()

    changed = gradients.clone()
    for task, order in enumerate(orders):
        for other in order:
            if other == task:
                continue
            length, cosine = changed[task].norm(), torch.cosine_similarity(changed[task], gradients[other], dim=0)
            target = targets[task, other].clone()
            if cosine < target:
                share = length * (target * sine(cosine) - cosine * sine(target))
                changed[task] += share / (gradients[other].norm() * sine(target)) * gradients[other]
            targets[task, other] = (1 - TARGET_STEP) * target + TARGET_STEP * cosine
    return changed.sum(0)


@settings(max_examples=50, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_gradvac_on_the_gramian_equals_the_flattened_textbook_in_the_same_orders(count, seed):
    memory = 1.8 * torch.rand(count, count, generator=draw(seed), dtype=torch.float64) - 0.9
    targets = memory.clone()
    for step in range(3):
        gradients = jacobian(count, seed + step, size=6)
        weights, memory = gradvac(gradients @ gradients.T, memory, draw(step))
        assert_equal(weights @ gradients, turned(gradients, orders(count, step), targets), 1e-8)
        torch.testing.assert_close(memory, targets, rtol=1e-8, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(count=COUNTS, seed=SEEDS)
def test_gradvac_with_targets_of_0_equals_pcgrad(count, seed):
    gradients = jacobian(count, seed, size=6)
    found, expected = (weigh(name, gradients @ gradients.T, seed) @ gradients for name in ("gradvac", "pcgrad"))
    assert_equal(found, expected, 1e-9)


@pytest.mark.parametrize("target", [-0.4, 0.0, 0.7, 0.999])
def test_gradvac_turns_a_gradient_until_its_cosine_is_the_target(target):
    gradients = jacobian(2, 3)
    cosine = torch.cosine_similarity(gradients[0], gradients[1], dim=0)
    assert cosine < target
    memory = torch.tensor([[0, target], [-0.999, 0]], dtype=torch.float64)  # the second one stays as it is
    turned_one = gradvac(gradients @ gradients.T, memory, draw(0))[0] @ gradients - gradients[1]
    torch.testing.assert_close(
        torch.cosine_similarity(turned_one, gradients[1], dim=0), torch.tensor(target, dtype=torch.float64)
    )


def test_gradvac_does_not_turn_gradients_with_a_cosine_above_the_target():
    gradients = jacobian(3, 11)
    memory = torch.full((3, 3), -0.99, dtype=torch.float64)
    weights, memory = gradvac(gradients @ gradients.T, memory, draw(0))
    assert torch.equal(weights, torch.ones(3, dtype=torch.float64))
    lengths = gradients.norm(dim=1)
    cosines = gradients @ gradients.T / lengths.outer(lengths)
    expected = (0.99 * -0.99 + 0.01 * cosines).fill_diagonal_(-0.99)
    torch.testing.assert_close(memory, expected)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("start", [0.0, 0.999])
def test_the_targets_of_gradvac_stay_within_their_limit(sign, start):
    gradient = jacobian(1, 0)
    gradients, memory = torch.cat([gradient, sign * gradient]), torch.full((2, 2), start, dtype=torch.float64)
    for seed in range(30):
        weights, memory = gradvac(gradients @ gradients.T, memory, draw(seed))
        assert bool(weights.isfinite().all())
    assert bool((memory.abs() <= 0.999).all())
    assert (memory[0, 1] - start) * sign > 0 or start == 0.999 * sign


def test_gradvac_accepts_a_cosine_that_rounding_puts_above_1():
    inner = torch.tensor([[1.0, -1.0000001], [-1.0000001, 1.0]])
    weights, memory = gradvac(inner, blank(2), draw(0))
    assert bool(weights.isfinite().all()) and bool(memory.isfinite().all())


def test_gradvac_keeps_the_targets_of_a_task_without_a_gradient():
    gradients = torch.cat([jacobian(2, 3), torch.zeros(1, 4, dtype=torch.float64)])
    memory = torch.full((3, 3), 0.3, dtype=torch.float64)
    kept = gradvac(gradients @ gradients.T, memory, draw(0))[1]
    assert torch.equal(kept[2], memory[2]) and torch.equal(kept[:, 2], memory[:, 2])
    assert kept[0, 1] != 0.3 and kept[1, 0] != 0.3


def test_gradvac_of_two_tasks_equals_torchjd_s_over_200_steps():
    theirs, memory, worst = GradVacWeighting(beta=TARGET_STEP), blank(2), 0.0
    for step in range(200):
        gradients = jacobian(2, step)
        weights, memory = gradvac(gradients @ gradients.T, memory, draw(step))
        difference = weights @ gradients - theirs(gradients @ gradients.T) @ gradients
        worst = max(worst, float(difference.norm() / gradients.norm()))
    assert worst < 1e-6, f"differs by {worst:.1e}"


def ragged(seed):
    """Return gradients of three tasks. Two tasks use the third parameter; no task uses the last one."""
    generator = draw(seed)

    def some(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return [[some(2, 5), some(7), some(3) if task else None, None] for task in range(3)]


def flattened(gradients):
    """Return the gradients as [tasks, parameters], with 0 for None."""
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


def test_the_gramian_equals_that_of_flattened_gradients_with_zeros_for_none():
    gradients = ragged(4)
    jacobian = flattened(gradients)
    inner = gramian(gradients)
    torch.testing.assert_close(inner, jacobian @ jacobian.T, rtol=1e-12, atol=1e-12)
    assert torch.equal(inner, inner.T)


def test_the_gramian_of_large_float32_tensors_keeps_six_digits():
    gradients = [[torch.randn(3 * BLOCK + 5, generator=draw(seed))] for seed in range(2)]
    exact = flattened(gradients).double()
    torch.testing.assert_close(gramian(gradients), exact @ exact.T, rtol=2e-6, atol=2e-6 * float(exact.norm()) ** 2)


def test_the_gramian_accepts_transposed_gradients():
    left, right = torch.randn(4, 6, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64).T
    torch.testing.assert_close(gramian([[left], [right]])[0, 1], (left * right).sum())


def test_the_weighted_sum_equals_that_of_flattened_gradients_and_does_not_change_them():
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
    combined = weighted_sum(gradients, weigh("sum", gramian(gradients), 0))
    torch.stack(losses).sum().backward()
    for parameter, gradient in zip(parameters, combined, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(gradient, parameter.grad)


def test_surgery_on_summed_micro_batches_equals_surgery_on_the_whole_batch():
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
        weighted_sum(added, weigh("pcgrad", gramian(added), 1)),
        weighted_sum(large, weigh("pcgrad", gramian(large), 1)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
