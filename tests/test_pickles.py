"""What pickles hold: little, and with a version."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, make_data, make_net, run_python

import fastmlp as fm
from fastmlp import pickles


def trained():
    model, optimizer = make_net([3, 40, 2]), None
    optimizer = fm.Adam(model.parameters())
    schedule = fm.StepLR(optimizer, 2)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, *make_data(20, 3, 2), epochs=3, schedule=schedule, rng=0, progress=False)
    return model, optimizer, schedule


def test_pickles_hold_a_version_and_newer_ones_are_refused(monkeypatch):
    model, optimizer, schedule = trained()
    things = {"Sequential": model, "Adam": optimizer, "StepLR": schedule, "Parameter": model[0].weight, "MSELoss": fm.MSELoss()}
    things["History"] = fm.History([0.5, 0.25])
    for name, thing in things.items():
        assert thing.__getstate__()[pickles.KEY] == (pickles.VERSION, fm.__version__)
        assert pickles.KEY not in vars(pickle.loads(pickle.dumps(thing)))
        assert pickles.KEY not in vars(copy.copy(thing) if name != "Parameter" else copy.deepcopy(thing))
        with monkeypatch.context() as patch:
            patch.setattr(pickles, "VERSION", 99)
            patch.setattr(pickles, "__version__", "9.9")
            newer = pickle.dumps(thing)
        with pytest.raises(ValueError, match=r"pickle of an? \w+ was written by fastmlp 9\.9; this is .*: update it"):
            pickle.loads(newer)


def test_pickle_of_a_layer_holds_the_layer():
    model, optimizer, _ = trained()
    layer, numbers = model[0], 4 * (3 * 40 + 40)
    assert len(pickle.dumps(layer)) < numbers + 1500
    optimizer.zero_grad()
    whole = 4 * sum(parameter.size for parameter in model.parameters())
    assert len(pickle.dumps(model)) < whole + 3000
    assert len(pickle.dumps((model, optimizer))) < 3 * whole + 6000  # and two arrays of state
    again = pickle.loads(pickle.dumps(layer))
    assert_same_bits(again.weight.data, layer.weight.data)
    assert again.weight.owner is again


def test_gradients_come_along_where_there_are_any():
    parameter = fm.Parameter((2, 3))
    parameter.grad = np.arange(6).reshape(2, 3)
    assert_same_bits(pickle.loads(pickle.dumps(parameter)).grad, parameter.grad)
    parameter.grad[...] = 0
    again = copy.deepcopy(parameter)
    again.grad[...] += 1
    assert (again.grad == 1).all()
    assert (parameter.grad == 0).all()


@pytest.mark.once
@pytest.mark.parametrize("library", ["joblib", "cloudpickle"])
def test_other_libraries_pickle_too(library, tmp_path):
    tool, path = pytest.importorskip(library), tmp_path / "file"
    model, optimizer, schedule = trained()
    if library == "joblib":
        tool.dump((model, optimizer, schedule), path)
        again = tool.load(path)
    else:
        again = pickle.loads(tool.dumps((model, optimizer, schedule)))
    for one in ((model, optimizer, schedule), again):
        options = {"epochs": 5, "initial_epoch": 3, "schedule": one[2], "rng": 0, "progress": False}
        fm.fit(one[0], fm.CrossEntropyLoss(), one[1], *make_data(20, 3, 2), **options)
    assert_same_bits(again[0].storage.data, model.storage.data)


@pytest.mark.once
def test_cloudpickle_takes_classes_and_functions_of_the_main_program(tmp_path):
    pytest.importorskip("cloudpickle")
    path = tmp_path / "file"
    run_python(
        f"""
import cloudpickle, fastmlp as fm
class Ramp(fm.Activation):
    constants = ("a",)
    def __init__(self, a=2.0):
        self.a = a
    @staticmethod
    def value(x, a):
        return fm.math.maximum(a * x, 0)
class Double(fm.Module):
    def forward(self, x):
        return 2 * x
    def backward(self, dy):
        return 2 * dy
class Descent(fm.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
    def scalars(self, group, t, lr):
        return (lr,)
    @staticmethod
    def update(p, g, lr):
        return p - lr * g
layer = fm.Linear(2, 2)
layer.weight.data, layer.bias.data = [[1, 2], [3, 4]], [0.5, -0.5]
model = fm.Sequential(layer, Ramp(), Double(), fm.Activation(lambda x: x * x))
with open({str(path)!r}, "wb") as file:
    cloudpickle.dump((model, Descent(model.parameters()), fm.ElementwiseLoss(lambda out, y: (out - y) ** 2)), file)
"""
    )
    model, optimizer, criterion = pickle.loads(path.read_bytes())
    x = np.array([[1.0, -1.0]])
    assert model.predict(x).tolist() == [[0.0, 0.0]]
    assert model.predict(-x).tolist() == [[36.0, 4.0]]
    assert criterion(model(-x), [[0.0, 0.0]]) == (36**2 + 4**2) / 2
    model.backward(criterion.backward())
    before = model[0].weight.data.copy()
    optimizer.step()
    assert not np.array_equal(before, model[0].weight.data)
