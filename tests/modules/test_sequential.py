from __future__ import annotations

import copy
import gc
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
    eager_train,
    eps,
    flat,
    make_data,
    make_net,
    normal,
    small,
)

import fastmlp as fm


@pytest.mark.parametrize(
    ("activation", "loss"), [("tanh", "mse"), ("sigmoid", "cross_entropy"), ("relu", "mse"), ("identity", "cross_entropy")]
)
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


def test_input_of_any_layout_gives_the_same(dtype, rng):
    for name in ("fortran", "strided", "read_only", "big_endian", "float16", "list"):
        check_layout(name, dtype, rng)


def check_layout(name, dtype, rng):
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
    class Around(fm.Module):
        def __init__(self, inside):
            self.inside = inside

    layer = fm.Linear(3, 3)
    network = fm.Sequential(layer)
    message = r"Linear\(3, 3\) already has a place in a network: make another one, or copy.deepcopy"
    for wrong in (layer, Around(layer), network[:]):
        with pytest.raises(ValueError, match=message.replace(r"Linear\(3, 3\)", ".*")):
            fm.Sequential(fm.Identity(), wrong)
    other = fm.Sequential(Around(fm.ReLU()))
    with pytest.raises(ValueError, match=message):
        other[0].inside = layer
    with pytest.raises(ValueError, match=message):
        other[0].several = [layer]
    with pytest.raises(ValueError, match=message):
        other.more = layer
    assert isinstance(other[0].inside, fm.ReLU)
    assert len(other) == 1
    copied = fm.Sequential(copy.deepcopy(layer))
    assert_same_bits(copied.storage.data, network.storage.data)


def test_module_of_a_network_that_is_gone_is_free(dtype):
    """At once: a cell of a notebook runs twice, a function builds networks around one layer."""
    layer = fm.Linear(2, 4, rng=0)
    gc.disable()
    try:
        for _ in range(3):
            model = fm.Sequential(layer, fm.Tanh(), fm.Linear(4, 2, rng=1), dtype=dtype)
            model.backward(model(np.ones((3, 2))))
            optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, np.ones((3, 2)), [0, 1, 0], epochs=1)
            del model, optimizer
    finally:
        gc.enable()
    assert_same_bits(layer(np.ones((1, 2))), fm.Sequential(layer)(np.ones((1, 2))))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        copy.deepcopy(layer).backward(np.ones((1, 4)))


def test_module_of_a_network_that_could_not_be_built_is_free():
    layer = fm.Linear(3, 3)
    for wrong in (fm.Linear(4, 2), layer, fm.ReLU, fm.Linear(3, 3, dtype=np.float64)):
        with pytest.raises((ValueError, TypeError)):
            fm.Sequential(layer, wrong)
    fm.Sequential(layer)


def test_replaced_module_is_free(dtype):
    class Net(fm.Sequential):
        def __init__(self):
            super().__init__(fm.Linear(2, 3, rng=0), dtype=dtype)
            self.head = fm.Linear(3, 1, rng=1)

    net, x = Net(), np.ones((4, 2))
    first, net.head = net.head, fm.Linear(3, 2, rng=2)
    assert net(x).shape == net.predict(x).shape == (4, 2)
    other = fm.Sequential(first)
    assert net.head.weight.dtype == dtype
    assert_same_bits(other(np.ones((1, 3))), first(np.ones((1, 3))))
    second = net.head
    del net.head
    assert net(x).shape == (4, 3)
    assert len(net) == 1
    fm.Sequential(fm.Linear(1, 3), second, dtype=dtype)
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'head'"):
        net.head  # noqa: B018
    with pytest.raises(ValueError, match="at least one module"):
        delattr(net, "0")
    with pytest.raises(ValueError, match=r"the widths don't chain: Linear\(2, 3\) at 0 gives 3 features, Linear\(5, 1\) at 1"):
        net.head = fm.Linear(5, 1)
    assert net(x).shape == (4, 3)


class Head(fm.Sequential):
    """A network with attributes of its own: at the end of the row, as in PyTorch."""

    def __init__(self):
        self.note = "before"
        super().__init__(fm.Linear(2, 3, rng=0), fm.Tanh())
        self._head = fm.Linear(3, 2, rng=1)
        self.act = fm.Sigmoid()


class Scaled(fm.Sequential):
    """A network with arithmetic of its own, on top of its row's."""

    def __init__(self):
        super().__init__(fm.Linear(2, 3, rng=0), fm.Tanh())
        self.scale = fm.Parameter((3,))
        self.scale.data = [1, 2, 3]
        self.heads = [fm.Linear(3, 2, rng=i) for i in range(2)]

    def forward(self, x):
        self.h = super().forward(x)
        return np.hstack([head(self.h * self.scale.data) for head in self.heads])

    def backward(self, dy):
        dh = self.heads[0].backward(dy[:, :2]) + self.heads[1].backward(dy[:, 2:])
        self.scale.grad += (dh * self.h).sum(axis=0)
        return super().backward(dh * self.scale.data)


