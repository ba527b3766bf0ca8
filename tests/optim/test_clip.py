from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, flat, make_data, make_net, normal, small

import fastmlp as fm
from fastmlp.kernels.shuffle import epoch_order


class Halve(fm.Module):
    """A module in Python."""

    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return dy / 2


def gradients_of(model, rng):
    for parameter in model.parameters():
        parameter.grad = normal(rng, parameter.shape, parameter.dtype)
    return np.concatenate([parameter.grad.ravel() for parameter in model.parameters()]).astype(np.float64)


def test_norm_is_that_of_all_gradients_and_scales_them(dtype, rng):
    for widths in ([3, 5, 2], small([40, 130, 70, 3], [3, 17, 2])):
        model = make_net(widths, dtype=dtype)
        for most in (0.5, 1e6):
            gradients = gradients_of(model, rng)
            expected = np.sqrt((gradients**2).sum())
            norm = fm.clip_grad_norm_(model.parameters(), most)
            bound = 100 * eps(dtype)
            assert abs(norm - expected) <= bound * expected
            clipped = np.concatenate([parameter.grad.ravel() for parameter in model.parameters()])
            assert_within(clipped, gradients * min(1, most / (expected + 1e-6)), bound * np.abs(gradients))


def test_gradients_of_several_networks_and_of_frozen_parameters(dtype, rng):
    one, other = make_net([3, 5], dtype=dtype), make_net([5, 2], dtype=dtype)
    one[0].bias.requires_grad = False
    gradients = np.concatenate([gradients_of(one, rng), gradients_of(other, rng)])
    one[0].bias.grad = np.zeros(5)
    gradients[15:20] = 0
    norm = fm.clip_grad_norm_([*one.parameters(), *other.parameters()], 1)
    assert abs(norm - np.sqrt((gradients**2).sum())) <= 100 * eps(dtype) * norm
    left = np.concatenate([p.grad.ravel() for p in (*one.parameters(), *other.parameters())])
    assert_within(left, gradients / (norm + 1e-6), 100 * eps(dtype))


def test_subnormal_gradients_and_factors_are_those_of_fit(dtype):
    """What is scaled below the normal numbers is flushed where the engine does that, or nowhere."""
    info, left = np.finfo(dtype), []
    largest, tiny = np.sqrt(float(info.max)) / 4, float(info.tiny)
    for most in (1.0, 2.0**-20, tiny * largest / 2):
        for fused in (False, True):
            layer = fm.Linear(1, 2, bias=False, dtype=dtype)
            layer.weight.data = [[0.0], [0.0]]
            x, y = np.array([[1.0]], dtype), np.array([[largest, 64 * tiny]], dtype)
            optimizer, criterion = fm.SGD(layer.parameters(), lr=1.0, momentum=0.5), fm.MSELoss(reduction="sum")
            if fused:
                fm.fit(fm.Sequential(layer), criterion, optimizer, x, y, epochs=1, clip_norm=most)
            else:
                criterion(layer(x), y)
                layer.backward(criterion.backward())
                fm.clip_grad_norm_(layer.parameters(), most)
                optimizer.step()
            left.append((flat(layer), *optimizer.state_dict()["state"][0].values()))
        for one, other in zip(*left[-2:]):
            assert_same_bits(one, other)


def test_value_limits_each_gradient(dtype):
    layer = fm.Linear(2, 2, dtype=dtype)
    layer.weight.grad, layer.bias.grad = [[-3, 0.25], [2, np.inf]], [0.5, np.nan]
    fm.clip_grad_value_(layer.parameters(), 0.5)
    assert_same_bits(layer.weight.grad, np.array([[-0.5, 0.25], [0.5, 0.5]], dtype))
    assert_same_bits(layer.bias.grad, np.array([0.5, np.nan], dtype))


def by_hand(model, criterion, optimizer, X, y, *, clip_norm=None, clip_value=None):
    """Two epochs of batches of 16, as `fit` with ``rng=3`` has them."""
    seed, order = int(np.random.default_rng(3).integers(2**62)), np.arange(len(X))
    for epoch in range(2):
        epoch_order(order, seed, epoch)
        for first in range(0, len(X), 16):
            rows = order[first : first + 16]
            criterion(model(X[rows]), y[rows])
            optimizer.zero_grad()
            model.backward(criterion.backward())
            if clip_norm is not None:
                fm.clip_grad_norm_(model.parameters(), clip_norm)
            else:
                fm.clip_grad_value_(model.parameters(), clip_value)
            optimizer.step()


