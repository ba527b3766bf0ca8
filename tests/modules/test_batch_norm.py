from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import DIFFERENCE_BOUND, assert_same_bits, central_differences, flat, make_data, normal

import fastmlp as fm


def network(dtype=np.float32, **options):
    model = fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5, **options), fm.ReLU(), fm.Linear(5, 4), dtype=dtype)
    model.reset_parameters(rng=0)
    return model


def test_batch_norm_matches_its_formula_and_moves_its_statistics(dtype, rng):
    layer = fm.BatchNorm1d(3, eps=0.1, momentum=0.3, dtype=dtype)
    layer.weight.data, layer.bias.data = [1, -2, 0.5], [0, 1, 2]
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(3):
        x = 3 * normal(rng, (7, 3), dtype) + 1
        wide = x.astype(np.float64)
        y = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 0.1) * [1, -2, 0.5] + [0, 1, 2]
        np.testing.assert_allclose(layer(x), y, rtol=0, atol=30 * np.finfo(dtype).eps)
        mean, variance = 0.7 * mean + 0.3 * wide.mean(0), 0.7 * variance + 0.3 * wide.var(0, ddof=1)
        np.testing.assert_allclose(layer.running_mean.data, mean, rtol=30 * np.finfo(dtype).eps, atol=1e-6)
        np.testing.assert_allclose(layer.running_var.data, variance, rtol=30 * np.finfo(dtype).eps)
        assert layer.num_batches_tracked == step + 1
    layer.eval()
    y = (wide - mean) / np.sqrt(variance + 0.1) * [1, -2, 0.5] + [0, 1, 2]
    np.testing.assert_allclose(layer(x), y, rtol=0, atol=60 * np.finfo(dtype).eps)
    assert layer.num_batches_tracked == 3


def test_batch_norm_without_a_momentum_has_the_mean_over_all_batches(dtype):
    """In `fit` too, and over several calls of it."""
    X, y = make_data(24, 3, 4, dtype=dtype)
    model = network(dtype, momentum=None)
    optimizer = fm.SGD(model.parameters(), lr=0)
    for epochs in (1, 2):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=epochs, batch_size=8, shuffle=False)
    hidden = model[0](X).astype(np.float64).reshape(3, 8, 5)
    assert model[1].num_batches_tracked == 9
    np.testing.assert_allclose(model[1].running_mean.data, hidden.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(model[1].running_var.data, hidden.var(1, ddof=1).mean(0), rtol=1e-5)


def test_batch_norm_in_evaluation_mode_within_a_network_that_trains(rng):
    """It takes the running statistics, which stay, and its weight and bias get their gradients."""
    model = network(np.float64)
    x, dy = normal(rng, (9, 3), np.float64), normal(rng, (9, 4), np.float64)
    model(x)
    model[1].eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    model.zero_grad()
    model(x)
    dx = model.backward(dy)
    after = model.state_dict()
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert_same_bits(before[name], after[name])

    def loss():
        return float((model(x) * dy).sum())

    for array, gradient in [(x, dx), *((p.data, p.grad) for p in model.parameters())]:
        difference = central_differences(loss, array)
        assert np.abs(gradient - difference).max() <= DIFFERENCE_BOUND * (1 + np.abs(difference).max())


def test_batch_norm_rejects_a_batch_of_one_row():
    X, y = make_data(9, 3, 4)
    model = network()
    before = flat(model)
    with pytest.raises(ValueError, match=r"BatchNorm1d\(5.* needs at least 2 rows in training mode, .* got a batch of 1$"):
        model(X[:1])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    for options, hint in (({"batch_size": 4}, ": drop_last=True leaves out"), ({"batch_size": 1}, "$")):
        with pytest.raises(ValueError, match=f"got a batch of 1{hint}"):
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, **options)
    assert_same_bits(flat(model), before)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, batch_size=4, drop_last=True)
    assert model.predict(X[:1]).shape == (1, 4)  # in evaluation mode, any number of rows
    model.eval()
    assert_same_bits(model(X[:1]), model.predict(X[:1]))


def test_batch_norm_goes_back_with_the_parameters_where_a_step_is_not_finite(dtype):
    """Running statistics and their count are those after the last step that counts."""
    X, y = make_data(24, 3, 4, dtype=dtype)
    X[17] = 1e30 if dtype == np.float32 else 1e200  # its square overflows in the statistics
    runs = []
    for rows in (24, 16):
        model = network(dtype)
        optimizer = fm.SGD(model.parameters(), lr=0.1)
        options = {"epochs": 1, "batch_size": 8, "shuffle": False, "threads": 1}
        if rows == 24:
            with pytest.raises(fm.NonFiniteLossError):
                fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **options)
        else:
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X[:rows], y[:rows], **options)
        runs.append(model)
    assert_same_bits(flat(runs[0]), flat(runs[1]))
    assert runs[0][1].num_batches_tracked == runs[1][1].num_batches_tracked == 2


def test_batch_norm_rejects_bad_arguments():
    for options, error, message in (
        ({"num_features": 0}, ValueError, "num_features must be at least 1"),
        ({"num_features": 2, "eps": 0}, ValueError, "eps must be above 0"),
        ({"num_features": 2, "momentum": 1.5}, ValueError, "momentum must be at least 0 and at most 1"),
        ({"num_features": 2, "momentum": "a"}, TypeError, "momentum must be a number"),
        ({"num_features": 2, "affine": "no"}, TypeError, "affine must be True or False"),
        ({"num_features": 2, "track_running_stats": False}, ValueError, "track_running_stats must be True"),
    ):
        with pytest.raises(error, match=message):
            fm.BatchNorm1d(**options)
    layer = fm.BatchNorm1d(2)
    for name, value in (("eps", -1), ("momentum", 2), ("num_batches_tracked", -1), ("running_mean", fm.Buffer((3,)))):
        with pytest.raises(ValueError, match=name):
            setattr(layer, name, value)


def test_buffers_are_no_parameters():
    model = network()
    assert [name for name, _ in model.named_buffers()] == ["1.running_mean", "1.running_var"]
    assert not {"1.running_mean", "1.running_var"} & {name for name, _ in model.named_parameters()}
    assert len(list(model.buffers())) == 2
    assert "1.num_batches_tracked" in model.state_dict()
    assert repr(model).splitlines()[-1] == ")  54 parameters, float32"
    state = model.state_dict()
    state.pop("1.num_batches_tracked")  # of an old PyTorch
    twin = copy.deepcopy(model)
    twin.load_state_dict(state)
    assert twin[1].num_batches_tracked == 0
