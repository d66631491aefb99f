import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.bert import Bert, BertConfig
from model.multitask import Inputs, Multitask
from trainers.methods.divergences import DIVERGENCES
from trainers.methods.smart import NORMS, frozen, smoothness
from trainers.tasks import TASKS

NAMES = ("sst", "qqp", "sts")
ALL = {task: DIVERGENCES[TASKS[task].kind] for task in NAMES}
LENGTHS = torch.tensor([4, 1, 6, 3, 5, 2, 7, 4, 3])  # three rows of each task
OFFSETS = functional.pad(LENGTHS.cumsum(0), (1, 0))
ROW = torch.repeat_interleave(LENGTHS)  # of each token
WIDTH = 16

every_norm = pytest.mark.parametrize("norm", NORMS)
every_task = pytest.mark.parametrize("task", NAMES)


class Small(nn.Module):
    """A small model: word table, a nonlinear layer per token, mean over a row's tokens, a layer, a head per task."""

    def __init__(self, dropout: float):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.tokens = nn.Embedding(30, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.rows, self.dropout = nn.Linear(WIDTH, WIDTH), dropout
        self.heads = nn.ModuleDict({task: nn.Linear(WIDTH, TASKS[task].outputs) for task in NAMES})
        self.double()

    def predict(self, embedded: Tensor, seed: int | None = 0) -> dict[str, Tensor]:
        """Return the outputs of all tasks; equal seeds give equal dropout masks."""
        if seed is not None:
            torch.manual_seed(seed)
        hidden = functional.dropout(self.tokens(embedded).tanh(), self.dropout)
        sums = embedded.new_zeros(len(LENGTHS), WIDTH).index_add(0, ROW, hidden)
        hidden = functional.dropout(self.rows(sums / LENGTHS[:, None]).tanh(), self.dropout)
        return {task: head(rows) for (task, head), rows in zip(self.heads.items(), hidden.split(3), strict=True)}


@dataclass
class Case:
    model: Small
    tokens: Tensor

    def embed(self) -> Tensor:
        return self.model.table(self.tokens)

    def smoothness(
        self, *, norm="l2_token", radius=0.1, ascent_steps=1, divergences=ALL, predict=None, noise=None, parameters=()
    ):
        predict, embedded = predict or self.model.predict, self.embed()
        noise = start(radius) if noise is None else noise
        return smoothness(
            predict, embedded, predict(embedded), noise, OFFSETS, divergences,
            norm=norm, radius=radius, step_size=radius, ascent_steps=ascent_steps, parameters=parameters,
        )  # fmt: skip


def start(radius, seed=1):
    return radius / 100 * torch.randn(len(ROW), WIDTH, generator=torch.Generator().manual_seed(seed)).double()


def fitted(dropout: float) -> Case:
    """Return a model that was trained on its nine rows, so that its outputs depend on its inputs."""
    case = Case(Small(dropout), torch.randint(30, (len(ROW),), generator=torch.Generator().manual_seed(3)))
    optimizer = torch.optim.Adam(case.model.parameters(), lr=0.01, fused=True)
    for step in range(60):
        outputs = case.model.predict(case.embed(), step)
        loss = functional.cross_entropy(outputs["sst"], torch.tensor([0, 2, 4]))
        loss = loss + functional.binary_cross_entropy_with_logits(
            outputs["qqp"][:, 0], torch.tensor([0, 1, 1.0]).double()
        )
        loss = loss + functional.mse_loss(outputs["sts"][:, 0], torch.tensor([0.5, 3, 5]).double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    case.model.zero_grad()
    return case


@pytest.fixture(scope="module")
def trained() -> Case:
    return fitted(dropout=0.0)


@pytest.fixture(scope="module")
def dropping() -> Case:
    return fitted(dropout=0.2)


def spied(case: Case):
    """Return a prediction function that records its inputs."""
    seen: list[Tensor] = []

    def predict(embedded: Tensor) -> dict[str, Tensor]:
        seen.append(embedded.detach())
        return case.model.predict(embedded)

    return predict, seen


def worst(case: Case, **settings) -> Tensor:
    """Return the perturbation that the search ends with."""
    predict, seen = spied(case)
    case.smoothness(predict=predict, **settings)
    return seen[-1] - seen[0]


def divergence_at(case: Case, perturbation: Tensor) -> dict[str, Tensor]:
    moved, clean = case.model.predict(case.embed() + perturbation), case.model.predict(case.embed())
    return {task: divergence(moved[task], clean[task]).mean() for task, divergence in ALL.items()}


def gradient(value: Tensor, model: nn.Module) -> Tensor:
    gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    pairs = zip(gradients, model.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


# Norms.


def lengths_in(norm: str, values: Tensor) -> Tensor:
    """Return the norms that the radius bounds, computed independently."""
    if norm == "linf":
        return values.abs().flatten()
    parts = values.split(1 if norm == "l2_token" else LENGTHS.tolist())
    return torch.stack([part.flatten().square().sum().sqrt() for part in parts])


def random_values(seed=1, dtype=torch.float64):
    """Return tokens with very different norms."""
    draw = torch.Generator().manual_seed(seed)
    scale = 10 ** (2 * torch.randn(len(ROW), 1, generator=draw))
    return (scale * torch.randn(len(ROW), WIDTH, generator=draw)).to(dtype)


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [1e-5, 0.03, 1.0])
def test_a_projected_perturbation_lies_within_the_radius(norm, dtype, radius):
    projected = NORMS[norm].project(random_values(dtype=dtype), OFFSETS, radius)
    assert float(lengths_in(norm, projected.double()).max()) <= radius * (1 + 1e-6)


@every_norm
def test_a_perturbation_within_the_radius_stays_unchanged(norm):
    values = random_values()
    radius = 1.001 * float(lengths_in(norm, values).max())
    assert torch.equal(NORMS[norm].project(values, OFFSETS, radius), values)


@every_norm
def test_a_projection_is_the_nearest_point_within_the_radius(norm):
    values, ball = random_values(), NORMS[norm]
    projected = ball.project(values, OFFSETS, 0.5)
    for seed in range(20):
        inside = ball.project(random_values(seed), OFFSETS, 0.5)
        assert float(((values - projected) * (inside - projected)).sum()) <= 1e-9


@every_norm
def test_the_unit_direction_has_norm_1_and_is_the_steepest(norm):
    gradient, ball = random_values(), NORMS[norm]
    unit = ball.unit(gradient, OFFSETS)
    torch.testing.assert_close(lengths_in(norm, unit), torch.ones_like(lengths_in(norm, unit)))
    for seed in range(20):
        other = ball.project(random_values(seed), OFFSETS, 1.0)
        assert float((gradient * unit).sum()) >= float((gradient * other).sum())


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_unit_direction_does_not_depend_on_the_gradient_s_scale(norm, dtype):
    gradient, ball = torch.randn(len(ROW), WIDTH).to(dtype), NORMS[norm]
    for scale in (1e-15, 1e15):
        torch.testing.assert_close(ball.unit(scale * gradient, OFFSETS), ball.unit(gradient, OFFSETS))


@every_norm
def test_a_gradient_of_0_has_the_direction_0(norm):
    nothing = torch.zeros(len(ROW), WIDTH)
    assert torch.equal(NORMS[norm].unit(nothing, OFFSETS), nothing)
    assert torch.equal(NORMS[norm].project(nothing, OFFSETS, 0.0), nothing)


@every_norm
def test_the_norm_of_a_sequence_does_not_depend_on_other_sequences(norm):
    values, ball = random_values(), NORMS[norm]
    for function in (ball.unit, lambda values, offsets: ball.project(values, offsets, 0.5)):
        alone = [function(part, torch.tensor([0, len(part)])) for part in values.split(LENGTHS.tolist())]
        torch.testing.assert_close(function(values, OFFSETS), torch.cat(alone))


def test_a_sequence_of_one_token_is_bounded_like_its_token():
    values, offsets = random_values(), torch.arange(len(ROW) + 1)
    token, sentence = NORMS["l2_token"], NORMS["l2_sentence"]
    torch.testing.assert_close(sentence.unit(values, offsets), token.unit(values, offsets))
    torch.testing.assert_close(sentence.project(values, offsets, 0.5), token.project(values, offsets, 0.5))


# Smoothness at its limits.


@every_norm
def test_smoothness_is_0_at_radius_0_even_with_dropout(norm, dropping):
    found = dropping.smoothness(norm=norm, radius=0.0, noise=start(0.1))
    assert {task: value.item() for task, value in found.items()} == dict.fromkeys(NAMES, 0.0)


def test_smoothness_with_different_dropout_masks_would_measure_dropout(dropping):
    calls = iter(range(100))
    untied = dropping.smoothness(radius=0.0, noise=start(0.1), predict=lambda e: dropping.model.predict(e, next(calls)))
    assert all(value.item() > 1e-4 for value in untied.values())


@every_norm
@every_task
def test_smoothness_has_a_gradient_for_the_shared_parameters_and_the_task_s_own_head(norm, task, dropping):
    found = dropping.smoothness(norm=norm)[task]
    assert found.shape == () and found.item() > 0
    for name, parameter in dropping.model.named_parameters():
        (gradient,) = torch.autograd.grad(found, parameter, retain_graph=True, allow_unused=True)
        if name.endswith("bias") and f"heads.{task}" in name and task == "sts":
            continue  # a constant on both values cancels in their difference
        foreign = name.startswith("heads.") and f"heads.{task}." not in name
        moves = gradient is not None and bool(gradient.any())
        assert moves != foreign, name


@every_norm
@pytest.mark.parametrize("ascent_steps", [1, 3])
def test_the_perturbation_stays_within_the_radius(norm, ascent_steps, dropping):
    perturbation = worst(dropping, norm=norm, ascent_steps=ascent_steps)
    lengths = lengths_in(norm, perturbation)
    assert float(lengths.max()) <= 0.1 * (1 + 1e-6)
    assert float(lengths.max()) > 0.05


def test_long_noise_is_projected_to_the_radius(trained):
    perturbation = worst(trained, noise=1000 * start(0.1))
    assert float(lengths_in("l2_token", perturbation).max()) <= 0.1 * (1 + 1e-6)


@pytest.mark.parametrize("ascent_steps", [1, 2, 5])
def test_the_search_costs_one_forward_pass_per_ascent_step_and_one_for_the_result(ascent_steps, trained):
    predict, seen = spied(trained)
    trained.smoothness(predict=predict, ascent_steps=ascent_steps)
    assert len(seen) == 1 + ascent_steps + 1  # the first is the clean pass


# The search finds the worst direction.


@every_norm
def test_one_ascent_step_exceeds_random_directions_of_the_same_length_tenfold(norm, trained):
    radius = 0.01
    found, ball = trained.smoothness(norm=norm, radius=radius), NORMS[norm]
    random = []
    for seed in range(20):
        direction = torch.randn(len(ROW), WIDTH, generator=torch.Generator().manual_seed(seed)).double()
        # As long as the perturbation found: on the sphere, or for the coordinates' bound in a corner of the cube.
        random.append(divergence_at(trained, radius * ball.unit(direction, OFFSETS)))
    for task in NAMES:
        mean = torch.stack([each[task] for each in random]).mean().item()
        assert found[task].item() > 10 * mean, f"{task}: {found[task].item():.2e} against {mean:.2e}"


@every_norm
def test_the_search_raises_the_divergence_above_that_of_its_start(norm, trained):
    noise = NORMS[norm].project(100 * start(0.01), OFFSETS, 0.01)
    before, found = divergence_at(trained, noise), trained.smoothness(norm=norm, radius=0.01, noise=noise)
    assert all(found[task] > before[task] for task in NAMES)


def test_the_search_on_a_linear_map_finds_the_largest_singular_value():
    draw = torch.Generator().manual_seed(5)
    left, right = (torch.linalg.qr(torch.randn(4, 3, generator=draw).double())[0] for _ in range(2))
    weight = left @ torch.diag(torch.tensor([3.0, 2.4, 1.0]).double()) @ right.T  # [outputs, 2 tokens of width 2]
    embedded = torch.randn(20, 2, generator=draw).double()
    offsets, radius = torch.arange(0, 21, 2), 0.3

    def predict(embedded: Tensor) -> dict[str, Tensor]:
        return {"sts": embedded.reshape(10, 4) @ weight.T}

    optimum, reached = (radius * 3) ** 2, {}
    for ascent_steps in (1, 2, 5, 20, 40):
        noise = 0.01 * torch.randn(20, 2, generator=draw).double()
        reached[ascent_steps] = float(
            smoothness(
                predict,
                embedded,
                predict(embedded),
                noise,
                offsets,
                {"sts": DIVERGENCES["regression"]},
                norm="l2_sentence",
                radius=radius,
                step_size=radius,
                ascent_steps=ascent_steps,
                parameters=[],
            )["sts"]
        )
    assert max(reached.values()) <= optimum * (1 + 1e-12)
    shares = {ascent_steps: round(value / optimum, 5) for ascent_steps, value in reached.items()}
    assert shares[1] >= 0.5 and shares[20] >= 0.99 and shares[40] >= 0.999, shares  # the mean of ten starts


# Scaling and gradients.


@every_norm
@every_task
def test_smoothness_is_quadratic_in_a_small_radius(norm, task, trained):
    # float64: at this radius the divergence is a difference of nearly equal numbers.
    whole, half = (trained.smoothness(norm=norm, radius=radius)[task].item() for radius in (2e-4, 1e-4))
    assert half / whole == pytest.approx(0.25, rel=0.05)


@every_task
def test_the_gradient_of_smoothness_flows_through_both_predictions(task, trained):
    """With the clean prediction detached, the gradient would be ten times too long or more, by finite differences."""
    perturbation, found = worst(trained, radius=0.1), trained.smoothness(radius=0.1)[task]
    analytic, step = gradient(found, trained.model), 1e-5
    draw = torch.Generator().manual_seed(0)
    for _ in range(5):
        direction = torch.randn(len(analytic), generator=draw).double()
        values = []
        start_at = nn.utils.parameters_to_vector(trained.model.parameters()).detach()
        for sign in (1, -1):
            nn.utils.vector_to_parameters(start_at + sign * step * direction, trained.model.parameters())
            values.append(divergence_at(trained, perturbation)[task].item())
        nn.utils.vector_to_parameters(start_at, trained.model.parameters())
        numeric = (values[0] - values[1]) / (2 * step)
        assert float(analytic @ direction) == pytest.approx(numeric, rel=1e-5, abs=1e-9 * float(analytic.norm()))


@every_norm
@every_task
def test_the_gradient_of_smoothness_falls_a_hundredfold_when_the_radius_falls_tenfold(norm, task, trained):
    norms = [
        float(gradient(trained.smoothness(norm=norm, radius=radius)[task], trained.model).norm())
        for radius in (1e-3, 1e-4)
    ]
    assert norms[0] / norms[1] == pytest.approx(100, rel=0.1)  # one side detached: 10


def test_the_graph_of_the_search_excludes_the_parameters_which_stay_trainable(trained):
    model = copy.deepcopy(trained.model)
    parameters, needed = list(model.parameters()), []
    parameters[0].requires_grad_(False)  # a frozen parameter stays frozen
    as_given = [False] + [True] * (len(parameters) - 1)

    def predict(embedded: Tensor) -> dict[str, Tensor]:
        needed.append([parameter.requires_grad for parameter in parameters])
        return model.predict(embedded)

    def gradients(listed: list[nn.Parameter]) -> tuple[Tensor, ...]:
        found = Case(model, trained.tokens).smoothness(predict=predict, ascent_steps=2, parameters=listed)
        return torch.autograd.grad(torch.stack(list(found.values())).sum(), parameters[1:])

    expected = gradients([])
    assert needed == [as_given] * 4
    needed.clear()
    assert all(torch.equal(mine, other) for mine, other in zip(gradients(parameters), expected, strict=True))
    assert any(bool(gradient.any()) for gradient in expected)
    assert needed == [as_given, [False] * len(parameters), [False] * len(parameters), as_given]
    with pytest.raises(ZeroDivisionError), frozen(parameters):
        raise ZeroDivisionError
    assert [parameter.requires_grad for parameter in parameters] == as_given


def test_the_search_changes_no_grad_and_draws_no_random_numbers(trained):
    predict = lambda embedded: trained.model.predict(embedded, seed=None)  # noqa: E731  draws nothing: no dropout
    for parameter in trained.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    state = torch.get_rng_state()
    trained.smoothness(predict=predict, ascent_steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter in trained.model.parameters():
        assert parameter.grad is not None and bool((parameter.grad == 7.0).all())
        assert parameter.requires_grad
    trained.model.zero_grad()


# Several tasks in one pass.


@every_norm
@pytest.mark.parametrize("ascent_steps", [1, 3])
def test_tasks_in_one_pass_get_the_same_smoothness_as_in_separate_passes(norm, ascent_steps, dropping):
    together = dropping.smoothness(norm=norm, ascent_steps=ascent_steps)
    for task in NAMES:
        alone = dropping.smoothness(norm=norm, ascent_steps=ascent_steps, divergences={task: ALL[task]})
        assert set(alone) == {task}
        torch.testing.assert_close(alone[task], together[task], rtol=1e-9, atol=0)


def test_smoothness_of_minbert_in_training_mode_is_0_at_radius_0_and_has_a_gradient_above():
    torch.manual_seed(0)
    encoder = Bert(BertConfig(vocabulary=40, width=32, layers=2, heads=4, feed_forward=64, positions=16))
    model = Multitask(encoder, {task: nn.Linear(32, TASKS[task].outputs) for task in NAMES}).train()
    tokens = torch.randint(40, (len(ROW),))
    inputs = Inputs(tokens, torch.zeros_like(tokens), OFFSETS, dict.fromkeys(NAMES, 3))

    def predict(embedded: Tensor) -> dict[str, Tensor]:
        torch.manual_seed(1)
        return model(embedded, inputs)

    def found(radius: float) -> dict[str, Tensor]:
        embedded = model.embed(tokens)
        noise = 1e-4 * torch.randn(embedded.shape, generator=torch.Generator().manual_seed(2))
        return smoothness(
            predict, embedded, predict(embedded), noise, OFFSETS, ALL,
            radius=radius, step_size=0.03, ascent_steps=1, parameters=list(model.parameters()),
        )  # fmt: skip

    assert {task: value.item() for task, value in found(0.0).items()} == dict.fromkeys(NAMES, 0.0)
    for task, value in found(0.03).items():
        (gradient,) = torch.autograd.grad(value, encoder.word.weight, retain_graph=True)
        assert value.item() > 0 and bool(gradient.any()), task
