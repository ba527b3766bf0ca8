"""Cross entropy through a program of one op, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import (
    COLUMNS,
    DIFFERENCE_BOUND,
    ROWS,
    assert_same_bits,
    assert_within,
    central_differences,
    eps,
    jit,
    jit_only,
    masked_stores,
    normal,
    ran_loss,
    small,
)

from fastmlp.kernels.blocks.cross_entropy import LOSS_ROWS, SPARE_ROWS, CrossEntropy, cross_entropy_forward


def reference(logits, labels):
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    total = np.exp(shifted).sum(1)
    losses = np.log(total) - shifted[np.arange(len(labels)), labels]
    return losses, (np.exp(shifted) / total[:, None] - np.eye(logits.shape[1])[labels]) / len(labels)


@jit_only
def test_the_largest_logits_are_stored_in_whole_vectors(dtype, rng):
    @jit
    def forward(losses, saved, logits, labels, columns, classes):
        cross_entropy_forward(losses, saved, logits, labels, columns, classes)

    logits, labels = normal(rng, (19, 5), dtype), rng.integers(5, size=19)
    losses, columns = np.empty(19, dtype), np.empty((5 + SPARE_ROWS, LOSS_ROWS), dtype)
    forward(losses, np.empty_like(logits), logits, labels, columns, 5)
    assert_within(losses, reference(logits, labels)[0], 20 * eps(dtype))
    assert masked_stores(forward) == 0


def test_losses_and_gradient_match_reference(dtype, rng):
    """Rows around those that are computed together as well."""
    for rows in [*ROWS, *small([LOSS_ROWS - 1, LOSS_ROWS, LOSS_ROWS + 1, 3 * LOSS_ROWS + 5], [LOSS_ROWS + 1])]:
        for classes in COLUMNS if rows < LOSS_ROWS - 1 else [2, 17]:
            logits, labels = 5 * normal(rng, (rows, classes), dtype), rng.integers(classes, size=rows)
            before = logits.copy()
            ran = ran_loss(CrossEntropy(classes), logits, labels)
            losses, gradient = reference(logits, labels)
            # The logits' difference is rounded before it is exponentiated, hence their size in the bounds.
            size = 1 + np.abs(logits).max()
            assert_within(ran.losses, losses, (classes + 4) * eps(dtype) * size)
            assert_within(ran.dout, gradient, (classes + 8) * eps(dtype) * size / rows)
            assert_within(ran.total, ran.losses.sum(dtype=np.float64), rows * eps(np.float64) * np.abs(ran.losses).sum())
            assert_same_bits(logits, before)
            delta = ran.rows_at(ran.program.records[1].dx, classes, rows)
            assert not delta[:, classes:].any(), "padding"


def test_gradient_matches_finite_difference(rng):
    logits, labels = normal(rng, (3, 5), np.dtype(np.float64)), np.array([0, 4, 2])
    numbers = central_differences(lambda: ran_loss(CrossEntropy(5), logits, labels).total / 3, logits)
    assert_within(ran_loss(CrossEntropy(5), logits, labels).dout, numbers, DIFFERENCE_BOUND)


def test_large_logits_are_no_overflow(dtype):
    large = np.finfo(dtype).max / 4
    logits = np.array([[large, -large, 0], [-large, -large, -large], [0, 0, large]], dtype)
    ran = ran_loss(CrossEntropy(3), logits, np.array([0, 1, 2]))
    assert_within(ran.losses, [0, np.log(3), 0], 4 * eps(dtype))
    assert_within(3 * ran.dout.astype(np.float64), [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3], [0, 0, 0]], 8 * eps(dtype))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_makes_the_loss_of_its_row_so(wrong, dtype):
    for column in range(3):
        logits = np.zeros((3, 3), dtype)
        logits[1, column] = wrong
        ran = ran_loss(CrossEntropy(3), logits, np.array([0, 1, 2]))
        assert_within(ran.losses[::2], np.full(2, np.log(3)), 4 * eps(dtype))
        assert not np.isfinite(ran.losses[1])


def test_a_row_does_not_depend_on_the_others(dtype, rng):
    """But for the number of rows that the mean is over, here a power of two."""
    logits, labels = normal(rng, (8, 17), dtype), rng.integers(17, size=8)
    together, again = (ran_loss(CrossEntropy(17), logits, labels) for _ in range(2))
    assert_same_bits(together.losses, again.losses)
    assert_same_bits(together.dout, again.dout)
    for row in range(8):
        alone = ran_loss(CrossEntropy(17), logits[row : row + 1], labels[row : row + 1])
        assert_same_bits(alone.losses[0], together.losses[row])
        assert_within(alone.dout[0], 8 * together.dout[row].astype(np.float64), 8 * eps(dtype))


def test_labels_are_kept_for_the_way_back(dtype):
    """The caller's labels may have changed when the gradient is asked for."""
    ran = ran_loss(CrossEntropy(2), np.zeros((2, 2), dtype), np.array([0, 1]))
    ran.job.labels[:] = 1
    assert ran.dout.tolist() == [[-0.25, 0.25], [0.25, -0.25]]
    record = ran.program.records[1]
    assert ran.job.integers[record.labels : record.labels + 2].tolist() == [0, 1]
