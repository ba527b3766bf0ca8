from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import (
    ACTIVATIONS,
    COLUMNS,
    DIFFERENCE_BOUND,
    assert_same_bits,
    assert_within,
    central_differences,
    eager_train,
    eps,
    flat,
    jit_only,
    make_data,
    normal,
)

import fastmlp as fm
from fastmlp import registry
from fastmlp.kernels.compiler import jit
from fastmlp.kernels.compiler.derivative import derivative
from fastmlp.kernels.compiler.expression import maximum, minimum


def reference(name, x):
    x = x.astype(np.float64)
    value = {"relu": np.maximum(x, 0), "tanh": np.tanh(x), "sigmoid": 1 / (1 + np.exp(-x)), "identity": x}[name]
    slope = {"relu": x > 0, "tanh": 1 - np.tanh(x) ** 2, "sigmoid": value * (1 - value), "identity": np.ones_like(x)}[name]
    return value, slope


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_reference(name, dtype, rng):
    module = ACTIVATIONS[name]()
    for width in COLUMNS:
        x, dy = 2 * normal(rng, (7, width), dtype), normal(rng, (7, width), dtype)
        y, dx = module(x), module.backward(dy)
        value, slope = reference(name, x)
        assert_within(y, value, 4 * eps(dtype) * np.abs(value))
        assert_within(dx, dy * slope, 8 * eps(dtype) * np.abs(dy))
        assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_finite_difference(name, rng):
    module = ACTIVATIONS[name]()
    x, dy = normal(rng, (3, 5), np.float64), normal(rng, (3, 5), np.float64)
    module(x)
    dx = module.backward(dy)
    assert_within(dx, central_differences(lambda: float((module(x) * dy).sum()), x), DIFFERENCE_BOUND)


def test_activation_leaves_its_input_alone(dtype, rng):
    for kind in ACTIVATIONS.values():
        module = kind()
        x, dy = normal(rng, (3, 16), dtype), normal(rng, (3, 16), dtype)
        before = x.copy(), dy.copy()
        y = module(x)
        kept = y.copy()
        dx = module.backward(dy)
        assert_same_bits(x, before[0])
        assert_same_bits(dy, before[1])
        assert_same_bits(y, kept)
        for result in (y, dx):
            assert not np.shares_memory(result, x), kind
            assert not np.shares_memory(result, dy), kind
        y[:] = 7
        assert_same_bits(module.backward(dy), dx)


def test_activation_computes_in_the_dtype_of_its_input():
    for kind in ACTIVATIONS.values():
        module = kind()
        for given, expected in ((np.float64, "f8"), (">f8", "f8"), (np.float32, "f4"), (np.float16, "f4"), (int, "f4")):
            assert module(np.ones((1, 2), given)).dtype == np.dtype(expected)
            assert module.backward(np.ones((1, 2))).dtype == np.dtype(expected)
        assert module([[1, 2]]).dtype == np.float32


def test_activation_rejects_bad_calls():
    for kind in ACTIVATIONS.values():
        with pytest.raises(RuntimeError, match="backward was called before forward: call the module on an input first"):
            kind().backward(np.ones((1, 2)))
        with pytest.raises(ValueError, match=r"expects \(N, width\); got \(3,\): add a batch axis, x\[None, :\]"):
            kind()(np.ones(3))


def test_relu_keeps_nan():
    np.testing.assert_array_equal(fm.ReLU()([[np.nan, -np.inf, np.inf]]), np.array([[np.nan, 0, np.inf]], np.float32))


def test_saturated_activations_are_exact(dtype):
    x = np.array([[-1e4, 1e4]], dtype)
    assert fm.Tanh()(x).tolist() == [[-1, 1]]
    assert fm.Sigmoid()(x).tolist() == [[0, 1]]


class Ramp(fm.Activation):
    """A formula with a constant."""

    constants = ("factor",)
    saves = "x"

    def __init__(self, factor):
        self.factor = factor

    @staticmethod
    def value(x, factor):
        return factor * x * x

    @staticmethod
    def slope(x, factor):
        return 2 * factor * x


