"""Test the objectives: losses of tasks with and without regularisers, MLM and SimCSE."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from model.multitask import Inputs, Multitask
from tests.conftest import small_stage
from tests.trainers.small_models import HIGH_DROPOUT, NO_DROPOUT, SmallModels, enlarged_copy, gradients
from trainers.methods.forward import Batch, Forward
from trainers.methods.mlm import MlmConfig
from trainers.methods.objectives import LOSSES, OBJECTIVES, Loss, mlm, simcse, supervised
from trainers.methods.simcse import SimcseConfig, contrast
from trainers.methods.smart import SmartConfig
from trainers.tasks import TASKS

NAMES = ("sst", "qqp", "sts")
LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=8)
PLAIN: dict[str, Any] = {"seed": 0, "place": (3, "sst", 0)}
"""Settings of a forward pass without regularisers."""

every_pairs = pytest.mark.parametrize("pairs", ["concatenated", "separate"])
every_kind = pytest.mark.parametrize("kind", LOSSES)
every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture
def models(corpus, pretrained) -> SmallModels:
    return SmallModels(corpus, pretrained)


def smooth(weight: float = 1.0, *tasks: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of SMART on the given tasks, by default on all."""
    smart = SmartConfig(lambda_s=1.0, **changes)
    return dict(PLAIN, smart=smart, weights={"smart": dict.fromkeys(tasks or TASKS, weight)})


def forward(model: Multitask, batch: Batch, settings: dict[str, Any]) -> Forward:
    """Return the forward pass of a batch with the given settings."""
    return Forward(model, batch, **settings)


def total(losses: dict[str, Loss]) -> Tensor:
    return torch.stack([loss.total for loss in losses.values()]).sum()


# Losses.


def outputs_of(kind: str, rows: int = 6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    outputs = torch.randn(rows, 5 if kind == "classification" else 1, generator=draw)
    return outputs, torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])[:rows]


@every_kind
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_is_a_mean_over_rows_so_that_parts_add_up(kind, weighted):
    outputs, truth = outputs_of(kind)
    weights = torch.tensor([0.5, 3.0, 1.0, 1.0, 1.0][: 5 if kind == "classification" else 2]) if weighted else None
    whole = LOSSES[kind](outputs, truth, weights)
    one_by_one = torch.stack([LOSSES[kind](outputs[[row]], truth[[row]], weights) for row in range(6)])
    torch.testing.assert_close(one_by_one.mean(), whole)
    torch.testing.assert_close(LOSSES[kind](outputs.repeat(2, 1), truth.repeat(2), weights), whole)


@every_kind
def test_class_weights_of_1_have_no_effect(kind):
    outputs, truth = outputs_of(kind)
    ones = torch.ones(5 if kind == "classification" else 2)
    torch.testing.assert_close(LOSSES[kind](outputs, truth, ones), LOSSES[kind](outputs, truth, None))


def test_class_weights_equal_torch_s_and_binary_weights_equal_those_of_two_classes():
    outputs, truth = outputs_of("classification")
    weights = torch.tensor([0.5, 3.0, 1.0, 1.0, 1.0])
    theirs = functional.cross_entropy(outputs, truth.long(), weights)  # a mean over the weights
    torch.testing.assert_close(LOSSES["classification"](outputs, truth, weights), theirs * weights[truth.long()].mean())
    logit, truth = outputs_of("binary")
    two = functional.pad(logit, (1, 0))
    torch.testing.assert_close(
        LOSSES["binary"](logit, truth, weights[:2]), LOSSES["classification"](two, truth, weights[:2])
    )


@given(LOGITS)
def test_the_loss_of_one_logit_equals_that_of_two_classes_with_a_first_logit_of_0(logits):
    z = torch.tensor(logits, dtype=torch.float64)[:, None]
    truth = (torch.arange(len(logits)) % 2).double()
    two = functional.cross_entropy(functional.pad(z, (1, 0)), truth.long())
    torch.testing.assert_close(LOSSES["binary"](z, truth, None), two)


def test_losses_equal_hand_computed_values():
    outputs, truth = torch.tensor([[1.0], [4.5]]), torch.tensor([2.5, 4.0])
    assert LOSSES["regression"](outputs, truth, None) == pytest.approx((1.5**2 + 0.5**2) / 2), "in label units"
    assert LOSSES["classification"](torch.zeros(3, 5), torch.tensor([0.0, 4.0, 2.0]), None) == pytest.approx(1.609438)
    assert LOSSES["binary"](torch.zeros(2, 1), torch.tensor([0.0, 1.0]), None) == pytest.approx(0.693147)
    thrice = LOSSES["binary"](torch.zeros(2, 1), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0]))
    assert thrice == pytest.approx(2 * 0.693147)


