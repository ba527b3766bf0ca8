"""Derivatives of formulas, by tracing them with dual numbers (forward mode).

A :class:`Dual` is a number together with its derivative, the *tangent*. Both may be whatever a formula computes with: values
of a kernel, NumPy scalars or arrays. Tangents that are known, 0 and 1 above all, stay Python numbers and are folded away while
the formula is traced, so that what is emitted is what one would write: the derivative of ``x * x`` is ``x + x``, that of
``select(x > 0, x, a * x)`` is ``select(x > 0, 1, a)``.

References
----------
A. Griewank and A. Walther, "Evaluating Derivatives", SIAM, 2nd edition, 2008, chapter 3.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.kernels.compiler.expression import branches, copysign, muladd, select
from fastmlp.kernels.compiler.value import Number, is_literal

__all__ = ["Dual", "derivative", "scaled", "value_and_derivative"]


def derivative(formula: Callable) -> Callable:
    """``formula(x, *others)`` differentiated by its first argument: a formula of the same arguments."""

    def slope(x, *others):
        return value_and_derivative(formula, x, *others)[1]

    return slope


def value_and_derivative(formula: Callable, x: Any, *others: Any) -> tuple[Any, Any]:
    """``formula(x, *others)`` and its derivative by `x`, which has part of its computation in common."""
    return _parts(formula(Dual(np.float64(x) if is_literal(x) else x, 1), *others))


def scaled(dy: Any, slope: Any) -> Any:
    """The product ``dy * slope``, where a select in the slope selects the products.

    So a factor of 1 costs no multiplication, and one of 0 gives 0 whatever `dy` is: with a slope of ``select(y > 0, 1, a)`` it
    is ``select(y > 0, dy, a * dy)``.
    """
    product = _product(dy, slope)
    if isinstance(dy, np.ndarray | np.generic):
        return np.broadcast_to(np.asarray(product, dy.dtype), np.broadcast_shapes(dy.shape, np.shape(product)))[()]
    return product


def _fixed(x: Any) -> bool:
    """Whether a branch of a select is known to be 0, 1 or -1."""
    inner = branches(x)
    return (is_literal(x) and abs(x) in (0, 1)) if inner is None else _fixed(inner[1]) or _fixed(inner[2])


def _product(a: Any, b: Any) -> Any:
    for one, other in ((a, b), (b, a)):
        if is_literal(one):
            if is_literal(other):
                return one * other
            if one == 0:
                return 0
            if one == 1:
                return other
            if one == -1 and branches(other) is None:
                return -other
    for one, other in ((a, b), (b, a)):
        inner = branches(other)
        if inner is not None and _fixed(other):
            return _choose(inner[0], _product(one, inner[1]), _product(one, inner[2]))
    return a * b


def _quotient(a: Any, b: Any) -> Any:
    if is_literal(a) and a == 0:
        return 0
    inner = branches(a)
    if inner is not None and _fixed(a):
        return _choose(inner[0], _quotient(inner[1], b), _quotient(inner[2], b))
    return a / b


def _sum(a: Any, b: Any) -> Any:
    if is_literal(a) and a == 0:
        return b
    return a if is_literal(b) and b == 0 else a + b


def _choose(condition: Any, a: Any, b: Any) -> Any:
    return a if is_literal(a) and is_literal(b) and a == b else select(condition, a, b)


def _parts(x: Any) -> tuple[Any, Any]:
    return (x.value, x.tangent) if isinstance(x, Dual) else (x, 0)


def _value(x: Any) -> Any:
    return _parts(x)[0]


def _rule(function):
    """An operator, from what it does to two pairs of value and tangent; and the same with its operands in reverse."""

    def forward(self, other):
        return Dual(*function(*_parts(self), *_parts(other)))

    def reverse(self, other):
        return Dual(*function(*_parts(other), *_parts(self)))

    return forward, reverse


def _divide(a, da, b, db):
    y = a / b
    return y, _quotient(_sum(da, _product(-1, _product(y, db))), b)


def _comparison(compare):
    return lambda self, other: compare(self.value, _value(other))


class Dual(Number):
    """A number and its tangent: the derivative by whatever was given the tangent 1."""

    rank = 2

    def __init__(self, value: Any, tangent: Any = 0):
        self.value, self.tangent = value, tangent

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    def constant(self, x: Any) -> Dual:
        """A number that does not depend on what is differentiated by."""
        return Dual(x)

    __add__, __radd__ = _rule(lambda a, da, b, db: (a + b, _sum(da, db)))
    __sub__, __rsub__ = _rule(lambda a, da, b, db: (a - b, _sum(da, _product(-1, db))))
    __mul__, __rmul__ = _rule(lambda a, da, b, db: (a * b, _sum(_product(da, b), _product(a, db))))
    __truediv__, __rtruediv__ = _rule(_divide)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self):
        return Dual(-self.value, _product(-1, self.tangent))

    def __abs__(self):
        sign = select(self.value > 0, 1, select(self.value < 0, -1, 0))
        return Dual(abs(self.value), _product(sign, self.tangent))

    def power(self, n):
        if n in (0, 1):
            return self if n else Dual(self.value**0)
        return Dual(self.value**n, _product(_product(n, self.value ** (n - 1)), self.tangent))

    def apply(self, formula, slope):
        if slope is None:
            return formula(self)
        y = self.value.apply(formula, slope) if isinstance(self.value, Number) else formula(self.value)
        given = {"x": self.value, "y": y}
        return Dual(y, _product(slope(*(given[name] for name in inspect.signature(slope).parameters)), self.tangent))

    def muladd(self, a, b, c):
        (a, da), (b, db), (c, dc) = map(_parts, (a, b, c))
        return Dual(muladd(a, b, c), _sum(_sum(_product(da, b), _product(a, db)), dc))

    def select(self, condition, a, b):
        (a, da), (b, db) = _parts(a), _parts(b)
        return Dual(select(condition, a, b), _choose(condition, da, db))

    def copysign(self, x, y):
        (x, dx), y = _parts(x), _value(y)
        if is_literal(dx) and dx == 0:
            return Dual(copysign(x, y))
        one = x * 0 + 1 if is_literal(x) else x.dtype.type(1)
        return Dual(copysign(x, y), _product(copysign(one, x) * copysign(one, y), dx))

    def float_to_bits(self):
        raise TypeError("the bits of a float have no derivative; give the expression a slope: @expression(slope=...)")
