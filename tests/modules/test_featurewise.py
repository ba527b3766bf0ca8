"""Layers with numbers for each feature: Scale, PReLU, LayerNorm, RMSNorm."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import assert_same_bits, flat, normal

import fastmlp as fm

MADE = {
    "Scale(3)": lambda: fm.Scale(3),
    "PReLU(num_parameters=3)": lambda: fm.PReLU(3),
    "LayerNorm((3,), eps=1e-05, elementwise_affine=True)": lambda: fm.LayerNorm(3),
    "RMSNorm((3,), eps=None, elementwise_affine=True)": lambda: fm.RMSNorm(3),
}


def test_first_parameters_are_pytorchs_and_reset_parameters_sets_them_again(dtype):
    first = {"Scale": 1, "PReLU": 0.25, "LayerNorm": 1, "RMSNorm": 1}
    for text, make in MADE.items():
        layer = make()
        assert repr(layer) == text
        model = fm.Sequential(layer, dtype=dtype)
        assert layer.weight.data.tolist() == [first[type(layer).__name__]] * 3
        assert layer.weight.dtype == dtype
        before = flat(model)
        model.storage.data[:3] = 7
        generator = np.random.default_rng(0)
        model.reset_parameters(generator)
        assert_same_bits(flat(model), before)
        assert generator.random() == np.random.default_rng(0).random(), "nothing is drawn"
    assert fm.Scale(2, init=-0.5, dtype=dtype).weight.data.tolist() == [-0.5, -0.5]
    assert fm.PReLU(init=2, dtype=dtype).weight.data.tolist() == [2]
    assert fm.LayerNorm(2, dtype=dtype).bias.data.tolist() == [0, 0]
    assert repr(fm.Scale(2, init=-0.5)) == "Scale(2, init=-0.5)"
    assert (fm.Scale(2).features, fm.PReLU().num_parameters) == (2, 1)


def test_state_dict_has_pytorchs_names():
    model = fm.Sequential(fm.Linear(2, 3), fm.LayerNorm(3), fm.PReLU(), fm.RMSNorm(3), fm.Softmax(1), fm.Scale(3))
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "3.weight", "5.weight"]
    assert list(model.state_dict()) == names
    assert model.state_dict()["2.weight"].shape == (1,)


def test_what_is_assigned_crosses_the_border():
    for make in MADE.values():
        layer = make()
        with pytest.raises(ValueError, match=re.escape(f"weight of {layer!r} must have the shape (3,); got (4,)")):
            layer.weight = fm.Parameter((4,))
        for wrong in (np.ones(3), 1.0):
            with pytest.raises(TypeError, match=r"weight of .* is a Parameter; assign a Parameter, or its numbers"):
                layer.weight = wrong
        new = fm.Parameter((3,))
        new.data = [1, 2, 3]
        layer.weight = new
        assert_same_bits(layer(np.float32([[0, -1, -2]])), make_like(layer, [1, 2, 3])(np.float32([[0, -1, -2]])))
        with pytest.raises(AttributeError):
            layer.features = layer.num_parameters = layer.normalized_shape = 4
    for make in (lambda: fm.Scale(3), lambda: fm.PReLU(3)):
        layer = make()
        with pytest.raises(AttributeError, match="without weight is none"):
            del layer.weight
        with pytest.raises(TypeError, match="must be a Parameter; got None"):
            layer.weight = None
        with pytest.raises(ValueError, match="init must be finite"):
            layer.init = np.inf


def make_like(layer, weight):
    twin = type(layer)(3)
    twin.weight.data = weight
    return twin


def test_norm_may_lose_its_parameters(dtype, rng):
    x = normal(rng, (4, 3), dtype)
    model = fm.Sequential(fm.LayerNorm(3), fm.RMSNorm(3), dtype=dtype)
    model[0].weight.data, model[0].bias.data, model[1].weight.data = normal(rng, (3, 3), dtype)
    full = model[0](x)
    bias = model[0].bias.data.copy()
    model[0].bias = None
    assert_same_bits(model.storage.grad, np.zeros_like(model.storage.grad))
    np.testing.assert_allclose(model[0](x) + bias, full, rtol=1e-5, atol=1e-6)
    del model[0].weight, model[1].weight
    assert not list(model.parameters())
    assert (model[0].elementwise_affine, model[1].elementwise_affine) == (False, False)
    plain = fm.LayerNorm(3, elementwise_affine=False)
    assert repr(model[0]) == repr(plain) == "LayerNorm((3,), eps=1e-05, elementwise_affine=False)"
    assert_same_bits(model[0](x), plain(x))
    # A bias alone, too.
    model[0].bias = fm.Parameter((3,), dtype)
    model[0].bias.data = bias
    assert_same_bits(model[0](x), plain(x) + bias)
    y = normal(rng, (4, 3), dtype)
    fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, y, epochs=3, progress=False)
    assert not np.array_equal(model[0].bias.data, bias)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fm.Scale(0), ValueError, "features must be at least 1; got 0"),
        (lambda: fm.Scale(2, "x"), TypeError, "init must be a number; got 'x'"),
        (lambda: fm.PReLU(1.5), TypeError, "num_parameters must be a whole number; got 1.5"),
        (lambda: fm.PReLU(init=np.nan), ValueError, "init must be finite"),
        (lambda: fm.LayerNorm((2, 3)), ValueError, r"normalized_shape must be the width .* or a tuple of it; got \(2, 3\)"),
        (lambda: fm.LayerNorm(()), ValueError, "normalized_shape"),
        (lambda: fm.RMSNorm(0), ValueError, "normalized_shape must be at least 1; got 0"),
        (lambda: fm.LayerNorm(2, eps=-1), ValueError, "eps must be at least 0 and finite; got -1"),
        (lambda: fm.LayerNorm(2, eps=None), TypeError, "eps must be a number; got None"),
        (lambda: fm.RMSNorm(2, eps="1"), TypeError, "eps must be a number; got '1'"),
        (lambda: fm.LayerNorm(2, elementwise_affine="no"), TypeError, "elementwise_affine must be True or False"),
        (lambda: fm.LayerNorm(2, bias="no"), TypeError, "bias must be True or False"),
        (lambda: fm.LayerNorm(2, dtype=int), TypeError, "dtype must be float32 or float64"),
        (lambda: fm.Softmax(0), ValueError, "dim must be 1 or -1, the features of a row.*; got 0"),
        (lambda: fm.LogSoftmax(2), ValueError, "dim must be 1 or -1.*; got 2"),
        (lambda: fm.Softmax("x"), TypeError, "dim must be a whole number; got 'x'"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_eps_may_be_assigned_and_counts_at_once(dtype, rng):
    x = normal(rng, (2, 3), dtype)
    for kind in (fm.LayerNorm, fm.RMSNorm):
        model = fm.Sequential(kind((3,)), fm.Identity(), dtype=dtype)
        model(x)
        model.predict(x)
        model[0].eps = 2
        other = fm.Sequential(kind(3, eps=2.0), dtype=dtype)
        assert_same_bits(model(x), other(x))
        assert_same_bits(model.predict(x), other(x))
        assert repr(model[0]) == repr(other[0])
        with pytest.raises(ValueError, match="eps must be at least 0"):
            model[0].eps = -1
    rms = fm.Sequential(fm.RMSNorm(3), dtype=dtype)
    assert_same_bits(rms(x), fm.Sequential(fm.RMSNorm(3, float(np.finfo(dtype).eps)), dtype=dtype)(x))


def test_one_slope_serves_any_width(dtype, rng):
    layer = fm.PReLU(dtype=dtype)
    for width in (1, 5, 40):
        x = normal(rng, (3, width), dtype)
        assert_same_bits(layer(x), np.where(x > 0, x, dtype.type(0.25) * x))
        assert layer.backward(x).shape == (3, width)


def test_slopes_and_factors_are_trained_on_threads(dtype):
    """To the same bits, each of more features than a unit has."""
    results = []
    rng = np.random.default_rng(3)
    X, y = normal(rng, (60, 40), dtype), normal(rng, (60, 2), dtype)
    for threads in (1, 2, 3):
        layers = [fm.Scale(40), fm.LayerNorm(40), fm.PReLU(40), fm.RMSNorm(40), fm.PReLU(), fm.LogSoftmax(1)]
        model = fm.Sequential(*layers, fm.Linear(40, 2, rng=0), dtype=dtype)
        before = flat(model)
        optimizer = fm.Adam(model.parameters(), lr=0.01)
        fm.fit(model, fm.MSELoss(), optimizer, X, y, batch_size=25, epochs=3, threads=threads, rng=0, progress=False)
        assert all((parameter.data != parameter.view_of(before)).all() for parameter in model[:5].parameters())
        results.append(flat(model))
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])


def test_part_of_a_norm_may_be_frozen(dtype, rng):
    """The weight or the bias, eagerly and in `fit`."""
    X, y = normal(rng, (10, 3), dtype), normal(rng, (10, 3), dtype)
    for name in ("weight", "bias"):
        results = []
        for by_hand in (False, True):
            model = fm.Sequential(fm.Linear(3, 3, rng=0), fm.LayerNorm(3), dtype=dtype)
            frozen = getattr(model[1], name)
            frozen.requires_grad = False
            before = frozen.data.copy()
            optimizer, loss = fm.SGD(model.parameters(), lr=0.1), fm.MSELoss()
            if by_hand:
                for _ in range(3):
                    optimizer.zero_grad()
                    loss(model(X), y)
                    model.backward(loss.backward())
                    optimizer.step()
            else:
                fm.fit(model, loss, optimizer, X, y, batch_size=10, epochs=3, shuffle=False, progress=False)
            assert_same_bits(frozen.data, before)
            results.append(flat(model))
        assert_same_bits(*results)
