from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import LOSSES, assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net

import fastmlp as fm


class MySquares(fm.Criterion):
    def forward(self, out, y):
        self.difference = out - y
        return float((self.difference**2).mean())

    def backward(self):
        return 2 * self.difference / self.difference.size


def test_written_criterion_matches_the_built_in(dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0}
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(3)]
    optimizers = [fm.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    with pytest.warns(UserWarning, match="MySquares"):
        written = fm.fit(models[0], MySquares(), optimizers[0], X, y, **keywords)
    built_in = fm.fit(models[1], fm.MSELoss(), optimizers[1], X, y, **keywords)
    eager_train(models[2], MySquares(), optimizers[2], X, y, **keywords)
    bound = 9 * (3 + 9 + 4) * eps(dtype) * 2
    assert_within(flat(models[0]), flat(models[1]), bound)
    assert_within(written.loss, built_in.loss, bound)
    assert_same_bits(flat(models[0]), flat(models[2]))


def test_written_criterion_takes_any_targets():
    class Distance(fm.Criterion):
        def forward(self, out, y):
            assert y.dtype.kind == "U"
            self.shape = out.shape
            return float((out**2).mean())

        def backward(self):
            return np.zeros(self.shape)

    model = make_net([3, 4])
    before = flat(model)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="Distance"):
        history = fm.fit(model, Distance(), optimizer, np.ones((5, 3)), list("abcde"), epochs=2, batch_size=2)
    assert len(history.loss) == 2
    assert_same_bits(flat(model), before)


def test_criterion_without_arithmetic_says_so():
    with pytest.raises(NotImplementedError, match=r"Criterion has no forward\(out, y\)"):
        fm.Criterion()(np.zeros((1, 1)), [0])
    with pytest.raises(NotImplementedError, match=r"Criterion has no backward\(\)"):
        fm.Criterion().backward()


@pytest.mark.parametrize("loss", LOSSES)
def test_copied_criterion_forgets_the_last_loss(loss):
    criterion = LOSSES[loss]()
    criterion([[1.0]], [0])
    with pytest.raises(RuntimeError, match="before forward"):
        copy.deepcopy(criterion).backward()
    assert criterion.backward().shape == (1, 1)
    assert repr(criterion) == f"{type(criterion).__name__}()"


def test_subclass_of_a_built_in_criterion_brings_its_own_arithmetic(dtype):
    class Doubled(fm.MSELoss):
        def forward(self, out, y):
            return 2 * super().forward(out, y)

        def backward(self):
            return 2 * super().backward()

    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    model, twin = make_net([3, 4], dtype=dtype), make_net([3, 4], dtype=dtype)
    with pytest.warns(UserWarning, match="Doubled"):
        history = fm.fit(model, Doubled(), fm.SGD(model.parameters(), lr=0.125), X, y, epochs=2, batch_size=4, rng=0)
    plain = fm.fit(twin, fm.MSELoss(), fm.SGD(twin.parameters(), lr=0.25), X, y, epochs=2, batch_size=4, rng=0)
    assert_within(flat(model), flat(twin), 6 * (3 + 4 + 4) * eps(dtype))
    assert_within(np.array(history.loss) / 2, plain.loss, 6 * (3 + 4 + 4) * eps(dtype))
