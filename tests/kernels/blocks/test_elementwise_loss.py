"""Losses that are a formula, through a program of one op, against NumPy in float64."""

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
    normal,
    ran_loss,
    small,
)

import fastmlp as fm
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.compiler.expression import select


def huber(out, y, delta):
    d = out - y
    size = select(d > 0, d, -d)
    return select(size < delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def huber_slope(out, y, delta):
    d = out - y
    return select(d > delta, delta, select(d < -delta, -delta, d))


def huber_reference(out, y, delta=0.75):
    d = np.abs(out - y)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2)), np.clip(out - y, -delta, delta)


def squared_reference(out, y):
    return (out - y) ** 2, 2 * (out - y)


#: An op of a width, and its values and slopes.
LOSSES = {
    "mse": (lambda width: fm.MSELoss()._op(width), squared_reference),
    "huber": (lambda width: ElementwiseLoss(width, "huber", huber, huber_slope, (0.75,)), huber_reference),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_match_reference(name, dtype, rng):
    make, reference = LOSSES[name]
    for rows in ROWS:
        for width in COLUMNS:
            out, y = normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
            before = out.copy(), y.copy()
            ran = ran_loss(make(width), out, y)
            values, slopes = reference(out.astype(np.float64), y.astype(np.float64))
            assert_within(ran.losses, values.sum(1), (width + 6) * eps(dtype) * (values.sum(1) + width * eps(dtype)))
            assert_within(ran.total, ran.losses.sum(dtype=np.float64), rows * eps(np.float64) * ran.losses.sum())
            scale = 1 / (rows * width)
            assert_within(ran.dout, scale * slopes, 5 * eps(dtype) * scale * np.abs(slopes))
            for array, kept in zip((out, y), before):
                assert_same_bits(array, kept)
            delta = ran.rows_at(ran.program.records[1].dx, width, rows)
            assert not delta[:, width:].any(), "padding"


def test_gradient_matches_finite_difference(rng):
    out, y = normal(rng, (3, 5), np.dtype(np.float64)), normal(rng, (3, 5), np.dtype(np.float64))
    for make, _ in LOSSES.values():
        numbers = central_differences(lambda: ran_loss(make(5), out, y).total / 15, out)  # noqa: B023
        assert_within(ran_loss(make(5), out, y).dout, numbers, DIFFERENCE_BOUND)


def test_a_row_does_not_depend_on_the_others(dtype, rng):
    """But for the number of rows that the mean is over, here a power of two."""
    for make, _ in LOSSES.values():
        out, y = normal(rng, (8, 17), dtype), normal(rng, (8, 17), dtype)
        together, again = ran_loss(make(17), out, y), ran_loss(make(17), out, y)
        assert_same_bits(together.losses, again.losses)
        assert_same_bits(together.dout, again.dout)
        for row in range(8):
            alone = ran_loss(make(17), out[row : row + 1], y[row : row + 1])
            assert_same_bits(alone.losses[0], together.losses[row])
            assert_within(alone.dout[0], 8 * together.dout[row].astype(np.float64), 4 * eps(dtype) * np.abs(alone.dout[0]))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_makes_the_loss_of_its_row_so(wrong, dtype):
    for make, _ in LOSSES.values():
        out, y = np.zeros((3, 2), dtype), np.zeros((3, 2), dtype)
        out[1, 1] = wrong
        ran = ran_loss(make(2), out, y)
        assert np.isfinite(ran.losses).tolist() == [True, False, True]
        assert not np.isfinite(ran.total)


def ratio(out, y):
    return y / out


def ratio_slope(out, y):
    return -y / (out * out)


def test_padding_of_the_delta_is_zero_where_the_formula_has_none_at_zero(dtype, rng):
    for width in small([1, 5, 17], [3]):
        out, y = np.abs(normal(rng, (9, width), dtype)) + 1, normal(rng, (9, width), dtype)
        ran = ran_loss(ElementwiseLoss(width, "ratio", ratio, ratio_slope), out, y)
        assert np.isfinite(ran.losses).all()
        assert not ran.rows_at(ran.program.records[1].dx, width, 9)[:, width:].any()


def test_two_losses_of_one_name_do_not_mix(dtype):
    out, y = np.full((1, 1), 2, dtype), np.ones((1, 1), dtype)
    first = ran_loss(ElementwiseLoss(1, "same", ratio, ratio_slope), out, y)
    second = ran_loss(ElementwiseLoss(1, "same", huber, huber_slope, (4.0,)), out, y)
    assert (first.total, first.dout.item(), second.total, second.dout.item()) == (0.5, -0.25, 0.5, 1)
