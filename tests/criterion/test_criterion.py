from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from helpers import LOSSES, assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net, normal, small

import fastmlp as fm


class Squares(fm.Criterion):
    """As :class:`fastmlp.MSELoss`, in Python; `loss` and `gradient` are what is made of what it returns."""

    def __init__(self, loss=float, gradient=lambda dout: dout, overwrites=False):
        self.loss, self.gradient, self.overwrites = loss, gradient, overwrites

    def forward(self, out, y):
        self.difference = out - y
        if self.overwrites:
            out[:] = y[:] = np.nan
        return self.loss((self.difference**2).mean())

    def backward(self):
        return self.gradient(2 * self.difference / self.difference.size)


def test_written_criterion_matches_the_built_in(dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0}
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(3)]
    optimizers = [fm.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    with pytest.warns(UserWarning, match="Squares"):
        written = fm.fit(models[0], Squares(), optimizers[0], X, y, validation=(X, y), **keywords)
    built_in = fm.fit(models[1], fm.MSELoss(), optimizers[1], X, y, validation=(X, y), **keywords)
    eager_train(models[2], Squares(), optimizers[2], X, y, **keywords)
    bound = 9 * (3 + 9 + 4) * eps(dtype) * 2
    assert_within(flat(models[0]), flat(models[1]), bound)
    assert_within(written.loss, built_in.loss, bound)
    assert_within(written.validation_loss, built_in.validation_loss, bound)
    assert_same_bits(flat(models[0]), flat(models[2]))


def fit_with(criterion, dtype=np.float32, **keywords):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    before = X.copy(), y.copy()
    model = make_net([3, 9, 4], dtype=dtype)
    keywords = {"epochs": 2, "batch_size": 4, "rng": 0, "validation": (X, y)} | keywords
    with pytest.warns(UserWarning, match="runs in Python"):
        history = fm.fit(model, criterion, fm.SGD(model.parameters(), lr=0.1), X, y, **keywords)
    assert_same_bits(X, before[0])
    assert_same_bits(y, before[1])
    return model, history


def test_written_criterion_may_return_any_real_number_and_array(dtype):
    right, history = fit_with(Squares(), dtype)
    assert all(type(loss) is float for loss in history.loss + history.validation_loss)
    gradients = [np.asfortranarray, np.ndarray.tolist, lambda a: a.astype(np.float64), lambda a: np.repeat(a, 2, 1)[:, ::2]]
    gradients.append(lambda a: a.astype(a.dtype.newbyteorder(">")))
    for criterion in (*(Squares(gradient=gradient) for gradient in gradients), Squares(overwrites=True)):
        model, other = fit_with(criterion, dtype)
        assert_same_bits(flat(model), flat(right))
        assert (other.loss, other.validation_loss) == (history.loss, history.validation_loss)
    for loss in (np.float64, np.float32, np.float16, np.array, lambda v: np.array([[v]]), lambda v: v.astype("f4")):
        model, other = fit_with(Squares(loss), dtype)
        assert_same_bits(flat(model), flat(right))
        precision = max(np.finfo(np.asarray(loss(np.float64(1))).dtype).eps, eps(dtype))
        assert_within(other.loss, history.loss, 4 * precision * np.array(history.loss))
        assert json.loads(json.dumps(other.loss)) == other.loss


def test_losses_of_few_bits_are_summed_in_many():
    """Steps with a float16 loss of 200: their sum is beyond float16."""
    X = np.random.default_rng(0).normal(size=(small(4096, 400), 2)).astype(np.float32)
    y = 10 * X.sum(axis=1, keepdims=True)
    losses = []
    for loss in (float, np.float16):
        model = fm.Sequential(fm.Linear(2, 1, rng=0))
        with pytest.warns(UserWarning, match="Squares"):
            losses += fm.fit(model, Squares(loss), fm.SGD(model.parameters(), lr=0), X, y, epochs=1, batch_size=1).loss
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


WRONG = [
    (Squares(lambda _: None), TypeError, "Squares.forward must return one number, the loss; got None: a return statement"),
    (Squares(lambda v: np.array([v, v])), ValueError, r"got an array of shape \(2,\): take its mean, .mean\(\)"),
    (Squares(lambda v: (v, v)), TypeError, "one number, the loss; got a tuple of 2"),
    (Squares(str), TypeError, "Squares.forward must return one number, the loss; got '"),
    (Squares(complex), TypeError, "Squares.forward must return one number, the loss; got"),
    (Squares(bool), TypeError, "Squares.forward must return one number, the loss; got True"),
    (Squares(gradient=lambda _: None), TypeError, r"Squares.backward must return \(4, 4\).*; got None: a return statement"),
    (Squares(gradient=lambda g: (g, g)), TypeError, r"Squares.backward must return \(4, 4\).*; got a tuple of 2"),
    (Squares(gradient=lambda g: g[:, :1]), ValueError, r"Squares.backward must return \(4, 4\).*; got \(4, 1\)"),
    (Squares(gradient=lambda g: np.hstack([g] * 99)), ValueError, r"must return \(4, 4\).*; got \(4, 396\)"),
    (Squares(gradient=lambda g: g[1:]), ValueError, r"must return \(4, 4\).*; got \(3, 4\)"),
    (Squares(gradient=lambda g: g.sum()), ValueError, r"must return \(4, 4\).*; got \(\)"),
    (Squares(gradient=lambda g: g * 1j), TypeError, "Squares.backward returns must hold real numbers; got complex"),
    (Squares(lambda _: np.nan), fm.NonFiniteLossError, r"in epoch 1 of 2 \(step 1 of 3\)"),
    (Squares(lambda _: 10**400), fm.NonFiniteLossError, r"in epoch 1 of 2 \(step 1 of 3\)"),
    (Squares(gradient=lambda g: g * np.inf), fm.NonFiniteLossError, r"in epoch 1 of 2 \(step 1 of 3\)"),
]


def test_what_a_written_criterion_returns_is_checked():
    for criterion, error, message in WRONG:
        with pytest.raises(error, match=message) as caught:
            fit_with(criterion)
        assert caught.value.history.loss == []


def test_error_of_a_written_criterion_keeps_what_has_been_trained():
    class Tired(Squares):
        calls = 0

        def forward(self, out, y):
            self.calls += 1
            if self.calls == 8:  # three steps and a validation for each epoch
                raise ZeroDivisionError("mine")
            return super().forward(out, y)

    model, X, y = make_net([3, 9, 4]), *make_data(11, 3, 4, "mse")
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = fm.CosineAnnealingLR(optimizer, 10)
    with pytest.warns(UserWarning, match="in Python"), pytest.raises(ZeroDivisionError, match="mine") as caught:
        fm.fit(model, Tired(), optimizer, X, y, epochs=9, batch_size=4, rng=0, validation=(X, y), schedule=schedule)
    history = caught.value.history
    assert len(history.loss) == schedule.last_epoch == optimizer.steps // 3 == 2
    assert not history.interrupted
    twin = make_net([3, 9, 4])
    rule = fm.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    with pytest.warns(UserWarning, match="in Python"):
        fm.fit(twin, Squares(), rule, X, y, epochs=2, batch_size=4, rng=0, schedule=fm.CosineAnnealingLR(rule, 10))
    assert_same_bits(flat(model), flat(twin))


def test_written_criterion_takes_any_targets():
    class Distance(fm.Criterion):
        def forward(self, out, y):
            assert y.dtype.kind == "U"
            self.shape = out.shape
            return float((out**2).mean())

        def backward(self):
            return np.zeros(self.shape)

    model = make_net([3, 4])
    before = flat(model)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="Distance"):
        history = fm.fit(model, Distance(), optimizer, np.ones((5, 3)), list("abcde"), epochs=2, batch_size=2)
    assert len(history.loss) == 2
    assert_same_bits(flat(model), before)


