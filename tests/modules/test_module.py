from __future__ import annotations

import copy
import pickle
from collections import deque

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net, normal, small

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


def test_module_without_arithmetic_says_so():
    class Empty(fm.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(x\)"):
        Empty()(np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match=r"Empty has no backward\(dy\): write one, .* or make it a Sequential"):
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


# Parameters and modules as attributes: found wherever they are, and checked when they are assigned.


class Scale(fm.Module):
    """A parameter under a private name."""

    def __init__(self, width):
        self._scale = fm.Parameter((width,))
        self._scale.data = np.arange(1, width + 1)

    def forward(self, x):
        self.x = x
        return x * self._scale.data

    def backward(self, dy):
        self._scale.grad += (dy * self.x).sum(axis=0)
        return dy * self._scale.data


class Stack(fm.Module):
    """Modules in lists, tuples and dictionaries, of several levels."""

    def __init__(self):
        self.layers = [fm.Linear(3, 4, rng=0), (fm.Linear(4, 4, rng=1), {"last": fm.Linear(4, 3, rng=2)})]
        self._by_name = {"scale": Scale(3)}
        self.gains = [fm.Parameter((2,)), "no parameter", None]

    def row(self):
        return [self.layers[0], self.layers[1][0], self.layers[1][1]["last"], self._by_name["scale"]]

    def forward(self, x):
        for layer in self.row():
            x = layer(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.row()):
            dy = layer.backward(dy)
        return dy


def test_parameters_are_found_wherever_they_are(dtype):
    names = ["gains.0", "layers.0.weight", "layers.0.bias", "layers.1.0.weight", "layers.1.0.bias"]
    names += ["layers.1.1.last.weight", "layers.1.1.last.bias", "_by_name.scale._scale"]
    assert [name for name, _ in Stack().named_parameters()] == names
    model = fm.Sequential(Stack(), fm.Linear(3, 2, rng=3), dtype=dtype)
    assert [name for name, _ in model.named_parameters()] == [f"0.{name}" for name in names] + ["1.weight", "1.bias"]
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert len(list(model.modules())) == 7
    x, y = make_data(12, 3, 2, "mse", dtype=dtype)
    before = model.state_dict()
    with pytest.warns(UserWarning, match="Stack runs in Python"):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, y, epochs=2, batch_size=4, rng=0)
    for name, values in model.state_dict().items():
        assert np.array_equal(values, before[name]) == (name == "0.gains.0"), name
    other = fm.Sequential(Stack(), fm.Linear(3, 2), dtype=dtype)
    other.load_state_dict(model.state_dict())
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(twin(x), model(x))
        assert_same_bits(twin.predict(x), model(x))
        assert not any(
            np.shares_memory(*pair) for pair in zip([p.data for p in twin.parameters()], [p.data for p in model.parameters()])
        )
    other.eval()
    assert not any(module.training for module in other.modules())


def test_parameter_may_be_replaced(dtype, rng):
    """As in PyTorch, ``layer.weight = Parameter(...)``: of any dtype, before and after the network has run."""
    x = normal(rng, (5, 2), dtype)
    for run_before in (False, True):
        model, given = make_net([2, 3, 1], dtype=dtype), fm.Parameter((1, 3), np.float64)
        given.data = [[1, 2, 3]]
        if run_before:
            model(x), model.predict(x)
        model[2].weight = given
        hidden = np.tanh(x @ model[0].weight.data.T + model[0].bias.data)
        right = hidden @ np.array([[1, 2, 3]]).T + model[2].bias.data
        one_by_one = x
        for module in model:
            one_by_one = module(one_by_one)
        for out in (model(x), model.predict(x), one_by_one):
            assert_within(out, right, 30 * eps(dtype) * 8)
        assert model[2].weight is given
        assert given.dtype == dtype
        assert np.shares_memory(given.data, model.storage.data)
        given.data = [[0, 0, 0]]
        assert_same_bits(model.predict(x), np.broadcast_to(model[2].bias.data, (5, 1)))
        before = given.data.copy()
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1), x, np.ones((5, 1)), epochs=1)
        assert not np.array_equal(given.data, before)
        assert_same_bits(model.state_dict()["2.weight"], given.data)


