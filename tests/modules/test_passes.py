"""A network as a whole and its modules one by one: the same numbers, and they may be mixed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_padding_is_zero, assert_same_bits, make_net, normal

import fastmlp as fm
from fastmlp.modules import passes


def nested(dtype):
    inner = fm.Sequential(fm.Identity(), fm.Linear(7, 17), fm.Sigmoid(), fm.Tanh())
    model = fm.Sequential(
        fm.ReLU(), fm.Linear(3, 7, bias=False), fm.Tanh(), inner, fm.Linear(17, 16), fm.Linear(16, 2), dtype=dtype
    )
    model.reset_parameters(rng=0)
    return model


NETWORKS = {
    "plain": lambda dtype: make_net([3, 17, 2], dtype=dtype),
    "nested": nested,
    "no parameters": lambda dtype: fm.Sequential(fm.Tanh(), fm.Sigmoid(), dtype=dtype),
    "nothing": lambda dtype: fm.Sequential(fm.Identity(), dtype=dtype),
}


@pytest.fixture(params=NETWORKS)
def network(request, dtype):
    return NETWORKS[request.param](dtype)


def leaves(model):
    return [leaf for child in model for leaf in (leaves(child) if isinstance(child, fm.Sequential) else [child])]


def one_by_one(model, x, dy=None):
    """Forward, and with `dy` backward, module by module."""
    for leaf in leaves(model):
        x = leaf(x)
    for leaf in reversed(leaves(model)) if dy is not None else ():
        dy = leaf.backward(dy)
    return x, dy


@pytest.mark.parametrize("rows", [1, 9, 65, 130])
def test_a_network_equals_its_modules_one_by_one(network, rows, dtype, rng):
    other, x = copy.deepcopy(network), normal(rng, (rows, 3), dtype)
    out = network(x)
    dy = normal(rng, out.shape, dtype)
    dx = network.backward(dy)
    expected, expected_dx = one_by_one(other, x, dy)
    assert_same_bits(out, expected)
    assert_same_bits(dx, expected_dx)
    assert_same_bits(network.storage.grad, other.storage.grad)
    assert_padding_is_zero(network)


def test_modules_go_back_by_themselves_after_the_network_went_forward(network, dtype, rng):
    other, x = copy.deepcopy(network), normal(rng, (9, 3), dtype)
    one_by_one(network, normal(rng, (5, 3), dtype))  # what modules kept before must not be used
    dy = normal(rng, network(x).shape, dtype)
    other(x)
    expected = other.backward(dy)
    for leaf in reversed(leaves(network)):
        dy = leaf.backward(dy)
    assert_same_bits(dy, expected)
    assert_same_bits(network.storage.grad, other.storage.grad)


def test_a_network_in_a_network_goes_forward_and_back_by_itself(dtype, rng):
    model, x = nested(dtype), normal(rng, (9, 3), dtype)
    inner, other = model[3], copy.deepcopy(nested(dtype)[3])
    h, dh = normal(rng, (4, 7), dtype), normal(rng, (4, 17), dtype)
    out = model(x)
    assert_same_bits(inner(h), other(h))
    assert_same_bits(inner.backward(dh), other.backward(dh))
    model(x)
    other(model[2](model[1](model[0](x))))
    dh = normal(rng, (9, 17), dtype)
    assert_same_bits(inner.backward(dh), other.backward(dh))
    assert_same_bits(model(x), out)


def test_the_way_back_does_not_depend_on_modules_called_in_between(dtype, rng):
    model, other = nested(dtype), nested(dtype)
    x = normal(rng, (9, 3), dtype)
    dy = normal(rng, model(x).shape, dtype)
    other(x)
    one_by_one(model, normal(rng, (4, 3), dtype))
    model.predict(normal(rng, (40, 3), dtype))
    assert_same_bits(model.backward(dy), other.backward(dy))
    assert_same_bits(model.backward(dy), other.backward(dy))  # and may be gone twice


def test_batches_of_all_sizes_take_turns(dtype, rng, monkeypatch):
    made = []
    monkeypatch.setattr(
        passes.Program,
        "lay_out",
        lambda self, rows, *, real=passes.Program.lay_out, **how: made.append(rows) or real(self, rows, **how),
    )
    model = make_net([3, 17, 2], dtype=dtype)
    for rows in (9, 4, 70, 69, 70, 9, 5, 1):
        x, other = normal(rng, (rows, 3), dtype), make_net([3, 17, 2], dtype=dtype)
        model.zero_grad()
        dy = normal(rng, model(x).shape, dtype)
        expected, expected_dx = one_by_one(other, x, dy)
        assert_same_bits(model.backward(dy), expected_dx)
        assert_same_bits(model(x), expected)
        assert_same_bits(model.storage.grad, other.storage.grad)
    assert made == [9, 70, 5]


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


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_have_nothing_to_go_back_from(network, copied, dtype, rng):
    x = normal(rng, (9, 3), dtype)
    out = network(x)
    other = copied(network)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        other.backward(out)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        other[0].backward(x)
    assert_same_bits(other(x), out)


def test_a_module_in_python_makes_the_network_go_module_by_module(dtype, rng):
    class Double(fm.Module):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    model = fm.Sequential(fm.Linear(3, 2, rng=0), Double(), dtype=dtype)
    x = normal(rng, (9, 3), dtype)
    assert_same_bits(model(x), 2 * model[0](x))
    assert model._passes is None
    assert_same_bits(model.backward(x[:, :2]), model[0].backward(2 * x[:, :2]))


def test_a_network_takes_inputs_of_any_layout(dtype, rng):
    model, x = make_net([3, 17, 2], dtype=dtype), normal(rng, (9, 3), dtype)
    out = model(x)
    dy = normal(rng, out.shape, dtype)
    dx = model.backward(dy)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.astype(x.dtype.newbyteorder(">")), x.tolist()):
        assert_same_bits(model(same), out)
    assert_same_bits(model.backward(np.asfortranarray(dy)), dx)
    with pytest.raises(ValueError, match=r"expects the shape of the last output, \(9, 2\); got \(8, 2\)"):
        model.backward(dy[:8])
    with pytest.raises(ValueError, match=r"expects dy of shape \(N, 2\); got \(9, 3\)"):
        model.backward(x)
