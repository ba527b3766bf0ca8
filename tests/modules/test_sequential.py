from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from helpers import (
    DIFFERENCE_BOUND,
    LOSSES,
    assert_padding_is_zero,
    assert_same_bits,
    assert_within,
    central_differences,
    flat,
    make_data,
    make_net,
    normal,
    small,
)

import fastmlp as fm


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "identity"])
def test_network_matches_finite_difference(activation, loss):
    model = make_net([3, 9, 4, 2], activation, dtype=np.float64)
    x, y = make_data(5, 3, 2, loss, dtype=np.float64)
    criterion = LOSSES[loss]()

    def value():
        return criterion(model(x), y)

    value()
    dx = model.backward(criterion.backward())
    gradients = [parameter.grad.copy() for parameter in model.parameters()]
    assert_within(dx, central_differences(value, x), DIFFERENCE_BOUND)
    for parameter, gradient in zip(model.parameters(), gradients):
        assert gradient.any()
        assert_within(gradient, central_differences(value, parameter.data), DIFFERENCE_BOUND)


def test_sequential_is_its_modules_in_a_row(dtype, rng):
    model = make_net([3, 17, 2], dtype=dtype)
    x, dy = normal(rng, (7, 3), dtype), normal(rng, (7, 2), dtype)
    y, dx = model(x), model.backward(dy)
    gradients = model.storage.grad.copy()
    model.zero_grad()
    assert not model.storage.grad.any()
    by_hand = x
    for module in model:
        by_hand = module(by_hand)
    assert_same_bits(y, by_hand)
    back = dy
    for module in reversed(list(model)):
        back = module.backward(back)
    assert_same_bits(dx, back)
    assert_same_bits(model.storage.grad, gradients)


def test_sequential_gathers_its_parameters(dtype):
    first, second = fm.Linear(3, 5, rng=0), fm.Linear(5, 2, bias=False, rng=1)
    values = [parameter.data.copy() for layer in (first, second) for parameter in layer.parameters()]
    model = fm.Sequential(first, fm.ReLU(), second, dtype=dtype)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight"]
    assert [parameter.name for parameter in model.parameters()] == ["0.weight", "0.bias", "2.weight"]
    for parameter, value in zip(model.parameters(), values):
        assert parameter.dtype == dtype
        assert_same_bits(parameter.data, value.astype(dtype))
        assert np.shares_memory(parameter.data, model.storage.data)
    assert_padding_is_zero(model)
    assert model[0] is first
    assert len(model) == 3
    assert list(model)[2] is second


def test_nested_sequential_stays_usable(dtype, rng):
    inner = make_net([3, 5, 4], dtype=dtype)
    x = normal(rng, (6, 3), dtype)
    alone, predicted = inner(x), inner.predict(x)
    outer = fm.Sequential(inner, fm.Tanh(), fm.Linear(4, 2, rng=0), dtype=dtype)
    assert_same_bits(inner(x), alone)
    assert_same_bits(inner.predict(x), predicted)
    assert inner.storage is outer.storage
    assert [name for name, _ in outer.named_parameters()][:2] == ["0.0.weight", "0.0.bias"]
    y = np.zeros(6, int)
    fm.fit(outer, fm.CrossEntropyLoss(), fm.SGD(outer.parameters(), lr=0.5), x, y, epochs=3)
    assert not np.array_equal(inner.predict(x), predicted)
    assert_same_bits(inner.predict(x), inner(x))