def test_constants_of_a_formula_may_be_assigned(dtype):
    """They are numbers of the program: everything that has been laid out before takes the new one."""
    x = np.array([[1, 2, -3]], dtype)
    module = Ramp(2)
    model = fm.Sequential(fm.Identity(), Ramp(2), dtype=dtype)
    for factor in (2, 0.5):
        module.factor = model[1].factor = factor
        for part in (module, model):
            assert_same_bits(part(x), (factor * x * x).astype(dtype))
            assert_same_bits(part.backward(np.ones((1, 3))), (2 * factor * x).astype(dtype))
        assert_same_bits(model.predict(x), (factor * x * x).astype(dtype))
    assert repr(module) == "Ramp(factor=0.5)"
    for wrong in ("1", None, [1], True):
        with pytest.raises(TypeError, match="factor must be a number"):
            module.factor = wrong
    with pytest.raises(ValueError, match=r"factor must be .*finite"):
        module.factor = np.nan
    assert_same_bits(module(x), x * x / 2)


def test_formula_of_a_subclass_brings_its_own_slope(dtype):
    """What the class above says about its formula, its slope or that the product can do it, does not hold."""

    class Shifted(fm.ReLU):
        @staticmethod
        def value(x):
            return x + 1

    class Square(fm.Tanh):
        @staticmethod
        def value(x):
            return x * x

    class Steep(Square):
        @staticmethod
        def slope(y):
            return 3 + 0 * y

    x = np.array([[-3, 0.5, 2]], dtype)
    for kind, value, slope in ((Shifted, x + 1, 1 + 0 * x), (Square, x * x, 2 * x), (Steep, x * x, 3 + 0 * x)):
        model = fm.Sequential(fm.Linear(3, 3), kind(), dtype=dtype)
        model[0].weight.data, model[0].bias.data = np.eye(3), np.zeros(3)
        for module in (kind(), model):
            assert_same_bits(module(x), value)
            assert_same_bits(module.backward(np.ones((1, 3))), slope)
        assert_same_bits(model.predict(x), value)
    with pytest.raises(ValueError, match=r"Odd\.saves must be .*; got 'z'"):

        class Odd(fm.Activation):
            saves = "z"


def test_formula_of_a_subclass_has_neither_the_slope_nor_the_floor_of_its_base(dtype):
    """Behind a Linear a ReLU with another formula, or another slope, became a ReLU again."""

    class Cap(fm.ReLU):
        @staticmethod
        def value(x):
            return minimum(maximum(x, 0), 6)

    class Through(fm.ReLU):
        @staticmethod
        def slope(y):
            return 0 * y + 1

    class Same(fm.ReLU):
        pass

    linear = fm.Linear(1, 1, dtype=dtype)
    linear.weight.data, linear.bias.data = [[1]], [0]
    x = np.array([[-1], [3], [7]], dtype)
    cases = {Cap: ([0, 3, 6], [0, 1, 0]), Through: ([0, 3, 7], [1, 1, 1]), Same: ([0, 3, 7], [0, 1, 1])}
    for kind, (y, dx) in cases.items():
        network = fm.Sequential(linear, kind())
        for module in (network, kind()):
            assert_same_bits(module(x)[:, 0], np.array(y, dtype))
            assert_same_bits(module.backward(np.ones_like(x))[:, 0], np.array(dx, dtype))
        del network, module


def test_written_slopes_are_the_derived_ones(dtype, rng):
    """To a few units in the last place of the slope, or of 1 (one that reads y knows no more than y does), or of x."""
    x = np.concatenate([scale * normal(rng, (1000,), dtype) for scale in (1e-3, 1, 10)] + [[-1e30, -750, 750, 1e30]])
    x, written = x.astype(dtype), 0
    for kind in registry.activations().values():
        for case in kind.cases:
            module = kind(**case)
            (value, slope, saves), numbers = module._formulas(), module._numbers()
            if slope is None:
                continue
            written += 1
            with np.errstate(all="ignore"):
                expected = derivative(value)(x, *numbers)
                given = slope(value(x, *numbers) if saves == "y" else x, *numbers)
            assert_within(given, expected, 4 * eps(dtype) * np.clip(np.abs(x), 1, 32))
    assert written > 10


def saves_slope(module):
    return module._ops(2)[0].saves == "slope"


