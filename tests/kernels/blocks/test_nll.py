from __future__ import annotations

import numpy as np
from helpers import COLUMNS, ROWS, assert_same_bits, assert_within, eps, normal, ran_loss

from fastmlp.kernels.blocks.nll import NLL


def test_losses_and_gradients_match_reference(dtype, rng):
    for rows in ROWS:
        for width in COLUMNS:
            out, labels, classes = normal(rng, (rows, width), dtype), rng.integers(width, size=rows), rng.uniform(0, 2, width)
            ran = ran_loss(NLL(tuple(classes), terms=1, weighted=False), out, labels)
            chosen, of_label = out[np.arange(rows), labels].astype(np.float64), classes[labels]
            assert_within(ran.losses, -chosen * of_label, 3 * eps(dtype) * np.abs(chosen * of_label))
            gradient = -np.eye(width)[labels] * classes / rows
            assert_within(ran.dout, gradient, 3 * eps(dtype) * np.abs(gradient))
            assert not ran.rows_at(ran.program.records[1].dx, width, rows)[:, width:].any(), "padding"


def test_a_row_of_weight_0_may_have_any_label(dtype, rng):
    out, weights = normal(rng, (3, 2), dtype), np.array([1, 0, 2], dtype)
    results = [ran_loss(NLL((1.0, 2.0), terms=1, weighted=True), out, np.array([0, y, 1]), weights) for y in (0, -100, 2**60)]
    for other in results[1:]:
        assert_same_bits(other.losses, results[0].losses)
        assert_same_bits(other.dout, results[0].dout)