def test_the_total_is_the_own_loss_plus_the_weighted_regularisers():
    terms = {name: torch.tensor(value) for name, value in {"loss": 1.0, "smart": 10.0, "r_drop": 100.0}.items()}
    assert Loss(terms, {"smart": 0.5, "r_drop": 0.25}).total.item() == 1 + 5 + 25
    assert Loss({"loss": torch.tensor(3.0)}).total.item() == 3


# Supervised.


@every_pairs
@every_task
def test_class_weights_change_only_the_own_loss_of_their_task(models, task, pairs):
    model = models.model(pairs=pairs)
    batch = models.batch(model, *TASKS)
    classes = round(TASKS[task].high) + 1
    weighted = dict(smooth(), class_weights={} if TASKS[task].kind == "regression" else {task: (2.0,) * classes})
    before, after = supervised(forward(model, batch, smooth())), supervised(forward(model, batch, weighted))
    for name in TASKS:
        factor = 2 if name in weighted["class_weights"] else 1
        torch.testing.assert_close(after[name].terms["loss"], factor * before[name].terms["loss"])
        assert torch.equal(after[name].terms["smart"], before[name].terms["smart"])


@every_pairs
def test_tasks_in_one_batch_have_the_same_losses_as_in_separate_batches(models, pairs):
    model = models.model(pairs=pairs, **NO_DROPOUT)
    together = supervised(forward(model, models.batch(model, *NAMES), PLAIN))
    assert list(together) == list(NAMES)
    for task in NAMES:
        alone = supervised(forward(model, models.batch(model, task), PLAIN))[task]
        torch.testing.assert_close(together[task].total, alone.total)


@pytest.mark.parametrize("settings", [PLAIN, smooth()], ids=["plain", "smart"])
def test_the_draws_of_a_pass_do_not_depend_on_earlier_draws(models, settings):
    model = models.model()
    batch = models.batch(model, "sst", "sts")

    def measure(**changes: Any) -> tuple[Tensor, dict[str, Tensor]]:
        torch.rand(7)
        loss = total(supervised(forward(model, batch, dict(settings, **changes))))
        return loss, gradients(model, loss)

    (loss, gradient), (again, same) = measure(), measure()
    assert torch.equal(loss, again)
    assert all(torch.equal(gradient[name], same[name]) for name in gradient)
    assert not torch.equal(loss, measure(place=(4, "sst", 0))[0])
    assert not torch.equal(loss, measure(seed=1)[0])


def test_regularisers_that_do_not_apply_cost_no_forward_pass(models):
    model, forward_passes = models.model(), []
    batch = models.batch(model, *NAMES)
    model.register_forward_hook(lambda *arguments: forward_passes.append(1))
    supervised(forward(model, batch, PLAIN))
    assert len(forward_passes) == 1
    supervised(forward(model, batch, smooth(ascent_steps=3)))
    assert len(forward_passes) == 1 + 1 + 3 + 1


@every_pairs
@every_task
def test_smart_keeps_the_dropout_masks_of_the_plain_loss_and_adds_its_own_gradient(models, task, pairs):
    model = models.model(pairs=pairs)
    batch = models.batch(model, task)
    plain = supervised(forward(model, batch, PLAIN))[task]
    regularised = supervised(forward(model, batch, smooth(2.0)))[task]
    assert torch.equal(regularised.terms["loss"], plain.terms["loss"])
    assert regularised.terms["smart"] > 0
    torch.testing.assert_close(regularised.total, plain.total + 2 * regularised.terms["smart"])
    before, after = gradients(model, plain.total), gradients(model, regularised.total)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "heads"}


