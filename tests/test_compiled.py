"""Which classes the engine runs: those whose arithmetic is a built-in one's."""

from __future__ import annotations

import numpy as np

import fastmlp as fm
from fastmlp.compiled import runs_compiled
from fastmlp.modules.route import runs_in_engine


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class Named(fm.ReLU):
    """Adds nothing but a name and an attribute."""

    note = "mine"


class Doubled(fm.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class Back(Named):
    def backward(self, dy):
        return super().backward(dy)


class Called(fm.Linear):
    def __call__(self, x):
        return super().__call__(x)


class Formula(Doubled):
    """A formula below arithmetic of its own: the formula is nearer."""

    def _ops(self, width):
        return super()._ops(width)


class Nothing(fm.ReLU):
    _ops = None


def test_nearest_class_decides():
    runs = {fm.ReLU(): True, Named(): True, Formula(): True, fm.Linear(1, 1): True}
    runs |= {Same(): False, Doubled(): False, Back(): False, Called(1, 1): False, Nothing(): False}
    for module, expected in runs.items():
        assert runs_in_engine(module) == expected, type(module)


def test_losses_and_optimizers_have_the_same_rule():
    class Loss(fm.MSELoss):
        pass

    class OwnLoss(fm.MSELoss):
        def forward(self, out, y):
            return super().forward(out, y)

    class Rule(fm.SGD):
        pass

    class OwnRule(fm.SGD):
        def step(self):
            super().step()

    parameters = [fm.Parameter((1,)) for _ in range(2)]
    assert Loss().runs_in_engine()
    assert not OwnLoss().runs_in_engine()
    assert not fm.Criterion().runs_in_engine()
    assert Rule(parameters[:1]).runs_in_engine()
    assert not OwnRule(parameters[1:]).runs_in_engine()


def test_class_without_the_entry_does_not_run():
    assert not runs_compiled(object, "anything")
    assert not runs_compiled(np.ndarray, "anything", "sum")
