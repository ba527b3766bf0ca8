"""`evaluate`, and metrics in `fit`."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, flat, make_data, make_net

import fastmlp as fm
from fastmlp.training.metrics import better

WEIGHTS = np.array([1, 0, 2, 0.5, 0, 1, 0, 3, 3, 1, 0.25])


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def test_evaluate_gives_loss_and_metrics_by_name(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    model = make_net([3, 9, 4], dtype=dtype)
    criterion, before, out = fm.CrossEntropyLoss(), flat(model), model.predict(X)
    model.train()
    mine = ["accuracy", "top_2_accuracy", len_of_both, ("two", lambda y, out: np.float32(2))]
    result = fm.evaluate(model, criterion, X.tolist(), y.tolist(), metrics=mine, threads=2)
    assert list(result) == ["loss", "accuracy", "top_2_accuracy", "len_of_both", "two"]
    assert result["loss"] == criterion(out, y)
    assert result["accuracy"] == pytest.approx((out.argmax(axis=1) == y).mean(), abs=1e-15)
    best = np.argsort(-out, axis=1)[:, :2]
    assert result["top_2_accuracy"] == pytest.approx(np.mean([label in row for label, row in zip(y, best)]))
    assert (result["len_of_both"], result["two"]) == (22, 2)
    assert all(type(value) is float for value in result.values())
    assert model.training
    assert_same_bits(flat(model), before)
    assert fm.evaluate(model, criterion, X, y) == {"loss": result["loss"]}
    assert fm.evaluate(model, criterion, X, y, metrics="accuracy")["accuracy"] == result["accuracy"]


def len_of_both(y, out):
    for array in (y, out):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    return len(y) + len(out)


def test_weights_count_in_named_metrics_and_ignored_rows_do_not(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    model, names = make_net([3, 9, 4], dtype=dtype), ["accuracy", "top_3_accuracy"]
    repeated = np.repeat(np.arange(11), (WEIGHTS * 4).astype(int))
    weighted = fm.evaluate(model, fm.CrossEntropyLoss(), X, y, metrics=names, sample_weight=WEIGHTS)
    twin = fm.evaluate(model, fm.CrossEntropyLoss(), X[repeated], y[repeated], metrics=names)
    ignoring = fm.evaluate(model, fm.CrossEntropyLoss(), X, np.where(WEIGHTS > 0, y, -100), metrics=names)
    kept = fm.evaluate(model, fm.CrossEntropyLoss(), X[WEIGHTS > 0], y[WEIGHTS > 0], metrics=names)
    for name in names:
        assert_within(weighted[name], twin[name], 100 * eps(dtype))
        assert_within(ignoring[name], kept[name], 100 * eps(np.float64))


def test_metrics_of_numbers(dtype):
    X, y = make_data(11, 3, 2, "mse", dtype=dtype)
    model, names = make_net([3, 9, 2], dtype=dtype), ("mse", "mae", "r2")
    out = model.predict(X).astype(np.float64)
    for weights in (None, WEIGHTS):
        w = np.ones(11) if weights is None else weights
        result = fm.evaluate(model, fm.MSELoss(), X, y, metrics=names, sample_weight=weights)
        mean = (w[:, None] * y).sum(axis=0) / w.sum()
        residual, total = (w[:, None] * (out - y) ** 2).sum(axis=0), (w[:, None] * (y - mean) ** 2).sum(axis=0)
        expected = ((w[:, None] * (out - y) ** 2).mean(axis=1).sum() / w.sum(), np.mean(1 - residual / total))
        assert_within([result["mse"], result["r2"]], expected, 1000 * eps(dtype))
        assert_within(result["mse"], result["loss"], 100 * eps(dtype))
        assert_within(result["mae"], (w[:, None] * abs(out - y)).mean(axis=1).sum() / w.sum(), 100 * eps(dtype))
    constant = np.full((11, 2), 0.5)
    assert fm.evaluate(model, fm.MSELoss(), X, constant, metrics="r2")["r2"] == 0.0
    wide = make_net([3, 4], dtype=dtype)  # of means and variances, the means
    result = fm.evaluate(wide, fm.GaussianNLLLoss(), X, y, metrics="mae")
    assert_within(result["mae"], abs(wide.predict(X)[:, :2] - y).mean(), 100 * eps(dtype))


def test_what_a_class_is_the_criterion_says(dtype):
    X, y = make_data(11, 3, 1, "mse", dtype=dtype)
    truth = y > 0
    net = make_net([3, 9, 1], dtype=dtype)
    positive = net.predict(X) > 0
    squashed = fm.Sequential(make_net([3, 9, 1], dtype=dtype), fm.Sigmoid())
    for model, criterion, targets in (
        (net, fm.BCEWithLogitsLoss(), truth.astype(dtype)),
        (net, fm.BCEWithLogitsLoss(), truth[:, 0].astype(dtype)),
        (net, fm.HingeLoss(), np.where(truth, 1, -1)),
        (squashed, fm.BCELoss(), truth.astype(dtype)),
    ):
        assert fm.evaluate(model, criterion, X, targets, metrics="accuracy")["accuracy"] == (positive == truth).mean()
    wide = make_net([3, 4], dtype=dtype)
    labels = np.arange(11) % 4
    expected = fm.evaluate(wide, fm.CrossEntropyLoss(), X, labels, metrics="accuracy")
    assert (
        fm.evaluate(wide, fm.CrossEntropyLoss(), X, np.eye(4)[labels], metrics="accuracy")["accuracy"] == expected["accuracy"]
    )


def test_auc_is_scikit_learns(dtype):
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    X, y = make_data(40, 3, 3, dtype=dtype)
    for classes in (2, 3):
        model, labels = make_net([3, 9, classes], dtype=dtype), y % classes
        out = model.predict(X).astype(np.float64)
        p = np.exp(out) / np.exp(out).sum(axis=1, keepdims=True)
        expected = roc_auc_score(labels, p[:, 1] if classes == 2 else p, multi_class="ovr")
        result = fm.evaluate(model, fm.CrossEntropyLoss(), X, labels, metrics="auc")["auc"]
        assert result == pytest.approx(expected, abs=1e-9)
        assert np.isnan(fm.evaluate(model, fm.CrossEntropyLoss(), X, labels * 0, metrics="auc")["auc"])
    model, truth = make_net([3, 9, 1], dtype=dtype), (y > 0).astype(dtype)
    weights = np.arange(40) % 3
    expected = roc_auc_score(truth, model.predict(X)[:, 0], sample_weight=weights)
    result = fm.evaluate(model, fm.BCEWithLogitsLoss(), X, truth, metrics=["auc"], sample_weight=weights)["auc"]
    assert result == pytest.approx(expected, abs=1e-6)


@pytest.mark.once
def test_metrics_that_cannot_be_are_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    X, y = make_data(11, 3, 4)
    targets = np.zeros((11, 4))
    for criterion, given, metrics, error, message in (
        (fm.CrossEntropyLoss(), y, "acc", ValueError, r"no metric 'acc'; there are \"accuracy\""),
        (fm.CrossEntropyLoss(), y, 3, TypeError, "metrics must be names, functions or pairs"),
        (fm.CrossEntropyLoss(), y, [3], TypeError, "a metric must be a name, a function or a pair"),
        (fm.CrossEntropyLoss(), y, [("loss", max)], ValueError, "the name 'loss' of a metric is taken"),
        (fm.CrossEntropyLoss(), y, ["accuracy"] * 2, ValueError, "'accuracy' of a metric is there twice"),
        (fm.CrossEntropyLoss(), y, [lambda y, out: 0], ValueError, "the name '<lambda>' of a metric must be a word"),
        (fm.CrossEntropyLoss(), y, "auc", ImportError, 'the metric "auc" needs scikit-learn: pip install scikit-learn'),
        (fm.CrossEntropyLoss(), y, "top_k_accuracy", ValueError, "'top_k_accuracy' is always 1: the model has 4 outputs"),
        (fm.CrossEntropyLoss(), y, "top_0_accuracy", ValueError, "the k of 'top_0_accuracy' must be at least 1"),
        (fm.CrossEntropyLoss(), y, "mae", ValueError, r"'mae' needs targets like the outputs, \(1, 4\)"),
        (fm.MSELoss(), targets, "accuracy", ValueError, "'accuracy' needs classes, which the targets of MSELoss are not"),
        (fm.MSELoss(), targets, "top_2_accuracy", ValueError, "'top_2_accuracy' needs labels"),
    ):
        model = make_net([3, 9, 4])
        optimizer, before = fm.SGD(model.parameters(), lr=0.1), flat(model)
        with pytest.raises(error, match=message):
            fm.evaluate(model, criterion, X, given, metrics=metrics)
        with pytest.raises(error, match=message):
            fm.fit(model, criterion, optimizer, X, given, epochs=1, metrics=metrics)
        assert_same_bits(flat(model), before)
        assert optimizer.steps == 0
    model = make_net([3, 9, 4])
    for function, message in (
        (lambda y, out: None, "must return a number; got None"),
        (lambda y, out: "a", "must be a number"),
    ):
        with pytest.raises(TypeError, match=message):
            fm.evaluate(model, fm.CrossEntropyLoss(), X, y, metrics=[("f", function)])
    for wrong, error in (((X[:, :2], y), r"evaluate expects \(N, 3\)"), ((X, y[:3]), "as many rows as each other")):
        with pytest.raises(ValueError, match=error):
            fm.evaluate(model, fm.CrossEntropyLoss(), *wrong)


def test_metrics_of_fit_are_those_of_evaluate_after_each_epoch(dtype):
    """On the validation data where there are some, else on those of training; on the engine and in Python."""
    X, y = make_data(21, 3, 4, dtype=dtype)
    held_out = make_data(9, 3, 4, dtype=dtype, rng=1)
    seen = []

    def look(epoch, history):
        seen.append(fm.evaluate(model, fm.CrossEntropyLoss(), *(held_out if validation else (X, y)), metrics="accuracy"))

    for python in (False, True):
        for validation in (held_out, None):
            model = make_net([3, 9, 4], dtype=dtype)
            model = fm.Sequential(model, Same()) if python else model
            optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
            seen.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                keywords = {"epochs": 3, "batch_size": 4, "rng": 0, "validation": validation, "callbacks": look}
                history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, metrics=["accuracy"], **keywords)
            name = "validation_accuracy" if validation else "accuracy"
            assert [*history.keys()][-1] == name
            assert getattr(history, name) == [result["accuracy"] for result in seen]
            assert history.validation_loss == ([result["loss"] for result in seen] if validation else [])


@pytest.mark.once
def test_which_numbers_are_better_is_known():
    for name, expected in (("loss", "min"), ("validation_mae", "min"), ("validation_top_3_accuracy", "max"), ("auc", "max")):
        assert better(name) == expected
    assert better("validation_f1") is None
