"""Scale and PReLU, whose parameters are a number for each feature, through a program of one op, against NumPy in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import ROWS, assert_same_bits, assert_within, eps, normal, ran_both_ways, ran_predicting, small

from fastmlp.kernels.blocks.prelu import PReLU
from fastmlp.kernels.blocks.scale import Scale
from fastmlp.kernels.layout import row_stride, zeros

WIDTHS = small([1, 2, 7, 15, 16, 17, 31, 33, 129, 257], [1, 7, 17])

OPS = {
    "scale": lambda width: Scale(width, 0),
    "prelu": lambda width: PReLU(width, 0, shared=False),
    "prelu of one slope": lambda width: PReLU(width, 0, shared=True),
}


def slope_of(kind, x, weight):
    """The derivative by x; and by the weight, divided by x."""
    if kind == "scale":
        return np.broadcast_to(weight, x.shape), np.ones_like(x)
    return np.where(x > 0, 1, weight), np.where(x > 0, 0, 1)


@pytest.mark.parametrize("kind", OPS)
def test_layer_matches_reference(kind, dtype, rng):
    one = kind.endswith("one slope")
    for rows, width in itertools.product(ROWS[::2], WIDTHS):
        params = zeros(row_stride(width, dtype), dtype)
        params[: 1 if one else width] = normal(rng, 1 if one else width, dtype)
        weight = params[:1] if one else params[:width]
        x, dy = normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
        x[0, 0] = 0
        ran = ran_both_ways([OPS[kind](width)], x, dy, params)
        slope, share = slope_of(kind, x, weight)
        assert_same_bits(ran.y, x * slope.astype(dtype))
        assert_same_bits(ran.dx, dy * slope.astype(dtype))
        terms = dy.astype(float) * x * share
        gradient, size = (terms.sum(), np.abs(terms).sum()) if one else (terms.sum(0), np.abs(terms).sum(0))
        count = weight.size
        assert_within(ran.grads[:count], np.reshape(gradient, count), (rows + width) * eps(dtype) * np.reshape(size, count))
        assert not ran.grads[count:].any()


@pytest.mark.parametrize("kind", OPS)
def test_rows_along_the_vectors_give_the_same_bits(kind, dtype, rng):
    for rows, width in itertools.product(small([1, 7, 48, 100], [1, 7]), (1, 5, 17)):
        params = zeros(row_stride(width, dtype), dtype)
        params[:width] = normal(rng, width, dtype)
        x = normal(rng, (rows, width), dtype)
        along, across = (_narrow(OPS[kind](width), x, params, narrow) for narrow in (True, False))
        assert_same_bits(along, across)


def _narrow(op, x, params, narrow):
    """A prediction; the op alone costs nothing, so it is told which way to go."""
    op.costs = lambda _: (1000, 1.0)
    return ran_predicting([op], x, x.shape[1], params, narrow=narrow).y
