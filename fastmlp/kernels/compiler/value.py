"""The numbers that formulas are traced with: a number of a kernel, which has an operator's instruction emitted.

:class:`Number` says what a formula may not do, :class:`Value` what it may; see :mod:`.expression`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

__all__ = ["Choice", "Condition", "Number", "Value", "as_llvm", "is_literal"]

BOOL, F32, F64, I32, I64 = map(np.dtype, (np.bool_, np.float32, np.float64, np.int32, np.int64))
LLVM = {BOOL: ir.IntType(1), F32: ir.FloatType(), F64: ir.DoubleType(), I32: ir.IntType(32), I64: ir.IntType(64)}
SAME_SIZE = {F32: I32, F64: I64, I32: F32, I64: F64}

#: ``x ** n`` is written out as multiplications up to here.
LARGEST_POWER = 64

# Operators as NumPy calls them: what `np.float32(2) * x` means is for x to say.
ARITHMETIC = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv}
ORDER = {"less": operator.lt, "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge}
EQUALITY = {"equal": operator.eq, "not_equal": operator.ne}
UFUNCS: dict[str, Callable] = {**ARITHMETIC, **ORDER, **EQUALITY, "power": operator.pow}


def is_literal(x: Any) -> bool:
    """Whether a number is one of Python's: without a dtype, and known while a formula is traced."""
    return type(x) in (int, float)


class _NoSuchNameError(AttributeError, TypeError):
    """A formula asks a number for what it does not have; still what ``hasattr`` expects."""


class Number:
    """What a formula computes with while it is traced: says what is not allowed. `Value` and `Dual` say what is."""

    rank = 0  # the number of the highest rank decides what a function of several does

    def __bool__(self):
        raise TypeError(
            "a formula has no branches: `if`, `and`, `or`, `not`, `min` and `max` need a number now, which the kernel will "
            "have later; use select(condition, a, b), `&`, `|`, `~`, minimum and maximum"
        )

    def _not_a_number_yet(self, *_):
        raise TypeError(
            "float(x), int(x), round(x) and functions of the math module need a number now, which the kernel will have "
            "later; use the functions of fm.math"
        )

    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _not_a_number_yet

    def __iter__(self):
        raise TypeError("a formula computes with one number at a time; it cannot be iterated, summed or unpacked")

    def __getattr__(self, name):
        raise _NoSuchNameError(f"a number of a formula has no {name!r}; use operators and the functions of fm.math")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """``np.float32(2) * x`` arrives here, and so does ``np.exp(x)``."""
        if ufunc.__name__ not in UFUNCS or method != "__call__" or options:
            raise TypeError(
                f"np.{ufunc.__name__} computes with arrays, not with the numbers of a formula; use the functions of fm.math"
            )
        first, *rest = inputs
        if not isinstance(first, Number):  # NumPy compares its scalars as arrays of no dimension
            first = self.constant(first if is_literal(first) else first[()])
        return UFUNCS[ufunc.__name__](first, *rest)

    def __array_function__(self, function, *_):
        raise TypeError(
            f"np.{function.__name__} computes with arrays, not with the numbers of a formula; use select, minimum, maximum "
            "and the other functions of fm.math"
        )

    def __array__(self, *_, **__):
        raise TypeError("a number of a formula cannot become an array; use the functions of fm.math")

    def __pow__(self, exponent):
        if not is_literal(exponent) or exponent != int(exponent) or abs(exponent) > LARGEST_POWER:
            raise TypeError(
                f"x ** n is for whole numbers n from -{LARGEST_POWER} to {LARGEST_POWER}, given as Python numbers; "
                f"got {exponent if is_literal(exponent) else type(exponent).__name__}; use sqrt(x) or exp(n * log(x))"
            )
        return self.power(int(exponent))

    def __rpow__(self, base):
        raise TypeError(f"{base!r} ** x is not a formula; use exp(x * log(base))")

    def __rshift__(self, other):
        return NotImplemented

    def __pos__(self):
        return self


def leader(*numbers: Any) -> Any:
    """The traced number that says what a function of these numbers means, if one of them is traced."""
    traced = [x for x in numbers if isinstance(x, Number)]
    return max(traced, key=lambda x: x.rank) if traced else None


def as_llvm(x: Any, dtype: np.dtype, lanes: int) -> ir.Value:
    """The LLVM value of a number: a `Value` of this dtype, or a constant, which is repeated for all lanes."""
    if isinstance(x, Value):
        if x.dtype != dtype:
            raise two_dtypes(dtype, x.dtype)
        return x.llvm
    if type(x) in (bool, int, float):
        if type(x) is float and dtype.kind != "f":
            raise two_dtypes(dtype, "a Python float")
    elif not isinstance(x, np.generic):
        raise TypeError(f"a formula combines numbers; got {type(x).__name__}")
    elif x.dtype != dtype:
        raise two_dtypes(dtype, x.dtype)
    with np.errstate(over="ignore"):
        number = dtype.type(x).item()
    llvm = LLVM[dtype]
    return ir.Constant(llvm, number) if lanes == 1 else ir.Constant(ir.VectorType(llvm, lanes), [number] * lanes)


def two_dtypes(first, second):
    """The error of a formula that combines two dtypes."""
    if "bool" in (str(first), str(second)):
        return TypeError("a comparison is no number: use select(condition, a, b), which has both branches")
    return TypeError(
        f"an expression combines numbers of one dtype; got {first} and {second}; constants are best Python numbers "
        "(float(np.sqrt(2)), math.pi), which take the dtype of what they meet"
    )


