"""Losses that are handed over as plain functions."""

from __future__ import annotations

import copy
import pickle

import numba
import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, jit_only, make_data, make_net, normal

import fastmlp as fm
from fastmlp.kernels.compiler import jit


def asymmetric(out, y, below, above):
    d = out - y
    return fm.math.select(d < 0, below * d * d, above * d * d)


def squared(out, y):
    d = out - y
    return d * d


squared_by_numba = numba.njit(squared)


def trained(criterion, threads=None):
    """The parameters after two epochs of `fit`, or by hand."""
    X, y = make_data(67, 3, 4, "mse")
    model = make_net([3, 17, 4])
    keywords = {"epochs": 2, "batch_size": 32, "rng": 3}
    made = model, criterion, fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if threads is None:
        eager_train(*made, X, y, **keywords)
    else:
        fm.fit(*made, X, y, **keywords, threads=threads)
    assert np.isfinite(flat(model)).all()
    return flat(model)


def test_loss_of_a_user_trains_as_a_built_in_does():
    expected = trained(fm.MSELoss(), threads=1)
    for formula in (squared, squared_by_numba, lambda out, y: (out - y) * (out - y)):
        for threads in (None, 1, 2):
            assert_same_bits(trained(fm.ElementwiseLoss(formula), threads), expected)
    with_slope = fm.ElementwiseLoss(squared, lambda out, y: (out - y) + (out - y))
    assert_within(trained(with_slope, threads=2), expected, 100 * eps(np.float32))


def test_loss_of_a_user_keeps_its_promises(dtype, rng):
    out, y, weights = normal(rng, (5, 3), dtype), normal(rng, (5, 3), dtype), np.arange(5)
    criterion = fm.ElementwiseLoss(asymmetric, constants={"above": 1, "below": 3}, reduction="sum")
    assert repr(criterion) == 'ElementwiseLoss(asymmetric, below=3, above=1, reduction="sum")'
    assert repr(fm.ElementwiseLoss(squared)) == "ElementwiseLoss(squared)"
    d = out.astype(float) - y
    for below in (3, 0.5):
        criterion.below = below
        factors = np.where(d < 0, below, 1)
        for same in (criterion, pickle.loads(pickle.dumps(criterion)), copy.deepcopy(criterion)):
            for reduction, terms, weighted in (("sum", 1, 1), ("mean", out.size, weights.sum() * 3)):
                same.reduction = reduction
                loss = (factors * d * d).sum(axis=1)
                assert_within(same(out, y), loss.sum() / terms, 64 * eps(dtype) * loss.sum())
                assert_within(same.backward(), 2 * factors * d / terms, 8 * eps(dtype) * np.abs(factors * d))
                assert_within(same(out, y, weights), (weights * loss).sum() / weighted, 64 * eps(dtype) * 10 * loss.sum())
            same.reduction = "sum"
    with pytest.raises(TypeError, match="below must be a number"):
        criterion.below = "2"
    for name in ("value", "slope", "constants"):
        with pytest.raises(AttributeError, match=f"{name} of an ElementwiseLoss stays as it is: make another one"):
            setattr(criterion, name, None)


def test_loss_that_cannot_be_compiled_is_refused():
    for make, message in (
        (fm.ElementwiseLoss, r"ElementwiseLoss needs a formula: ElementwiseLoss\(lambda out, y: ...\)"),
        (lambda: fm.ElementwiseLoss(lambda out: out), "value of ElementwiseLoss must take out and y; it takes out"),
        (
            lambda: fm.ElementwiseLoss(lambda out, y: np.log(out) * y),
            r"`.*np.log\(out\).* in line .*np.log computes with arrays",
        ),
        (lambda: fm.ElementwiseLoss(squared, lambda d: d), "slope of ElementwiseLoss must take out and y; it takes d"),
        (lambda: fm.ElementwiseLoss(asymmetric, constants={"below": 1}), r"it takes above too: constants={\"above\": ...}"),
        (lambda: fm.MSELoss(squared), "takes 1 positional argument"),
        (lambda: fm.L1Loss(value=squared), "unexpected keyword argument 'value'"),
    ):
        with pytest.raises(TypeError, match=message):
            make()
    with pytest.raises(ValueError, match="a constant cannot be called 'reduction'"):
        fm.ElementwiseLoss(lambda out, y, reduction: out, constants={"reduction": 1})


def test_subclass_may_have_a_constructor_that_calls_that_of_its_base():
    class Mine(fm.ElementwiseLoss):
        constants = ("power",)

        def __init__(self, power, reduction="mean"):
            super().__init__(reduction=reduction)
            self.power = power

        @staticmethod
        def value(out, y, power):
            return fm.math.exp(power * fm.math.log(abs(out - y)))

    assert abs(Mine(3)([[1.0]], [[3.0]]) - 8) < 1e-5
    assert abs(Mine(3, "sum")([[1.0, 1.0]], [[3.0, 3.0]]) - 16) < 1e-5


@jit_only
def test_loss_of_a_user_compiles_its_own_block_and_nothing_else():
    trained(fm.MSELoss(), threads=1)
    done = len(jit.history)
    for a in (0.1, 0.2):
        quartic = fm.ElementwiseLoss(lambda out, y, a: a * (out - y) ** 4 + 0.12345 * out, constants={"a": a})
        trained(quartic, threads=1)
    assert len(jit.history) == done + 1
    assert "elementwiseloss" in jit.history[-1].name
