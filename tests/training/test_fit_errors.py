"""Bad input: a clear error before any kernel runs, with nothing changed; and losses that are not finite."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import LOSSES, assert_same_bits, eager_train, flat, jit_only, make_data, make_net

import fastmlp as fm
from fastmlp.training import compiled

GOOD_X, GOOD_Y = make_data(6, 2, 3)


def nan_at(value, row=4):
    X = GOOD_X.astype(np.float64)
    X[row, 1] = value
    return X


BAD = {
    "wrong_width": ({"X": np.zeros((6, 3))}, ValueError, r"fit expects \(N, 2\); got \(6, 3\)"),
    "transposed": ({"X": GOOD_X.T}, ValueError, r"fit expects \(N, 2\); got \(2, 6\): transpose it, X.T"),
    "one_axis": ({"X": np.zeros(2)}, ValueError, r"got \(2,\): add a batch axis, X\[None, :\]"),
    "three_axes": ({"X": np.zeros((6, 2, 1))}, ValueError, r"flatten all axes but the first, X.reshape\(len\(X\), -1\)"),
    "objects": ({"X": GOOD_X.astype(object)}, TypeError, r"X must hold real numbers; got Python objects \(dtype object\)"),
    "text": ({"X": GOOD_X.astype(str)}, TypeError, "X must hold real numbers; got text"),
    "complex": ({"X": GOOD_X.astype(complex)}, TypeError, "X must hold real numbers; got complex numbers"),
    "ragged": ({"X": [[1, 2], [3]]}, ValueError, "rows have different lengths"),
    "empty": ({"X": np.zeros((0, 2)), "y": []}, ValueError, r"at least one row and one column; X is empty, \(0, 2\)"),
    "lengths": ({"y": GOOD_Y[:5]}, ValueError, "X and y must have as many rows as each other; got 6 and 5"),
    "nan": ({"X": nan_at(np.nan)}, ValueError, "X must be finite; row 4 holds nan"),
    "infinity": ({"X": nan_at(-np.inf)}, ValueError, "X must be finite; row 4 holds -inf"),
    "overflow": ({"X": nan_at(1e300)}, ValueError, "X must be finite"),
    "label_negative": ({"y": [0, 1, 2, -1, 0, 1]}, ValueError, r"whole numbers from 0 to 2.*y\[3\] is -1"),
    "label_too_large": ({"y": [0, 1, 2, 3, 0, 1]}, ValueError, r"the model has 3 outputs\); y\[3\] is 3"),
    "label_not_whole": ({"y": [0, 1, 2, 1.5, 0, 1]}, ValueError, r"y\[3\] is 1.5"),
    "label_nan": ({"y": [0, 1, 2, np.nan, 0, 1]}, ValueError, r"y\[3\] is nan"),
    "label_text": ({"y": list("abcdef")}, ValueError, "y has labels of 6 classes, but the model has 3 outputs"),
    "label_mixed": ({"y": ["a", 1, "b", 2, "c", None]}, TypeError, "y must hold labels"),
    "label_one_hot": ({"y": np.eye(3, dtype=int)[GOOD_Y]}, ValueError, r"not one-hot: y.argmax\(axis=1\)"),
    "label_column": ({"y": GOOD_Y[:, None]}, ValueError, r"drop the second axis, y\[:, 0\]"),
    "batch_size_0": ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
    "batch_size_float": ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number; got 2.0"),
    "epochs_0": ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
    "epochs_too_many": ({"epochs": 2**63}, ValueError, "epochs must be at most 2"),
    "epochs_float": ({"epochs": 1.5}, TypeError, "epochs must be a whole number"),
    "epochs_text": ({"epochs": "3"}, TypeError, "epochs must be a whole number; got '3'"),
    "initial_epoch": ({"initial_epoch": -1}, ValueError, "initial_epoch must be at least 0"),
    "threads_0": ({"threads": 0}, ValueError, "threads must be at least 1; got 0"),
    "rng": ({"rng": "seed"}, TypeError, "rng must be None, an int of at least 0, or"),
    "drop_last": ({"drop_last": True, "batch_size": 7}, ValueError, "drop_last leaves nothing: batch_size is 7, X has 6 rows"),
    "validation_kind": ({"validation": GOOD_X}, TypeError, r"validation must be a pair \(X, y\)"),
    "validation_width": ({"validation": (np.zeros((4, 3)), GOOD_Y[:4])}, ValueError, r"fit expects .*\(N, 2\); got \(4, 3\)"),
    "validation_label": ({"validation": (GOOD_X, GOOD_Y + 3)}, ValueError, r"validation y must hold labels"),
    "validation_length": ({"validation": (GOOD_X, GOOD_Y[:4])}, ValueError, "as many rows as each other; got 6 and 4"),
    "validation_nan": ({"validation": (nan_at(np.nan), GOOD_Y)}, ValueError, "validation X must be finite; row 4"),
    "validation_four": ({"validation": (GOOD_X, GOOD_Y, GOOD_Y, None)}, TypeError, r"or \(X, y, sample_weight\)"),
    "validation_weights": (
        {"validation": (GOOD_X, GOOD_Y, [1] * 5)},
        ValueError,
        "X and validation sample_weight must have as",
    ),
    "weights_length": ({"sample_weight": np.ones(5)}, ValueError, "X and sample_weight must have as many rows as each other"),
    "weights_column": ({"sample_weight": np.ones((6, 1))}, ValueError, r"drop the second axis, sample_weight\[:, 0\]"),
    "weights_negative": ({"sample_weight": [1, 1, 1, -1, 1, 1]}, ValueError, r"at least 0; sample_weight\[3\] is -1"),
    "weights_nan": ({"sample_weight": [1, 1, np.nan, 1, 1, 1]}, ValueError, r"at least 0; sample_weight\[2\] is nan"),
    "weights_overflow": ({"sample_weight": [1e300] + 5 * [1]}, ValueError, r"finite numbers.*sample_weight\[0\] is inf"),
    "weights_text": ({"sample_weight": list("abcabc")}, TypeError, "sample_weight must hold real numbers; got text"),
    "weights_zero": ({"sample_weight": np.zeros(6)}, ValueError, "no row of X counts: each has the weight 0, or is ignored"),
    "all_ignored": ({"y": np.full(6, -100)}, ValueError, "no row of X counts"),
    "validation_ignored": ({"validation": (GOOD_X, np.full(6, -100))}, ValueError, "no row of validation X counts"),
    "criterion_class": (
        {"criterion": fm.CrossEntropyLoss},
        TypeError,
        r"criterion must be a Criterion of fastmlp; got the class CrossEntropyLoss: make one, Cross",
    ),
    "criterion_function": ({"criterion": np.mean}, TypeError, "criterion must be a Criterion of fastmlp; got"),
    "optimizer_class": (
        {"optimizer": fm.SGD},
        TypeError,
        r"optimizer must be an Optimizer of fastmlp; got the class SGD: make one, SGD\(\)",
    ),
    "optimizer_other": (
        {"optimizer": fm.SGD(make_net([2, 5, 3]).parameters(), lr=0.1)},
        ValueError,
        "the optimizer must hold parameters of the model, and no others",
    ),
    "model_class": (
        {"model": fm.Sequential},
        TypeError,
        "model must be a Sequential of fastmlp; got the class Sequential: make one",
    ),
    "model_module": (
        {"model": fm.Linear(2, 3)},
        TypeError,
        r"model must be a Sequential of fastmlp; got fastmlp.*Linear: wrap it, Sequential\(Linear",
    ),
    "schedule": ({"schedule": 0.1}, TypeError, "schedule must be an LRScheduler of the optimizer that is passed"),
    "schedule_other": (
        {"schedule": fm.CosineAnnealingLR(fm.SGD(make_net([2, 3]).parameters(), lr=0.1), 5)},
        TypeError,
        "schedule must be an LRScheduler of the optimizer that is passed",
    ),
}


def test_fit_rejects_bad_arguments(monkeypatch):
    def never(*_):
        raise AssertionError("a kernel ran")

    monkeypatch.setattr(compiled, "run", never)
    for bad, error, message in BAD.values():
        check_refused(bad, error, message)


def check_refused(bad, error, message):
    model = make_net([2, 5, 3])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    arguments = {
        "model": model,
        "criterion": fm.CrossEntropyLoss(),
        "optimizer": optimizer,
        "X": GOOD_X,
        "y": GOOD_Y,
        "epochs": 2,
        "batch_size": 2,
    } | bad
    before, mode = flat(model), model.eval().training
    with pytest.raises(error, match=message):
        fm.fit(**arguments)
    assert_same_bits(flat(model), before)
    assert optimizer.steps == 0
    assert optimizer.state_dict()["state"] == {}
    assert model.training == mode


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(6), r"y must have the shape of the outputs, \(N, 3\); got \(6,\): one-hot labels"),
        (np.zeros((6, 2)), r"\(N, 3\); got \(6, 2\)"),
        (np.zeros((5, 3)), "as many rows as each other; got 6 and 5"),
        (np.full((6, 3), np.nan), "y must be finite; row 0 holds nan"),
    ],
)
def test_fit_rejects_bad_targets(y, message):
    model = make_net([2, 5, 3])
    before = flat(model)
    with pytest.raises(ValueError, match=message):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), GOOD_X, y, epochs=1)
    assert_same_bits(flat(model), before)


def test_network_whose_parameters_are_all_frozen_is_rejected():
    model = make_net([2, 5, 3])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="there is nothing to train: no parameter of the optimizer requires a gradient"):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, GOOD_X, GOOD_Y, epochs=1)


def assert_same_velocities(optimizer, other):
    """Zero where there are none, as a run that failed at its first step has left them."""
    states = [rule.state_dict()["state"] for rule in (optimizer, other)]
    for i, parameter in enumerate(optimizer.params):
        one, two = (s[i]["velocity"] if s.get(i) else np.zeros(parameter.shape, parameter.dtype) for s in states)
        assert_same_bits(one, two)


class Same(fm.Module):
    """Runs in Python: the steps come back."""

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def failing(dtype, *, python=False, loss="cross_entropy", **keywords):
    """A model, an optimizer and the error that `fit` ended with."""
    X, y = keywords.pop("data", None) or make_data(12, 2, 3, loss, dtype=dtype)
    model = make_net([2, 5, 3], dtype=dtype)
    if python:
        state = model.state_dict()
        model = fm.Sequential(model, Same(), dtype=dtype)
        model.load_state_dict({f"0.{name}": values for name, values in state.items()})
    optimizer = fm.SGD(model.parameters(), lr=keywords.pop("lr"), momentum=keywords.pop("momentum", 0))
    schedule = keywords.pop("schedule", lambda _: None)(optimizer)
    keywords = {"epochs": 9, "batch_size": 4, "rng": 0, "schedule": schedule} | keywords
    with pytest.raises(fm.NonFiniteLossError) as caught:
        fm.fit(model, LOSSES[loss](), optimizer, X, y, **keywords)
    return model, optimizer, caught.value


def finite_steps(dtype, loss, lr, momentum, *, rates=None, epochs=9, data=None):
    """The hand-written loop up to the last step that has a finite loss and leaves finite parameters."""
    X, y = data or make_data(12, 2, 3, loss, dtype=dtype)
    steps, previous = 0, None
    while True:
        model = make_net([2, 5, 3], dtype=dtype)
        optimizer = fm.SGD(model.parameters(), lr=lr, momentum=momentum)
        schedule = rates(optimizer) if rates else None
        with np.errstate(all="ignore"):
            losses = eager_train(
                model, LOSSES[loss](), optimizer, X, y, epochs=epochs, batch_size=4, rng=0, schedule=schedule, steps=steps
            )
            following = eager_next_loss(model, LOSSES[loss](), X, y, steps)
        if not np.isfinite(flat(model)).all():
            return previous
        previous = model, optimizer, steps, losses
        if not np.isfinite(following):
            return previous
        steps += 1
        assert steps < 9 * 3, "it never failed"


def eager_next_loss(model, criterion, X, y, steps):
    """The loss of the batch that step number `steps` (from 0) trains on."""
    from fastmlp.kernels.shuffle import epoch_order

    order = np.arange(len(X))
    epoch, batch = divmod(steps, 3)
    epoch_order(order, int(np.random.default_rng(0).integers(2**62)), epoch)
    rows = order[4 * batch : 4 * batch + 4]
    return criterion(model(X[rows]), y[rows])


class Explode(fm.LRScheduler):
    """Calm for two epochs, and then far too much."""

    def rate(self, epoch):
        return 0.1 if epoch < 2 else self.base_lr


CASES = {
    "huge_rate": ({"lr": 1e30}, "mse"),
    "parameters_overflow": ({"lr": 1e308}, "cross_entropy"),
    "with_momentum": ({"lr": 1e20, "momentum": 0.9}, "mse"),
    "later": ({"lr": 1e30, "momentum": 0.9, "schedule": Explode}, "mse"),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_that_is_not_finite_leaves_the_last_finite_parameters(name, dtype, monkeypatch):
    options, loss = CASES[name]
    right = finite_steps(dtype, loss, options["lr"], options.get("momentum", 0), rates=options.get("schedule"))
    for slice_steps, threads in itertools.product([1, 2, 1000], [1, 2]):
        always = property(lambda _, steps=slice_steps: steps, lambda *_: None)
        monkeypatch.setattr(compiled.CompiledRun, "_steps", always, raising=False)
        check_failure(name, *failing(dtype, loss=loss, threads=threads, **options), *right)


def check_failure(name, model, optimizer, error, expected, reference, steps, losses):
    assert np.isfinite(flat(model)).all()
    assert_same_bits(flat(model), flat(expected))
    assert optimizer.steps == reference.steps == steps
    assert_same_velocities(optimizer, reference)
    assert error.epoch == steps // 3
    assert len(error.history.loss) == error.epoch
    np.testing.assert_allclose(error.history.loss, losses, rtol=12 * np.finfo(np.float64).eps)
    assert f"in epoch {error.epoch + 1} of 9 (step {steps % 3 + 1} of 3)" in str(error)
    assert "smaller learning rate" in str(error)
    if name == "later":
        assert error.epoch >= 2


def test_parameters_that_overflow_at_once_leave_the_model_unchanged(dtype):
    X, y = make_data(12, 2, 3, "mse", dtype=dtype)
    model, optimizer, error = failing(dtype, lr=1e308, loss="mse", data=(X, 1000 * y))
    assert_same_bits(flat(model), flat(make_net([2, 5, 3], dtype=dtype)))
    assert optimizer.steps == 0
    assert (error.epoch, error.history.loss) == (0, [])
    assert "in epoch 1 of 9 (step 1 of 3)" in str(error)


@pytest.mark.parametrize("name", CASES)
def test_steps_in_python_stop_as_compiled_ones_do(name, dtype):
    options, loss = CASES[name]
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match="in Python"):
        model, _, error = failing(dtype, python=True, loss=loss, **options)
    compiled_model, _, compiled_error = failing(dtype, loss=loss, **options)
    assert_same_bits(flat(model), flat(compiled_model))
    assert (error.epoch, len(error.history.loss)) == (compiled_error.epoch, len(compiled_error.history.loss))
    assert str(error) == str(compiled_error)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_check_finite_may_be_turned_off(wrong, dtype):
    """Then the loss says so, at the batch that has it."""
    X, y = make_data(12, 2, 3, dtype=dtype)
    clean = make_net([2, 5, 3], dtype=dtype)
    by_hand = fm.SGD(clean.parameters(), lr=0.1)
    eager_train(clean, fm.CrossEntropyLoss(), by_hand, X[:8], y[:8], epochs=1, batch_size=4, shuffle=False)
    if wrong == np.inf:
        X[9] = wrong, -wrong  # whose sum is NaN
    else:
        X[9, 0] = wrong
    model, optimizer, error = failing(dtype, lr=0.1, data=(X, y), check_finite=False, shuffle=False)
    assert error.epoch == 0
    assert optimizer.steps == 2
    assert_same_bits(flat(model), flat(clean))


def test_model_goes_on_after_the_error(dtype):
    X, y = make_data(12, 2, 3, "mse", dtype=dtype)
    model, optimizer, _ = failing(dtype, lr=1e308, loss="mse", data=(X, 1000 * y))
    optimizer.lr = 0.1
    history = fm.fit(model, fm.MSELoss(), optimizer, X, y, epochs=3)
    assert np.isfinite(history.loss).all()
    assert not np.array_equal(flat(model), flat(make_net([2, 5, 3], dtype=dtype)))


def test_error_is_a_floating_point_error(dtype):
    _, _, error = failing(dtype, lr=1e308)
    assert isinstance(error, FloatingPointError)
    assert isinstance(error.history, fm.History)


def test_call_that_is_broken_off_is_taken_back(monkeypatch, dtype):
    """As a second Ctrl-C does, which is not held back, in the third call."""
    X, y = make_data(12, 2, 3, dtype=dtype)
    always = property(lambda _: 2, lambda *_: None)
    monkeypatch.setattr(compiled.CompiledRun, "_steps", always, raising=False)
    original, calls = compiled.run, []

    def run(*arguments):
        original(*arguments)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(compiled, "READY", {np.dtype(dtype)})  # else the first call takes no step
    monkeypatch.setattr(compiled, "run", run)
    model = make_net([2, 5, 3], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=9, batch_size=4, rng=0, threads=1)
    history = caught.value.history
    monkeypatch.undo()
    twin = make_net([2, 5, 3], dtype=dtype)
    reference = fm.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    eager_train(twin, fm.CrossEntropyLoss(), reference, X, y, epochs=9, batch_size=4, rng=0, steps=optimizer.steps)
    assert history.interrupted
    assert optimizer.steps == 4
    assert len(history.loss) == optimizer.steps // 3
    assert_same_bits(flat(model), flat(twin))
    assert_same_velocities(optimizer, reference)


def test_update_in_python_that_is_interrupted_is_taken_back():
    class Interrupted(fm.SGD):
        def step(self):
            super().step()
            if self.steps == 5:
                raise KeyboardInterrupt

    X, y = make_data(12, 2, 3)
    model, twin = make_net([2, 5, 3]), make_net([2, 5, 3])
    rule = Interrupted(model.parameters(), 0.1, momentum=0.5)
    with pytest.warns(UserWarning, match="Interrupted"), pytest.raises(KeyboardInterrupt) as caught:
        fm.fit(model, fm.CrossEntropyLoss(), rule, X, y, epochs=9, batch_size=4, rng=0)
    history, reference = caught.value.history, fm.SGD(twin.parameters(), 0.1, momentum=0.5)
    eager_train(twin, fm.CrossEntropyLoss(), reference, X, y, epochs=9, batch_size=4, rng=0, steps=4)
    assert history.interrupted
    assert len(history.loss) == 1
    assert_same_bits(flat(model), flat(twin))
    assert rule.steps == 4
    assert_same_velocities(rule, reference)


def test_error_in_a_written_module_is_passed_on():
    class Breaks(Same):
        def forward(self, x):
            raise RuntimeError("mine")

    model = fm.Sequential(fm.Linear(2, 3), Breaks())
    before = flat(model)
    with pytest.warns(UserWarning, match="in Python"), pytest.raises(RuntimeError, match="mine"):
        fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), GOOD_X, GOOD_Y, epochs=1)
    assert_same_bits(flat(model), before)


@jit_only
def test_thread_that_fails_calls_the_others_off(monkeypatch):
    """The main thread raises while a helper waits at the barrier: no deadlock."""
    original = compiled.run

    def run(job, number, x, y, thread, threads):
        if thread == 0 and threads > 1:
            raise KeyboardInterrupt
        original(job, number, x, y, thread, threads)

    X, y = make_data(64, 2, 3)
    trained = make_net([2, 5, 3])
    fm.fit(trained, fm.CrossEntropyLoss(), fm.SGD(trained.parameters(), lr=0.1), X, y, epochs=1)
    monkeypatch.setattr(compiled, "run", run)
    model = make_net([2, 5, 3])
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1, batch_size=64, threads=3)
    assert caught.value.history.interrupted
    assert caught.value.history.loss == []
    assert_same_bits(flat(model), flat(make_net([2, 5, 3])))