def test_criterion_without_arithmetic_says_so():
    with pytest.raises(NotImplementedError, match=r"Criterion has no forward\(out, y\)"):
        fm.Criterion()(np.zeros((1, 1)), [0])
    with pytest.raises(NotImplementedError, match=r"Criterion has no backward\(\)"):
        fm.Criterion().backward()


def test_copied_criterion_forgets_the_last_loss():
    for loss in LOSSES.values():
        criterion = loss()
        criterion([[1.0]], [0])
        for other in (copy.deepcopy(criterion), copy.copy(criterion), pickle.loads(pickle.dumps(criterion))):
            with pytest.raises(RuntimeError, match="before forward"):
                other.backward()
        assert criterion.backward().shape == (1, 1)
        assert repr(criterion) == f"{type(criterion).__name__}()"


def test_gradient_may_be_asked_for_again(dtype, rng):
    """And belongs to the last loss, whatever became of what was passed and returned."""
    for name, loss in LOSSES.items():
        criterion = loss()
        for rows in (3, 70, 9, 1):
            out, y = make_data(rows, 4, 4, name, dtype=dtype, rng=rows)
            given, targets = out.copy(), y.copy()
            criterion(given, targets)
            first = criterion.backward()
            kept = first.copy()
            first[:] = given[:] = targets[:] = 7
            for _ in range(2):
                assert_same_bits(criterion.backward(), kept)
            other = loss()
            other(out, y)
            assert_same_bits(other.backward(), kept)
            criterion(normal(rng, (rows, 4), dtype), y)
            assert not np.array_equal(criterion.backward(), kept)


