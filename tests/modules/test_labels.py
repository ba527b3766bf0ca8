from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_within, eps, make_net, normal

import fastmlp as fm
from fastmlp.modules.labels import numbers_of


def softmax(out):
    weights = np.exp(out - out.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_probabilities_are_those_that_the_outputs_stand_for(dtype, rng):
    X = normal(rng, (9, 3), dtype)
    logits = make_net([3, 5, 4], dtype=dtype)
    out = logits.predict(X)
    expected = softmax(out.astype(np.float64))
    for last in ((), (fm.Softmax(1),), (fm.LogSoftmax(1),), (fm.Sequential(fm.LogSoftmax(1)),)):
        model = fm.Sequential(*copy.deepcopy(logits), *last, dtype=dtype)
        found = model.predict_proba(X)
        assert found.dtype == dtype
        assert_within(found, expected, 20 * eps(dtype))
        np.testing.assert_array_equal(model.predict_labels(X), out.argmax(1))
        np.testing.assert_array_equal(model.predict_labels(X, threads=2), out.argmax(1))
    one = make_net([3, 1], dtype=dtype)
    sigmoid = 1 / (1 + np.exp(-one.predict(X).astype(np.float64)))
    for model in (one, fm.Sequential(copy.deepcopy(one), fm.Sigmoid(), dtype=dtype)):
        assert_within(model.predict_proba(X), np.hstack([1 - sigmoid, sigmoid]), 8 * eps(dtype))
        np.testing.assert_array_equal(model.predict_labels(X), (sigmoid[:, 0] > 0.5).astype(int))
    several = fm.Sequential(copy.deepcopy(logits), fm.Sigmoid(), dtype=dtype)
    assert_within(several.predict_proba(X), 1 / (1 + np.exp(-out.astype(np.float64))), 8 * eps(dtype))


def test_probabilities_of_extreme_outputs_are_0_and_1():
    model = fm.Sequential(fm.Linear(1, 3), dtype=np.float64)
    model[0].weight.data, model[0].bias.data = [[1e300], [0], [-1e300]], np.zeros(3)
    np.testing.assert_array_equal(model.predict_proba([[1.0], [-1.0]]), [[1, 0, 0], [0, 0, 1]])
    one = fm.Sequential(fm.Linear(1, 1), dtype=np.float64)
    one[0].weight.data, one[0].bias.data = [[1e300]], [0]
    np.testing.assert_array_equal(one.predict_proba([[1.0], [-1.0]]), [[0, 1], [1, 0]])


def test_classes_are_names_and_come_along():
    model = make_net([2, 3])
    assert model.classes is None
    for names in (["b", "a", "c"], np.array(["b", "a", "c"], object), (10, 20, 30)):
        model.classes = names
        labels = model.predict_labels(np.zeros((4, 2)))
        assert set(labels.tolist()) <= set(names)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert twin.classes.tolist() == list(names)
        assert numbers_of(list(names)[::-1], model.classes).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match=r"y holds .*40.* in row 1, which is none of the model's classes"):
        numbers_of([10, 40], model.classes)
    for wrong, error in ((["a", "a", "b"], ValueError), ([1.5, 2], TypeError), ([["a"]], TypeError), ([], TypeError)):
        with pytest.raises(error, match="classes"):
            model.classes = wrong
    model.classes = ["a", "b"]
    with pytest.raises(ValueError, match="the network has 2 classes, but 3 probabilities"):
        model.predict_labels(np.zeros((4, 2)))
