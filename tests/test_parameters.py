from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_padding_is_zero, assert_same_bits, make_net, normal

import fastmlp as fm
from fastmlp.kernels.layout import row_stride
from fastmlp.parameters import Parameter, gather


def test_parameter_has_views_of_its_shape(dtype):
    for shape in [(1,), (16,), (17,), (1, 1), (3, 7), (17, 5), (300, 2)]:
        check_views(shape, dtype)


def check_views(shape, dtype):
    parameter = Parameter(shape, dtype)
    assert parameter.data.shape == parameter.grad.shape == parameter.shape == shape
    assert parameter.data.dtype == parameter.dtype == dtype
    assert not parameter.data.any()
    assert np.shares_memory(parameter.data, parameter.storage.data)
    assert np.shares_memory(parameter.grad, parameter.storage.grad)
    assert not np.shares_memory(parameter.data, parameter.grad)


def test_parameter_is_not_taken_for_its_numbers():
    layer, model = fm.Linear(5, 17), make_net([5, 17])
    for use in (np.asarray, np.linalg.norm, lambda p: np.ones((2, 17)) @ p, lambda p: np.array([p, p]), model, model.predict):
        with pytest.raises(TypeError, match=r"a Parameter is no array: its numbers are parameter\.data"):
            use(layer.weight)
    with pytest.raises(TypeError, match=r"a Parameter is no array: its numbers are 0\.weight\.data"):
        layer.weight.data = model[0].weight


@pytest.mark.parametrize("shape", [(17, 5), (17,)])
def test_parameter_lies_padded_with_inputs_first(shape, dtype, rng):
    parameter, values = Parameter(shape, dtype), normal(rng, shape, dtype)
    parameter.data = values
    assert_same_bits(parameter.data, values)
    stride = row_stride(17, dtype)
    flat = parameter.storage.data.reshape(-1, stride)
    assert_same_bits(flat[:, :17], np.atleast_2d(values.T))
    assert not flat[:, 17:].any()


def test_parameter_assignment_copies_into_the_view(dtype):
    parameter = Parameter((2, 3), dtype)
    view, gradient = parameter.data, parameter.grad
    parameter.data = [[1, 2, 3], [4, 5, 6]]
    parameter.data *= 2
    parameter.grad = np.ones((2, 3))
    parameter.grad[0] += 1
    assert view is parameter.data
    assert_same_bits(view, np.array([[2, 4, 6], [8, 10, 12]], dtype))
    assert_same_bits(gradient, np.array([[2, 2, 2], [1, 1, 1]], dtype))


def test_parameter_rejects_another_shape_or_kind(dtype):
    parameter = Parameter((2, 3), dtype)
    with pytest.raises(ValueError, match=r"data of a Parameter must have the shape \(2, 3\); got \(3, 2\)"):
        parameter.data = np.ones((3, 2))
    with pytest.raises(TypeError, match="must hold real numbers"):
        parameter.grad = np.full((2, 3), "1")
    assert not parameter.data.any()


def test_parameter_rejects_bad_shapes():
    with pytest.raises(ValueError, match="one axis or two"):
        Parameter((1, 2, 3))
    with pytest.raises(ValueError, match="extent of a Parameter's shape must be at least 1; got 0"):
        Parameter((0, 2))
    with pytest.raises(TypeError, match="whole number"):
        Parameter((1.5,))
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        Parameter((1,), int)


def test_gather_moves_values_and_gradients_in_order(dtype, rng):
    parameters = [Parameter(shape, np.float64) for shape in ((3, 2), (3,), (17, 3))]
    values = [normal(rng, parameter.shape, dtype) for parameter in parameters]
    for parameter, value in zip(parameters, values):
        parameter.data, parameter.grad = value, -value
    storage = gather(parameters, dtype)
    end = 0
    for parameter, value in zip(parameters, values):
        assert parameter.storage is storage
        assert parameter.offset == end
        assert parameter.offset * dtype.itemsize % 64 == 0
        assert_same_bits(parameter.data, value)
        assert_same_bits(parameter.grad, -value)
        end += parameter.span
        assert parameter.size == value.size
    assert storage.data.size == storage.grad.size == end
    assert storage.data.ctypes.data % 64 == storage.grad.ctypes.data % 64 == 0


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_copies_share_storage_of_their_own(duplicate, dtype):
    model = make_net([3, 17, 2], dtype=dtype)
    for _ in range(5):  # an allocator gives an aligned block now and then
        other = duplicate(model)
        assert_same_bits(other.storage.data, model.storage.data)
        assert other.storage.data.ctypes.data % 64 == other.storage.grad.ctypes.data % 64 == 0
        assert not np.shares_memory(other.storage.data, model.storage.data)
        for parameter in other.parameters():
            assert parameter.storage is other.storage
            assert np.shares_memory(parameter.data, other.storage.data)
        assert [p.name for p in other.parameters()] == [p.name for p in model.parameters()]
    before = model.storage.data.copy()
    X, y = np.ones((5, 3)), [0, 1, 0, 1, 0]
    fm.fit(other, fm.CrossEntropyLoss(), fm.SGD(other.parameters(), lr=0.1), X, y, epochs=2)
    assert_same_bits(model.storage.data, before)
    assert not np.array_equal(other.storage.data, before)
    assert_same_bits(other.predict(X), other(X))
    assert_padding_is_zero(other)


