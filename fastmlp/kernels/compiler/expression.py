"""Formulas, written once in plain Python on numbers: NumPy computes with them, kernels have them emitted as LLVM instructions.

A formula is made of operators and of the functions below. What it computes with decides what it does:

- NumPy scalars and arrays: it computes, as any Python function does.
- :class:`~.value.Value`, a number that a kernel will have: every operation appends an LLVM instruction to the kernel, on a
  scalar or on a vector. Loops over coefficients are unrolled and constants looked up while the kernel is compiled, and Numba
  never sees the formula, so it has nothing to type or to lower.
- :class:`~.derivative.Dual`, a number with its derivative: the formula is differentiated (forward mode), and what is emitted or
  computed is the derivative.

Dtypes are NumPy's: a Python number is weak, it takes the dtype of what it meets; NumPy scalars, arrays and values have a
definite dtype, and an operation of two is an error in a kernel: LLVM converts nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable

from fastmlp.kernels.compiler.value import F32, F64, SAME_SIZE, Choice, Number, Value, as_llvm, is_literal, leader

__all__ = [
    "bits_to_float",
    "branches",
    "copysign",
    "expression",
    "float_to_bits",
    "maximum",
    "minimum",
    "muladd",
    "plain",
    "select",
    "sqrt",
]


class _ChosenArray(np.ndarray):
    """What `select` gives for arrays, where a branch is a literal. It remembers its branches; what is computed with it not."""

    condition: Any
    a: Any
    b: Any

    def __array_finalize__(self, _):
        self.condition = self.a = self.b = None

    def __array_wrap__(self, array, context=None, return_scalar=False):
        if array is self:  # computed in place
            self.condition = None
            return self
        return array[()] if return_scalar else array.view(np.ndarray)


def _chosen(condition, a, b):
    """``np.where``, by the rules for weak numbers; two of them get the least dtype that has both."""
    known = [x.dtype for x in (a, b) if not is_literal(x)]
    if known:
        dtype = np.result_type(*known)
    else:
        least = (np.int8, np.float16, np.float32)
        dtype = np.dtype(next((t for t in least if all(abs(x) < 128 and float(t(x)) == x for x in (a, b))), np.float64))
    result = np.where(condition, *(x if not is_literal(x) else dtype.type(x) for x in (a, b)))
    if len(known) == 2 and not any(isinstance(x, _ChosenArray) for x in (a, b)):
        return result
    result = result.view(_ChosenArray)
    result.condition, result.a, result.b = condition, a, b
    return result


def branches(x: Any) -> tuple[Any, Any, Any] | None:
    """The condition and the two branches of what `select` gave, if it gave that."""
    if isinstance(x, Choice | _ChosenArray) and x.condition is not None:
        return x.condition, x.a, x.b
    return None


def muladd(a, b, c):
    """``a * b + c``, rounded once where the processor has a fused multiply-add (see intrinsics.muladd)."""
    traced = leader(a, b, c)
    return a * b + c if traced is None else traced.muladd(a, b, c)


def select(condition, a, b):
    """`a` where the condition holds, else `b`. Both are computed: there is no branch."""
    traced = leader(condition, a, b)
    if traced is not None:
        return traced.select(condition, a, b)
    return _chosen(condition, a, b) if isinstance(condition, np.ndarray) else a if condition else b


def copysign(x, y):
    """`x` with the sign of `y`."""
    traced = leader(x, y)
    return np.copysign(x, y) if traced is None else traced.copysign(x, y)


def maximum(a, b):
    """The larger one; NaN where one of them is NaN, as ``torch.maximum`` and ``torch.clamp`` have it."""
    if is_literal(a):
        a, b = b, a
    return select((a > b) | (a != a), a, b)


def minimum(a, b):
    """The smaller one; NaN where one of them is NaN."""
    if is_literal(a):
        a, b = b, a
    return select((a < b) | (a != a), a, b)


def float_to_bits(x):
    """The bits of a float as the signed integer of the same size."""
    return x.float_to_bits() if isinstance(x, Number) else x.view(SAME_SIZE[x.dtype])


#: The float whose bits are those of an integer.
bits_to_float = float_to_bits


def expression(function: Callable | None = None, *, slope: Callable | None = None) -> Callable:
    """Decorate a formula of one number: compiled code may call it too, and has it emitted in place.

    `slope` is its derivative, a function of the argument `x`, or of the result `y`; without one the formula itself is
    differentiated.

    Numba gets to know the function as it is, by its type and what it emits. ``@overload`` would put a function of its own
    between caller and formula, which costs 70 ms to compile, some thirty times.
    """
    if function is None:
        return lambda function: expression(function, slope=slope)

    @functools.wraps(function)
    def call(x):
        if isinstance(x, Number):
            return x.apply(function, slope)
        return function(np.float64(x) if is_literal(x) else x)

    @type_callable(call)
    def typed(context):
        return lambda x: x if x in (types.float32, types.float64) else None  # None: Numba says that there is no such function

    @lower_builtin(call, types.Float)
    def emit(context, builder, signature, args):
        dtype = F32 if signature.args[0] == types.float32 else F64
        return as_llvm(function(Value(builder, dtype, args[0])), dtype, 1)

    return call


@expression(slope=lambda y: 0.5 / y)
def sqrt(x):
    """The square root."""
    return x.sqrt() if isinstance(x, Number) else np.sqrt(x)


def plain(function: Callable) -> Callable:
    """The Python function of one that Numba has compiled; any other as it is."""
    return getattr(function, "py_func", function)
