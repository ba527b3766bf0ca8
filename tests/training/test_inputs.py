"""What is held out, and weights of classes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net

import fastmlp as fm
from fastmlp.training.inputs import Rows


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def rows_of(y, weights=None):
    return Rows(np.arange(len(y), dtype=np.float32)[:, None], np.asarray(y), weights)


def trained(X, y, criterion=None, *, widths=(3, 9, 4), dtype=np.float32, **keywords):
    model = make_net(list(widths), dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0} | keywords
    return model, fm.fit(model, criterion or fm.CrossEntropyLoss(), optimizer, X, y, **keywords)


def test_split_is_a_function_of_the_seed_and_loses_nothing():
    y = np.repeat([0, 1, 2, 7], [50, 30, 19, 1])
    weights = np.arange(1, 101, dtype=np.float32)
    parts = [rows_of(y, weights).split(0.2, seed, fm.CrossEntropyLoss()) for seed in (5, 5, 6)]
    for first, second in zip(*parts[:2]):
        assert_same_bits(first.x, second.x)
    assert (parts[0][1].x != parts[2][1].x).any()
    for train, held in parts:
        assert len(held.x) == 20
        assert sorted(np.concatenate([train.x, held.x])[:, 0]) == list(range(100))
        for part in (train, held):
            np.testing.assert_array_equal(part.y, y[part.x[:, 0].astype(int)])
            np.testing.assert_array_equal(part.weights, part.x[:, 0] + 1)


def test_each_class_gives_its_share_and_keeps_a_row():
    for counts, fraction in (([500, 300, 200], 0.2), ([90, 10], 0.1), ([40, 1, 1], 0.5), ([3, 3], 0.9), ([2, 1], 0.01)):
        y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
        for seed in range(20):
            train, held = rows_of(y).split(fraction, seed, fm.CrossEntropyLoss())
            given = np.bincount(held.y, minlength=len(counts))
            share = (np.array(counts) - 1) * len(held.x) / (sum(counts) - len(counts))
            assert (abs(given - share) < 1 + 1e-9).all(), (given, share)
            assert set(train.y) == set(y)
    yes = np.repeat([0.0, 1.0], [90, 10])[:, None].astype(np.float32)
    for criterion, targets in ((fm.BCEWithLogitsLoss(), yes), (fm.HingeLoss(), 2 * yes - 1)):
        assert (rows_of(targets).split(0.2, 3, criterion)[1].y > 0).sum() in (1, 2)
    numbers = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    assert len(rows_of(numbers).split(0.25, 3, fm.MSELoss())[1].x) == 10
    chosen = np.zeros(50)
    for seed in range(200):  # each row may be held out
        chosen[rows_of(np.arange(50.0)[:, None]).split(0.2, seed, fm.MSELoss())[1].x[:, 0].astype(int)] += 1
    assert chosen.min() > 15


def test_a_fraction_is_trained_like_the_parts(dtype):
    X, y = make_data(50, 3, 4, dtype=dtype)
    weights = np.arange(50) % 3 + 0.5
    seed = int(np.random.default_rng(0).integers(2**62))
    train, held = Rows(X, y, weights.astype(dtype)).split(0.3, seed, fm.CrossEntropyLoss())
    model, history = trained(X, y, dtype=dtype, sample_weight=weights, validation=0.3)
    twin, other = trained(train.x, train.y, dtype=dtype, sample_weight=train.weights, validation=held)
    assert_same_bits(flat(model), flat(twin))
    assert history == other
    assert len(history.validation_loss) == 3


def test_weights_of_classes_are_weights_of_rows(dtype):
    X, y = make_data(50, 3, 4, dtype=dtype)
    y = np.minimum(y, 2)  # no row of class 3
    y[:10] = -100
    real, weights = y >= 0, np.arange(50) % 3 + 0.5
    counts = np.bincount(y[real])
    balanced = np.append(real.sum() / (3 * counts), 1)
    for class_weight, numbers in (
        ("balanced", balanced),
        ({0: 2, 2: 0.5, np.int64(1): 0}, [2, 0, 0.5, 1]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        (np.array([1.0, 2, 3, 4]), [1, 2, 3, 4]),
    ):
        of_rows = np.where(real, np.array(numbers)[np.where(real, y, 0)].astype(dtype), 0)
        for sample_weight in (None, weights):
            given = of_rows if sample_weight is None else of_rows.astype(dtype) * weights.astype(dtype)
            keywords = {"dtype": dtype, "validation": (X, y)}  # which class_weight does not concern
            model, history = trained(X, y, class_weight=class_weight, sample_weight=sample_weight, **keywords)
            twin, other = trained(X, y, sample_weight=given, **keywords)
            assert_same_bits(flat(model), flat(twin))
            assert history == other
    python = fm.Sequential(make_net([3, 9, 4], dtype=dtype), Same())  # of which nobody knows how many outputs it has
    optimizer = fm.SGD(python.parameters(), lr=0.1, momentum=0.9)
    twin, _ = trained(X, y, class_weight={2: 3}, dtype=dtype)
    with pytest.warns(UserWarning, match="Same"):
        fm.fit(python, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=4, rng=0, class_weight={2: 3})
    assert_same_bits(flat(python), flat(twin))


def test_balanced_is_scikit_learns():
    compute = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight
    y = np.random.default_rng(0).integers(4, size=40) ** 2 % 5
    ours = Rows(np.zeros((40, 1)), y, None).with_class_weight("balanced", fm.CrossEntropyLoss(), 7)
    np.testing.assert_allclose(ours.weights, compute("balanced", y), rtol=1e-12)


@pytest.mark.once
def test_what_cannot_be_held_out_or_weighed_is_refused():
    X, y = make_data(6, 3, 4)
    for keywords, error, message in (
        ({"validation": 0}, ValueError, "validation, a fraction of the rows, must be above 0 and below 1; got 0"),
        ({"validation": 1.0}, ValueError, "above 0 and below 1; got 1.0"),
        ({"validation": float("nan")}, ValueError, "above 0 and below 1; got nan"),
        (
            {"validation": "0.2"},
            TypeError,
            r"validation must be a pair \(X, y\), or \(X, y, sample_weight\), or Chunks, or a fraction",
        ),
        ({"validation": True}, TypeError, "a fraction of the rows, must be a number; got True"),
        ({"validation": 0.5, "y": np.arange(4), "X": X[:4]}, ValueError, "leaves nothing to hold out: each class keeps a row"),
        ({"validation": 0.4, "sample_weight": [1, 0, 0, 0, 0, 0]}, ValueError, "no row of .* counts"),
        ({"class_weight": "equal"}, ValueError, "class_weight must be a dictionary, .*\"balanced\"; got 'equal'"),
        ({"class_weight": {4: 1}}, ValueError, "has the label 4; the model has 4 outputs"),
        ({"class_weight": {"a": 1}}, TypeError, "a label of class_weight must be a whole number"),
        ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be at least 0"),
        ({"class_weight": [1, 2]}, ValueError, "class_weight has 2 numbers, the outputs have 4 columns"),
        ({"class_weight": 2}, TypeError, "class_weight must be a number for each class"),
        ({"class_weight": [0, 0, 0, 0]}, ValueError, "no row of X counts"),
        (
            {"class_weight": "balanced", "y": np.zeros((6, 4)), "criterion": fm.MSELoss()},
            ValueError,
            "class_weight is for labels",
        ),
        ({"max_seconds": 0}, ValueError, "max_seconds must be above 0"),
    ):
        model = make_net([3, 9, 4])
        arguments = {"X": X, "y": y, "criterion": fm.CrossEntropyLoss(), "epochs": 1, "rng": 0} | keywords
        optimizer, before = fm.SGD(model.parameters(), lr=0.1), flat(model)
        with pytest.raises(error, match=message):
            fm.fit(model, optimizer=optimizer, **arguments)
        assert_same_bits(flat(model), before)
        assert (optimizer.steps, optimizer.epochs) == (0, 0)
