from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net, normal

import fastmlp as fm


class MyTanh(fm.Module):
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class MyLinear(fm.Module):
    def __init__(self, width_in, width_out):
        self.weight, self.bias = fm.Parameter((width_out, width_in)), fm.Parameter((width_out,))

    def forward(self, x):
        self.x = x
        return x @ self.weight.data.T + self.bias.data

    def backward(self, dy):
        self.weight.grad += dy.T @ self.x
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.data


class Residual(fm.Module):
    """Built-in modules inside one that a user wrote."""

    def __init__(self, width):
        self.inside = fm.Linear(width, width, rng=3)
        self.activation = fm.Tanh()

    def forward(self, x):
        return x + self.activation(self.inside(x))

    def backward(self, dy):
        return dy + self.inside.backward(self.activation.backward(dy))


def written(dtype, rng=0):
    """The twin of make_net([3, 9, 4]) in plain Python."""
    twin = make_net([3, 9, 4], dtype=dtype, rng=rng)
    model = fm.Sequential(MyLinear(3, 9), MyTanh(), MyLinear(9, 4), dtype=dtype)
    model.load_state_dict(twin.state_dict())
    return model, twin


def test_written_module_matches_the_built_in(dtype, rng):
    model, twin = written(dtype)
    x, dy = normal(rng, (7, 3), dtype), normal(rng, (7, 4), dtype)
    bound = (3 + 9 + 7) * eps(dtype) * 8
    assert_within(model(x), twin(x), bound)
    assert_within(model.predict(x), twin.predict(x), bound)
    assert_within(model.backward(dy), twin.backward(dy), bound)
    assert_within(model.storage.grad, twin.storage.grad, bound)


def test_written_module_works_in_fit(dtype):
    model, twin = written(dtype)
    X, y = make_data(11, 3, 4, dtype=dtype)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0}
    with pytest.warns(UserWarning, match="runs in Python"):
        history = fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1, momentum=0.9), X, y, **keywords)
    built_in = fm.fit(twin, fm.CrossEntropyLoss(), fm.SGD(twin.parameters(), lr=0.1, momentum=0.9), X, y, **keywords)
    bound = 9 * (3 + 9 + 4) * eps(dtype) * 4
    assert_within(flat(model), flat(twin), bound)
    assert_within(history.loss, built_in.loss, bound)
    by_hand, _ = written(dtype)
    eager_train(by_hand, fm.CrossEntropyLoss(), fm.SGD(by_hand.parameters(), lr=0.1, momentum=0.9), X, y, **keywords)
    assert_same_bits(flat(model), flat(by_hand))


def test_written_module_in_the_middle_of_built_in_ones(dtype, rng):
    model = fm.Sequential(fm.Linear(3, 9), MyTanh(), fm.Linear(9, 4), dtype=dtype)
    twin = make_net([3, 9, 4], dtype=dtype)
    model.load_state_dict(twin.state_dict())
    x, dy = normal(rng, (7, 3), dtype), normal(rng, (7, 4), dtype)
    bound = (3 + 9 + 7) * eps(dtype) * 8
    assert_within(model(x), twin(x), bound)
    assert_within(model.backward(dy), twin.backward(dy), bound)
    assert_within(model.storage.grad, twin.storage.grad, bound)


def test_module_of_modules_is_found_through(dtype, rng):
    model = fm.Sequential(fm.Linear(3, 5), Residual(5), fm.Linear(5, 2), dtype=dtype)
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.weight", "0.bias", "1.inside.weight", "1.inside.bias", "2.weight", "2.bias"]
    assert all(np.shares_memory(parameter.data, model.storage.data) for parameter in model.parameters())
    assert len(list(model.modules())) == 6
    model.eval()
    assert not model[1].activation.training
    model.train()
    assert model[1].inside.training
    x = normal(rng, (6, 3), dtype)
    before = model.predict(x)
    with pytest.warns(UserWarning, match="runs in Python"):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, np.zeros((6, 2)), epochs=3)
    assert (model.predict(x) ** 2).sum() < (before**2).sum()
    assert_same_bits(model.predict(x), model(x))


class Doubled(fm.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, dy):
        return super().backward(2 * dy)


