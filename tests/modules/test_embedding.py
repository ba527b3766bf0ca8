from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import DIFFERENCE_BOUND, assert_padding_is_zero, assert_same_bits, central_differences, eager_train, flat, small

import fastmlp as fm


def table(rows, dtype, rng=0):
    """Numbers, and categories in columns 1 (of 7) and 3 (of 12)."""
    rng = np.random.default_rng(rng)
    X = rng.standard_normal((rows, 4)).astype(dtype)
    X[:, 1], X[:, 3] = rng.integers(7, size=rows), rng.integers(12, size=rows)
    return X


def network(dtype=np.float64):
    layer = fm.Embedding({1: 7, 3: 12}, {1: 3, 3: 17}, in_features=4)
    model = fm.Sequential(layer, fm.Linear(22, 5), fm.Tanh(), fm.Linear(5, 2), dtype=dtype)
    model.reset_parameters(rng=0)
    return model


def test_embedding_puts_the_vectors_behind_the_other_columns(dtype):
    model = network(dtype)
    X = table(small(67, 9), dtype)
    layer = model[0]
    expected = np.hstack([X[:, [0, 2]], layer.weight_1.data[X[:, 1].astype(int)], layer.weight_3.data[X[:, 3].astype(int)]])
    assert_same_bits(layer(X), expected)
    assert (layer.in_features, layer.out_features) == (4, 22)
    y = model(X)
    for threads in (1, 2):
        assert_same_bits(model.predict(X, threads=threads), y)
    assert_same_bits(model.predict(X[:1]), y[:1])
    narrow = fm.Sequential(fm.Embedding({1: 7, 3: 12}, 1, in_features=4), fm.Linear(4, 1), dtype=dtype)
    assert_same_bits(narrow.predict(X), narrow(X))  # where rows may lie along the vectors


def test_embedding_of_one_column_is_that_of_pytorch(dtype):
    layer = fm.Embedding(5, 3, dtype=dtype)
    assert repr(layer) == "Embedding(5, 3)"
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer.weight.shape == (5, 3)
    assert_same_bits(layer([[4], [0], [4]]), layer.weight.data[[4, 0, 4]])
    assert fm.Embedding(100).out_features == round(1.6 * 100**0.56)


def test_embedding_matches_finite_difference():
    model, X = network(), table(9, np.float64)
    dy = np.random.default_rng(1).standard_normal((9, 2))
    model(X)
    dx = model.backward(dy)
    assert not dx[:, [1, 3]].any()

    def loss():
        return float((model(X) * dy).sum())

    for parameter in model.parameters():
        difference = central_differences(loss, parameter.data)
        assert np.abs(parameter.grad - difference).max() <= DIFFERENCE_BOUND * (1 + np.abs(difference).max())
    numbers = X[:, [0, 2]].copy()

    def loss_of_numbers():
        X[:, [0, 2]] = numbers
        return loss()

    difference = central_differences(loss_of_numbers, numbers)
    assert np.abs(dx[:, [0, 2]] - difference).max() <= DIFFERENCE_BOUND * (1 + np.abs(difference).max())
    assert_padding_is_zero(model)


def test_embedding_is_trained_by_hand_as_in_fit_on_any_threads(dtype):
    X = table(45, dtype)
    y = np.random.default_rng(2).integers(2, size=45)
    left = []
    for threads in (0, 1, 2, 3):
        model = network(dtype)
        optimizer = fm.Adam(model.parameters(), lr=0.05)
        if threads:
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=16, rng=1, threads=threads)
        else:
            eager_train(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=16, rng=1)
        assert_padding_is_zero(model)
        left.append(flat(model))
    for other in left[1:]:
        assert_same_bits(left[0], other)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(twin.predict(X), model.predict(X))
    loaded = network(dtype)
    loaded.load_state_dict(model.state_dict())
    assert_same_bits(loaded.predict(X), model.predict(X))
    frozen = network(dtype)
    frozen[0].weight_3.requires_grad = False
    before = frozen[0].weight_3.data.copy(), frozen[0].weight_1.data.copy()
    fm.fit(frozen, fm.CrossEntropyLoss(), fm.SGD(frozen.parameters(), lr=0.1), X, y, epochs=1)
    assert_same_bits(frozen[0].weight_3.data, before[0])
    assert (frozen[0].weight_1.data != before[1]).any()


def test_embedding_refuses_what_is_no_category(dtype):
    model, X = network(dtype), table(5, dtype)
    y = np.zeros(5, int)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    for wrong in (7, -1, 1.5, np.nan, np.inf):
        X[3, 1] = wrong
        message = r"column 1 of \w+ must hold categories, whole numbers from 0 to 6; row 3 holds "
        for call in (
            model,
            model.predict,
            lambda X: fm.jacobian(model, X),
            lambda X: fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, check_finite=False),
        ):
            with pytest.raises(ValueError, match=message):
                call(X)


def test_embedding_comes_first():
    for before in (fm.Standardize(4), fm.Linear(4, 4), fm.Dropout(), fm.Sequential(fm.ReLU()), fm.Residual(fm.Linear(4, 4))):
        with pytest.raises(ValueError, match=r"Embedding\(.* must come first in a network: what .* gives are no categories"):
            fm.Sequential(before, fm.Embedding({1: 7}, in_features=4))
    with pytest.raises(ValueError, match=r"must come first in a network: what Linear\(4, 4\), which stands before it"):
        fm.Sequential(fm.Linear(4, 4), fm.Sequential(fm.Embedding({1: 7}, 3, in_features=4), fm.Linear(6, 2)))
    for first in (fm.Flatten(), fm.Identity(), fm.Sequential(fm.Identity())):
        model = fm.Sequential(first, fm.Sequential(fm.Embedding({1: 7}, 3, in_features=4)), fm.Linear(6, 2))
        with pytest.raises(ValueError, match="must hold categories"):
            model([[0, 7, 0, 0]])


def test_embedding_rejects_bad_arguments():
    for arguments, options, error, message in (
        ((0,), {}, ValueError, "num_embeddings must be at least 1"),
        ((3.5,), {}, TypeError, "num_embeddings must be a whole number"),
        ((5, 0), {}, ValueError, "embedding_dim must be at least 1"),
        (({0: 5},), {}, TypeError, "in_features is needed"),
        ((5, 3), {"in_features": 2}, ValueError, "in_features is 2: say which columns"),
        (({},), {"in_features": 2}, ValueError, "names no column"),
        (({2: 5},), {"in_features": 2}, ValueError, "names column 2, but X has 2, from 0 on"),
        (({0: 5}, {1: 2}), {"in_features": 2}, ValueError, r"must have the columns of num_embeddings, \[0\]; got \[1\]"),
        (({0: 0},), {"in_features": 2}, ValueError, r"num_embeddings\[0\] must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            fm.Embedding(*arguments, **options)
    layer = fm.Embedding(5, 3)
    with pytest.raises(ValueError, match=r"weight of Embedding\(5, 3\) must have the shape \(5, 3\)"):
        layer.weight = fm.Parameter((3, 5))