def test_copied_optimizer_goes_with_its_copied_model(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    X, y = np.ones((5, 3)), [0, 1, 0, 1, 0]
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, rng=0)
    other, second = copy.deepcopy((model, optimizer))
    for net, rule in ((model, optimizer), (other, second)):
        criterion = fm.CrossEntropyLoss()
        rule.zero_grad()
        criterion(net(X), y)
        net.backward(criterion.backward())
        rule.step()
    assert_same_bits(model.storage.data, other.storage.data)


def test_parameter_repr_says_what_it_is():
    parameter = make_net([3, 5, 2])[0].weight
    assert repr(parameter) == "Parameter('0.weight', shape=(5, 3), dtype=float32)"


def test_parameter_rejects_shape_that_is_a_number():
    with pytest.raises(TypeError, match=r"shape must be a tuple.*got 3"):
        fm.Parameter(3)


def test_parameter_says_how_to_get_numbers_in():
    """PyTorch's takes the numbers themselves."""
    with pytest.raises(TypeError, match=r"got an ndarray of shape \(2, 3\).*p = Parameter\(\(2, 3\)\); p.data = \.\.\."):
        fm.Parameter(np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"got Parameter\('', shape=\(4,\), dtype=float32\); for numbers.*Parameter\(\(4,\)\)"):
        fm.Parameter(fm.Parameter((4,)))
    with pytest.raises(TypeError) as caught:
        fm.Parameter(np.ones((9, 9, 9)))
    assert "\n" not in str(caught.value)
    assert "for numbers" not in str(caught.value)


def test_flat_vector_is_assigned_by_copying(dtype, rng):
    """An evolution strategy's way: ``model.storage.data = candidate``. The vector itself stays."""
    model, other = make_net([3, 17, 2], dtype=dtype), make_net([3, 17, 2], dtype=dtype, rng=1)
    x, vector = normal(rng, (5, 3), dtype), model.storage.data
    model(x), model.predict(x)
    model.storage.data = other.storage.data.astype(np.float64)
    model.storage.grad = np.ones(vector.shape)
    assert model.storage.data is vector
    assert_same_bits(model.predict(x), other.predict(x))
    assert_same_bits(model(x), other(x))
    assert model[0].weight.grad.all()
    for wrong, error in ((np.zeros(3), ValueError), (vector[None], ValueError), (None, TypeError), ("a", TypeError)):
        with pytest.raises(error, match="data of a Storage must"):
            model.storage.data = wrong
        with pytest.raises(error, match="grad of a Storage must"):
            model.storage.grad = wrong
    with pytest.raises(AttributeError):
        model.storage = other.storage
    assert_same_bits(model.predict(x), other.predict(x))


def test_shape_and_dtype_of_a_parameter_are_fixed(dtype):
    parameter = make_net([3, 5, 2], dtype=dtype)[0].weight
    for name, value in (("shape", (1, 2)), ("dtype", np.float64), ("size", 3)):
        with pytest.raises(AttributeError):
            setattr(parameter, name, value)
    assert (parameter.shape, parameter.size, parameter.dtype) == ((5, 3), 15, dtype)


def test_parameter_rejects_masked_values():
    parameter = Parameter((2, 3))
    with pytest.raises(ValueError, match="data of a Parameter has masked entries, the first in row 0, column 1"):
        parameter.data = np.ma.masked_array(np.ones((2, 3)), [[0, 1, 0], [0, 0, 0]])
    assert not parameter.data.any()


def test_gradient_of_none_is_told_about_zero_grad():
    layer = fm.Linear(2, 2)
    layer.weight.grad += 1
    with pytest.raises(TypeError, match=r"zero_grad\(\) sets it to zero"):
        layer.weight.grad = None
    assert layer.weight.grad.all()