def test_replaced_parameter_is_no_longer_the_optimizers(dtype):
    """Training one that nobody reads would be in vain."""
    for optimizer_of in (lambda model: fm.SGD(model.parameters(), lr=0.1), lambda model: fm.SGD(model[0].parameters(), lr=0.1)):
        model = make_net([2, 3, 1], dtype=dtype)
        optimizer, x = optimizer_of(model), np.ones((2, 2))
        old = model[0].weight
        model.backward(model(x))
        optimizer.step()
        model[0].weight = fm.Parameter((3, 2))
        for call in (optimizer.step, optimizer.zero_grad):
            with pytest.raises(RuntimeError, match=r"has been replaced in its module .*: make the optimizer anew"):
                call()
        with pytest.raises(ValueError, match="the optimizer must hold parameters of the model, and no others"):
            fm.fit(model, fm.MSELoss(), optimizer, x, np.ones((2, 1)), epochs=1)
        model[0].weight = old  # and back
        model.backward(model(x))
        optimizer.step()


def test_parameter_of_two_modules_is_refused():
    first, second = fm.Linear(3, 3, rng=0), fm.Linear(3, 3, rng=1)
    network = fm.Sequential(fm.Linear(3, 3, rng=0), fm.Linear(3, 3, rng=1))
    for one, other in ((first, second), (network[0], network[1]), (first, network[0])):
        before = other.weight
        with pytest.raises(
            ValueError,
            match=r"already belongs to Linear\(3, 3\); tied parameters are not supported: copy its numbers, .weight",
        ):
            other.weight = one.weight
        assert other.weight is before
    scale = Scale(3)
    with pytest.raises(ValueError, match="tied parameters are not supported"):
        scale.again = scale._scale
    with pytest.raises(ValueError, match="tied parameters are not supported"):
        scale.several = [scale._scale]
    with pytest.raises(ValueError, match="tied parameters are not supported"):
        fm.Linear(2, 2).own = [other := fm.Parameter((1,)), (other,)]
    with pytest.raises(ValueError, match="tied parameters are not supported"):
        second.more = {"first": [first.weight]}
    assert [name for name, _ in scale.named_parameters()] == ["_scale"]
    scale._scale = scale._scale  # itself again
    scale.extra = fm.Parameter((1,))


def test_parameter_that_stands_twice_is_refused_by_optimizers():
    model = make_net([2, 3])
    parameters = list(model.parameters())
    for params in ([*parameters, parameters[0]], [{"params": parameters}, {"params": parameters[:1], "lr": 1}]):
        with pytest.raises(ValueError, match="is listed twice: each parameter takes one step"):
            fm.SGD(params)


def test_parameter_is_not_assigned_numbers():
    for module, name in ((Scale(3), "_scale"), (make_net([3, 3])[0], "weight")):
        for value in (np.ones(3), [1, 2, 3], 2.0):
            with pytest.raises(
                TypeError, match=rf"{name} of .* is a Parameter; assign a Parameter, or its numbers: .{name}.data = "
            ):
                setattr(module, name, value)


def test_attribute_may_be_removed_and_used_again(dtype):
    scale = Scale(3)
    kept = scale._scale
    del scale._scale
    assert list(scale.parameters()) == []
    other = Scale(3)
    other._scale = kept  # it is free
    assert [name for name, _ in other.named_parameters()] == ["_scale"]
    scale._scale = None
    assert list(scale.parameters()) == []
    model = fm.Sequential(Scale(3), fm.Linear(3, 2, rng=0), dtype=dtype)
    model(np.ones((1, 3)))
    model[0]._scale = fm.Parameter((3,))
    assert_same_bits(model.predict(np.ones((1, 3))), model[1].bias.data[None])