@pytest.mark.filterwarnings("ignore:.* runs in Python")
@pytest.mark.parametrize("options", [{"clip_norm": 0.1}, {"clip_norm": 1e6}, {"clip_value": 0.01}], ids=str)
def test_fit_clips_as_by_hand(options, dtype):
    """On any number of threads; with groups, frozen parameters, layers of all kinds, and a module in Python."""
    X, y = make_data(45, 3, 4, dtype=dtype)

    def plain():
        return [fm.Linear(3, 33), fm.ReLU(), fm.Linear(33, 40), fm.Tanh(), fm.Linear(40, 4)]

    def layers():
        inside = fm.Residual(fm.LayerNorm(9), fm.Linear(9, 9), fm.ReLU())
        return [fm.Linear(3, 9), fm.BatchNorm1d(9), fm.PReLU(), fm.Dropout(0.2, rng=1), inside, fm.Scale(9), fm.Linear(9, 4)]

    def one_unit():  # of work, which one of two threads takes; its bias lies apart
        return [fm.Linear(3, 16), fm.ReLU(), fm.Linear(16, 4)]

    for modules in (plain, layers, one_unit, lambda: [fm.Linear(3, 5), Halve(), fm.Linear(5, 4)]):
        for setting in ("all", "groups", "frozen"):
            left = []
            for threads in (0, 1, 2, 3):
                model = fm.Sequential(*modules(), dtype=dtype)
                model.reset_parameters(rng=0)
                params = list(model.parameters())
                if setting == "groups":
                    params = [{"params": params[::2], "lr": 0.1}, {"params": params[1::2]}]
                elif setting == "frozen":
                    params[0].requires_grad = params[3].requires_grad = False
                optimizer = fm.SGD(params, lr=0.05, momentum=0.9)
                if threads:
                    fm.fit(
                        model,
                        fm.CrossEntropyLoss(),
                        optimizer,
                        X,
                        y,
                        epochs=2,
                        batch_size=16,
                        rng=3,
                        threads=threads,
                        **options,
                    )
                else:
                    by_hand(model, fm.CrossEntropyLoss(), optimizer, X, y, **options)
                left.append(flat(model))
            for other in left[1:]:
                assert_same_bits(left[0], other)


def test_a_large_limit_changes_no_bit(dtype):
    X, y = make_data(45, 3, 4, dtype=dtype)
    left = []
    for options in ({}, {"clip_norm": 1e9}, {"clip_value": 1e9}):
        model = make_net([3, 17, 4], dtype=dtype)
        fm.fit(model, fm.CrossEntropyLoss(), fm.Adam(model.parameters()), X, y, epochs=2, rng=3, **options)
        left.append(flat(model))
    assert_same_bits(left[0], left[1])
    assert_same_bits(left[0], left[2])


def test_fit_with_a_limit_leaves_the_gradients_alone(dtype):
    X, y = make_data(45, 3, 4, dtype=dtype)
    model = make_net([3, 17, 4], dtype=dtype)
    model[0].bias.grad = np.arange(17)
    fm.fit(model, fm.CrossEntropyLoss(), fm.Adam(model.parameters()), X, y, epochs=1, clip_norm=0.1)
    assert model[0].bias.grad.tolist() == list(range(17))


def test_a_step_that_is_not_finite_ends_the_run(dtype):
    X, _ = make_data(8, 3, 4, dtype=dtype)
    model = make_net([3, 17, 4], "relu", dtype=dtype)
    before = flat(model)
    with np.errstate(over="ignore"):
        X[:] = np.finfo(dtype).max ** 0.75
    with pytest.raises(fm.NonFiniteLossError):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=1), X, np.zeros((8, 4)), epochs=2, clip_norm=1)
    assert_same_bits(flat(model), before)


def test_clip_rejects_bad_arguments():
    model = make_net([2, 3])
    for call, error, message in (
        (lambda: fm.clip_grad_norm_(model.parameters(), 0), ValueError, "max_norm must be above 0"),
        (lambda: fm.clip_grad_norm_(model.parameters(), "a"), TypeError, "max_norm must be a number"),
        (lambda: fm.clip_grad_norm_(model.parameters(), 1, norm_type=1), ValueError, "norm_type must be 2"),
        (lambda: fm.clip_grad_norm_(model.parameters(), 1, norm_type=np.inf), ValueError, "norm_type must be 2.*got inf"),
        (lambda: fm.clip_grad_norm_([np.ones(2)], 1), TypeError, "parameters must be Parameters"),
        (lambda: fm.clip_grad_value_(model.parameters(), -1), ValueError, "clip_value must be above 0"),
    ):
        with pytest.raises(error, match=message):
            call()
    X, y = make_data(4, 2, 3)
    for options, message in (
        ({"clip_norm": 0}, "clip_norm must be above 0"),
        ({"clip_value": np.nan}, "clip_value must be above 0"),
        ({"clip_norm": 1, "clip_value": 1}, "give one of them"),
    ):
        with pytest.raises(ValueError, match=message):
            fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters()), X, y, epochs=1, **options)
