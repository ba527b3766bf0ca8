from __future__ import annotations

import numpy as np
from helpers import COLUMNS, ROWS, assert_within, eps, normal, ran_loss, small

from fastmlp.kernels.blocks.soft_cross_entropy import SoftCrossEntropy


def reference(logits, targets, classes, smoothing):
    """Losses of rows and their gradients, in float64."""
    x = logits.astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    t = classes * (targets * (1 - smoothing) + smoothing / x.shape[1])
    return -(t * logs).sum(axis=1), np.exp(logs) * t.sum(axis=1, keepdims=True) - t


def test_losses_and_gradients_match_reference(dtype, rng):
    for rows in [*ROWS, small(130, 3)]:
        for width in COLUMNS:
            logits, classes = 3 * normal(rng, (rows, width), dtype), rng.uniform(0, 2, width)
            labels = rng.integers(width, size=rows)
            probabilities = rng.dirichlet(np.ones(width), rows).astype(dtype)
            for smoothing in (0.0, 0.3):
                for targets in (labels, probabilities):
                    op = SoftCrossEntropy(tuple(classes), smoothing, labels=targets.ndim == 1, terms=0, weighted=False)
                    ran = ran_loss(op, logits, targets)
                    t = np.eye(width)[labels] if targets.ndim == 1 else probabilities.astype(np.float64)
                    losses, gradient = reference(logits, t, classes.astype(dtype), smoothing)
                    bound = (width + 12) * eps(dtype) * 2
                    assert_within(ran.losses, losses, bound * (1 + np.abs(logits).max()))
                    assert_within(ran.dout, gradient, bound)
                    delta = ran.rows_at(ran.program.records[1].dx, width, rows)
                    assert not delta[:, width:].any(), "padding"


def test_extreme_logits_have_the_loss_that_they_have(dtype):
    logits = np.array([[1e30, 0, -1e30], [0, 0, 0], [-1e30, -1e30, -1e30]], dtype)
    op = SoftCrossEntropy((1.0, 1.0, 1.0), 0.0, labels=True, terms=1, weighted=False)
    ran = ran_loss(op, logits, np.array([0, 1, 2]))
    assert_within(ran.losses, [0, np.log(3), np.log(3)], 2 * eps(dtype))
    ran = ran_loss(op, logits, np.array([2, 1, 2]))
    assert_within(ran.losses[0], 2e30, 4e30 * eps(dtype))
    assert np.isfinite(ran.dout).all()
