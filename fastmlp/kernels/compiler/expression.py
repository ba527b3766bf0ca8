"""Functions of one number, written once: plain Python computes with them, kernels have them written out in place.

Numba never sees the body of an `expression`. Where a kernel calls one, the Python function runs, once, while the kernel is
compiled, with a :class:`Value` for its argument, and every operation on that appends an LLVM instruction to the kernel. So
constants are looked up by dtype and loops over coefficients unrolled in plain Python, and Numba has nothing to type or to
lower. What comes out is straight-line code, so LLVM vectorises the loop around it.

An expression is made of the operators that :class:`Value` has and of the functions below. Every number in it is a NumPy scalar
of a definite dtype, and an operation takes two of the same: neither NumPy nor LLVM converts anything.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.jit import instead

__all__ = ["Value", "bits_to_float", "copysign", "expression", "float_to_bits", "muladd", "select"]

BOOL, F32, F64, I32, I64 = map(np.dtype, (np.bool_, np.float32, np.float64, np.int32, np.int64))
LLVM = {BOOL: ir.IntType(1), F32: ir.FloatType(), F64: ir.DoubleType(), I32: ir.IntType(32), I64: ir.IntType(64)}
SAME_SIZE = {F32: I32, F64: I64, I32: F32, I64: F64}


def _operator(floating, integer):
    """A binary operator, and the same with its operands in reverse: names of llvmlite's methods for floats and integers."""

    def of(builder, dtype, left, right):
        lanes = left.type.count if isinstance(left.type, ir.VectorType) else 1
        return Value(builder, dtype, getattr(builder, floating if dtype.kind == "f" else integer)(left, right))

    def forward(self, other):
        return of(self.builder, self.dtype, self.llvm, self.operand(other))

    def reverse(self, other):
        return of(self.builder, self.dtype, self.operand(other), self.llvm)

    return forward, reverse


def _comparison(sign):
    def compare(self, other):
        r = Value(self.builder, BOOL, self.builder.fcmp_ordered(sign, self.llvm, self.operand(other)))
        r.of = self.dtype
        return r

    return compare


def constant(dtype, lanes, number):
    number = bool(number) if dtype == BOOL else float(number) if dtype.kind == "f" else int(number)
    if lanes == 1:
        return ir.Constant(LLVM[dtype], number)
    return ir.Constant(ir.VectorType(LLVM[dtype], lanes), [number] * lanes)


def llvm_type(dtype, lanes):
    return LLVM[dtype] if lanes == 1 else ir.VectorType(LLVM[dtype], lanes)


class Value:
    """A number that the kernel will have: a dtype, and an LLVM value."""

    __array_ufunc__ = None  # what np.float32(2) * value means is for the value to say

    def __init__(self, builder, dtype, llvm):
        self.builder, self.dtype, self.llvm = builder, dtype, llvm
        self.lanes = llvm.type.count if isinstance(llvm.type, ir.VectorType) else 1

    def operand(self, other):
        """The LLVM value of a number, itself a Value or a NumPy scalar, that has the dtype of this one."""
        if isinstance(other, (int, float)):
            return constant(self.dtype, self.lanes, other)
        if other.dtype != self.dtype:
            raise TypeError(f"an expression combines numbers of one dtype; got {self.dtype} and {other.dtype}")
        return other.llvm if isinstance(other, Value) else constant(self.dtype, self.lanes, other.item())

    def call(self, name, *others):
        """One of LLVM's own functions, of this number and others."""
        arguments = [self.operand(x) for x in (self, *others)]
        signature = ir.FunctionType(arguments[0].type, [x.type for x in arguments])
        name = f"llvm.{name}.{'' if self.lanes == 1 else f'v{self.lanes}'}f{8 * self.dtype.itemsize}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return Value(self.builder, self.dtype, self.builder.call(function, arguments))

    __add__, __radd__ = _operator("fadd", "add")
    __sub__, __rsub__ = _operator("fsub", "sub")
    __mul__, __rmul__ = _operator("fmul", "mul")
    __truediv__, __rtruediv__ = _operator("fdiv", "none for integers")
    __and__, _ = _operator("none for floats", "and_")
    __lshift__, _ = _operator("none for floats", "shl")
    __rshift__, _ = _operator("none for floats", "ashr")
    __lt__, __gt__ = _comparison("<"), _comparison(">")

    def __neg__(self):
        return Value(self.builder, self.dtype, self.builder.fneg(self.llvm))

    def __abs__(self):
        return self.call("fabs")


def _as_value(x, other):
    """A number as a Value, where `other` is one."""
    if isinstance(x, Value):
        return x
    dtype = other.dtype if isinstance(x, (int, float)) else x.dtype
    return Value(other.builder, dtype, constant(dtype, other.lanes, x if isinstance(x, (int, float)) else x.item()))


def muladd(a, b, c):
    """``a * b + c``, rounded once where the processor has a fused multiply-add (see intrinsics.muladd)."""
    for x in (a, b, c):
        if isinstance(x, Value):
            return _as_value(a, x).call("fmuladd", b, c)
    return a * b + c


def select(condition, a, b):
    """`a` where the condition holds, else `b`. Both are computed: there is no branch."""
    if not isinstance(condition, Value):
        return a if condition else b
    other = next((x for x in (a, b) if isinstance(x, Value)), None)
    if other is None:
        dt = getattr(a, "dtype", None) or getattr(b, "dtype", None) or condition.of
        other = Value(condition.builder, dt, constant(dt, condition.lanes, 0))
    a = _as_value(a, other)
    return Value(a.builder, a.dtype, a.builder.select(condition.llvm, a.llvm, a.operand(b)))


def copysign(x, y):
    """`x` with the sign of `y`."""
    return x.call("copysign", y) if isinstance(x, Value) else np.copysign(x, y)


def float_to_bits(x):
    """The bits of a float as the signed integer of the same size."""
    dtype = SAME_SIZE[x.dtype]
    if not isinstance(x, Value):
        return x.view(dtype)
    return Value(x.builder, dtype, x.builder.bitcast(x.llvm, llvm_type(dtype, x.lanes)))


#: The float whose bits are those of an integer.
bits_to_float = float_to_bits


def expression(function):
    """Decorate a function of one float32 or float64: its result, of the same dtype, is emitted wherever a kernel calls it."""

    @intrinsic
    def compiled(typingctx, x):
        if x not in (types.float32, types.float64):
            return None  # Numba says that there is no such function

        def codegen(context, builder, signature, args):
            return function(Value(builder, F32 if x is types.float32 else F64, args[0])).llvm

        return x(x), codegen

    result = instead(compiled)(function)
    FORMULAS[id(result)] = function
    return result


FORMULAS = {}


def derivative(value):
    def slope(out, y):
        return 2 * (out - y)

    return slope


def scaled(dy, slope):
    return dy * slope
