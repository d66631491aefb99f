"""Test SimCSE's contrastive loss against its formula."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainers.methods.simcse import contrast

TAU = 0.05


def features(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))


def by_the_formula(anchors: Tensor, positives: Tensor, negatives: Tensor | None, temperature: float) -> float:
    """Return equations 1 and 5 of the paper, computed sentence by sentence."""

    def likeness(left: Tensor, right: Tensor) -> float:
        cosine = float(left @ right) / (float(left.norm()) * float(right.norm()))
        return math.exp(cosine / temperature)

    others = [*positives, *(() if negatives is None else negatives)]
    found = [
        -math.log(likeness(anchor, positive) / sum(likeness(anchor, other) for other in others))
        for anchor, positive in zip(anchors, positives, strict=True)
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("temperature", [TAU, 1.0])
@pytest.mark.parametrize("hard", [False, True], ids=["positives", "hard negatives"])
def test_the_contrast_equals_the_paper_s_formula(temperature, hard):
    anchors, positives = features(5), features(5) + 0.3 * features(5, 1)
    negatives = features(5, 2) if hard else None
    candidates = positives if negatives is None else torch.cat([positives, negatives])
    found = float(contrast(anchors, candidates, temperature))
    assert found == pytest.approx(by_the_formula(anchors, positives, negatives, temperature), rel=1e-4)


@given(st.integers(1, 12), st.integers(0, 12), st.floats(0.01, 10))
def test_the_contrast_of_equal_features_is_the_logarithm_of_the_number_of_candidates(rows, others, temperature):
    found = contrast(torch.ones(rows, 4), torch.ones(rows + others, 4), temperature)
    assert float(found) == pytest.approx(math.log(rows + others), abs=1e-5)


def test_hard_negatives_never_lower_the_contrast():
    anchors, positives = features(6), features(6) + 0.5 * features(6, 1)
    plain = contrast(anchors, positives, TAU)
    assert contrast(anchors, torch.cat([positives, features(6, 2)]), TAU) > plain
    near = anchors + 0.1 * features(6, 3)
    assert contrast(anchors, torch.cat([positives, near]), TAU) > contrast(
        anchors, torch.cat([positives, features(6, 2)]), TAU
    )


def test_the_contrast_does_not_depend_on_the_norms_of_features():
    anchors, positives = features(5), features(5, 1)
    scale = torch.tensor([[0.1], [1], [3], [10], [100]])
    torch.testing.assert_close(contrast(scale * anchors, 7 * positives, TAU), contrast(anchors, positives, TAU))


def test_the_contrast_falls_for_recognised_positives_and_rises_for_confused_ones():
    orthogonal = torch.eye(4)
    recognised, confused = contrast(orthogonal, orthogonal, TAU), contrast(orthogonal, orthogonal.roll(1, 0), TAU)
    assert float(recognised) == pytest.approx(math.log(1 + 3 * math.exp(-1 / TAU)), abs=1e-6)
    assert float(confused) == pytest.approx(1 / TAU, rel=1e-6)


def test_half_precision_becomes_float32_before_cosines_are_compared():
    anchors = features(5).bfloat16()
    found = contrast(anchors, anchors, TAU)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, contrast(anchors.float(), anchors.float(), TAU))