def test_subclass_of_a_built_in_module_brings_its_own_arithmetic(dtype, rng):
    """Inside a network too, and in `fit`."""
    layer = Doubled(3, 2, dtype=dtype, rng=0)
    plain = fm.Linear(3, 2, dtype=dtype, rng=0)
    x, dy = normal(rng, (5, 3), dtype), normal(rng, (5, 2), dtype)
    alone, back = layer(x), layer.backward(dy)
    assert_same_bits(alone, 2 * plain(x))
    model = fm.Sequential(layer, fm.Identity())
    model.zero_grad()
    assert_same_bits(model(x), alone)
    assert_same_bits(model.backward(dy), back)
    assert_same_bits(model.predict(x), alone)
    with pytest.warns(UserWarning, match="runs in Python"):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, dy, epochs=1)


class Clipped(fm.ReLU):
    def backward(self, dy):
        return np.clip(super().backward(dy), -1, 1)


def test_subclass_may_bring_one_direction_only(dtype):
    model = fm.Sequential(Clipped(), dtype=dtype)
    x = np.array([[1, -1, 2]], dtype)
    assert_same_bits(model(x), np.array([[1, 0, 2]], dtype))
    assert_same_bits(model.backward([[5, 5, -5]]), np.array([[1, 0, -1]], dtype))


class Wrong(fm.Module):
    def forward(self, x):
        return x.sum()

    def backward(self, dy):
        return dy[0]


class WrongBack(Wrong):
    def forward(self, x):
        return x


def test_written_module_of_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"Wrong.forward must return \(4, O\); got \(\)"):
        fm.Sequential(Wrong())(np.ones((4, 2)))
    model = fm.Sequential(WrongBack())
    model(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"WrongBack.backward must return \(4, I\); got \(2,\)"):
        model.backward(np.ones((4, 2)))


def test_module_without_arithmetic_says_so():
    class Empty(fm.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(x\)"):
        Empty()(np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match=r"Empty has no backward\(dy\)"):
        Empty().backward(np.ones((1, 1)))


def test_train_and_eval_reach_all_parts():
    model = fm.Sequential(fm.Linear(2, 2), fm.Sequential(fm.ReLU()))
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())


def test_state_dict_is_a_copy_in_pytorchs_shapes(dtype):
    model = make_net([3, 17, 2], dtype=dtype)
    state = model.state_dict()
    assert {name: array.shape for name, array in state.items()} == {
        "0.weight": (17, 3),
        "0.bias": (17,),
        "2.weight": (2, 17),
        "2.bias": (2,),
    }
    before = flat(model)
    for array in state.values():
        assert array.flags.c_contiguous
        assert array.dtype == dtype
        array[:] = 0
    assert_same_bits(flat(model), before)


def test_load_state_dict_round_trips(dtype):
    model, other = make_net([3, 17, 2], dtype=dtype), make_net([3, 17, 2], dtype=dtype, rng=1)
    state = model.state_dict()
    other.load_state_dict(state)
    assert_same_bits(flat(other), flat(model))
    for array in state.values():
        array[:] = 0
    assert_same_bits(flat(other), flat(model))


def test_load_state_dict_converts_the_dtype():
    model, other = make_net([3, 5, 2], dtype=np.float32), make_net([3, 5, 2], dtype=np.float64)
    other.load_state_dict(model.state_dict())
    assert_same_bits(other[0].weight.data, model[0].weight.data.astype(np.float64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("2.bias"), KeyError, r"missing \['2.bias'\], not known \[\]"),
        (lambda s: s.update(more=np.zeros(2)), KeyError, r"missing \[\], not known \['more'\]"),
        (lambda s: s.update({"2.bias": np.zeros(3)}), ValueError, r"2.bias must have the shape \(2,\); got \(3,\)"),
        (lambda s: s.update({"2.bias": ["a", "b"]}), TypeError, "2.bias must hold real numbers"),
    ],
)
def test_load_state_dict_rejects_what_does_not_fit(change, error, message):
    model = make_net([3, 5, 2])
    before, state = flat(model), {name: 2 * array for name, array in model.state_dict().items()}
    change(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    assert_same_bits(flat(model), before)
