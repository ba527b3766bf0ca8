"""Every layer of the registry: what holds for all of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import COLUMNS, DIFFERENCE_BOUND, assert_padding_is_zero, assert_same_bits, central_differences, normal, small

import fastmlp as fm
from fastmlp import registry

LAYERS = [(entry, case) for entry in registry.layers().values() for case in entry.cases]


def again(model):
    """Have what is drawn be drawn once more."""
    for module in model.modules():
        if module.draws:
            module.calls = 0
    return model


def drawn(entry, case, width, dtype, rng):
    """A network of the layer, with drawn parameters."""
    model = fm.Sequential(registry.made(entry, case, width), dtype=dtype)
    for parameter in model.parameters():
        parameter.data = normal(rng, parameter.shape, dtype)
    return model


def test_layer_matches_finite_difference(rng):
    for entry, case in LAYERS:
        for width in (1, 5):
            model = drawn(entry, case, width, np.float64, rng)
            x = normal(rng, (4, width), np.float64)
            dy = normal(rng, model(x).shape, np.float64)
            dx = model.backward(dy)

            def loss(model=model, x=x, dy=dy):
                return float((again(model)(x) * dy).sum())

            difference = central_differences(loss, x)
            assert np.abs(dx - difference).max() <= DIFFERENCE_BOUND * (1 + np.abs(difference).max()), (entry, case, width)
            for name, parameter in model.named_parameters():
                difference = central_differences(loss, parameter.data)
                bound = DIFFERENCE_BOUND * (1 + np.abs(difference).max())
                assert np.abs(parameter.grad - difference).max() <= bound, (entry, case, width, name)


def test_layer_takes_each_row_for_itself_in_any_number_of_rows(dtype, rng):
    """The same bits alone, among others, in `predict`, on threads, and along the vectors if a narrow network lies so."""
    for entry, case in LAYERS:
        for width in COLUMNS[:: small(3, 2)]:
            model = drawn(entry, case, width, dtype, rng)
            narrow = fm.Sequential(fm.Linear(width, width, dtype=dtype), registry.made(entry, case, width), dtype=dtype)
            x = normal(rng, (small(67, 5), width), dtype)
            for network in (model, narrow):
                if entry.least_rows > 1 or entry.draws:  # it is of the whole batch, but in evaluation mode
                    network(x)
                    network.eval()
                y = network(x)
                assert_same_bits(network.predict(x), y)
                assert_same_bits(network.predict(x, threads=2), y)
                for n in (0, len(x) - 1):
                    assert_same_bits(network(x[n : n + 1]), y[n : n + 1])
                    assert_same_bits(network.predict(x[n : n + 1]), y[n : n + 1])


def test_layer_leaves_what_it_gets_alone_and_adds_to_gradients(dtype, rng):
    for entry, case in LAYERS:
        model = drawn(entry, case, 17, dtype, rng)
        x = normal(rng, (5, 17), dtype)
        y = model(x)
        dy = normal(rng, y.shape, dtype)
        before = x.copy(), y.copy(), dy.copy()
        dx = model.backward(dy)
        once = [parameter.grad.copy() for parameter in model.parameters()]
        for now, then in zip((x, y, dy), before):
            assert_same_bits(now, then)
        x[:] = y[:] = 7  # it keeps its own
        assert_same_bits(model.backward(dy), dx)
        for parameter, gradient in zip(model.parameters(), once, strict=True):
            np.testing.assert_allclose(parameter.grad, 2 * gradient, rtol=1e-4, atol=1e-4)
        assert_padding_is_zero(model)
        model.zero_grad()
        model.backward(dy)
        for parameter, gradient in zip(model.parameters(), once, strict=True):
            assert_same_bits(parameter.grad, gradient)


def test_layer_is_the_same_after_state_dict_pickle_and_copy(dtype, rng):
    for entry, case in LAYERS:
        model = drawn(entry, case, 9, dtype, rng)
        x = normal(rng, (3, 9), dtype)
        loaded = fm.Sequential(registry.made(entry, case, 9), dtype=dtype)
        loaded.load_state_dict(model.state_dict())
        for twin in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert_same_bits(again(twin)(x), again(model)(x))
            assert repr(twin) == repr(model)


def test_layer_rejects_another_width():
    for entry, case in LAYERS:
        module = registry.made(entry, case, 5)
        if module._width_in() is not None:
            with pytest.raises(ValueError, match=r"expects \(N, 5\); got \(3, 6\)"):
                module(np.ones((3, 6)))
            with pytest.raises(ValueError, match="the widths don't chain"):
                fm.Sequential(fm.Linear(2, 6), module)