def test_every_regulariser_adds_its_weight_times_its_term_to_the_plain_gradient(models):
    """At dropout 0 the loss of two passes equals that of one pass."""
    model = models.model(**NO_DROPOUT)
    batch, teacher = models.batch(model, *NAMES), enlarged_copy(model)

    def gradient(**weights: float) -> Tensor:
        by_task = {name: dict.fromkeys(NAMES, weight) for name, weight in weights.items()}
        settings = dict(PLAIN, smart=SmartConfig(lambda_s=1), weights=by_task, teacher=teacher)
        return gradients(model, total(supervised(forward(model, batch, settings))))["encoder.layers.1.query.weight"]

    plain, all_three = gradient(), gradient(smart=0.5, bregman=2.0, r_drop=3.0)
    pulls = [gradient(**{name: 1.0}) - plain for name in ("smart", "bregman")]
    torch.testing.assert_close(gradient(r_drop=1.0), plain, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(all_three, plain + 0.5 * pulls[0] + 2 * pulls[1], rtol=1e-3, atol=1e-5)
    assert all(pull.norm() > 1e-3 for pull in pulls), "the regularisers had no effect, so the test proves nothing"


def test_the_own_loss_with_r_drop_is_the_mean_of_two_passes(models):
    twice = dict(PLAIN, weights={"r_drop": dict.fromkeys(NAMES, 4.0)})
    for how in (NO_DROPOUT, HIGH_DROPOUT):
        model = models.model(**how)
        batch = models.batch(model, *NAMES)
        plain, dropped = supervised(forward(model, batch, PLAIN)), supervised(forward(model, batch, twice))
        for task in NAMES:
            same = torch.equal(plain[task].terms["loss"], dropped[task].terms["loss"])
            assert same == (how is NO_DROPOUT)
            assert (dropped[task].total == plain[task].total) == (how is NO_DROPOUT)


# Texts.


MLM = small_stage(objective="mlm")


@pytest.mark.parametrize("objective", ["mlm", "simcse"])
def test_every_source_of_texts_has_a_loss_without_gradient_for_task_heads(models, objective):
    model = models.model(MLM)
    settings = dict(PLAIN, special_tokens=models.corpus.special_tokens)
    losses = OBJECTIVES[objective].losses(forward(model, models.text_batch("sts", "imdb", "snli"), settings))
    assert list(losses) == ["sts", "imdb", "snli"]
    for loss in losses.values():
        assert set(loss.terms) == {"loss"} and loss.total.item() > 0
        pulled = {name.split(".")[0] for name, gradient in gradients(model, loss.total).items() if gradient.any()}
        assert pulled == {"encoder", "mlm_head"} if objective == "mlm" else {"encoder"}
    assert all(parameter.grad is None for parameter in model.parameters())


def read(model: Multitask) -> list[Tensor]:
    """Return a list that collects the tokens that a model looks up from now on."""
    seen: list[Tensor] = []
    model.encoder.word.register_forward_hook(lambda module, arguments, outputs: seen.append(arguments[0]))
    return seen


@pytest.mark.parametrize("share", [0.3, "one"])
def test_the_mlm_loss_covers_the_chosen_tokens_and_no_others(models, share):
    """Compare with torch's loss over all tokens, with label -100 for tokens that were not chosen."""
    model, batch = models.model(MLM, **NO_DROPOUT), models.text_batch("sts", "imdb")
    tokens, shown = batch.inputs.tokens, read(model)
    settings = dict(PLAIN, mlm=MlmConfig(share=share, always_mask=True), special_tokens=models.corpus.special_tokens)
    losses = mlm(forward(model, batch, settings))
    hidden = shown[0] == models.corpus.special_tokens.mask
    assert torch.equal(shown[0][~hidden], tokens[~hidden])
    assert not torch.isin(tokens[hidden], torch.tensor(models.corpus.special_tokens.ids)).any()
    states = model.encoder.encode(model.embed(shown[0]), batch.inputs.offsets, batch.inputs.segments)
    assert model.mlm_head is not None
    logits, labels = model.mlm_head(states, model.encoder.word.weight), torch.where(hidden, tokens, -100)
    first = int(batch.inputs.offsets[batch.inputs.sequences["sts"]])
    for source, part in (("sts", slice(first)), ("imdb", slice(first, None))):
        expected = functional.cross_entropy(logits[part], labels[part], ignore_index=-100)
        torch.testing.assert_close(losses[source].total, expected)
    if share == "one":
        owners = torch.bucketize(hidden.nonzero().squeeze(-1), batch.inputs.offsets, right=True)
        assert owners.tolist() == list(range(1, len(batch.inputs.offsets)))


def test_other_steps_mask_other_tokens(models):
    model, batch = models.model(MLM), models.text_batch("imdb")
    shown = read(model)
    for place in ((0,), (0,), (1,)):
        mlm(forward(model, batch, dict(PLAIN, place=place, special_tokens=models.corpus.special_tokens)))
    assert torch.equal(shown[0], shown[1]) and not torch.equal(shown[0], shown[2])


def without_text(models: SmallModels, source: str) -> Batch:
    """Return a batch with three empty sentences of a source before texts of another source."""
    specials, texts = models.corpus.special_tokens, models.text_batch("imdb").inputs
    tokens = torch.cat([torch.tensor([specials.cls, specials.sep] * 3), texts.tokens])
    offsets = torch.cat([torch.tensor([0, 2, 4]), texts.offsets + 6])
    return Batch(Inputs(tokens, torch.zeros_like(tokens), offsets, {source: 3} | texts.sequences), {}, {}, {})


@pytest.mark.parametrize("share", [0.15, 1e-12, "one"])
def test_a_source_without_masked_tokens_has_a_loss_of_0(models, share):
    model = models.model(MLM)
    settings = dict(PLAIN, mlm=MlmConfig(share=share), special_tokens=models.corpus.special_tokens)
    losses = mlm(forward(model, without_text(models, "empty"), settings))
    assert losses["empty"].total.item() == 0
    assert (losses["imdb"].total.item() > 0) == (share != 1e-12)
    found = gradients(model, total(losses))
    assert "mlm_head.dense.weight" in found
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())