@pytest.mark.parametrize("name", ["fortran", "strided", "read_only", "big_endian", "float16", "list"])
def test_input_of_any_layout_gives_the_same(name, dtype, rng):
    model = make_net([5, 9, 3], dtype=dtype)
    plain = rng.integers(-8, 9, (7, 5)).astype(dtype) / 8  # that float16 holds exactly
    wide = np.zeros((14, 10), dtype)
    wide[::2, 1::2] = plain
    read_only = plain.copy()
    read_only.flags.writeable = False
    x = {
        "fortran": np.asfortranarray(plain),
        "strided": wide[::2, 1::2],
        "read_only": read_only,
        "big_endian": plain.astype(dtype.newbyteorder(">")),
        "float16": plain.astype(np.float16),
        "list": plain.tolist(),
    }[name]
    assert_same_bits(model(x), model(plain))
    assert_same_bits(model.predict(x), model.predict(plain))
    y = np.arange(7) % 3
    results = []
    for given in (plain, x):
        other = make_net([5, 9, 3], dtype=dtype)
        fm.fit(other, fm.CrossEntropyLoss(), fm.SGD(other.parameters(), lr=0.1), given, y, epochs=2, batch_size=3, rng=0)
        results.append(flat(other))
    assert_same_bits(*results)
    if name == "read_only":
        assert_same_bits(x, plain)
        assert not x.flags.writeable


def test_predict_does_not_change_the_model(dtype, rng):
    model = make_net([5, 9, 3], dtype=dtype).train()
    x = normal(rng, (7, 5), dtype)
    model(x)
    before = flat(model)
    model.predict(normal(rng, (100, 5), dtype))
    assert_same_bits(flat(model), before)
    assert all(module.training for module in model.modules())
    assert model.backward(np.ones((7, 3))).shape == (7, 5), "what forward kept is still there"


def test_predict_overwrites_nothing_it_gave_before(dtype, rng):
    model = make_net([5, 9, 3], dtype=dtype)
    x = normal(rng, (7, 5), dtype)
    first = model.predict(x)
    kept = first.copy()
    second = model.predict(2 * x)
    assert not np.shares_memory(first, second)
    assert_same_bits(first, kept)
    assert_same_bits(model.predict(x), kept)