def test_subclass_of_a_built_in_criterion_brings_its_own_arithmetic(dtype):
    class Doubled(fm.MSELoss):
        def forward(self, out, y):
            return 2 * super().forward(out, y)

        def backward(self):
            return 2 * super().backward()

    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    model, twin = make_net([3, 4], dtype=dtype), make_net([3, 4], dtype=dtype)
    with pytest.warns(UserWarning, match="Doubled"):
        history = fm.fit(model, Doubled(), fm.SGD(model.parameters(), lr=0.125), X, y, epochs=2, batch_size=4, rng=0)
    plain = fm.fit(twin, fm.MSELoss(), fm.SGD(twin.parameters(), lr=0.25), X, y, epochs=2, batch_size=4, rng=0)
    assert_within(flat(model), flat(twin), 6 * (3 + 4 + 4) * eps(dtype))
    assert_within(np.array(history.loss) / 2, plain.loss, 6 * (3 + 4 + 4) * eps(dtype))


class Weighted(fm.ElementwiseLoss):
    """A formula with a constant."""

    constants = ("weight",)

    def __init__(self, weight):
        self.weight = weight

    @staticmethod
    def value(out, y, weight):
        d = out - y
        return weight * (d * d)

    @staticmethod
    def slope(out, y, weight):
        return 2 * weight * (out - y)


def test_constant_of_a_loss_may_be_assigned(dtype):
    """It is a number of the program, checked as in the constructor."""
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    criterion, plain = Weighted(4), fm.MSELoss()
    for weight in (4, 0.5, 4):
        criterion.weight = weight
        assert criterion(X[:, :3], y[:, :3]) == pytest.approx(weight * plain(X[:, :3], y[:, :3]), rel=40 * eps(dtype))
        gradient = criterion.backward()
        assert_within(gradient, weight * plain.backward(), 4 * eps(dtype) * np.abs(gradient))
        model, twin = make_net([3, 4], dtype=dtype), make_net([3, 4], dtype=dtype)
        fm.fit(model, criterion, fm.SGD(model.parameters(), lr=0.125 / weight), X, y, epochs=2, batch_size=4, rng=0)
        fm.fit(twin, plain, fm.SGD(twin.parameters(), lr=0.125), X, y, epochs=2, batch_size=4, rng=0)
        assert_within(flat(model), flat(twin), 60 * eps(dtype))
    for wrong, error in (("1", TypeError), (None, TypeError), (np.inf, ValueError)):
        with pytest.raises(error, match="weight must be"):
            criterion.weight = wrong
        with pytest.raises(error, match="weight must be"):
            Weighted(wrong)
    assert repr(criterion) == "Weighted(weight=4)"


def test_formula_of_a_subclass_brings_its_own_slope(dtype, rng):
    class Tripled(Weighted):
        @staticmethod
        def value(out, y, weight):
            return 3 * weight * (out - y)

    criterion, out, y = Tripled(2), normal(rng, (5, 3), dtype), normal(rng, (5, 3), dtype)
    assert criterion(out, y) == pytest.approx(6 * (out - y).mean(), abs=100 * eps(dtype))
    assert_within(criterion.backward(), np.full((5, 3), 6 / 15), eps(dtype))


@pytest.mark.once
def test_wrong_arguments_are_those_of_the_class():
    """PyTorch's old one, which is no argument here."""
    for kind in (fm.MSELoss, fm.L1Loss, fm.HuberLoss, fm.CrossEntropyLoss):
        with pytest.raises(TypeError, match=rf"{kind.__name__}.*size_average"):
            kind(size_average=True)


def test_loss_is_a_number_that_says_how_to_go_back():
    loss = fm.MSELoss()([[1.0]], [3.0])
    assert loss == loss.item() == 4.0
    assert type(loss.item()) is float
    with pytest.raises(TypeError, match=r"a loss is a number: go back with model.backward\(criterion.backward\(\)\)"):
        loss.backward()
