"""The functions of formulas: of activations, elementwise losses and optimizers that you write yourself.

A formula is a plain Python function of numbers, which the compiled loops are made of (:class:`fastmlp.Activation`,
:class:`fastmlp.ElementwiseLoss`, :class:`fastmlp.Optimizer`). It computes with operators and with the functions below. They
take NumPy's numbers and arrays too, so a formula may be tried on those; functions that Numba compiles may call those of one
number.

===========================================  ============================================================================
`+ - * /`, unary `-`, ``abs(x)``             as usual; a division by zero gives inf or NaN
``x ** n``                                   for whole numbers n from -64 to 64; else ``exp(n * log(x))``
``< <= > >= == !=``, and ``& | ~`` of them   a condition, for `select`
`exp`, `expm1`                               ``e^x``, ``e^x - 1``
`log`, `log1p`                               the natural logarithm, of x and of ``1 + x``
`sqrt`                                       the square root
`tanh`, `sigmoid`, `softplus`                ``1 / (1 + e^-x)`` is sigmoid, ``log(1 + e^x)`` is softplus
`erf`, `normal_cdf`, `normal_pdf`            the error function; the normal distribution and its density
`select`                                     ``select(condition, a, b)`` is a where the condition holds, else b
`maximum`, `minimum`, `clip`                 of two numbers; ``clip(x, low, high)``; NaN stays NaN
`copysign`, `sign`                           x with the sign of y; -1, 0 or 1
`muladd`                                     ``a * b + c``, rounded once
===========================================  ============================================================================

Python's own numbers and loops over them may stand in a formula, and are gone when it is compiled: ``for c in (0.5, 0.25):``.
It has no ``if``, ``and``, ``or``, ``min``, ``max``, which need a number now; no functions of the modules math and numpy; no
arrays. Numbers of a definite dtype, ``np.float64(2)``, do not mix with float32: write ``2.0``. All functions have derivatives.
None has a branch: both sides of a `select` are computed, and the derivative is that of the side taken.
"""

from __future__ import annotations

from typing import Any

from fastmlp.kernels.compiler.expression import copysign, maximum, minimum, muladd, select
from fastmlp.kernels.elementary import (
    erf,
    exp,
    expm1,
    log,
    log1p,
    normal_cdf,
    normal_pdf,
    sigmoid,
    softplus,
    sqrt,
    tanh,
)

__all__ = [
    "clip",
    "copysign",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "muladd",
    "normal_cdf",
    "normal_pdf",
    "select",
    "sigmoid",
    "sign",
    "softplus",
    "sqrt",
    "tanh",
]


def clip(x: Any, low: Any, high: Any) -> Any:
    """`x` between two bounds; NaN stays NaN.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.math.clip(3.0, -1.0, 1.0)
    1.0
    """
    return select(x < low, low, select(x > high, high, x))


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN. Its derivative is 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.math.sign(-3.0)
    -1
    """
    return select(x > 0, 1, select(x < 0, -1, select(x == 0, 0, x)))