def test_attributes_of_a_subclass_are_in_the_row(dtype, rng):
    net, plain = Head(), fm.Sequential(fm.Linear(2, 3, rng=0), fm.Tanh(), fm.Linear(3, 2, rng=1), fm.Sigmoid())
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "_head.weight", "_head.bias"]
    assert [parameter.name for parameter in net.parameters()] == [name for name, _ in net.named_parameters()]
    assert len(net) == 4
    assert net[2] is net._head
    assert "(_head): Linear(3, 2)" in repr(net)
    x, y = make_data(11, 2, 2, "mse")
    for model in (net, plain):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, y, epochs=2, batch_size=4, rng=0)
    assert_same_bits(net(x), plain(x))
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert_same_bits(twin.predict(x), plain.predict(x))
        twin._head = fm.Linear(3, 2, rng=5)
        assert not np.array_equal(twin.predict(x), plain.predict(x))
    other = Head()
    other.load_state_dict(net.state_dict())
    assert_same_bits(other.predict(x), net.predict(x))
    with pytest.raises(TypeError, match="act is a module of the row; got a str"):
        net.act = "relu"

    class Early(fm.Sequential):
        def __init__(self):
            self.head = fm.Linear(2, 3)

    with pytest.raises(TypeError, match=r"call super\(\).__init__\(\*modules\) before head is assigned"):
        Early()


def test_arithmetic_of_a_subclass_counts_everywhere(rng):
    """Alone, in `predict`, in `fit`, within another network, saved and copied."""
    net, x = Scaled(), normal(rng, (7, 2), np.float32)
    out = net(x)
    h = np.tanh(x @ net[0].weight.data.T + net[0].bias.data) * [1, 2, 3]
    assert_within(out, np.hstack([h @ head.weight.data.T + head.bias.data for head in net.heads]), 60 * eps(np.float32))
    assert_same_bits(net.predict(x), out)
    assert_same_bits(net.predict(x, out=np.empty((7, 4), np.float32), threads=2), out)
    assert net.training
    names = ["scale", "0.weight", "0.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    dx = net.backward(out)
    outer = fm.Sequential(Scaled(), fm.Identity())
    assert_same_bits(outer(x), out)
    assert_same_bits(outer.predict(x), out)
    assert_same_bits(outer.backward(out), dx)
    assert_same_bits(outer[0].scale.grad, net.scale.grad)
    before, keywords = net.state_dict(), {"epochs": 2, "batch_size": 3, "rng": 0}
    for model in (net, outer):
        with pytest.warns(UserWarning, match="Scaled runs in Python"):
            fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, np.ones((7, 4)), **keywords)
    for (name, values), other in zip(net.state_dict().items(), outer.state_dict().values()):
        assert not np.array_equal(values, before[name]), name
        assert_same_bits(values, other)
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert_same_bits(twin.predict(x), net.predict(x))
    by_hand, keywords = Scaled(), keywords | {"epochs": 2}
    eager_train(by_hand, fm.MSELoss(), fm.SGD(by_hand.parameters(), lr=0.1), x, np.ones((7, 4)), **keywords)
    assert_same_bits(by_hand.predict(x), net.predict(x))


def test_slice_is_a_network_of_the_same_modules(dtype, rng):
    model, x = make_net([3, 17, 5, 2], dtype=dtype), normal(rng, (7, 3), dtype)
    for cut in (slice(0, 3), slice(None), slice(-5, 2), slice(0, 1)):
        part = model[cut]
        assert type(part) is fm.Sequential
        assert list(part) == list(model)[cut]
        assert part.dtype == dtype
        assert part.storage is model.storage
        h = x
        for module in list(model)[cut]:
            h = module(h)
        assert_same_bits(part(x), h)
        assert_same_bits(part.predict(x), h)
        dh = normal(rng, h.shape, dtype)
        part.zero_grad()
        dx, expected = part.backward(dh), dh
        gradient = model.storage.grad.copy()
        part.zero_grad()
        for module in reversed(list(model)[cut]):
            expected = module.backward(expected)
        assert_same_bits(dx, expected)
        assert_same_bits(model.storage.grad, gradient)
        other = pickle.loads(pickle.dumps(part))
        assert_same_bits(other.predict(x), h)
        assert fm.Sequential(copy.deepcopy(part), fm.Identity())
    assert_same_bits(model[2:](model[:2](x)), model(x))
    assert [module.training for module in model[:2].eval()] == [False] * 2
    assert [module.training for module in model] == [False] * 2 + [True] * 3
    model.train()
    assert model[-1] is model[4]
    assert model[np.int64(1)] is model[1]
    for bad, error in ((slice(3, 3), ValueError), (slice(None, None, -1), ValueError), (5, IndexError), ("0", TypeError)):
        with pytest.raises(error):
            model[bad]