def test_module_may_be_replaced_in_another(dtype):
    model = fm.Sequential(Residual(5), fm.Linear(5, 2, rng=1), dtype=dtype)
    x = np.ones((4, 5), dtype)
    model(x)
    model[0].inside = layer = fm.Linear(5, 5, rng=7)
    expected = model[1](x + np.tanh(x @ layer.weight.data.T.astype(dtype) + layer.bias.data.astype(dtype)))
    assert_within(model(x), expected, 40 * eps(dtype))
    assert_same_bits(model.predict(x), model(x))
    assert layer.weight.dtype == dtype
    assert np.shares_memory(layer.weight.data, model.storage.data)
    model[0].activation = fm.Identity()
    assert_within(model.predict(x), model[1](x + layer(x)), 40 * eps(dtype))


def test_a_part_pickles_and_copies_alone():
    """Not the network that it is a part of, nor what was computed with it."""
    model = make_net([500, 400, 3])
    model(np.ones((small(1000, 1), 500)))
    model.predict(np.ones((small(1000, 1), 500)))
    layer = model[2]
    for part in (layer, layer.weight, layer.bias, fm.SGD(layer.parameters(), momentum=0.9), model[1]):
        assert len(pickle.dumps(part)) < 16_000
    whole = len(pickle.dumps(model))
    assert whole < 4 * 2 * (501 * 400 + 401 * 3) + 10_000  # numbers and gradients
    twin = copy.deepcopy(layer)
    assert twin.storage.data.size < 3 * 401 * 16
    assert twin._root() is twin
    assert_same_bits(twin.weight.data, layer.weight.data)
    both = copy.deepcopy([model, model[0]])
    assert both[1] is both[0][0]


class Own(fm.Module):
    def __init__(self):
        self.size, self.shape, self.name, self.state, self.data, self.rows = range(6)
        self.parts, self.device, self.code, self.width, self.route, self.version = range(6)

    def forward(self, x):
        return x + self.size

    def backward(self, dy):
        return dy


def test_names_of_a_module_are_its_own():
    """What the base class keeps has names of its own, and is not found as a part."""

    model = fm.Sequential(fm.Linear(2, 2), Own())
    assert_same_bits(model.predict([[1, 2]]), model([[1, 2]]))
    assert pickle.loads(pickle.dumps(model))[1].version == 5


def test_backward_after_a_change_says_that_it_was_the_change():
    def replace(model):
        model[2].weight = fm.Parameter((3, 5))

    def remove(model):
        model[2].bias = None

    def assign(model):
        model[1].negative_slope = 0.5

    for change in (replace, remove, assign):
        model = fm.Sequential(fm.Linear(2, 5), fm.LeakyReLU(0.1), fm.Linear(5, 3))
        with pytest.raises(RuntimeError, match=r"Sequential.backward was called before forward"):
            model.backward(np.ones((4, 3)))
        model(np.ones((4, 2)))
        change(model)
        with pytest.raises(RuntimeError, match="another part, parameter or option since its last forward: call it again"):
            model.backward(np.ones((4, 3)))
        model(np.ones((4, 2)))
        assert model.backward(np.ones((4, 3))).shape == (4, 2)


def test_shallow_copy_shares_and_takes_nothing(dtype):
    """The parameters, the parts and their places stay those of the module that was copied."""
    model, x = make_net([2, 3, 1], dtype=dtype), np.ones((4, 2))
    right = model(x)
    for _ in range(2):
        twin, layer = copy.copy(model), copy.copy(model[0])
        assert_same_bits(twin(x), right)
        assert_same_bits(layer(x), model[0](x))
        assert layer.weight is model[0].weight
        assert layer.weight.owner is model[0]
        assert model[0]._network() is model
        for part in (twin, layer):
            with pytest.raises(ValueError, match="already has a place in a network"):
                fm.Sequential(part)
        del twin, layer
        assert model[0]._network() is model
        assert_same_bits(model.predict(x), right)
    free = fm.Linear(2, 3)
    shallow = copy.copy(free)
    del free
    assert fm.Sequential(shallow)(x).shape == (4, 3)


