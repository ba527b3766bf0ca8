from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, flat, make_data

import fastmlp as fm


def test_statistics_are_those_of_the_data(dtype, rng):
    X = 3 * rng.standard_normal((101, 4)) + [0, 5, -1e3, 1e-3]
    X[:, 3] = 7  # constant
    layer = fm.Standardize(4, dtype=dtype).fit(X)
    expected = np.where(X.std(0) > 0, (X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1), 0)
    assert_within(layer(X), expected, 4 * eps(dtype) * (1 + np.abs(X) / np.where(X.std(0) > 0, X.std(0), 1)))
    robust = fm.Standardize(4, "median", dtype=dtype).fit(np.vstack([X, np.full((10, 4), 1e6)]))
    assert (np.abs(robust.centre.data[:3] - [0, 5, -1e3]) < 2).all()
    assert (np.abs(1 / robust.factor.data[:3] - 3) < 1.5).all()
    assert robust.factor.data[3] == 1


def test_standardize_in_a_network_trains_as_scaled_data(dtype):
    X, y = make_data(33, 3, 4, dtype=np.float64)
    X = X * [1, 100, 1e-3] + [0, 50, 1]
    layer = fm.Standardize(3, dtype=dtype).fit(X)
    scaled = layer(X.astype(dtype))
    left = []
    for data, modules in ((X.astype(dtype), [copy.deepcopy(layer)]), (scaled, [])):
        model = fm.Sequential(*modules, fm.Linear(3, 9, rng=0), fm.Tanh(), fm.Linear(9, 4, rng=1), dtype=dtype)
        for threads in (1, 2):
            fm.fit(model, fm.CrossEntropyLoss(), fm.Adam(model.parameters()), data, y, epochs=2, rng=0, threads=threads)
        left.append(model)
        assert_same_bits(model.predict(data, threads=2), model.eval()(data))
    for one, other in zip(left[0].parameters(), left[1].parameters()):
        assert_same_bits(one.data, other.data)
    model = left[0]
    assert_same_bits(model[0].centre.data, layer.centre.data)
    assert {"0.centre", "0.factor"} <= set(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(flat(twin), flat(model))
        assert repr(twin) == repr(model)


def test_fit_of_a_network_takes_the_statistics_of_its_training_data_once(dtype):
    X, y = make_data(34, 3, 4, dtype=dtype)
    X = X * dtype.type(10) + dtype.type(5)

    def make(*layers):
        return fm.Sequential(*layers, fm.Linear(3, 4, rng=0), dtype=dtype)

    def train(model, **options):
        fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=2, rng=0, **options)

    first, second = make(fm.Standardize(3)), make(fm.Standardize(3, dtype=dtype).fit(X))
    assert not first[0].fitted
    train(first)
    train(second)
    assert first[0].fitted
    assert_same_bits(flat(first), flat(second))
    held_out = make(fm.Sequential(fm.Standardize(3)))
    train(held_out, validation=0.5)
    before = held_out[0][0].centre.data.copy()
    assert not np.array_equal(before, first[0].centre.data), "of the rows that are trained on alone"
    X = X + dtype.type(1)
    train(held_out)
    assert_same_bits(held_out[0][0].centre.data, before)


def test_standardize_rejects_bad_arguments():
    with pytest.raises(ValueError, match='method must be "mean" or "median"; got'):
        fm.Standardize(3, "robust")
    with pytest.raises(ValueError, match="num_features must be at least 1"):
        fm.Standardize(0)
    layer = fm.Standardize(3)
    for X, error, message in (
        (np.ones((4, 2)), ValueError, r"\(N, 3\)"),
        (np.ones((0, 3)), ValueError, "row"),
        ([[1, 2, np.nan]], ValueError, "X must be finite"),
        ([["a", "b", "c"]], TypeError, "X"),
    ):
        with pytest.raises(error, match=message):
            layer.fit(X)
    assert layer.factor.data.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"centre of Standardize\(3\) must have the shape \(3,\)"):
        layer.centre = fm.Buffer((2,))