def test_activations_of_infinite_numbers(dtype):
    """The limits; NaN where the formula of PyTorch has one."""
    inf, nan = np.inf, np.nan
    limits = {
        "ELU": ([-1, inf], [0, 1]),
        "SELU": ([-1.7580993408473766, inf], [0, 1.0507009873554805]),
        "CELU": ([-1, inf], [0, 1]),
        "SiLU": ([nan, inf], [nan, nan]),
        "GELU": ([nan, inf], [nan, nan]),
        "Mish": ([nan, inf], [nan, 1]),
        "Softplus": ([0, inf], [0, 1]),
        "Softsign": ([nan, nan], [nan, nan]),
        "Hardtanh": ([-1, 1], [0, 0]),
        "ReLU6": ([0, 6], [0, 0]),
        "Hardswish": ([0, inf], [0, 1]),
        "Hardsigmoid": ([0, 1], [0, 0]),
        "LogSigmoid": ([-inf, 0], [1, 0]),
    }
    for name, (y, dx) in limits.items():
        module = getattr(fm, name)()
        np.testing.assert_array_equal(module(np.array([[-inf, inf]], dtype)), np.array([y], dtype), name)
        np.testing.assert_allclose(module.backward(np.ones((1, 2))), np.array([dx], dtype), eps(dtype), err_msg=name)
        finite = module(np.array([[-1e30, 1e30]], dtype)), module.backward(np.ones((1, 2)))
        assert np.isfinite(finite).all(), name
        assert np.isnan(module(np.full((1, 2), nan, dtype))).all(), name
        if saves_slope(module):
            assert np.isnan(module.backward(np.ones((1, 2)))).all(), name


