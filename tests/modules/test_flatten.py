from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, flat, normal

import fastmlp as fm


def networks(dtype):
    """Alone, first, and first of a network that is first."""
    yield fm.Flatten(), 24
    yield fm.Sequential(fm.Flatten(), fm.Linear(24, 3, rng=0), fm.Flatten(), fm.Tanh(), dtype=dtype), 3
    yield fm.Sequential(fm.Sequential(fm.Flatten(), fm.Linear(24, 3, rng=0)), fm.ReLU(), dtype=dtype), 3


def test_network_that_begins_with_it_takes_any_axes(dtype, rng):
    rows = normal(rng, (5, 24), dtype)
    for model, width in networks(dtype):
        expected = model(rows)
        dx = model.backward(np.ones((5, width)))
        assert expected.shape == (5, width)
        for shape in ((5, 4, 6), (5, 2, 3, 4), (5, 24, 1)):
            for x in (rows.reshape(shape), np.asfortranarray(rows.reshape(shape)), rows.reshape(shape).tolist()):
                assert_same_bits(model(np.array(x, dtype)), expected)
                assert_same_bits(model.backward(np.ones((5, width))), dx)
                if isinstance(model, fm.Sequential):
                    assert_same_bits(model(x), expected)
                    for _ in range(2):
                        assert_same_bits(model.predict(x), expected)
                        assert_same_bits(model.predict(x, out=np.empty((5, width), dtype)), expected)
        model.eval()
        assert_same_bits(model(rows.reshape(5, 4, 6)), expected)


def test_fit_takes_any_axes(dtype, rng):
    X, y = normal(rng, (20, 2, 3), dtype), rng.integers(2, size=20)
    trained = []
    for given in (X, X.reshape(20, 6)):
        model = fm.Sequential(fm.Flatten(), fm.Linear(6, 2, rng=0), dtype=dtype)
        optimizer = fm.SGD(model.parameters(), lr=0.1)
        history = fm.fit(
            model, fm.CrossEntropyLoss(), optimizer, given, y, epochs=2, rng=0, validation=(given, y), progress=False
        )
        trained.append(np.append(flat(model), history.validation_loss))
    assert_same_bits(*trained)


def test_others_take_rows_only():
    for model in (fm.Linear(6, 2), fm.Sequential(fm.Linear(6, 2), fm.Flatten()), fm.Identity()):
        with pytest.raises(ValueError, match=r"expects \(N, .*got \(5, 2, 3\): flatten all axes but the first"):
            model(np.ones((5, 2, 3)))


def test_bad_input_is_refused():
    model = fm.Sequential(fm.Flatten(), fm.Linear(6, 2))
    for run in (model, model.predict):
        with pytest.raises(ValueError, match=r"expects \(N, 6\); got \(5, 4\)"):
            run(np.ones((5, 2, 2)))
        for shape in ((0, 2, 3), (5, 0, 3)):
            with pytest.raises(ValueError, match=r"expects \(N, 6\)|at least one row"):
                run(np.ones(shape))
        with pytest.raises(ValueError, match=r"got \(6,\): add a batch axis"):
            run(np.ones(6))


def test_other_axes_are_refused():
    for arguments, name in (((0,), "start_dim must be 1"), ((2,), "start_dim must be 1"), ((1, 2), "end_dim must be -1")):
        with pytest.raises(ValueError, match=name):
            fm.Flatten(*arguments)
    with pytest.raises(TypeError, match="start_dim must be a whole number"):
        fm.Flatten("1")
    with pytest.raises(ValueError, match="end_dim must be -1"):
        fm.Flatten().end_dim = 3
    assert repr(fm.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
