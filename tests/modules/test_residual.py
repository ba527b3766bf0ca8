from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import DIFFERENCE_BOUND, assert_same_bits, central_differences, eager_train, flat, make_data, normal, small

import fastmlp as fm


class Halve(fm.Module):
    """A module in Python."""

    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return dy / 2


#: Networks, each with a residual somewhere: alone, first, last, nested, around an activation, around nothing but a dropout.
NETWORKS = {
    "alone": lambda: [fm.Residual(fm.Linear(3, 5), fm.ReLU(), fm.Linear(5, 3))],
    "first": lambda: [fm.Residual(fm.Tanh(), fm.Linear(3, 3)), fm.ReLU(), fm.Linear(3, 2)],
    "last": lambda: [fm.Linear(3, 17), fm.ReLU(), fm.Residual(fm.Linear(17, 17, bias=False), fm.GELU())],
    "nested": lambda: [fm.Linear(3, 4), fm.Residual(fm.ReLU(), fm.Residual(fm.Residual(fm.Sigmoid())), fm.Linear(4, 4))],
    "nothing trained inside": lambda: [fm.Linear(3, 4), fm.ReLU(), fm.Residual(fm.Tanh()), fm.Linear(4, 2)],
    "identity": lambda: [fm.Linear(3, 4), fm.Residual(fm.Identity()), fm.Tanh(), fm.Linear(4, 2)],
    "dropout": lambda: [fm.Linear(3, 4), fm.Residual(fm.Dropout(0.5, rng=1)), fm.Tanh(), fm.Linear(4, 2)],
    "norms": lambda: [fm.Linear(3, 4), fm.Residual(fm.BatchNorm1d(4), fm.ReLU(), fm.Linear(4, 4)), fm.Linear(4, 2)],
    "row within": lambda: [fm.Sequential(fm.Linear(3, 4), fm.Residual(fm.Sequential(fm.Linear(4, 4), fm.Tanh())))],
    "in Python": lambda: [fm.Linear(3, 4), fm.Residual(fm.Linear(4, 4), Halve()), fm.Tanh(), fm.Linear(4, 2)],
    "alone in Python": lambda: [fm.Residual(Halve(), fm.Linear(3, 3))],
}


def made(name, dtype=np.float64):
    model = fm.Sequential(*NETWORKS[name](), dtype=dtype)
    model.reset_parameters(rng=0)
    return model


def again(model):
    for module in model.modules():
        if module.draws:
            module.calls = 0
    return model


def by_hand(module, x):
    """The output, by the modules one by one."""
    if isinstance(module, fm.Residual):
        y = x
        for part in module:
            y = by_hand(part, y)
        return x + y
    if isinstance(module, fm.Sequential):
        for part in module:
            x = by_hand(part, x)
        return x
    return module(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_residual_adds_its_input(name, dtype, rng):
    model = made(name, dtype)
    x = normal(rng, (small(67, 9), 3), dtype)
    twin = again(copy.deepcopy(model))
    y = again(model)(x)
    assert_same_bits(y, by_hand(twin, x))
    model.eval()
    y = by_hand(copy.deepcopy(model), x)
    assert_same_bits(model(x), y)
    for threads in (1, 2):
        assert_same_bits(model.predict(x, threads=threads), y)
    assert_same_bits(model.predict(x[:1]), y[:1])


@pytest.mark.parametrize("name", NETWORKS)
def test_residual_matches_finite_difference(name, rng):
    model = made(name)
    x = normal(rng, (5, 3), np.float64)
    dy = normal(rng, again(model)(x).shape, np.float64)

    def loss():
        return float((again(model)(x) * dy).sum())

    loss()
    model.zero_grad()
    dx = model.backward(dy)
    for array, gradient in [(x, dx), *((p.data, p.grad) for p in model.parameters())]:
        difference = central_differences(loss, array)
        assert np.abs(gradient - difference).max() <= 4 * DIFFERENCE_BOUND * (1 + np.abs(difference).max())


@pytest.mark.filterwarnings("ignore:.* runs in Python")
@pytest.mark.parametrize("name", NETWORKS)
def test_residual_is_trained_by_hand_as_in_fit(name, dtype):
    X, _ = make_data(21, 3, 2, dtype=dtype)
    y = np.tanh(X @ np.ones((3, made(name).predict(X).shape[1]), dtype))
    left = []
    for threads in (0, 1, 2):
        model = made(name, dtype)
        optimizer = fm.Adam(model.parameters(), lr=0.01)
        options = {"epochs": 2, "batch_size": 8, "rng": 3}
        if threads:
            fm.fit(model, fm.MSELoss(), optimizer, X, y, threads=threads, **options)
        else:
            eager_train(model, fm.MSELoss(), optimizer, X, y, **options)
        left.append(flat(model))
    assert_same_bits(left[0], left[1])
    assert_same_bits(left[0], left[2])


def test_residual_survives_state_dict_pickle_and_copy(dtype, rng):
    model, x = made("norms", dtype), normal(rng, (5, 3), dtype)
    assert "1.0.running_mean" in model.state_dict()
    loaded = fm.Sequential(*NETWORKS["norms"](), dtype=dtype)
    loaded.load_state_dict(model.state_dict())
    for twin in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(twin(x), copy.deepcopy(model)(x))
        assert repr(twin) == repr(model)


def test_residual_freezes_what_is_in_it(dtype):
    X, y = make_data(21, 3, 2, dtype=dtype)
    model = made("norms", dtype)
    model[1].requires_grad_(False)
    model[1][2].bias.requires_grad = True
    before = model.state_dict()
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1, batch_size=7)
    changed = {name for name, array in model.state_dict().items() if (array != before[name]).any()}
    trained = {"0.weight", "0.bias", "2.weight", "2.bias", "1.2.bias"}
    assert changed == trained | {"1.0.running_mean", "1.0.running_var", "1.0.num_batches_tracked"}


def test_residual_that_changes_the_width_is_refused():
    with pytest.raises(ValueError, match="must leave the width as it is; they make 4 of 3 features"):
        fm.Residual(fm.Linear(3, 4))
    residual = fm.Residual(fm.Linear(3, 3))
    with pytest.raises(ValueError, match="the widths don't chain"):
        fm.Sequential(fm.Linear(2, 4), residual)
    with pytest.raises(ValueError, match="must leave the width as it is"):
        residual.more = fm.Linear(3, 2)
    assert len(residual) == 1
    assert residual(np.ones((2, 3))).shape == (2, 3)
