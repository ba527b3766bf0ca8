"""How a network goes forward and back: as its modules one by one do, with modules in Python among them."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from functools import partial

import numpy as np
import pytest
from helpers import assert_padding_is_zero, assert_same_bits, make_net, normal

import fastmlp as fm


class Double(fm.Module):
    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def nested(dtype):
    inner = fm.Sequential(fm.Identity(), fm.Linear(7, 17), fm.Sigmoid(), fm.Tanh())
    model = fm.Sequential(
        fm.ReLU(), fm.Linear(3, 7, bias=False), fm.Tanh(), inner, fm.Linear(17, 16), fm.Linear(16, 2), dtype=dtype
    )
    model.reset_parameters(rng=0)
    return model


def with_python(dtype):
    model = fm.Sequential(
        Double(), fm.Sequential(fm.Linear(3, 17), Double(), fm.Tanh()), Double(), Double(), fm.Linear(17, 2), dtype=dtype
    )
    model.reset_parameters(rng=0)
    return model


NETWORKS = {
    "plain": lambda dtype: make_net([3, 17, 2], dtype=dtype),
    "nested": nested,
    "no parameters": lambda dtype: fm.Sequential(fm.Tanh(), fm.Sigmoid(), dtype=dtype),
    "nothing": lambda dtype: fm.Sequential(fm.Identity(), dtype=dtype),
    "python": with_python,
    "python alone": lambda dtype: fm.Sequential(Double(), fm.Identity(), Double(), dtype=dtype),
}


def for_each_network(test):
    """The test with each of the networks, one after the other."""

    def loop(dtype, rng):
        for build in NETWORKS.values():
            test(build(dtype), dtype, rng)

    return loop


def leaves(model):
    return [leaf for child in model for leaf in (leaves(child) if isinstance(child, fm.Sequential) else [child])]


def one_by_one(model, x, dy=None):
    """Forward, and with `dy` backward, module by module."""
    for leaf in leaves(model):
        x = leaf(x)
    for leaf in reversed(leaves(model)) if dy is not None else ():
        dy = leaf.backward(dy)
    return x, dy


@for_each_network
def test_a_network_equals_its_modules_one_by_one(network, dtype, rng):
    for rows in (1, 9, 65, 130):
        other, x = copy.deepcopy(network), normal(rng, (rows, 3), dtype)
        network.zero_grad()
        other.zero_grad()
        out = network(x)
        dy = normal(rng, out.shape, dtype)
        dx = network.backward(dy)
        expected, expected_dx = one_by_one(other, x, dy)
        assert_same_bits(out, expected)
        assert_same_bits(dx, expected_dx)
        assert_same_bits(network.storage.grad, other.storage.grad)
        assert_same_bits(network.predict(x), out)
        assert_padding_is_zero(network)


@for_each_network
def test_results_are_nobody_elses_memory(network, dtype, rng):
    """Whoever writes into what came back, or into what was passed, changes nothing."""
    x, given = normal(rng, (9, 3), dtype), normal(rng, (9, 3), dtype)
    given[:] = x
    out = network(given)
    dy = normal(rng, out.shape, dtype)
    given_dy = dy.copy()
    dx = network.backward(given_dy)
    assert_same_bits(given, x)
    assert_same_bits(given_dy, dy)
    right, right_dx, gradient = out.copy(), dx.copy(), network.storage.grad.copy()
    for array in (given, given_dy, out, dx):
        array[:] = np.nan
    network.zero_grad()
    assert_same_bits(network.backward(dy), right_dx)
    assert_same_bits(network.storage.grad, gradient)
    predicted = network.predict(x)
    assert_same_bits(predicted, right)
    predicted[:] = np.nan
    assert_same_bits(network.predict(x), right)
    network.eval()
    assert_same_bits(network(x), right)


def test_a_network_in_a_network_goes_forward_and_back_by_itself(dtype, rng):
    model, x = nested(dtype), normal(rng, (9, 3), dtype)
    inner, other = model[3], copy.deepcopy(nested(dtype)[3])
    h, dh = normal(rng, (4, 7), dtype), normal(rng, (4, 17), dtype)
    out = model(x)
    assert_same_bits(inner(h), other(h))
    assert_same_bits(inner.backward(dh), other.backward(dh))
    assert_same_bits(model(x), out)


@for_each_network
def test_the_way_back_does_not_depend_on_what_was_called_in_between(network, dtype, rng):
    """Modules by themselves, `predict`, evaluation mode, a slice: `backward` belongs to the last output in training mode."""
    x, other = normal(rng, (9, 3), dtype), copy.deepcopy(network)
    dy = normal(rng, network(x).shape, dtype)
    other(x)
    expected = other.backward(dy)
    look = normal(rng, (40, 3), dtype)
    one_by_one(network.eval(), look)
    network(look)
    network[:1](look)
    network.train()
    network.predict(look)
    network.predict(look, threads=2)
    assert_same_bits(network.backward(dy), expected)
    assert_same_bits(network.storage.grad, other.storage.grad)
    network.zero_grad()
    assert_same_bits(network.backward(dy), expected)  # and may be gone twice
    assert_same_bits(network.storage.grad, other.storage.grad)


@for_each_network
def test_evaluation_mode_keeps_nothing(network, dtype, rng):
    network.eval()
    out = network(normal(rng, (9, 3), dtype))
    with pytest.raises(RuntimeError, match=r"called before forward in training mode .*call train\(\), and call the module"):
        network.backward(out)
    layer = fm.Linear(3, 2).eval()
    layer(np.ones((1, 3)))
    with pytest.raises(RuntimeError, match=r"Linear.backward was called before forward in training mode"):
        layer.backward(np.ones((1, 2)))
    network.train()
    with pytest.raises(RuntimeError, match=r"backward was called before forward: call"):
        network.backward(out)


def test_a_network_goes_on_after_it_became_a_part_of_another(dtype, rng):
    model, x = make_net([3, 17, 2], dtype=dtype), normal(rng, (9, 3), dtype)
    out = model(x)
    dy = normal(rng, out.shape, dtype)
    dx = model.backward(dy)
    gradient = model[0].weight.grad.copy()
    whole = fm.Sequential(model, fm.Identity())
    whole.zero_grad()
    assert_same_bits(model(x), out)
    assert_same_bits(model.backward(dy), dx)
    assert_same_bits(model[0].weight.grad, gradient)
    assert_same_bits(whole(x), out)


@for_each_network
def test_copies_have_nothing_to_go_back_from(network, dtype, rng):
    x = normal(rng, (9, 3), dtype)
    out = network(x)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), copy.copy(network)):
        with pytest.raises(RuntimeError, match="backward was called before forward"):
            copied.backward(out)
        assert_same_bits(copied(x), out)


def test_the_memory_of_a_network_goes_with_it(dtype):
    """At once, without the collector of cycles: of a big network it is most of what a process has."""
    gc.disable()
    try:
        for build in NETWORKS.values():
            model = build(dtype)
            model.backward(model(np.zeros((9, 3), dtype)))
            model.predict(np.zeros((9, 3), dtype))
            if model._route_now().compiled and any(True for _ in model.parameters()):
                X, y = np.zeros((9, 3), dtype), np.zeros((9, model._width_out(3)), dtype)
                fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters()), X, y, epochs=1, batch_size=9, progress=False)
            part = model[0]
            gone = [weakref.ref(model), weakref.ref(model._route)]
            storage = weakref.ref(model.storage) if model.storage.data.size else lambda: None
            del model
            assert [ref() for ref in gone] == [None, None]
            del part
            assert storage() is None
    finally:
        gc.enable()


def test_a_network_takes_gradients_of_any_layout(dtype, rng):
    model, x = make_net([3, 17, 2], dtype=dtype), normal(rng, (9, 3), dtype)
    dy = normal(rng, model(x).shape, dtype)
    dx = model.backward(dy)
    for same in (np.asfortranarray(dy), np.repeat(dy, 2, axis=0)[::2], dy.astype(dy.dtype.newbyteorder(">")), dy.tolist()):
        assert_same_bits(model.backward(same), dx)
    for wrong in (dy[:8], x, dy[0], 1.0, np.zeros((0, 2))):
        with pytest.raises(ValueError, match=r"Sequential expects the shape of the last output, \(9, 2\); got \("):
            model.backward(wrong)
    for wrong in (None, "dy", 1j * dy):
        with pytest.raises(TypeError, match="dy must "):
            model.backward(wrong)


def test_gradient_of_another_dtype_is_converted(dtype):
    """Of modules without parameters, too: what counts is the dtype of the output."""
    other = np.dtype(np.float64 if dtype == np.float32 else np.float32)
    for module in (fm.ReLU(), fm.Sequential(fm.Identity(), dtype=dtype), fm.Linear(3, 3, dtype=dtype)):
        module(np.ones((2, 3), dtype))
        dx = module.backward(np.ones((2, 3), other))
        assert_same_bits(dx, module.backward(np.ones((2, 3), dtype)))
        assert dx.dtype == dtype


# What modules in Python may do with what they get, and with what they give.


class Overwrites(fm.Module):
    """In place, both ways."""

    def forward(self, x):
        x *= 2
        return x

    def backward(self, dy):
        dy *= 2
        return dy


class KeepsOutput(fm.Module):
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class OneBuffer(fm.Module):
    """Gives the same memory every time."""

    def __init__(self):
        self.out, self.back = np.zeros((5000, 50)), np.zeros((5000, 50))

    def forward(self, x):
        y = self.out[: len(x), : x.shape[1]]
        y[...] = 2 * x
        return y

    def backward(self, dy):
        dx = self.back[: len(dy), : dy.shape[1]]
        dx[...] = 2 * dy
        return dx


class Strange(fm.Module):
    """The right numbers, in strange clothes."""

    def __init__(self, form):
        self.form = form

    def forward(self, x):
        return self.form(2 * x)

    def backward(self, dy):
        return self.form(2 * dy)


class View(np.ndarray):
    pass


def read_only(array):
    array.flags.writeable = False
    return array


FORMS = {
    "fortran": np.asfortranarray,
    "list": lambda a: a.tolist(),
    "float64": lambda a: a.astype(np.float64),
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read only": read_only,
    "subclass": lambda a: a.view(View),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "unmasked": np.ma.masked_array,
}


def test_modules_in_python_may_do_as_they_like_with_arrays(dtype, rng):
    for make in (Overwrites, OneBuffer, *(partial(Strange, form) for form in FORMS.values())):
        check_odd_module(make, dtype, rng)


def check_odd_module(make, dtype, rng):
    plain = fm.Sequential(Double(), fm.Linear(3, 5, rng=0), KeepsOutput(), Double(), fm.Linear(5, 2, rng=1), dtype=dtype)
    odd = fm.Sequential(make(), fm.Linear(3, 5, rng=0), KeepsOutput(), make(), fm.Linear(5, 2, rng=1), dtype=dtype)
    x, dy = normal(rng, (1500, 3), dtype), normal(rng, (1500, 2), dtype)  # of more rows than a prediction takes at a time
    given, given_dy = x.copy(), dy.copy()
    out = odd(given)
    assert_same_bits(out, plain(x))
    assert_same_bits(odd.predict(given), out)
    assert_same_bits(odd.predict(given[:7]), out[:7])
    assert_same_bits(odd.backward(given_dy), plain.backward(dy))
    assert_same_bits(odd.storage.grad, plain.storage.grad)
    assert_same_bits(given, x)
    assert_same_bits(given_dy, dy)


WRONG = {
    "nothing": (lambda _: None, TypeError, "None: a return statement is missing"),
    "two": (lambda a: (a, a), TypeError, "a tuple of 2, not one array"),
    "sum": (lambda a: a.sum(), ValueError, r"got \(\)"),
    "one axis": (lambda a: a[:, 0], ValueError, r"got \(4,\)"),
    "fewer rows": (lambda a: a[1:], ValueError, r"got \(3, "),
    "no columns": (lambda a: a[:, :0], ValueError, r"got \(4, 0\)"),
    "transposed": (lambda a: a.T, ValueError, r"got \(\d, 4\)"),
    "text": (lambda a: a.astype(str), TypeError, "must hold real numbers; got text"),
    "complex": (lambda a: a * 1j, TypeError, "must hold real numbers; got complex numbers"),
    "objects": (lambda a: np.full(a.shape, None), TypeError, "must hold real numbers; got Python objects"),
    "masked": (lambda a: np.ma.masked_array(a, a == a), ValueError, "has masked entries"),
    "generator": (lambda a: (row for row in a), TypeError, "make a list of it first"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_module_in_python_returns_is_checked(name):
    form, error, message = WRONG[name]

    class Wrong(fm.Module):
        def forward(self, x):
            return form(x) if self.ahead else x

        def backward(self, dy):
            return form(dy)

    model = fm.Sequential(fm.Linear(2, 3, rng=0), Wrong(), fm.Linear(3, 2, rng=1))
    x = np.ones((4, 2))
    model[1].ahead = True
    for call in (model, model.predict):
        with pytest.raises(error, match=rf"Wrong\.forward .*{message}"):
            call(x)
    with pytest.warns(UserWarning, match="runs in Python"), pytest.raises(error, match=r"Wrong\.forward"):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=1), x, x, epochs=1)
    model[1].ahead = False
    model(x)
    with pytest.raises(error, match=rf"Wrong\.backward .*{message}"):
        model.backward(x)


@pytest.mark.parametrize("width", [20, 4000])
def test_widths_of_modules_in_python_are_checked(width):
    """Wider or narrower than what comes next takes: foreign memory, if nobody looked."""

    class Reshape(fm.Module):
        def forward(self, x):
            return np.ones((len(x), self.forth))

        def backward(self, dy):
            return np.ones((len(dy), self.back))

    model = fm.Sequential(fm.Linear(2, 300), fm.Tanh(), Reshape(), fm.Linear(300, 2))
    x = np.ones((8, 2))
    model[2].forth, model[2].back = 300, width
    model(x)
    with pytest.raises(
        ValueError, match=rf"Reshape.backward must return \(8, 300\), the shape of the last input; got \(8, {width}\)"
    ):
        model.backward(x)
    model[2].forth = width
    for call in (model, model.predict):
        with pytest.raises(
            ValueError, match=rf"Reshape.* must return \(N, 300\), as Linear\(300, 2\) expects; got \(N, {width}\)"
        ):
            call(x)


def test_a_module_in_python_may_change_the_width(dtype, rng):
    class Half(fm.Module):
        def forward(self, x):
            return x[:, ::2] + x[:, 1::2]

        def backward(self, dy):
            return np.repeat(dy, 2, axis=1)

    model = fm.Sequential(fm.Linear(3, 8, rng=0), Half(), fm.Tanh(), Half(), fm.Linear(2, 1, rng=1), dtype=dtype)
    x = normal(rng, (5, 3), dtype)
    out, _ = one_by_one(model, x)
    assert_same_bits(model(x), out)
    assert_same_bits(model.predict(x), out)
    assert model.backward(np.ones((5, 1))).shape == (5, 3)
    assert_same_bits(model.predict(x, out=np.empty((5, 1), dtype)), out)