def test_predict_from_several_threads(dtype, rng):
    model = make_net([5, 33, 3], dtype=dtype)
    inputs = [normal(rng, (small(500, 5) + i, 5), dtype) for i in range(6)]
    expected = [model(x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(small(50, 2)):
            if not np.array_equal(model.predict(inputs[i]), expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong


def test_sequential_without_parameters_takes_any_width():
    model = fm.Sequential(fm.Identity(), fm.ReLU())
    for width in (1, 17, 3):
        x = np.arange(-5, 2 * width - 5).reshape(2, width)
        assert_same_bits(model.predict(x), np.maximum(x, 0).astype(np.float32))
        assert_same_bits(model(x), model.predict(x))
    assert model.dtype == np.float32
    assert list(model.parameters()) == []


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copy_is_independent_and_the_same(duplicate, dtype, rng):
    model = make_net([5, 9, 3], dtype=dtype)
    x = normal(rng, (7, 5), dtype)
    model(x)
    model.predict(x)
    other = duplicate(model)
    assert_same_bits(other.predict(x), model.predict(x))
    assert repr(other) == repr(model)
    with pytest.raises(RuntimeError, match="before forward"):
        other.backward(np.ones((7, 3)))
    with pytest.raises(ValueError, match="already has a place in a network"):
        fm.Sequential(other[0])
    before = model.predict(x)
    other[0].weight.data[:] = 0
    assert_same_bits(model.predict(x), before)


def test_copied_module_of_a_network_is_free():
    model = make_net([5, 9, 3])
    layer = copy.deepcopy(model[0])
    other = fm.Sequential(layer, fm.ReLU())
    assert_same_bits(other[0].weight.data, model[0].weight.data)
    assert not np.shares_memory(other.storage.data, model.storage.data)
    assert other.storage.data.size < model.storage.data.size


def test_reset_parameters_is_deterministic(dtype):
    models = [make_net([5, 9, 3], dtype=dtype, rng=rng) for rng in (0, 0, 1)]
    assert_same_bits(flat(models[0]), flat(models[1]))
    assert not np.array_equal(flat(models[0]), flat(models[2]))
    assert not np.array_equal(models[0][0].weight.data[:3, :3], models[0][2].weight.data[:3, :3])


def test_sequential_rejects_widths_that_do_not_chain():
    with pytest.raises(
        ValueError,
        match=r"the widths don't chain: Linear\(2, 25\) at 0 gives 25 features, Linear\(24, 2\) at 2 expects 24",
    ):
        fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(24, 2))
    with pytest.raises(ValueError, match=r"Linear\(3, 4\) at 0 gives 4 features, Sequential at 1 expects 5"):
        fm.Sequential(fm.Linear(3, 4), make_net([5, 6, 7]))
    with pytest.raises(ValueError, match=r"Sequential at 0 gives 7 features, Linear\(6, 1\) at 2 expects 6"):
        fm.Sequential(make_net([5, 6, 7]), fm.Tanh(), fm.Linear(6, 1))


def test_module_of_a_failed_network_is_still_free():
    layer = fm.Linear(2, 25)
    with pytest.raises(ValueError, match="don't chain"):
        fm.Sequential(layer, fm.Linear(24, 2))
    assert len(fm.Sequential(layer, fm.Linear(25, 2))) == 2


def test_sequential_rejects_a_module_that_stands_twice():
    layer, activation = fm.Linear(3, 3), fm.ReLU()
    with pytest.raises(ValueError, match=r"Linear\(3, 3\) stands twice in the network"):
        fm.Sequential(layer, fm.ReLU(), layer)
    with pytest.raises(ValueError, match=r"ReLU\(\) stands twice in the network"):
        fm.Sequential(activation, layer, activation)
    with pytest.raises(ValueError, match="stands twice"):
        fm.Sequential(fm.Sequential(layer), layer)


def test_sequential_rejects_a_module_of_another_network():
    layer = fm.Linear(3, 3)
    fm.Sequential(layer)
    with pytest.raises(
        ValueError, match=r"Linear\(3, 3\) already has a place in a network: make another one, or copy.deepcopy"
    ):
        fm.Sequential(layer)


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        ((), ValueError, "Sequential needs at least one module"),
        (([fm.Identity()],), TypeError, r"takes its modules one by one: Sequential\(\*modules\)"),
        ((fm.Linear(2, 2), fm.ReLU), TypeError, r"got the class ReLU: make one, ReLU\(\)"),
        ((np.tanh,), TypeError, "Sequential is made of modules; got a ufunc"),
        ((fm.CrossEntropyLoss(),), TypeError, "Sequential is made of modules; got a CrossEntropyLoss"),
    ],
)
def test_sequential_rejects_what_is_not_a_module(modules, error, message):
    with pytest.raises(error, match=message):
        fm.Sequential(*modules)


def test_sequential_rejects_mixed_dtypes_unless_told():
    def parts():
        return fm.Linear(2, 3, dtype=np.float32), fm.Linear(3, 2, dtype=np.float64)

    with pytest.raises(TypeError, match="the modules differ in dtype: say which one"):
        fm.Sequential(*parts())
    for dtype in (np.float32, np.float64):
        model = fm.Sequential(*parts(), dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(dtype)}
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got float16"):
        fm.Sequential(*parts(), dtype=np.float16)


@pytest.mark.parametrize("call", ["__call__", "predict"])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(2), ValueError, r"expects \(N, 2\); got \(2,\): add a batch axis"),
        (np.zeros((5, 3)), ValueError, r"expects \(N, 2\); got \(5, 3\)"),
        (np.zeros((0, 2)), ValueError, "at least one row"),
        (np.zeros((1, 2, 1)), ValueError, "flatten all axes but the first"),
        ([["a", "b"]], TypeError, "must hold real numbers; got text"),
        ([[1j, 2]], TypeError, "complex numbers"),
        ([[None, 2]], TypeError, "Python objects"),
    ],
)
def test_sequential_rejects_bad_input(call, x, error, message):
    model = make_net([2, 5, 3])
    with pytest.raises(error, match=message):
        getattr(model, call)(x)


