from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net

import fastmlp as fm


class MySGD(fm.Optimizer):
    def step(self):
        for parameter in self.params:
            parameter.data -= parameter.dtype.type(self.lr) * parameter.grad


def test_written_optimizer_matches_the_built_in(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0}
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(3)]
    optimizers = [MySGD(models[0].parameters(), 0.5), fm.SGD(models[1].parameters(), 0.5), MySGD(models[2].parameters(), 0.5)]
    schedules = [fm.CosineAnnealingLR(optimizer, 3) for optimizer in optimizers]
    with pytest.warns(UserWarning, match="MySGD"):
        written = fm.fit(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, schedule=schedules[0], **keywords)
    built_in = fm.fit(models[1], fm.CrossEntropyLoss(), optimizers[1], X, y, schedule=schedules[1], **keywords)
    eager_train(models[2], fm.CrossEntropyLoss(), optimizers[2], X, y, schedule=schedules[2], **keywords)
    bound = 9 * (3 + 9 + 4) * eps(dtype) * 2
    assert_within(flat(models[0]), flat(models[1]), bound)
    assert_within(written.loss, built_in.loss, bound)
    assert_same_bits(flat(models[0]), flat(models[2]))
    assert optimizers[0].lr == optimizers[1].lr == optimizers[2].lr


def test_subclass_of_sgd_brings_its_own_step():
    class Backwards(fm.SGD):
        def step(self):
            self.lr = -0.0
            super().step()

    model = make_net([3, 4])
    before = flat(model)
    X, y = make_data(5, 3, 4)
    with pytest.warns(UserWarning, match="Backwards"):
        fm.fit(model, fm.CrossEntropyLoss(), Backwards(model.parameters(), 0.5), X, y, epochs=2)
    assert_same_bits(flat(model), before)


def test_zero_grad_clears_all_gradients(dtype):
    model = make_net([3, 17, 2], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape)
    optimizer.zero_grad()
    assert not model.storage.grad.any()


def test_lr_may_be_assigned_and_is_checked():
    optimizer = fm.SGD(make_net([2, 2]).parameters(), lr=0.1)
    optimizer.lr = 0.5
    assert optimizer.lr == 0.5
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optimizer.lr = -1
    assert optimizer.lr == 0.5


def test_one_parameter_is_enough():
    layer = fm.Linear(2, 2)
    assert fm.SGD(layer.weight).params == [layer.weight]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "params is empty: the model has no parameters, or its iterator has been used up"),
        (iter([]), ValueError, "params is empty"),
        (fm.Sequential(fm.ReLU()).parameters(), ValueError, "params is empty"),
        ([np.zeros(3)], TypeError, r"params must be Parameters, model.parameters\(\); got a ndarray"),
        (3, TypeError, "params must be Parameters, model.parameters.*got a int"),
        ({"a": 1}, TypeError, "params must be Parameters, model.parameters.*got a str"),
    ],
)
def test_optimizer_rejects_what_are_not_parameters(params, error, message):
    with pytest.raises(error, match=message):
        fm.SGD(params, lr=0.1)


def test_optimizer_without_a_step_says_so():
    with pytest.raises(NotImplementedError, match=r"Optimizer has no step\(\)"):
        fm.Optimizer(fm.Linear(1, 1).parameters(), 0.1).step()