def test_slice_trains_its_part_of_the_network(dtype):
    X, y = make_data(11, 3, 5, dtype=dtype)
    for by_hand in (False, True):
        model = make_net([3, 17, 5, 2], dtype=dtype)
        part, twin = model[:3], make_net([3, 17, 5], dtype=dtype)
        twin.load_state_dict(part.state_dict())
        before = model[4].weight.data.copy()
        for network in (part, twin):
            optimizer = fm.SGD(network.parameters(), lr=0.1, momentum=0.9)
            arguments = network, fm.CrossEntropyLoss(), optimizer, X, y
            if by_hand:
                eager_train(*arguments, epochs=2, batch_size=4, rng=0)
            else:
                fm.fit(*arguments, epochs=2, batch_size=4, rng=0)
        for one, other in zip(part.parameters(), twin.parameters()):
            assert_same_bits(one.data, other.data)
        assert_same_bits(model[4].weight.data, before)


def test_slice_outlives_its_network(dtype, rng):
    x = normal(rng, (4, 3), dtype)
    model = make_net([3, 5, 2], dtype=dtype)
    part, right = model[:2], model[:2](x)
    del model
    assert_same_bits(part(x), right)
    assert part.backward(right).shape == (4, 3)
    optimizer = fm.SGD(part.parameters(), lr=0.1)
    optimizer.step()
    assert not np.array_equal(part.predict(x), right)
    assert_padding_is_zero(part)


def test_modules_are_appended_and_replaced(dtype, rng):
    """As if the network had been made of them; the parameters of the others stay as they are."""
    first, head = fm.Linear(2, 5, rng=1), fm.Linear(5, 3, rng=2)
    model = fm.Sequential(first, fm.Tanh(), dtype=dtype).append(head)
    x = rng.normal(size=(4, 2)).astype(dtype)
    assert_same_bits(model.predict(x), fm.Sequential(*copy.deepcopy(list(model))).predict(x))
    assert list(model.children()) == [first, model[1], head]
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    new = fm.Linear(5, 1, rng=3)
    model[-1] = new
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model.predict(x).shape == (4, 1)
    assert new.dtype == dtype
    assert_same_bits(model.predict(x), fm.Sequential(*copy.deepcopy(list(model))).predict(x))
    with pytest.raises(ValueError, match="the optimizer must hold parameters of the model, and no others"):
        fm.fit(model, fm.MSELoss(), optimizer, x, x[:, :1], epochs=1)
    assert fm.Sequential(head)(np.ones((1, 5))).shape == (1, 3), "the one before is free"
    before = list(model)
    for change, error, message in (
        (lambda: model.append(fm.Linear(3, 3)), ValueError, "the widths don't chain"),
        (lambda: model.__setitem__(1, fm.Linear(5, 4)), ValueError, "the widths don't chain"),
        (lambda: model.__setitem__(3, fm.Tanh()), IndexError, "out of range"),
        (lambda: model.append(np.tanh), TypeError, "Sequential is made of modules; got <ufunc 'tanh'>"),
        (lambda: model.__setitem__(1, fm.Tanh), TypeError, "puts one module in one place"),
        (lambda: model.__setitem__(slice(2), fm.Tanh()), TypeError, "puts one module in one place"),
        (lambda: model.append(first), ValueError, "stands twice in the network"),
    ):
        with pytest.raises(error, match=message):
            change()
    assert list(model) == before


