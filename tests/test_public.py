"""What is visible is what `__all__` says, and what is documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types

import numpy as np
import pytest
from helpers import run_python

import fastmlp as fm

PACKAGES = ["fastmlp", "fastmlp.modules", "fastmlp.criterion", "fastmlp.optim", "fastmlp.saving", "fastmlp.training"]
MODULES = [info.name for info in pkgutil.walk_packages(fm.__path__, "fastmlp.")]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_is_visible(name):
    package = importlib.import_module(name)
    submodules = {info.name for info in pkgutil.iter_modules(package.__path__)}
    visible = {
        entry
        for entry, value in vars(package).items()
        if not entry.startswith("_") and not (isinstance(value, types.ModuleType) and entry in submodules - {*package.__all__})
    }
    assert visible == {entry for entry in package.__all__ if not entry.startswith("_")}
    assert sorted(set(package.__all__)) == sorted(package.__all__)
    assert all(hasattr(package, entry) for entry in package.__all__)


def test_modules_have_a_docstring_and_their_names():
    for name in MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for entry in getattr(module, "__all__", []):
            assert hasattr(module, entry), (name, entry)


def test_public_classes_are_documented():
    formulas = ("forward", "backward", "rate", "value", "slope", "update")
    for name in fm.__all__:
        thing = getattr(fm, name)
        assert inspect.getdoc(thing), name
        for entry, value in vars(thing).items() if inspect.isclass(thing) else ():
            if inspect.isfunction(value) and not entry.startswith("_") and entry not in formulas:
                assert inspect.getdoc(getattr(thing, entry)), f"{name}.{entry}"


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?\w+)?", fm.__version__)


def test_import_compiles_nothing_and_takes_no_optional_dependency():
    run_python(
        """
import sys
import fastmlp
optional = {"torch", "matplotlib", "tqdm", "hypothesis", "scipy.optimize", "sklearn", "pandas", "threadpoolctl"}
assert not optional & set(sys.modules)
from fastmlp.kernels import engine
import numba
if not numba.config.DISABLE_JIT:
    assert not engine.run.signatures
"""
    )


def test_a_small_network_learns_the_disc():
    X, y = fm.datasets.make_disc(200, rng=0)
    X = (X - 0.5) * np.sqrt(12)
    model = fm.Sequential(fm.Linear(2, 12), fm.Tanh(), fm.Linear(12, 2))
    model.reset_parameters(rng=0)
    optimizer = fm.SGD(model.parameters(), lr=0.2, momentum=0.9)
    history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=20, batch_size=20, rng=0)
    assert history.loss[-1] < 0.4 * history.loss[0]
    assert (model.predict(X).argmax(axis=1) == y).mean() > 0.9