def pooled(model: Multitask, batch: Batch) -> tuple[Tensor, ...]:
    """Return the features [rows, width] of each side of a batch of one source."""
    (sides,) = batch.sides.values()
    return model.pool(model.embed(batch.inputs.tokens), batch.inputs).chunk(sides)


def test_a_sentence_is_contrasted_with_the_others_of_its_side(models):
    model, batch = models.model(**NO_DROPOUT), models.text_batch("sts")
    first, second = pooled(model, batch)
    found = simcse(forward(model, batch, dict(PLAIN, simcse=SimcseConfig(temperature=0.1))))["sts"].total
    torch.testing.assert_close(found, (contrast(first, first, 0.1) + contrast(second, second, 0.1)) / 2)


def test_the_other_columns_of_a_row_are_its_positive_and_all_rows_negatives(models):
    model, batch = models.model(**NO_DROPOUT), models.text_batch("snli")
    anchors, positives, negatives = pooled(model, batch)
    found = simcse(forward(model, batch, dict(PLAIN, simcse=SimcseConfig(supervised=True))))["snli"].total
    torch.testing.assert_close(found, contrast(anchors, torch.cat([positives, negatives]), 0.05))
    pairs = models.text_batch("sts")
    anchors, positives = pooled(model, pairs)
    found = simcse(forward(model, pairs, dict(PLAIN, simcse=SimcseConfig(supervised=True))))["sts"].total
    torch.testing.assert_close(found, contrast(anchors, positives, 0.05))


def test_sources_are_contrasted_separately(models):
    model = models.model(**NO_DROPOUT)
    together = simcse(forward(model, models.text_batch("sts", "imdb"), PLAIN))
    for source in ("sts", "imdb"):
        alone = simcse(forward(model, models.text_batch(source), PLAIN))[source]
        torch.testing.assert_close(together[source].total, alone.total)


def test_a_sentence_passes_twice_with_different_dropout_masks(models):
    """With dropout the two passes differ, so the loss is not that of equal features; for a single sentence it is 0."""
    model, batch = models.model(**HIGH_DROPOUT), models.text_batch("imdb")
    model.eval()
    (still,) = pooled(model, batch)
    loss = simcse(forward(model.train(), batch, PLAIN))["imdb"].total
    assert loss.item() > contrast(still, still, 0.05).item() + 0.01
    assert simcse(forward(model, models.text_batch("imdb", count=1), PLAIN))["imdb"].total.item() == 0


# Devices.


@pytest.mark.parametrize("changes", [{}, {"pairs": "separate", "head": {"features": "u_v"}}, {"pooling": "mean"}])
@pytest.mark.parametrize("norm", ["l2_token", "l2_sentence"])
def test_no_forward_pass_waits_for_a_number_from_its_device(models, changes, norm):
    """The device "meta" has shapes and no numbers: reading a number, which would wait for a GPU, is an error there."""
    model = models.model(**changes)
    batch, meta = models.batch(model, *NAMES), torch.device("meta")
    there = replace(
        batch, inputs=batch.inputs.to(meta), labels={task: each.to(meta) for task, each in batch.labels.items()}
    )
    settings = dict(smooth(1.0, *NAMES, norm=norm), teacher=enlarged_copy(model).to(meta))
    settings = dict(settings, weights=settings["weights"] | {"bregman": dict.fromkeys(NAMES, 1.0)})
    losses = supervised(forward(model.to(meta), there, settings))
    total(losses).backward()
    assert {parameter.device.type for parameter in model.parameters() if parameter.grad is not None} == {"meta"}