@pytest.mark.parametrize(
    ("modules", "error", "message"),
    [
        ((), ValueError, "Sequential needs at least one module"),
        (([fm.Identity()],), TypeError, r"takes its modules one by one: Sequential\(\*modules\)"),
        ((fm.Linear(2, 2), fm.ReLU), TypeError, r"got the class ReLU: make one, ReLU\(\)"),
        ((np.tanh,), TypeError, "Sequential is made of modules; got a numpy.ufunc"),
        (({"a": fm.Tanh()},), TypeError, r"got a dictionary: make it of the values, Sequential\(\*modules.values\(\)\)"),
        ((fm.CrossEntropyLoss(),), TypeError, "Sequential is made of modules; got a fastmlp.*CrossEntropyLoss"),
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
def test_sequential_rejects_bad_input(x, error, message):
    model = make_net([2, 5, 3])
    for call in (model, model.predict):
        with pytest.raises(error, match=message):
            call(x)


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
    class Holder(fm.Module):
        def __init__(self, parameters):
            self.parameters_of_mine = parameters

    shared = [fm.Parameter((1,))]
    first = Holder(shared)
    second = Holder([])
    second.parameters_of_mine.append(shared[0])  # past the border of assignment
    with pytest.raises(ValueError, match="belongs to two modules"):
        fm.Sequential(first, second)


def test_flat_vector_may_be_written_as_a_whole(dtype, rng):
    """Padding included: it has no effect on what is computed, saved or trained."""
    for bias in (True, False):
        model = make_net([3, 17, 2], dtype=dtype, bias=bias)
        twin, clean = (make_net([3, 17, 2], dtype=dtype, bias=bias) for _ in range(2))
        values = normal(rng, model.storage.data.shape, dtype)
        model.storage.data[:] = values
        model.storage.grad[:] = 7
        for network in (twin, clean):
            network.load_state_dict(model.state_dict())
        x, y = make_data(8, 3, 2, dtype=dtype)
        for i in range(2):
            assert_same_bits(model(x), twin(x))
            assert_same_bits(model.predict(x), twin.predict(x))
            assert_same_bits(model.predict(x[:1]), twin.predict(x[:1]))
            model.zero_grad()
            twin.zero_grad()
            dy = normal(rng, (8, 2), dtype)
            assert_same_bits(model.backward(dy), twin.backward(dy))
            for one, other in zip(model.parameters(), twin.parameters()):
                assert_same_bits(one.grad, other.grad)
            for network in (model, twin):
                optimizer = fm.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
                fm.fit(network, fm.CrossEntropyLoss(), optimizer, x, y, epochs=2, batch_size=3, rng=0, threads=i + 1)
                eager_train(network, fm.CrossEntropyLoss(), optimizer, x, y, epochs=1, batch_size=3, rng=0)
            for one, other in zip(model.parameters(), twin.parameters()):
                assert_same_bits(one.data, other.data)
        assert sum(parameter.size for parameter in model.parameters()) == 3 * 17 + 17 * 2 + bias * 19
        assert f"{3 * 17 + 17 * 2 + bias * 19} parameters" in repr(model)


def test_predict_into_memory_it_reads(rng):
    """`out` and `X` of one memory, in all ways that overlap, on one thread and two."""
    model = fm.Sequential(fm.Linear(2, 4, rng=0))
    memory = rng.normal(size=1600).astype(np.float32)
    for rows, at, back in ((300, 0, 0), (300, 1, 0), (300, 0, 1), (1, 0, 0), (7, 5, 3)):
        for threads in (None, 1, 2):
            used = memory.copy()
            X = used[at : at + 2 * rows].reshape(rows, 2)
            out = used[back : back + 4 * rows].reshape(rows, 4)
            right = model.predict(X.copy())
            assert model.predict(X, out=out, threads=threads) is out
            assert_same_bits(out, right)
    square = fm.Sequential(fm.Linear(3, 3, rng=0), fm.Tanh())
    X = rng.normal(size=(100, 3)).astype(np.float32)
    right = square.predict(X)
    assert square.predict(X, out=X) is X
    assert_same_bits(X, right)
    halves = rng.normal(size=(100, 3)).astype(np.float32)
    right = square.predict(halves[::-1])
    square.predict(halves[::-1], out=halves)
    assert_same_bits(halves, right)


def test_predict_does_not_heed_numpys_error_state(dtype):
    model = make_net([2, 3, 1], dtype=dtype)
    X = [[1e-45, 1.0], [1e300, -1e300], [np.inf, 0]]
    with np.errstate(all="ignore"):
        right = model.predict(X)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(model.predict(X), right)
        np.testing.assert_array_equal(model(X), right)


def test_predict_rejects_masked_and_sparse_input():
    model = make_net([2, 3])
    X = np.ma.masked_array([[0.1, 0.2], [0.3, -9999.0]], mask=[[0, 0], [0, 1]])
    for wrong in (X, [X[0], X[1]], list(X)):
        with pytest.raises(ValueError, match="has masked entries"):
            model.predict(wrong)
    assert_same_bits(model.predict(X[:1]), model.predict(X.data[:1]))


def test_predict_follows_the_dtype_of_the_network_it_has_become_a_part_of(rng):
    """A program of the dtype before read numbers of 8 bytes as ones of 4."""
    part, x = fm.Sequential(fm.Tanh()), rng.normal(size=(5, 3))
    for _ in range(2):
        assert part.predict(x).dtype == np.float32
    network = fm.Sequential(fm.Linear(3, 3, dtype=np.float64), part)
    assert network.dtype == np.float64
    assert np.abs(part.predict(x) - np.tanh(x)).max() < 1e-15
