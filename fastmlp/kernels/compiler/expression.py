"""Formulas, written once in plain Python on numbers: NumPy computes with them, kernels have them emitted as LLVM instructions.

A formula is made of operators and of the functions below. What it computes with decides what it does:

- NumPy scalars and arrays: it computes, as any Python function does.
- :class:`Value`, a number that a kernel will have: every operation appends an LLVM instruction to the kernel, on a scalar or on
  a vector of `lanes` numbers. Loops over coefficients are unrolled and constants looked up while the kernel is compiled, and
  Numba never sees the formula, so it has nothing to type or to lower.
- :class:`~.derivative.Dual`, a number with its derivative: it is differentiated (forward mode), and what is emitted or
  computed is the derivative.

Dtypes are NumPy's: a Python number is weak, it takes the dtype of what it meets; NumPy scalars, arrays and values have a
definite dtype, and neither NumPy nor LLVM converts anything: two dtypes in one operation are an error.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

__all__ = [
    "Choice",
    "Condition",
    "Number",
    "Value",
    "as_llvm",
    "bits_to_float",
    "branches",
    "copysign",
    "expression",
    "float_to_bits",
    "is_literal",
    "maximum",
    "minimum",
    "muladd",
    "select",
    "sqrt",
]

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
            "later; use the functions of fastmlp.kernels.elementary"
        )

    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _not_a_number_yet

    def __iter__(self):
        raise TypeError("a formula computes with one number at a time; it cannot be iterated, summed or unpacked")

    def __getattr__(self, name):
        raise _NoSuchNameError(
            f"a number of a formula has no {name!r}; use operators and functions of fastmlp.kernels.elementary"
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """``np.float32(2) * x`` arrives here, and so does ``np.exp(x)``."""
        if ufunc.__name__ not in UFUNCS or method != "__call__" or options:
            raise TypeError(
                f"np.{ufunc.__name__} computes with arrays, not with the numbers of a formula; "
                f"use the functions of fastmlp.kernels.elementary"
            )
        first, *rest = inputs
        if not isinstance(first, Number):  # NumPy compares its scalars as arrays of no dimension
            first = self.constant(first if is_literal(first) else first[()])
        return UFUNCS[ufunc.__name__](first, *rest)

    def __array_function__(self, function, *_):
        raise TypeError(
            f"np.{function.__name__} computes with arrays, not with the numbers of a formula; use select, minimum, maximum "
            "and the functions of fastmlp.kernels.elementary"
        )

    def __array__(self, *_, **__):
        raise TypeError("a number of a formula cannot become an array; use the functions of fastmlp.kernels.elementary")

    def __pow__(self, exponent):
        if not is_literal(exponent) or exponent != int(exponent) or abs(exponent) > LARGEST_POWER:
            raise TypeError(
                f"x ** n is for whole numbers n from -{LARGEST_POWER} to {LARGEST_POWER}, given as Python numbers; "
                f"got {exponent!r}; use sqrt(x) or exp(n * log(x))"
            )
        return self.power(int(exponent))

    def __rpow__(self, base):
        raise TypeError(f"{base!r} ** x is not a formula; use exp(x * log(base))")

    def __rshift__(self, other):
        return NotImplemented

    def __pos__(self):
        return self


def _leader(*numbers):
    """The traced number that says what a function of these numbers means, if one of them is traced."""
    traced = [x for x in numbers if isinstance(x, Number)]
    return max(traced, key=lambda x: x.rank) if traced else None


def as_llvm(x: Any, dtype: np.dtype, lanes: int) -> ir.Value:
    """The LLVM value of a number: a `Value` of this dtype, or a constant, which is repeated for all lanes."""
    if isinstance(x, Value):
        if x.dtype != dtype:
            raise _two_dtypes(dtype, x.dtype)
        return x.llvm
    if type(x) in (bool, int, float):
        if type(x) is float and dtype.kind != "f":
            raise _two_dtypes(dtype, "a Python float")
    elif not isinstance(x, np.generic):
        raise TypeError(f"a formula combines numbers; got {type(x).__name__}")
    elif x.dtype != dtype:
        raise _two_dtypes(dtype, x.dtype)
    with np.errstate(over="ignore"):
        number = dtype.type(x).item()
    llvm = LLVM[dtype]
    return ir.Constant(llvm, number) if lanes == 1 else ir.Constant(ir.VectorType(llvm, lanes), [number] * lanes)


def _two_dtypes(first, second):
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
            raise _two_dtypes(*known)

    @property
    def lanes(self) -> int:
        return self.condition.lanes

    @property
    def llvm(self) -> ir.Value:  # type: ignore[override]
        if "emitted" not in vars(self):
            self.emitted = self.builder.select(self.condition.llvm, self.operand(self.a), self.operand(self.b))
        return self.emitted


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
    leader = _leader(a, b, c)
    return a * b + c if leader is None else leader.muladd(a, b, c)


def select(condition, a, b):
    """`a` where the condition holds, else `b`. Both are computed: there is no branch."""
    leader = _leader(condition, a, b)
    if leader is not None:
        return leader.select(condition, a, b)
    return _chosen(condition, a, b) if isinstance(condition, np.ndarray) else a if condition else b


def copysign(x, y):
    """`x` with the sign of `y`."""
    leader = _leader(x, y)
    return np.copysign(x, y) if leader is None else leader.copysign(x, y)


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
