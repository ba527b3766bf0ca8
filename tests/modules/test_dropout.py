from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, normal, small

import fastmlp as fm

LAYERS = [fm.Dropout, fm.AlphaDropout]


def test_dropout_leaves_out_as_many_as_it_says(dtype):
    """Within five standard deviations, in rows and in columns, and no two steps or rows alike."""
    rows, width = small((1000, 300), (200, 60))
    x = np.ones((rows, width), dtype)
    for p in (0.1, 0.5, 0.9):
        layer = fm.Dropout(p, rng=0)
        first, second = layer(x), layer(x)
        assert set(np.unique(first)) == {0, dtype.type(1 / (1 - p))}
        dropped = first == 0
        for axis, count in ((None, rows * width), (0, rows), (1, width)):
            deviation = np.abs(dropped.mean(axis) - p) / np.sqrt(p * (1 - p) / count)
            assert deviation.max() < 5
        expected = p**2 + (1 - p) ** 2  # of independent draws
        for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
            agree = (one == other).mean()
            assert abs(agree - expected) < 5 * np.sqrt(expected * (1 - expected) / one.size)


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).standard_normal(small((2000, 100), (500, 40)))
    for p in (0.1, 0.5):
        y = fm.AlphaDropout(p, rng=0)(x)
        assert abs(y.mean()) < 6 / np.sqrt(x.size)
        assert abs(y.var() - 1) < 12 / np.sqrt(x.size)


@pytest.mark.parametrize("kind", LAYERS)
def test_mask_is_that_of_the_seed_the_step_and_the_row(kind, dtype, rng):
    """Not of the width of a line, the number of rows, the dtype, nor of anything else in the batch."""
    x = normal(rng, (small(67, 9), 19), dtype)
    layer = kind(0.3, rng=5)
    kept = layer(x) != layer._formula()[2]
    for rows, width in ((5, 19), (len(x), 3)):
        other = kind(0.3, rng=5)
        y = other(x[:rows, :width].astype(np.float64 if dtype == np.float32 else np.float32))
        assert_same_bits(np.abs(y - other._formula()[2]) > 1e-6, kept[:rows, :width])
    layer.calls = 0
    assert_same_bits(layer(x) != layer._formula()[2], kept)
    assert layer.calls == 1
    layer.reset_parameters(6)
    assert (layer(x) != layer._formula()[2]).tolist() != kept.tolist()


@pytest.mark.parametrize("kind", LAYERS)
def test_p_of_0_and_1(kind, dtype, rng):
    x, dy = normal(rng, (3, 5), dtype), normal(rng, (3, 5), dtype)
    layer = kind(0)
    assert_same_bits(layer(x), x)
    assert_same_bits(layer.backward(dy), dy)
    layer.p = 1
    x[0, 0] = np.inf
    assert not layer(x).any()
    assert not layer.backward(dy).any()


@pytest.mark.parametrize("kind", LAYERS)
def test_evaluation_mode_leaves_everything_and_draws_nothing(kind, dtype, rng):
    x = normal(rng, (3, 5), dtype)
    model = fm.Sequential(kind(0.5), dtype=dtype)
    assert_same_bits(model.predict(x), x)
    assert_same_bits(model.eval()(x), x)
    assert model[0].calls == 0


@pytest.mark.parametrize("kind", LAYERS)
def test_training_goes_on_where_it_was(kind, dtype):
    """2 and 2 epochs are 4, in one network, through a state_dict, through a copy; by hand too."""
    X, y = make_data(21, 3, 4, dtype=dtype)

    def make():
        model = fm.Sequential(fm.Linear(3, 9), fm.Tanh(), kind(0.4), fm.Linear(9, 4), dtype=dtype)
        model.reset_parameters(0)
        return model, fm.SGD(model.parameters(), lr=0.1)

    def train(model, optimizer, epochs, by_hand=False):
        options = {"epochs": epochs, "batch_size": 8, "shuffle": False}
        if by_hand:
            eager_train(model, fm.CrossEntropyLoss(), optimizer, X, y, **options)
        else:
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **options)

    whole = make()
    train(*whole, 4)
    assert whole[0][2].calls == 12
    halves = make()
    train(*halves, 2)
    loaded, optimizer = make()
    loaded.reset_parameters(1)
    loaded.load_state_dict(halves[0].state_dict())
    copied = copy.deepcopy(halves[0])
    train(*halves, 2, by_hand=True)
    train(loaded, optimizer, 2)
    train(copied, fm.SGD(copied.parameters(), lr=0.1), 2)
    for model in (halves[0], loaded, copied):
        assert_same_bits(flat(model), flat(whole[0]))


def test_state_dict_without_seeds_is_taken():
    """One of PyTorch, say."""
    model = fm.Sequential(fm.Linear(2, 3), fm.Dropout(rng=1))
    state = {name: array for name, array in model.state_dict().items() if name.startswith("0.")}
    seed = model[1].seed
    model.load_state_dict(state)
    assert model[1].seed == seed


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_rejects_bad_arguments(kind):
    for p, error in ((-0.1, ValueError), (1.1, ValueError), (np.nan, ValueError), ("half", TypeError), (None, TypeError)):
        with pytest.raises(error, match="p must be"):
            kind(p)
        layer = kind(0.5)
        with pytest.raises(error, match="p must be"):
            layer.p = p
    with pytest.raises(TypeError, match="rng must be"):
        kind(0.5, rng="seed")