def test_sequential_rejects_backward_before_forward():
    with pytest.raises(RuntimeError, match=r"Sequential\.backward was called before forward"):
        make_net([2, 5, 3]).backward(np.zeros((1, 3)))


def test_predict_of_nan_is_nan(dtype):
    model = make_net([2, 5, 3], dtype=dtype)
    out = model.predict([[np.nan, 0], [1, 1]])
    assert np.isnan(out[0]).all()
    assert_same_bits(out[1:], model.predict([[1, 1]]))


def test_repr_shows_the_network_and_counts():
    model = fm.Sequential(
        fm.Linear(2, 25), fm.ReLU(), fm.Sequential(fm.Linear(25, 25, bias=False), fm.Tanh()), fm.Linear(25, 2)
    )
    text = repr(model)
    assert text.startswith("Sequential(\n  (0): Linear(2, 25) ")
    assert " 75 parameters" in text
    assert "(0): Linear(25, 25, bias=False)" in text
    assert "(1): Tanh()" in text
    assert text.endswith("752 parameters, float32")
    assert "\n)  752" in text


@pytest.mark.parametrize("threads", [None, 1, 2, 3])
def test_predict_does_not_depend_on_threads(dtype, threads):
    model = fm.Sequential(fm.Linear(3, 17, rng=0), fm.Tanh(), fm.Linear(17, 5, rng=1), dtype=dtype)
    x = np.random.default_rng(0).standard_normal((331, 3))
    expected = np.concatenate([model.predict(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(model.predict(x, threads=threads), expected)


def test_predict_writes_to_out(dtype):
    model = fm.Sequential(fm.Linear(3, 5, rng=0), dtype=dtype)
    x = np.random.default_rng(0).standard_normal((9, 3))
    out = np.full((9, 5), np.nan, dtype)
    assert model.predict(x, out=out) is out
    np.testing.assert_array_equal(out, model.predict(x))


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty((9, 4), np.float32), ValueError, r"out must have the shape \(9, 5\).*got \(9, 4\)"),
        (np.empty((9, 5), np.float64), TypeError, "out must be an array of float32; got float64"),
        (np.empty((5, 9), np.float32).T, ValueError, "not C-contiguous"),
        ([[0.0]], TypeError, "got list"),
    ],
)
def test_predict_rejects_out_that_does_not_fit(out, error, match):
    model = fm.Sequential(fm.Linear(3, 5, rng=0))
    with pytest.raises(error, match=match):
        model.predict(np.ones((9, 3)), out=out)


def test_predict_rejects_bad_threads():
    with pytest.raises(ValueError, match="threads must be at least 1; got 0"):
        make_net([2, 3]).predict(np.zeros((1, 2)), threads=0)


def test_predict_rejects_a_read_only_out():
    out = np.zeros((5, 3), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out"):
        make_net([2, 3]).predict(np.ones((5, 2)), out=out)
    assert not out.any()


def test_sequential_rejects_parameter_of_two_modules():
    first, second = fm.Linear(2, 2, rng=0), fm.Linear(2, 2, rng=1)
    second.weight = first.weight
    with pytest.raises(ValueError, match="belongs to two modules"):
        fm.Sequential(first, second)


def test_predict_starts_no_more_threads_than_there_are_tiles(monkeypatch):
    from fastmlp.modules import sequential

    teams = []
    monkeypatch.setattr(sequential, "run_together", lambda run, threads, **_: teams.append(threads) or run(0))
    model = fm.Sequential(fm.Linear(2, 3, rng=0))
    for rows in (1, 2 * sequential.TILE_ROWS, 2 * sequential.TILE_ROWS + 1):
        X = np.ones((rows, 2), np.float32)
        np.testing.assert_array_equal(model.predict(X, threads=1000), model.predict(X))
    assert teams == [1, 2, 3]