def test_activations_reject_bad_options():
    for make, message in (
        (lambda: fm.ELU("1"), "alpha must be a number; got '1'"),
        (lambda: fm.ELU(np.inf), "alpha must be finite"),
        (lambda: fm.CELU(0), "alpha must not be 0"),
        (lambda: fm.Softplus(0), "beta must not be 0"),
        (lambda: fm.Softplus(threshold=np.nan), "threshold must be finite"),
        (lambda: fm.Hardtanh(1, 1), "max_val must be above min_val; got min_val=1, max_val=1"),
        (lambda: setattr(fm.Hardtanh(), "min_val", 2), "max_val must be above min_val; got min_val=2, max_val=1"),
        (lambda: setattr(fm.CELU(), "alpha", 0), "alpha must not be 0"),
        (lambda: fm.SELU(inplace=True), "SELU.* takes no|unexpected keyword"),
        (lambda: fm.ELU(1.0, True), "takes from 1 to 2 positional arguments"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            make()


def test_options_of_an_activation_may_be_assigned(dtype):
    """Also where another slope is taken from then on: an ELU below 0."""
    x = np.array([[-1, 2]], dtype)
    module = fm.ELU()
    for alpha in (1, -0.5, 2):
        module.alpha = alpha
        assert_within(module(x), [[alpha * np.expm1(-1), 2]], 4 * eps(dtype))
        assert_within(module.backward(np.ones((1, 2))), [[alpha * np.exp(-1), 1]], 8 * eps(dtype))
    assert repr(module) == "ELU(alpha=2)"
    assert repr(fm.Softplus(2)) == "Softplus(beta=2, threshold=20)"
    assert repr(fm.ReLU6()) == "ReLU6()"


# Formulas that are handed over as plain functions.


def bump(x, height):
    return height * fm.math.exp(-x * x)


def swish_of_mine(x):
    return x * fm.math.sigmoid(x)


def trained(activation, threads=None):
    """The parameters after two epochs of `fit`, or by hand."""
    X, y = make_data(67, 3, 4)
    model = fm.Sequential(fm.Linear(3, 17, rng=0), activation, fm.Linear(17, 4, rng=1))
    keywords = {"epochs": 2, "batch_size": 32, "rng": 3}
    made = model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if threads is None:
        eager_train(*made, X, y, **keywords)
    else:
        fm.fit(*made, X, y, **keywords, threads=threads)
    assert np.isfinite(flat(model)).all()
    return flat(model)


def test_formula_of_a_user_trains_as_a_built_in_does():
    expected = trained(fm.SiLU(), threads=1)
    for threads in (None, 1, 2):
        assert_same_bits(trained(fm.Activation(swish_of_mine), threads), expected)
    lines = fm.Activation(lambda x, a: fm.math.select(x > 0, x, a * x), constants={"a": 0.01})
    assert_same_bits(trained(lines, threads=2), trained(fm.LeakyReLU(), threads=1))
    assert_same_bits(trained(fm.Activation(fm.math.tanh, slope=lambda y: 1 - y * y), threads=2), trained(fm.Tanh(), threads=1))


def test_formula_of_a_user_keeps_its_promises(dtype, rng):
    x = normal(rng, (3, 5), dtype)
    module = fm.Activation(bump, constants={"height": 2})
    assert repr(module) == "Activation(bump, height=2)"
    assert repr(fm.Activation(lambda x: x)) == "Activation(<lambda>)"
    for height in (2, 0.5):
        module.height = height
        for same in (module, pickle.loads(pickle.dumps(module)), copy.deepcopy(module), copy.copy(module)):
            assert repr(same) == f"Activation(bump, height={height:g})"
            y = same(x)
            assert_within(y, height * np.exp(-(x.astype(float) ** 2)), 8 * eps(dtype))
            assert_within(same.backward(np.ones_like(x)), -2 * x * y, 16 * eps(dtype))
    with pytest.raises(TypeError, match="height must be a number"):
        module.height = "2"
    for name in ("value", "slope", "saves", "constants"):
        with pytest.raises(AttributeError, match=f"{name} of an Activation stays as it is: make another one"):
            setattr(module, name, None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(fm.Activation(lambda x: x))


def test_slope_of_a_user_reads_what_its_argument_is_called(dtype):
    x, ones = np.array([[-2, 0.5, 3]], dtype), np.ones((1, 3))
    by_name = {"x": fm.Activation(abs, lambda x: 2 * x), "y": fm.Activation(abs, lambda y: 2 * y)}
    by_name |= {saves: fm.Activation(abs, lambda v: 2 * v, saves=saves) for saves in ("x", "y", "slope")}
    for saves, module in by_name.items():
        assert_same_bits(module(x), abs(x))
        assert_same_bits(module.backward(ones), 2 * (abs(x) if saves == "y" else x))
    with pytest.raises(TypeError, match=r"must be called x .* or y .*, or saves= says which; got v"):
        fm.Activation(abs, lambda v: 2 * v)
    with pytest.raises(ValueError, match="""saves must be "x", "y" or "slope"; got 'z'"""):
        fm.Activation(abs, lambda v: 2 * v, saves="z")


def test_slope_that_is_kept_is_the_same_on_every_way_back(dtype, rng):
    """Computed forward, whatever lies behind and is done with the output; given or derived, it is the one read from x."""
    x, dy = (normal(rng, (3, 5), dtype) for _ in range(2))
    value, slope = fm.math.tanh, lambda x: 1 - fm.math.tanh(x) * fm.math.tanh(x)
    kinds = {
        "x": fm.Activation(value, slope),
        "slope": fm.Activation(value, slope, saves="slope"),
        "derived": fm.Activation(value),
    }
    found = {}
    for name, module in kinds.items():
        network = fm.Sequential(fm.Identity(), fm.Activation(value), module, fm.Tanh(), fm.Hardswish(), dtype=dtype)
        found[name] = [network(x).copy(), *(network.backward(factor * dy).copy() for factor in (1, 0, 1)), network.predict(x)]
        found[name].append(fm.jacobian(network, x))
    for name in ("slope", "derived"):
        for given, expected in zip(found[name], found["x"]):
            assert_same_bits(given, expected)


def test_activation_without_a_formula_is_refused():
    for make in (fm.Activation, lambda: fm.Activation(None, abs), lambda: Ramp.__base__(constants={"a": 1})):
        with pytest.raises(TypeError, match="Activation needs a formula: "):
            make()
    for make in (lambda: fm.Tanh(abs), lambda: fm.Tanh(value=abs)):
        with pytest.raises(TypeError, match="takes no arguments"):
            make()


def test_subclass_may_have_a_constructor_that_calls_that_of_its_base(dtype):
    class Power(fm.Activation):
        def __init__(self, exponent):
            super().__init__(lambda x: x**exponent)

    class Scaled(fm.Activation):
        constants = ("factor",)

        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        @staticmethod
        def value(x, factor):
            return factor * x

    x = np.array([[1, 2, -3]], dtype)
    assert_same_bits(Power(3)(x), x**3)
    assert_same_bits(Power(2)(x), x**2)
    assert_same_bits(Scaled(4)(x), 4 * x)


@jit_only
def test_formula_of_a_user_compiles_its_own_block_and_nothing_else():
    def quartic(x, a):
        return a * x**4 - 0.12345 * x

    trained(fm.Tanh(), threads=1)
    done = len(jit.history)
    for a in (0.1, -0.1):
        trained(fm.Activation(quartic, constants={"a": a}), threads=1)
    assert [entry.name for entry in jit.history[done:]] == ["elementwise-activation-quartic"]
    trained(fm.Activation(lambda x, b: b * x**4 - 0.12345 * x, constants={"b": 1}), threads=1)  # the same formula once more
    assert len(jit.history) == done + 1


@jit_only
def test_formula_of_a_user_is_the_machine_code_of_a_built_in(dtype):
    mine, theirs = (module._ops(3)[0].block for module in (fm.Activation(swish_of_mine), fm.SiLU()))
    assert mine is not theirs
    assert mine.address(dtype) == theirs.address(dtype)
