from __future__ import annotations

import numpy as np
from helpers import ROWS, assert_within, eps, normal, ran_loss

from fastmlp.kernels.blocks.gaussian_nll import GaussianNLL


def test_losses_and_gradients_match_reference(dtype, rng):
    least = -1.5
    for rows in ROWS:
        for half in (1, 3, 8, 9, 17):
            out, y = normal(rng, (rows, 2 * half), dtype), normal(rng, (rows, half), dtype)
            ran = ran_loss(GaussianNLL(2 * half, least, 0.25, terms=half, weighted=False), out, y)
            d, s = out[:, :half] - y.astype(np.float64), out[:, half:].astype(np.float64)
            variance = np.exp(np.maximum(s, least))
            losses = (0.5 * (np.maximum(s, least) + d**2 / variance) + 0.25).sum(axis=1)
            size = (0.5 * (np.abs(s) + 2 + d**2 / variance) + 0.25).sum(axis=1)
            assert_within(ran.losses, losses, (half + 12) * eps(dtype) * size)
            share = np.where(s < least, np.exp(s - least), 1)
            gradient = np.hstack([d / variance, 0.5 * (1 - d**2 / variance) * share]) / (rows * half)
            size = np.hstack([np.abs(d / variance), 1 + d**2 / variance]) / (rows * half)
            assert_within(ran.dout, gradient, 12 * eps(dtype) * size)
            assert not ran.rows_at(ran.program.records[1].dx, 2 * half, rows)[:, 2 * half :].any(), "padding"


def test_extreme_variances_are_finite_where_their_loss_is(dtype):
    ran = ran_loss(
        GaussianNLL(2, np.log(1e-6), 0.0, terms=1, weighted=False),
        np.array([[1, 1e30], [1, -1e30]], dtype),
        np.ones((2, 1), dtype),
    )
    assert_within(ran.losses, [0.5e30, 0.5 * np.log(1e-6)], eps(dtype) * np.array([1e30, 10]))
    assert np.isfinite(ran.dout).all()
