"""What the outputs of a classifier say: probabilities and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.modules.log_softmax import LogSoftmax
from fastmlp.modules.module import Module
from fastmlp.modules.sigmoid import Sigmoid
from fastmlp.modules.softmax import Softmax

__all__ = ["as_classes", "labels_of", "numbers_of", "probabilities_of"]


def probabilities_of(last: Module, out: np.ndarray) -> np.ndarray:
    """The probabilities of the classes, (N, classes), from outputs of a network with this last module."""
    with np.errstate(over="ignore", under="ignore"):
        if isinstance(last, LogSoftmax):  # which may be a kind of Softmax
            return np.exp(out)
        if isinstance(last, Softmax):
            return out
        if isinstance(last, Sigmoid) or out.shape[1] == 1:
            one = out if isinstance(last, Sigmoid) else (np.tanh(out / 2) + 1) / 2
            return np.hstack([1 - one, one]) if out.shape[1] == 1 else one
        weights = np.exp(out - out.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def labels_of(probabilities: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """The most probable class of each row, the first of several: its number, or its name."""
    numbers = probabilities.argmax(axis=1)
    return numbers if classes is None else classes[numbers]


def as_classes(values: Any) -> np.ndarray | None:
    """Names of classes, each once, in the order of their numbers: text or whole numbers."""
    if values is None:
        return None
    classes = np.array(values)
    if classes.dtype == object and all(isinstance(name, str) for name in classes.flat):
        classes = classes.astype(str)
    if classes.ndim != 1 or not len(classes) or classes.dtype.kind not in "iuU":
        raise TypeError(f"classes must be names of classes, text or whole numbers; got {checks.shown(values)}")
    if len(np.unique(classes)) < len(classes):
        raise ValueError("classes has a name twice")
    classes.flags.writeable = False
    return classes


def numbers_of(labels: Any, classes: np.ndarray, name: str = "y") -> np.ndarray:
    """The numbers of labels that are names of classes."""
    given = np.asarray(labels)
    if given.ndim != 1:
        raise ValueError(f"{name} must have the shape (N,), one label a row; got {given.shape}")
    given = given.astype(classes.dtype.type) if given.dtype == object else given
    order = np.argsort(classes)
    places = np.searchsorted(classes, given, sorter=order).clip(max=len(classes) - 1)
    numbers = order[places]
    wrong = np.flatnonzero(classes[numbers] != given)
    if wrong.size:
        raise ValueError(f"{name} holds {given[wrong[0]]!r} in row {wrong[0]}, which is none of the model's classes")
    return numbers
