"""First values: moments of many draws, bounds, orthogonality. The oracle for gains and bounds is PyTorch, where it is there."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, eps

import fastmlp as fm
from fastmlp import init

#: (out_features, in_features) of many draws.
SHAPE = (300, 200)
WIDE, NARROW = SHAPE[1], SHAPE[0]


def drawn(function, *arguments, shape=SHAPE, dtype=np.float64, rng=0, **options):
    parameter = fm.Parameter(shape, dtype)
    assert function(parameter, *arguments, rng=rng, **options) is parameter
    return parameter.data.copy()


def assert_moments(x, mean, variance, kurtosis):
    """Within 5 standard errors of the mean and of the variance."""
    size = math.sqrt(x.size)
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance) / size
    assert abs(x.var() - variance) < 5 * variance * math.sqrt(kurtosis - 1) / size


UNIFORM, NORMAL = 1.8, 3.0

#: Function, options, variance; the bound of those that have one.
DRAWS = [
    (init.xavier_uniform_, {"gain": 2.0}, 4 * 2 / (WIDE + NARROW), 2 * math.sqrt(6 / (WIDE + NARROW))),
    (init.xavier_normal_, {"gain": 2.0}, 4 * 2 / (WIDE + NARROW), None),
    (init.kaiming_uniform_, {"nonlinearity": "relu"}, 2 / WIDE, math.sqrt(6 / WIDE)),
    (init.kaiming_uniform_, {"a": 0.5, "mode": "fan_out"}, 1.6 / NARROW, math.sqrt(4.8 / NARROW)),
    (init.kaiming_uniform_, {}, 2 / WIDE, math.sqrt(6 / WIDE)),
    (init.kaiming_normal_, {"nonlinearity": "tanh", "mode": "fan_out"}, 25 / 9 / NARROW, None),
    (init.lecun_uniform_, {}, 1 / WIDE, math.sqrt(3 / WIDE)),
    (init.lecun_normal_, {}, 1 / WIDE, 2 / math.sqrt(WIDE) / init.TRUNCATED),
]


@pytest.mark.parametrize(("function", "options", "variance", "bound"), DRAWS)
def test_draws_have_the_moments_of_the_formula(function, options, variance, bound, dtype):
    x = drawn(function, dtype=dtype, **options)
    assert x.dtype == dtype
    assert_moments(x.astype(np.float64), 0, variance, UNIFORM if "uniform" in function.__name__ else NORMAL)
    if bound is not None:
        assert 0.99 * bound < np.abs(x).max() <= bound * (1 + eps(dtype))


def test_uniform_and_normal():
    x = drawn(init.uniform_, -1.0, 3.0)
    assert_moments(x, 1, 16 / 12, UNIFORM)
    assert x.min() >= -1
    assert x.max() < 3
    assert_moments(drawn(init.normal_, 2.0, 0.5), 2, 0.25, NORMAL)
    assert (drawn(init.normal_, 2.0, 0.0, shape=(3,)) == 2).all()
    assert (drawn(init.uniform_, 2.0, 2.0, shape=(3,)) == 2).all()


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 0.5, 0.9, 3), (0, 1, 2, 5), (0, 1, -9, -4), (0, 5, -0.1, 0.2), (3, 1, -2, 2)],
)
def test_truncated_normal(mean, std, a, b):
    """Against the moments of its density; by both ways of drawing."""
    x = drawn(init.trunc_normal_, mean, std, a, b)
    assert x.min() >= a
    assert x.max() <= b
    grid = np.linspace(a, b, 200_001)
    density = np.exp(-(((grid - mean) / std) ** 2) / 2 + min(((np.clip(mean, a, b) - mean) / std) ** 2 / 2, 1e9))
    density /= density.sum()
    first = (grid * density).sum()
    second, fourth = (((grid - first) ** power * density).sum() for power in (2, 4))
    assert_moments(x, first, second, fourth / second**2)


def test_truncated_is_the_deviation_of_what_lies_within_two():
    assert pytest.approx(0.87962566103423978, rel=1e-15) == init.TRUNCATED


def test_constants():
    for dtype in (np.float32, np.float64):
        for shape in ((3,), (2, 5)):
            assert (drawn(init.ones_, shape=shape, dtype=dtype) == 1).all()
            assert (drawn(init.zeros_, shape=shape, dtype=dtype) == 0).all()
            assert (drawn(init.constant_, -0.5, shape=shape, dtype=dtype) == -0.5).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 5), (17, 17), (1, 9), (9, 1)])
def test_orthogonal(shape, dtype):
    for gain in (1.0, 2.5):
        weight = drawn(init.orthogonal_, gain, shape=shape, dtype=dtype).astype(np.float64)
        product = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
        np.testing.assert_allclose(product, gain**2 * np.eye(min(shape)), atol=8 * gain**2 * min(shape) * eps(dtype))


def test_orthogonal_matrices_come_equally_often():
    """Both signs of a 1 x 1 matrix; and the entries of larger ones have mean 0 and variance 1 / n."""
    signs = [drawn(init.orthogonal_, shape=(1, 1), rng=seed).item() for seed in range(64)]
    assert set(signs) == {-1, 1}
    rng = np.random.default_rng(0)
    x = np.array([drawn(init.orthogonal_, shape=(3, 3), rng=rng) for _ in range(2000)])
    assert np.abs(x.mean(0)).max() < 5 * math.sqrt(1 / 3 / 2000)
    assert np.abs((x**2).mean(0) - 1 / 3).max() < 5 * math.sqrt(4 / 45 / 2000)


def test_draws_depend_on_rng_alone():
    for name in init.__all__:
        function = getattr(init, name)
        if name.endswith("_") and "val" not in inspect.signature(function).parameters:
            first, second = (drawn(function, shape=(7, 5), dtype=np.float32, rng=3) for _ in range(2))
            assert_same_bits(first, second)
            assert_same_bits(first, drawn(function, shape=(7, 5), rng=3).astype(np.float32))
            generator = np.random.default_rng(3)
            assert_same_bits(drawn(function, shape=(7, 5), dtype=np.float32, rng=generator), first)
            again = drawn(function, shape=(7, 5), dtype=np.float32, rng=generator)
            assert np.array_equal(again, first) == (name in ("ones_", "zeros_"))
    assert not np.array_equal(drawn(init.normal_, rng=None), drawn(init.normal_, rng=None))


def test_padding_stays_zero_and_the_model_computes_with_the_new_numbers(dtype):
    model = fm.Sequential(fm.Linear(3, 5), fm.Tanh(), fm.Linear(5, 2), dtype=dtype)
    X = np.ones((1, 3), dtype)
    model.predict(X)
    for parameter in model.parameters():
        init.constant_(parameter, 0.25)
    rest = model.storage.data.copy()
    for parameter in model.parameters():
        parameter.view_of(rest)[...] = 0
    assert not rest.any()
    np.testing.assert_allclose(model.predict(X), 1.25 * np.tanh(1) + 0.25, rtol=8 * eps(dtype))


# All weights of a model.


def net():
    return fm.Sequential(fm.Linear(3, 5), fm.ReLU(), fm.Sequential(fm.Linear(5, 4, bias=False), fm.Linear(4, 2)))


def test_apply_draws_all_weights_from_one_generator():
    model = net()
    biases = [model[0].bias, model[2][1].bias]
    before = [bias.data.copy() for bias in biases]
    assert init.apply(model, init.kaiming_normal_, rng=7, nonlinearity="relu") is model
    for bias, values in zip(biases, before):
        assert_same_bits(bias.data, values)
    rng = np.random.default_rng(7)
    for weight in (model[0].weight, model[2][0].weight, model[2][1].weight):
        twin = init.kaiming_normal_(fm.Parameter(weight.shape), nonlinearity="relu", rng=rng)
        assert_same_bits(weight.data, twin.data)
    again = init.apply(net(), init.kaiming_normal_, bias=init.uniform_, rng=7, nonlinearity="relu")
    assert_same_bits(again[0].weight.data, model[0].weight.data)
    assert (again[0].bias.data >= 0).all()
    init.apply(model, bias=init.zeros_)
    assert_same_bits(model[0].weight.data, again[0].weight.data)
    assert not any(bias.data.any() for bias in biases)
    linear = init.apply(fm.Linear(2, 2), init.ones_, bias=init.ones_)
    assert (linear(np.ones((1, 2))) == 3).all()


def test_apply_leaves_norms_and_buffers_alone():
    class Own(fm.Module):
        def __init__(self):
            self.table, self.weight, self.bias = fm.Buffer((2, 2)), fm.Parameter((2, 2)), fm.Parameter((2,))

    model = fm.Sequential(fm.Linear(3, 2), fm.BatchNorm1d(2), Own())
    init.apply(model, init.ones_, bias=init.ones_)
    for module, expected in ((model[0], 1), (model[2], 1), (model[1], 0)):
        assert (module.bias.data == expected).all()
    assert not model[2].table.data.any()
    assert (model[2].weight.data == 1).all()


def test_apply_of_a_module_goes_through_its_parts():
    model, seen = net(), []
    assert model.apply(seen.append) is model
    assert seen == [model[0], model[1], model[2][0], model[2][1], model[2], model]
    rng = np.random.default_rng(0)
    model.apply(lambda part: isinstance(part, fm.Linear) and init.orthogonal_(part.weight, rng=rng))
    weight = pickle.loads(pickle.dumps(model))[0].weight.data
    np.testing.assert_allclose(weight.T @ weight, np.eye(3), atol=1e-6)


# Gains, and errors.


def test_gains():
    for name, gain in (("linear", 1), ("identity", 1), ("sigmoid", 1), ("tanh", 5 / 3), ("relu", 2**0.5), ("selu", 0.75)):
        assert init.calculate_gain(name) == gain
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(1.6)


@pytest.mark.torch
def test_gains_and_spreads_match_torch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch; make test-torch brings it")
    theirs = torch.nn.init
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == theirs.calculate_gain(name)
    for slope in (0, 0.2, 1, 3, -0.5):
        assert init.calculate_gain("leaky_relu", slope) == theirs.calculate_gain("leaky_relu", slope)
    for function, options, _, bound in DRAWS:
        if hasattr(theirs, function.__name__):
            tensor = torch.empty(SHAPE, dtype=torch.float64)
            getattr(theirs, function.__name__)(tensor, **options)
            x = drawn(function, **options)
            assert x.std() == pytest.approx(tensor.numpy().std(), rel=0.02)
            if bound is not None:
                assert np.abs(x).max() == pytest.approx(tensor.abs().max().item(), rel=1e-3)
    names = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    for name in names & {*init.__all__}:
        ours, other = (list(inspect.signature(getattr(package, name)).parameters.items()) for package in (init, theirs))
        assert [(key, p.default) for key, p in ours[1:-1]] == [(key, p.default) for key, p in other[1:] if key != "generator"]


def test_what_does_not_fit_is_refused():
    p, bias = fm.Parameter((3, 2)), fm.Parameter((3,))
    for call, error, message in (
        (
            lambda: init.normal_(np.zeros(3)),
            TypeError,
            "parameter must be a Parameter, layer.weight for .* got .*ndarray",
        ),
        (lambda: init.ones_(net()), TypeError, "got .*Sequential: fm.init.apply draws those of a model"),
        (lambda: init.xavier_normal_(bias), ValueError, r"fan in and fan out are those of a weight.*shape \(3,\)"),
        (lambda: init.orthogonal_(bias), ValueError, r"fan in and fan out are those of a weight.*shape \(3,\)"),
        (lambda: init.kaiming_normal_(p, mode="in"), ValueError, 'mode must be "fan_in" or "fan_out"; got \'in\''),
        (
            lambda: init.kaiming_uniform_(p, nonlinearity="gelu"),
            ValueError,
            "unsupported nonlinearity 'gelu'; there are ",
        ),
        (lambda: init.kaiming_uniform_(p, "relu"), TypeError, "param, the negative slope, must be a number; got 'relu'"),
        (lambda: init.calculate_gain(None), ValueError, "unsupported nonlinearity None"),
        (lambda: init.uniform_(p, 1, 0), ValueError, "a must be at most b; got 1 and 0"),
        (lambda: init.uniform_(p, 0, np.inf), ValueError, "b must be finite; got inf"),
        (lambda: init.normal_(p, std=-1), ValueError, "std must be at least 0 and finite; got -1"),
        (lambda: init.trunc_normal_(p, std=0), ValueError, "std must be above 0 and finite; got 0"),
        (lambda: init.trunc_normal_(p, a=1, b=1), ValueError, "a must be below b; got 1 and 1"),
        (lambda: init.constant_(p, np.nan), ValueError, "val must be finite; got nan"),
        (lambda: init.xavier_uniform_(p, gain="relu"), TypeError, "gain must be a number; got 'relu'"),
        (lambda: init.lecun_normal_(p, rng="seed"), TypeError, "rng must be None, an int of at least 0"),
        (lambda: init.apply(p, init.ones_), TypeError, "model must be a Module of fastmlp; got Parameter"),
        (lambda: init.apply(fm.Sequential, init.ones_), TypeError, "model must be a Module of fastmlp"),
        (lambda: init.apply(net(), 0.1), TypeError, "weight must be a function of a parameter, .*; got 0.1"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert not p.data.any()
    assert not bias.data.any()
