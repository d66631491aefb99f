"""Test the losses that break ties between candidates."""

import numpy as np
import pytest

from search.selection.library import LOSSES


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_of_perfect_predictions_is_0_and_that_of_wrong_predictions_is_finite(kind):
    labels = np.array([0, 1, 1, 0], np.float32)
    right = np.eye(2)[labels.astype(int)] if kind == "classification" else labels[:, None]
    np.testing.assert_allclose(LOSSES[kind](right, labels), 0, atol=1e-6)
    assert (LOSSES[kind](1 - right, labels) > 0).all()
    assert (LOSSES[kind](1 - right, labels) < 100).all()
