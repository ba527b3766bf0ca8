from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import registry
from fastmlp.arguments import arguments_of
from fastmlp.saving.catalogue import KINDS


def of_registry():
    """Each entry that files know, made with each of its cases, and the first arguments that it needs to be made again."""
    for entry in (registry.activations() | registry.layers()).values():
        for case in entry.cases:
            yield entry, (), registry.made(entry, case, 3)
    for entry in registry.optimizers().values():
        for case in entry.cases:
            parameters = [fm.Parameter((2, 3))]
            yield entry, (parameters,), entry(parameters, **case)
    for entry in registry.schedules().values():
        for case in entry.cases:
            optimizer = fm.SGD([fm.Parameter((2, 3))], lr=0.1, momentum=0.5)
            yield entry, (optimizer,), entry(optimizer, **case)


def plain(value):
    """What can be compared."""
    if isinstance(value, fm.LRScheduler):
        return plain(value.state_dict())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_every_entry_tells_its_arguments():
    """An attribute for each argument: so a new entry is saved without a word about it."""
    for entry, first, made in of_registry():
        config = made.get_config()
        known = inspect.signature(entry).parameters
        assert config.keys() == known.keys() - {"rng", "params", "optimizer", "modules"}
        again = entry(*first, **config)
        assert plain(again.get_config()) == plain(config)
        assert repr(again) == repr(made) or isinstance(made, fm.LRScheduler)


def test_every_class_of_the_package_is_one_that_files_know():
    known = {name for kinds in KINDS.values() for name in kinds}
    expected = registry.activations() | registry.layers() | registry.optimizers() | registry.schedules()
    assert known == expected.keys() | {"Activation", "Embedding", "Residual", "Sequential"}


def test_options_that_were_assigned_later_are_those_of_now():
    dropout = fm.Dropout(0.25)
    dropout.p = 0.5
    assert dropout.get_config() == {"p": 0.5}
    linear = fm.Linear(2, 3)
    linear.bias = None
    assert linear.get_config() == {"in_features": 2, "out_features": 3, "bias": False, "dtype": np.float32}
    norm = fm.LayerNorm(3)
    norm.weight = None
    assert norm.get_config()["elementwise_affine"] is norm.get_config()["bias"] is True
    optimizer = fm.SGD([fm.Parameter((1,))], lr=0.5)
    optimizer.lr = 0.25
    assert optimizer.get_config()["lr"] == 0.5  # that of groups which are still to come
    activation = fm.Activation(_ramp, constants={"a": 2.0})
    activation.a = 3.0
    assert activation.get_config() == {"value": _ramp, "slope": None, "constants": {"a": 3.0}}


def _ramp(x, a):
    return a * x


def test_embeddings_tell_their_sizes():
    one = fm.Embedding(7, 3)
    assert (one.num_embeddings, one.embedding_dim, one.in_features) == (7, 3, 1)
    several = fm.Embedding({3: 12, 1: 7}, in_features=4)
    assert several.num_embeddings == {1: 7, 3: 12}
    assert several.embedding_dim == {1: 5, 3: 6}
    assert repr(fm.Embedding(**several.get_config())) == repr(several)


class Thing:
    def __init__(self, first, size, flag=True, rng=None):
        self.size = size
        if flag:
            self.flag = flag


def test_arguments_that_cannot_be_told_are_refused():
    assert arguments_of(Thing(0, 3), skip=1) == {"size": 3, "flag": True}
    assert arguments_of(Thing(0, 3, flag=False), skip=1, given={"flag": False, "other": 1}) == {"size": 3, "flag": False}
    with pytest.raises(TypeError, match=r"its constructor takes first, .* self\.first = first, or .* get_config"):
        arguments_of(Thing(0, 3))

    class Starred:
        def __init__(self, *parts, **options):
            pass

    with pytest.raises(TypeError, match=r"takes \*parts, so it needs a get_config"):
        arguments_of(Starred())
    with pytest.raises(TypeError, match=r"takes \*options"):
        arguments_of(Starred(), starred=True)