@pytest.mark.parametrize("state", [None, [], "0.weight", 3])
def test_state_that_is_no_dictionary_is_refused(state):
    model = make_net([2, 3])
    optimizer = fm.SGD(model.parameters())
    for owner in (model, optimizer, fm.CosineAnnealingLR(optimizer, 3)):
        with pytest.raises(TypeError, match=r"state must be a dictionary, as state_dict\(\) gives it; got"):
            owner.load_state_dict(state)


class Layers(fm.Module):
    """Layers in a list."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


def test_layers_appended_to_a_list_are_trained(dtype):
    """By hand and in `fit`, as if they had been there from the start."""
    x, y = normal(np.random.default_rng(0), (6, 3), dtype), np.zeros((6, 2), dtype)
    results = []
    for late in (False, True):
        layers = [fm.Linear(3, 4, rng=0, dtype=dtype), fm.Linear(4, 2, rng=1, dtype=dtype)]
        stack = Layers(*layers[: 2 - late])
        model = fm.Sequential(stack, fm.Identity(), dtype=dtype)
        model(x)
        if late:
            stack.layers.append(layers[1])
            layers[0].weight = layers[0].weight  # any change: the parts are looked for again
        optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with pytest.warns(UserWarning, match="Layers"):
            fm.fit(model, fm.MSELoss(), optimizer, x, y, epochs=2, batch_size=3, rng=0)
        criterion = fm.MSELoss()
        for _ in range(2):
            criterion(model(x), y)
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
        assert all(parameter.storage is model.storage for parameter in model.parameters())
        results.append(flat(model))
    assert_same_bits(*results)


def test_zero_grad_reaches_whatever_has_come_without_an_assignment():
    """The gradients are looked up once, but where a list or a dictionary may have got another part since."""
    for container in ([], {}, ([],)):
        for late in (False, True):
            stack = Layers(fm.Linear(2, 2))
            if late:  # an empty container, which an assignment does not look into
                stack.zero_grad()
            stack.more = container
            stack.zero_grad()
            layer = fm.Linear(2, 3)
            stack.zero_grad()  # the last change of any network is before this
            place = container[0] if isinstance(container, tuple) else container
            place.append(layer) if isinstance(place, list) else place.update(layer=layer)
            for parameter in stack.parameters():
                parameter.grad = np.ones(parameter.shape)
            stack.zero_grad()
            assert not any(parameter.grad.any() for parameter in stack.parameters())
            assert not layer.weight.grad.any()
            place.clear()


def test_layer_of_another_network_appended_to_a_list_is_refused():
    stack, other = Layers(fm.Linear(2, 2)), make_net([2, 2])
    model = fm.Sequential(stack, fm.Linear(2, 2))
    stack.layers.append(other[0])
    model[1].bias = None
    with pytest.raises(ValueError, match=r"Linear\(2, 2\), layers.1 of Layers\(\), already has a place in a network"):
        model(np.ones((1, 2)))
    assert other(np.ones((1, 2))).shape == (1, 2)


def test_parts_where_nobody_finds_them_are_refused():
    for make in (
        lambda part: {part},
        lambda part: frozenset([part]),
        lambda part: deque([part]),
        lambda part: np.array([part, None]),
    ):
        for part in (fm.Tanh(), fm.Parameter((2,))):
            with pytest.raises(TypeError, match=r"parts are not found in an? .*: make a list of parts|a Parameter is no array"):
                fm.Tanh().parts = make(part)
    module = fm.Tanh()
    module.parts = {1, 2}
    module.numbers, module.things = np.ones(3), np.array([None, "a"], object)


def test_names_that_two_parameters_have_are_refused_where_they_are_saved():
    stack = Layers()
    stack.layers = {1: fm.Linear(2, 2), "1": fm.Linear(2, 2)}
    with pytest.raises(ValueError, match=r"two parameters have the name 'layers\.1\.weight'"):
        stack.state_dict()


def test_network_that_was_not_initialized_says_so():
    class Net(fm.Sequential):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\*modules\) in Net first"):
        Net()(np.ones((1, 2)))