def _operator(floating, integer):
    """A binary operator, and the same with its operands in reverse: names of llvmlite's methods for floats and integers."""

    def of(like, left, right):
        emit = getattr(like.builder, floating if like.dtype.kind == "f" else integer)
        return Value(like.builder, like.dtype, emit(left, right))

    def forward(self, other):
        return NotImplemented if _outranks(other) else of(self, self.llvm, self.operand(other))

    def reverse(self, other):
        return of(self, self.operand(other), self.llvm)

    return forward, reverse


def _outranks(other):
    return isinstance(other, Number) and not isinstance(other, Value)


def _comparison(sign):
    def compare(self, other):
        if _outranks(other):
            return NotImplemented
        if self.dtype.kind == "i":
            emit = self.builder.icmp_signed
        else:  # NaN is not equal to itself, and every other comparison with it is false
            emit = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return Condition(self.builder, self.dtype, emit(sign, self.llvm, self.operand(other)))

    return compare


class Value(Number):
    """A number that the kernel will have: a dtype, and an LLVM value of that type or a vector of it."""

    rank = 1

    def __init__(self, builder: ir.IRBuilder, dtype: np.dtype, llvm: ir.Value):
        self.builder, self.dtype, self.llvm = builder, dtype, llvm

    @property
    def lanes(self) -> int:
        """How many numbers: 1 is a scalar, more a vector."""
        return self.llvm.type.count if isinstance(self.llvm.type, ir.VectorType) else 1

    def operand(self, other: Any) -> ir.Value:
        """The LLVM value of another number, which has, or takes, the dtype of this one."""
        return as_llvm(other, self.dtype, self.lanes)

    def constant(self, x: Any) -> Value:
        """A constant beside this number."""
        return Value(self.builder, self.dtype, self.operand(x))

    def call(self, name: str, *others: Any) -> Value:
        """One of LLVM's own functions, of this number and others."""
        arguments = [self.llvm, *map(self.operand, others)]
        signature = ir.FunctionType(arguments[0].type, [x.type for x in arguments])
        of = f"f{8 * self.dtype.itemsize}"
        name = f"llvm.{name}.{of if self.lanes == 1 else f'v{self.lanes}{of}'}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return Value(self.builder, self.dtype, self.builder.call(function, arguments))

    __add__, __radd__ = _operator("fadd", "add")
    __sub__, __rsub__ = _operator("fsub", "sub")
    __mul__, __rmul__ = _operator("fmul", "mul")
    __truediv__, __rtruediv__ = _operator("fdiv", "none for integers")
    __and__, __rand__ = _operator("none for floats", "and_")
    __or__, __ror__ = _operator("none for floats", "or_")
    __lshift__, _ = _operator("none for floats", "shl")
    __rshift__, _ = _operator("none for floats", "ashr")
    __lt__, __gt__, __le__, __ge__ = (_comparison(sign) for sign in ("<", ">", "<=", ">="))
    __eq__, __ne__ = _comparison("=="), _comparison("!=")  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self):
        return Value(self.builder, self.dtype, self.builder.fneg(self.llvm))

    def __abs__(self):
        return self.call("fabs")

    # What the functions below do where a Value is among their arguments.

    def apply(self, formula, slope):
        return formula(self)

    def power(self, n):
        """By repeated squaring."""
        if n < 2:
            return self if n == 1 else self.constant(1) if n == 0 else 1 / self.power(-n)
        half = (self * self).power(n // 2)
        return half * self if n % 2 else half

    def muladd(self, a, b, c):
        return self.constant(a).call("fmuladd", b, c)

    def select(self, condition, a, b):
        return Choice(condition, a, b) if isinstance(condition, Condition) else a if condition else b

    def copysign(self, x, y):
        return self.constant(x).call("copysign", y)

    def sqrt(self):
        return self.call("sqrt")

    def float_to_bits(self):
        dtype, lanes = SAME_SIZE[self.dtype], self.lanes
        llvm = LLVM[dtype] if lanes == 1 else ir.VectorType(LLVM[dtype], lanes)
        return Value(self.builder, dtype, self.builder.bitcast(self.llvm, llvm))


class Condition(Value):
    """A truth that the kernel will know, and the dtype of the numbers that were compared."""

    def __init__(self, builder: ir.IRBuilder, compared: np.dtype, llvm: ir.Value):
        super().__init__(builder, BOOL, llvm)
        self.compared = compared

    def _combine(self, emit, other):
        return Condition(self.builder, self.compared, emit(self.llvm, self.operand(other)))

    def __and__(self, other):
        return self._combine(self.builder.and_, other)

    def __or__(self, other):
        return self._combine(self.builder.or_, other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self):
        return Condition(self.builder, self.compared, self.builder.not_(self.llvm))


class Choice(Value):
    """What `select` gives. It remembers its branches, and emits the selection where that is used as a number."""

    def __init__(self, condition: Condition, a: Any, b: Any):
        self.builder, self.condition, self.a, self.b = condition.builder, condition, a, b
        known = [x.dtype for x in (a, b) if not is_literal(x)]
        self.dtype = known[0] if known else condition.compared
        if known and known[-1] != self.dtype:
            raise two_dtypes(*known)

    @property
    def lanes(self) -> int:
        return self.condition.lanes

    @property
    def llvm(self) -> ir.Value:  # type: ignore[override]
        if "emitted" not in vars(self):
            self.emitted = self.builder.select(self.condition.llvm, self.operand(self.a), self.operand(self.b))
        return self.emitted
