"""An estimator's network with what stands before and behind it, for compiled code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp import math
from fastmlp.modules import Activation, Module, Sequential, Sigmoid, Softmax
from fastmlp.sklearn.network import bias_of, linears

__all__ = ["folded"]


def exp(x):
    """The last activation of counts."""
    return math.exp(x)


#: The last activations of estimators.
LAST: dict[str, Callable[[], Module]] = {"softmax": Softmax, "logistic": Sigmoid, "exp": lambda: Activation(exp)}


def folded(model: Sequential, last: str, scaler: Any) -> Sequential:
    """A copy of the network, with the last activation, and a scaler in its first layer."""
    twin = copy.deepcopy(model)
    if scaler is not None:
        first = linears(twin)[0]
        factor, offset = _as_affine(scaler, first.in_features)
        weight = first.weight.data.astype(np.float64)
        bias_of(first).data = bias_of(first).data + weight @ offset
        first.weight.data = weight * factor
    if last in LAST:
        twin.append(LAST[last]())
    twin.eval()
    return twin


def _as_affine(scaler: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the offset of each feature, of what does no more than that to features."""

    def scaled(X: np.ndarray) -> np.ndarray:
        names = getattr(scaler, "feature_names_in_", None)
        if names is not None:
            import pandas

            X = pandas.DataFrame(X, columns=names)
        return np.asarray(scaler.transform(X), np.float64)

    zero = scaled(np.zeros((1, width)))
    if zero.shape != (1, width):
        raise ValueError(f"scaler must give {width} features, as it takes; it gives {zero.shape[1]}")
    offset, factor = zero[0], (scaled(np.ones((1, width))) - zero)[0]
    draws = np.random.default_rng(0).normal(size=(8, width)) * 9
    if not np.allclose(scaled(draws), draws * factor + offset, rtol=1e-6, atol=1e-6 * np.abs(offset).max()):
        raise ValueError(
            f"scaler must be affine in each feature, as StandardScaler and MinMaxScaler are; {type(scaler).__name__} is not"
        )
    return factor, offset
