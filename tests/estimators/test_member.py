"""A network of a table: the numbers of arXiv:2407.04491 (RealMLP-TD-S) that it is made of."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sklearn")

import fastmlp as fm
from fastmlp.sklearn import TabularClassifier, TabularRegressor
from fastmlp.sklearn.columns import Columns
from fastmlp.sklearn.folds import folds_of
from fastmlp.sklearn.member import network_of, optimizer_of, schedule_of

pytestmark = pytest.mark.once


def made(hidden=(400, 300)):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(60, 3)), np.resize(np.arange(12), 60)])
    return network_of(Columns(X, [3]), list(hidden), 2, fm.SELU, np.random.default_rng(1))


def test_first_weights_are_normal_and_outputs_zero():
    model = made()
    names = [type(module).__name__ for module in model]
    assert names == ["Embedding", "Scale", "Linear", "SELU", "Linear", "SELU", "Linear"]
    assert (model[1].weight.data == 1).all()  # a learned scale for each feature
    for layer in (model[2], model[4]):
        weights = layer.weight.data.ravel()
        assert weights.std() == pytest.approx(1 / math.sqrt(layer.in_features), rel=0.05)
        assert abs(weights.mean()) < 4 / math.sqrt(layer.in_features * weights.size)
        assert layer.bias.data.std() == pytest.approx(1, rel=0.15)
    assert not model[6].weight.data.any()
    assert not model[6].bias.data.any()
    assert not model.predict(np.ones((2, 4))).any()


def test_rates_go_by_layer_and_adam_forgets_sooner():
    model = made()
    optimizer = optimizer_of(model, 0.04)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates[id(model[1].weight)] == pytest.approx(6 * 0.04)
    for layer in (model[2], model[4], model[6]):
        assert rates[id(layer.weight)] == pytest.approx(0.04 / math.sqrt(layer.in_features))
        assert rates[id(layer.bias)] == pytest.approx(0.1 * 0.04)
    assert {id(parameter) for parameter in model.parameters()} == set(rates)
    assert all(group["betas"] == (0.9, 0.95) for group in optimizer.param_groups)


def test_schedule_has_four_cosines_on_logarithmic_time():
    optimizer = optimizer_of(made((3,)), 0.04)
    rate = optimizer.param_groups[0]["lr"]
    schedule = schedule_of(optimizer, 1500)
    factors = np.array([schedule._rates(step)[0] for step in range(1501)]) / rate
    t = np.arange(1501) / 1500
    np.testing.assert_allclose(factors, (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))) / 2, atol=1e-12)
    ends = [0, 100, 300, 700, 1500]  # 15 t = 0, 1, 3, 7, 15
    np.testing.assert_allclose(factors[ends], 0, atol=1e-12)
    assert [factors[a:b].max() > 0.99 for a, b in pairwise(ends)] == [True] * 4


def test_defaults_are_those_of_the_page():
    clf, reg = TabularClassifier(), TabularRegressor()
    assert (clf.n_members, clf.label_smoothing, clf._activation) == (8, 0.1, fm.SELU)
    assert (reg.n_members, reg._activation) == (8, fm.Mish)
    assert repr(clf._criterion()) == repr(fm.CrossEntropyLoss(label_smoothing=0.1))


def test_the_best_epoch_is_kept():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    y = X[:, 0] + rng.normal(size=120)  # noise: the last epoch is not the best
    reg = TabularRegressor(n_members=5, epochs=40, hidden_layer_sizes=(64,), random_state=0).fit(X, y)
    targets = ((y - y.mean()) / y.std())[:, None]
    x = reg.columns_.transform(X)
    bests = 0
    for model, held, history in zip(reg.models_, reg._held_out, reg.histories_):
        loss = float(((model.predict(x[held]) - targets[held]) ** 2).mean())
        assert loss == pytest.approx(min(history.validation_loss), rel=1e-4)
        bests += min(history.validation_loss) < 0.98 * history.validation_loss[-1]
    assert bests >= 3


def test_folds_share_out_each_stratum():
    strata = np.repeat([0, 1, 2], [50, 30, 1])
    for members in (1, 4, 8, 20):
        held = folds_of(strata, members, np.random.default_rng(0))
        folds = 5 if members < 5 else 8
        assert len(held) == members
        assert not any(rows[80] for rows in held)  # alone in its stratum
        for rows in held:
            for stratum, size in ((0, 50), (1, 30)):
                assert abs(rows[strata == stratum].sum() - size / folds) < 1
        if members >= folds:
            np.testing.assert_array_equal(np.sum(held[:folds], axis=0), strata < 2)
