"""gradcheck finds what is wrong, and nothing where all is right."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_net, small

import fastmlp as fm
from fastmlp import registry


class Scaled(fm.Module):
    """A module in Python, whose gradients may be off."""

    def __init__(self, width=3, *, of_input=1.0, of_factor=1.0, adds=True):
        self.factor = fm.Parameter((width,))
        self.factor.data = np.arange(1, width + 1)
        self.of_input, self.of_factor, self.adds = of_input, of_factor, adds

    def forward(self, x):
        self.x = x
        return x * self.factor.data

    def backward(self, dy):
        gradient = self.of_factor * (dy * self.x).sum(axis=0)
        self.factor.grad = self.factor.grad + gradient if self.adds else gradient
        return self.of_input * dy * self.factor.data


class Noisy(fm.Module):
    """Random numbers of a generator that it has, as a dropout has them; or of nobody's."""

    def __init__(self, rng):
        self.rng = rng

    def forward(self, x):
        self.mask = (self.rng or np.random.default_rng()).standard_normal(x.shape)
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class Halved(fm.Criterion):
    """A loss in Python whose gradient is half of what it should be."""

    def forward(self, out, y):
        self.d = out - y
        return float((self.d**2).mean())

    def backward(self):
        return self.d / self.d.size


def test_all_activations_have_the_gradients_of_their_values():
    for kind in registry.activations().values():
        for case in kind.cases:
            assert fm.gradcheck(registry.made(kind, case, 3), entries=small(None, 3), atol=1e-8, rtol=1e-6) is True


def test_all_layers_have_the_gradients_of_their_values():
    for kind in registry.layers().values():
        for case in kind.cases:
            assert fm.gradcheck(registry.made(kind, case, 3), entries=small(None, 3), atol=1e-8, rtol=1e-6) is True


def test_all_losses_have_the_gradients_of_their_values(rng):
    for kind in registry.criteria().values():
        for case in kind.cases:
            # Where a variance is below eps, PyTorch passes the gradient on, and so do we, though the loss does not change.
            out = [np.abs(rng.standard_normal((5, 6)))] if kind is fm.GaussianNLLLoss else []
            made = registry.made(kind, case, 3)
            assert fm.gradcheck(made, *out, entries=small(None, 3), atol=1e-8, rtol=1e-6) is True


def test_networks_are_left_as_they_are():
    model = make_net([2, 5, 3], "tanh")
    x = np.ones((4, 2), np.float32)
    y = model(x)
    model.eval()
    before = flat(model), model.storage.grad.copy()
    assert fm.gradcheck(model, entries=small(100, 3))
    assert fm.gradcheck(fm.Sequential(fm.Linear(2, 3), Scaled(), fm.ReLU(), fm.Linear(3, 1)), entries=small(100, 3))
    for array, then in zip((model.storage.data, model.storage.grad), before):
        assert_same_bits(array, then)
    assert model.dtype == np.float32
    assert not model.training
    assert model.backward(np.ones_like(y)).shape == x.shape  # what the last call has kept is still there


def test_wrong_gradients_are_found():
    for options, message in (
        ({"of_input": 2}, r"the gradient of the input is wrong in 15 of 15 entries; worst, in \[\d, \d\] backward gives "),
        ({"of_factor": 0.5}, "the gradient of factor is wrong in 3 of 3 entries; worst, in "),
        ({"of_factor": np.nan}, "the gradient of factor is wrong in 3 of 3 .* gives nan, central differences "),
        ({"adds": False}, "backward must add to the gradient of factor; after a gradient of 1 it left something else"),
    ):
        with pytest.raises(fm.GradcheckError, match=message):
            fm.gradcheck(Scaled(**options))
        network = fm.Sequential(fm.Linear(2, 3), Scaled(**options))
        assert fm.gradcheck(network, raise_exception=False) is False
        if "of_factor" in options:
            frozen = Scaled(**options)
            frozen.factor.requires_grad = False
            assert fm.gradcheck(frozen)
    slope = fm.Activation(fm.math.tanh, lambda y: 1 - y)
    with pytest.raises(AssertionError, match=r"gradcheck of Activation\(tanh\): the gradient of the input is wrong"):
        fm.gradcheck(slope)
    with pytest.raises(fm.GradcheckError, match=r"gradcheck of Halved\(\): the gradient of the outputs is wrong in 15 of 15"):
        fm.gradcheck(Halved())


