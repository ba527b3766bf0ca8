"""scikit-learn's losses as criteria: its own functions are the oracle."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from helpers import central_differences
from sklearn.neural_network import _base as theirs

from fastmlp.sklearn.criteria import BinaryLogLoss, HalfSquaredError, LogLoss, PoissonDeviance


def drawn(rng, dtype, outputs, scale):
    return (rng.normal(size=(23, outputs)) * scale).astype(dtype), rng.integers(0, 3, 23) + rng.random(23)


def sigmoid(z):
    return 1 / (1 + np.exp(-z.astype(np.float64)))


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_losses_are_scikit_learns(dtype, rng):
    # Logits of 60 have losses of rows that the bound of the logarithm cuts.
    for outputs in (1, 3):
        for scale in (1.0, 60.0):
            out, weights = drawn(rng, dtype, outputs, scale)
            yes = rng.random(out.shape) < 0.5
            for w in (None, weights):
                given = () if w is None else (w,)
                ours = BinaryLogLoss(outputs, dtype)(out, yes.astype(dtype), *given)
                p = sigmoid(out).astype(dtype)
                np.testing.assert_allclose(ours, theirs.binary_log_loss(yes, p, w), rtol=1e-5 if dtype == "f4" else 1e-10)
    for scale in (1.0, 60.0):
        out, weights = drawn(rng, dtype, 4, scale)
        labels = rng.integers(0, 4, len(out))
        for w in (None, weights):
            given = () if w is None else (w,)
            ours = LogLoss(dtype)(out, labels, *given)
            expected = theirs.log_loss(np.eye(4)[labels], softmax(out).astype(dtype), w)
            np.testing.assert_allclose(ours, expected, rtol=1e-5 if dtype == "f4" else 1e-10)
    assert -np.log(np.finfo(dtype).eps) == pytest.approx(LogLoss(dtype)([[1000.0, 0.0]], [1]), rel=1e-6)
    assert np.isnan(LogLoss(dtype)(np.array([[np.nan, 0.0]], dtype), [1]))


def test_losses_of_numbers_are_scikit_learns(dtype, rng):
    for outputs in (1, 3):
        out, weights = drawn(rng, dtype, outputs, 1.0)
        y, counts = rng.normal(size=out.shape).astype(dtype), rng.poisson(1.0, size=out.shape).astype(dtype)
        for w in (None, weights):
            given = () if w is None else (w,)
            ours = HalfSquaredError(outputs)(out, y, *given) / outputs
            np.testing.assert_allclose(ours, theirs.squared_loss(y, out, w), rtol=1e-5)
            ours = PoissonDeviance(outputs)(out, counts, *given)
            np.testing.assert_allclose(ours, theirs.poisson_loss(counts, np.exp(out), w), rtol=1e-4)


def test_gradients_are_those_of_the_losses(rng):
    out = rng.normal(size=(5, 3))
    cases = (
        (HalfSquaredError(3), rng.normal(size=out.shape)),
        (PoissonDeviance(3), rng.poisson(1.0, size=out.shape).astype(float)),
        (BinaryLogLoss(3, np.float64), (rng.random(out.shape) < 0.5).astype(float)),
        (LogLoss(np.float64), rng.integers(0, 3, 5)),
    )
    for criterion, y in cases:
        criterion(out, y)
        gradient = criterion.backward()
        np.testing.assert_allclose(gradient, central_differences(lambda: criterion(out, y), out), rtol=1e-6, atol=1e-8)  # noqa: B023
