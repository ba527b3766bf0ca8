from __future__ import annotations

import numpy as np
from helpers import COLUMNS, ROWS, assert_within, eps, normal, ran_loss

from fastmlp.kernels.blocks.multi_margin import MultiMargin


def test_losses_and_gradients_match_reference(dtype, rng):
    for rows in ROWS:
        for width in COLUMNS:
            out, labels, classes = normal(rng, (rows, width), dtype), rng.integers(width, size=rows), rng.uniform(0, 2, width)
            for squared in (False, True):
                op = MultiMargin(tuple(classes), 0.75, squared=squared, terms=1, weighted=False)
                ran = ran_loss(op, out, labels)
                z = 0.75 - out[np.arange(rows), labels][:, None].astype(np.float64) + out
                z[np.arange(rows), labels] = 0
                z = np.maximum(z, 0)
                share = classes[labels] / width
                losses = share * (z**2 if squared else z).sum(axis=1)
                bound = (width + 8) * eps(dtype)
                assert_within(ran.losses, losses, bound * (1 + losses))
                gradient = share[:, None] * (2 * z if squared else z > 0)
                gradient[np.arange(rows), labels] = -gradient.sum(axis=1)
                assert_within(ran.dout * rows, gradient, 2 * bound * (1 + np.abs(gradient)))
                assert not ran.rows_at(ran.program.records[1].dx, width, rows)[:, width:].any(), "padding"


def test_where_a_margin_is_just_met_the_gradient_is_0(dtype):
    op = MultiMargin((1.0, 1.0), 1.0, squared=False, terms=1, weighted=False)
    ran = ran_loss(op, np.array([[2, 1], [2, 1.5]], dtype), np.array([0, 0]))
    assert_within(ran.losses, [0, 0.25], 0)
    assert_within(ran.dout, [[0, 0], [-0.25, 0.25]], 0)
