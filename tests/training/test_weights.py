"""Weights of rows in `fit`: histories, validation, batches in which no row counts, losses and modules in Python."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net

import fastmlp as fm

WEIGHTS = np.array([1, 0, 2, 0.5, 0, 0, 0, 0, 3, 1, 0.25])
KEYWORDS = {"epochs": 3, "batch_size": 4, "rng": 0}


class Squares(fm.Criterion):
    """As :class:`fastmlp.MSELoss`, in Python, with weights; notes how it was called."""

    def __init__(self):
        self.given = []

    def forward(self, out, y, *weights):
        self.given.append(len(weights))
        self.difference = out - y
        w = weights[0] if weights else np.ones(len(y), out.dtype)
        self.share = w[:, None] / w.sum() if w.any() else 0 * w[:, None]
        return float((self.share * self.difference**2).sum() / y.shape[1])

    def backward(self):
        return 2 * self.share * self.difference / self.difference.shape[1]


class Copy(fm.Module):
    """An identity in Python."""

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def trained(criterion, X, y, *, dtype=np.float32, lr=0.1, last=(), **keywords):
    model = make_net([3, 9, 4], dtype=dtype)
    if last:
        model = fm.Sequential(model, *last, dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=lr, momentum=0.9)
    return model, fm.fit(model, criterion, optimizer, X, y, **KEYWORDS | keywords)


def test_history_holds_the_weighted_mean_of_each_epoch(dtype):
    """With a learning rate of 0 every batch is seen by the same model, and an epoch has the loss of all rows."""
    for criterion, name in (
        (fm.CrossEntropyLoss(), "cross_entropy"),
        (fm.CrossEntropyLoss([1, 2, 0.5, 0.25]), "cross_entropy"),
        (fm.CrossEntropyLoss(ignore_index=2), "cross_entropy"),
        (fm.NLLLoss([1, 2, 0.5, 0.25], ignore_index=1, reduction="sum"), "cross_entropy"),
        (fm.MSELoss(), "mse"),
        (fm.MSELoss(reduction="sum"), "mse"),
        (fm.KLDivLoss(reduction="batchmean", log_target=True), "mse"),
    ):
        X, y = make_data(11, 3, 4, name, dtype=dtype)
        for weights in (None, WEIGHTS):
            for threads in (1, 2):
                model, history = trained(criterion, X, y, dtype=dtype, lr=0, sample_weight=weights, threads=threads)
                expected = criterion(model.predict(X), y, weights)
                assert_within(history.loss, [expected] * 3, 30 * eps(dtype) * (1 + abs(expected)))
            with pytest.warns(UserWarning, match="Copy"):
                model, history = trained(criterion, X, y, dtype=dtype, lr=0, sample_weight=weights, last=(Copy(),))
            assert_within(history.loss, [expected] * 3, 30 * eps(dtype) * (1 + abs(expected)))


def test_validation_may_have_weights(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    criterion = fm.CrossEntropyLoss([1, 2, 3, 4])
    for weights in (None, WEIGHTS):
        model, history = trained(criterion, X, y, dtype=dtype, validation=(X, y, weights))
        assert history.validation_loss[-1] == criterion(model.predict(X), y, weights)
    ignoring = np.where(np.arange(11) % 2, y, -100)
    model, history = trained(fm.CrossEntropyLoss(), X, y, dtype=dtype, validation=[X, ignoring])
    assert history.validation_loss[-1] == fm.CrossEntropyLoss()(model.predict(X), ignoring)


def test_weights_of_0_leave_rows_out(dtype):
    """Of one batch; the sums of its products differ in nothing but zeros."""
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    rows = WEIGHTS > 0
    keywords = {"dtype": dtype, "batch_size": 11, "shuffle": False}
    wrong = np.where(rows[:, None], y, 1e6).astype(dtype)
    model, history = trained(fm.MSELoss(), X, wrong, sample_weight=WEIGHTS, **keywords)
    twin, other = trained(fm.MSELoss(), X[rows], y[rows], sample_weight=WEIGHTS[rows], **keywords)
    assert_within(flat(model), flat(twin), 100 * eps(dtype))
    assert_within(history.loss, other.loss, 100 * eps(dtype))


def test_a_batch_in_which_no_row_counts_teaches_nothing(dtype):
    """Nothing but the momentum goes on; by hand, with a module in Python, and in the engine."""
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)  # rows 4 .. 7 have the weight 0
    keywords = {"dtype": dtype, "shuffle": False, "sample_weight": WEIGHTS}
    fused, history = trained(fm.MSELoss(), X, y, **keywords)
    with pytest.warns(UserWarning, match="Copy"):
        eager, other = trained(fm.MSELoss(), X, y, last=(Copy(),), **keywords)
    assert_same_bits(flat(fused), flat(eager))
    assert_within(history.loss, other.loss, 30 * eps(np.float64))
    assert np.isfinite(history.loss).all()
    twin = make_net([3, 9, 4], dtype=dtype)
    optimizer = fm.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    losses = eager_train(twin, fm.MSELoss(), optimizer, X, y, shuffle=False, sample_weight=WEIGHTS.astype(dtype), **KEYWORDS)
    assert_same_bits(flat(fused), flat(twin))
    assert_within(history.loss, losses, 30 * eps(np.float64))


def test_criterion_in_python_gets_weights_where_there_are_any(dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    for weights in (None, WEIGHTS):
        criterion = Squares()
        with pytest.warns(UserWarning, match="Squares"):
            model, history = trained(criterion, X, y, dtype=dtype, sample_weight=weights, validation=(X, y, weights))
        assert criterion.given == [int(weights is not None)] * 12
        twin, other = trained(fm.MSELoss(), X, y, dtype=dtype, sample_weight=weights, validation=(X, y, weights))
        assert_within(flat(model), flat(twin), 200 * eps(dtype))
        assert_within(history.loss, other.loss, 200 * eps(dtype))
        assert_within(history.validation_loss, other.validation_loss, 200 * eps(dtype))


def test_a_run_that_fails_keeps_its_history(dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    with pytest.raises(fm.NonFiniteLossError) as caught:
        trained(fm.MSELoss(), X, y, dtype=dtype, lr=1e8, epochs=50, sample_weight=WEIGHTS, shuffle=False)
    epoch, losses = caught.value.epoch, caught.value.history.loss
    assert len(losses) == epoch > 0
    _, history = trained(fm.MSELoss(), X, y, dtype=dtype, lr=1e8, epochs=epoch, sample_weight=WEIGHTS, shuffle=False)
    assert history.loss == losses


def test_weights_are_left_alone_and_taken_as_they_come():
    X, y = make_data(11, 3, 4)
    right = None
    for weights in (WEIGHTS, WEIGHTS.tolist(), WEIGHTS.astype(np.float32), np.repeat(WEIGHTS, 2)[::2], np.float16(WEIGHTS)):
        kept = np.array(weights)
        model, _ = trained(fm.CrossEntropyLoss(), X, y, sample_weight=weights)
        right = flat(model) if right is None else right
        assert_same_bits(flat(model), right)
        np.testing.assert_array_equal(weights, kept)