def test_one_wrong_entry_is_the_worst():
    class Slip(Scaled):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[1, 2] += 0.1
            return dx

    x = np.arange(6).reshape(2, 3)
    with pytest.raises(fm.GradcheckError, match=r"wrong in 1 of 6 entries; worst, in \[1, 2\] "):
        fm.gradcheck(Slip(), x)
    assert fm.gradcheck(Slip(), x, atol=0.2)
    found = {fm.gradcheck(Slip(), x, rng=seed, entries=1, raise_exception=False) for seed in range(20)}
    assert found == {True, False}, "one entry of six is drawn"


def test_formulas_of_a_user_are_checked():
    assert fm.gradcheck(fm.ElementwiseLoss(lambda out, y: (out - y) ** 4))
    assert fm.gradcheck(fm.ElementwiseLoss(lambda out, y, a, b: a * out * y + b * out, constants={"b": 2, "a": 3}))
    wrong = fm.ElementwiseLoss(lambda out, y: (out - y) ** 4, lambda out, y: (out - y) ** 3)
    assert not fm.gradcheck(wrong, raise_exception=False)


def test_inputs_may_be_given():
    assert fm.gradcheck(fm.Softplus(), [[1, 2, 3]])
    assert fm.gradcheck(fm.CrossEntropyLoss(), [[1, 2], [3, 4]], [0, 1])
    assert fm.gradcheck(fm.MSELoss(), [[1, 2]], [[3, 4]])
    assert not fm.gradcheck(fm.ReLU(), [[0.0, 1.0]], raise_exception=False)  # a kink


def test_module_that_draws_random_numbers_is_checked_with_those_of_one_call():
    assert fm.gradcheck(Noisy(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="another output for the same input: gradcheck needs a function"):
        fm.gradcheck(Noisy(None))


def test_module_that_returns_nothing_is_refused():
    class Forgets(fm.Module):
        def __init__(self, forgets):
            self.forgets = forgets

        def forward(self, x):
            return None if self.forgets == "forward" else 2 * x

        def backward(self, dy):
            return None if self.forgets == "backward" else 2 * dy

    assert fm.gradcheck(Forgets("nothing"))
    for method in ("forward", "backward"):
        with pytest.raises(TypeError, match=rf"Forgets\.{method} must return .*; got None: a return statement is missing"):
            fm.gradcheck(Forgets(method))


def test_bad_arguments_are_refused():
    for call, error, message in (
        (lambda: fm.gradcheck(abs), TypeError, "gradcheck takes a Module or a Criterion; got <built-in function abs>"),
        (lambda: fm.gradcheck(fm.Tanh(), 1, 2), TypeError, "takes one input; got 2"),
        (lambda: fm.gradcheck(fm.Tanh(), [1, 2]), ValueError, r"expects x? ?.*\(N, width\); got \(2,\)"),
        (lambda: fm.gradcheck(fm.Tanh(), eps=0), ValueError, "eps must be above 0"),
        (lambda: fm.gradcheck(fm.Tanh(), atol=-1), ValueError, "atol must be at least 0"),
        (lambda: fm.gradcheck(fm.Tanh(), entries=0), ValueError, "entries must be at least 1"),
        (lambda: fm.gradcheck(fm.Tanh(), rng="a"), TypeError, "rng must be"),
    ):
        with pytest.raises(error, match=message):
            call()
