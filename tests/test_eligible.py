"""Which classes the engine runs: those whose arithmetic is a built-in one's."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.eligible import runs_compiled
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


def test_step_of_its_own_goes_before_a_helper_named_update():
    """By hand, and in `fit`: ``update`` is then a name like any other."""

    class Sign(fm.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)

        def step(self):
            for parameter in self.params:
                self.update(parameter)

        def update(self, parameter):
            parameter.data -= np.float32(self.lr) * np.sign(parameter.grad)

    class StaticSign(Sign):
        @staticmethod
        def update(parameter):
            parameter.data -= np.float32(0.25) * np.sign(parameter.grad)

        def step(self):
            super().step()

    for kind in (Sign, StaticSign):
        model = fm.Sequential(fm.Linear(1, 1, bias=False, rng=0))
        rule = kind(model.parameters(), lr=0.25)
        assert not rule.runs_in_engine()
        before = model[0].weight.data.copy()
        with pytest.warns(UserWarning, match="Sign runs in Python"):
            fm.fit(model, fm.MSELoss(), rule, [[1.0]], [100.0], epochs=1)
        rule.zero_grad()
        model[0].weight.grad += 1
        rule.step()
        rule.step()
        np.testing.assert_array_equal(model[0].weight.data, before + 0.25 - 0.25 - 0.25)


@pytest.mark.parametrize("name", ["value", "slope"])
@pytest.mark.parametrize("base", [fm.Activation, fm.ElementwiseLoss, fm.ReLU])
def test_formula_that_is_a_method_is_refused(base, name):
    """What it reads from ``self`` would be compiled in: another number later, and nothing would change."""
    with pytest.raises(TypeError, match=f"{name} of Mine must be a staticmethod: a formula has no self.*`constants`"):
        type("Mine", (base,), {name: lambda self, x: self.factor * x})
    with pytest.raises(TypeError, match=r"update of Rule must be a staticmethod.*scalars"):
        type("Rule", (fm.Optimizer,), {"update": lambda self, p, g, lr: (p - lr * g * self.factor,)})


def test_one_name_instead_of_a_tuple_is_refused():
    for base, attribute in (
        (fm.Activation, "constants"),
        (fm.ElementwiseLoss, "constants"),
        (fm.ElementwiseLoss, "columns"),
        (fm.Optimizer, "state"),
    ):
        with pytest.raises(TypeError, match=rf"{attribute} of Mine must be a tuple of names, with a comma: \('beta',\)"):
            type("Mine", (base,), {attribute: "beta"})
