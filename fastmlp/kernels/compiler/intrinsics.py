"""The few instructions Numba has no name for, each above the plain-Python twin that runs when the JIT is off."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import borrowed_array

__all__ = ["least", "matrix", "muladd", "splat", "vector"]


def splat(builder: ir.IRBuilder, x: ir.Value, lanes: int) -> ir.Value:
    """A vector whose entries are all `x`, for whoever emits instructions."""
    vector = ir.VectorType(x.type, lanes)
    undefined, zeros = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(builder.insert_element(undefined, x, ir.IntType(32)(0)), undefined, zeros)


@intrinsic
def _muladd(typingctx, a, b, c):
    def codegen(context, builder, signature, args):
        scalar = args[0].type
        name = f"llvm.fmuladd.{'f32' if isinstance(scalar, ir.FloatType) else 'f64'}"
        function_type = ir.FunctionType(scalar, [scalar] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)

    return a(a, a, a), codegen


@instead(_muladd)
def muladd(a, b, c):
    """``a * b + c``, rounded once where the processor has a fused multiply-add.

    ``llvm.fmuladd`` rather than ``llvm.fma``: the latter is a call into libm on a processor without the instruction.
    """
    return a * b + c


@intrinsic
def _least(typingctx, a, b):
    def codegen(context, builder, signature, args):
        a, b = args
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    return types.int64(types.int64, types.int64), codegen


@instead(_least)
def least(a, b):
    """The smaller one of two whole numbers: Numba's ``min`` is a function of its own, 20 ms to compile for each block."""
    return min(a, b)


def _borrow(context, builder, array_type, flat_type, flat, offset, shape):
    """An array structure that points into `flat` and owns nothing: Numba counts no references to it."""
    source = context.make_array(flat_type)(context, builder, flat)
    entry = context.get_data_type(flat_type.dtype)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(entry))
    strides = [itemsize]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    start = builder.gep(source.data, [offset], source_etype=entry)
    return borrowed_array(context, builder, array_type, start, shape, strides, itemsize)


@intrinsic
def _matrix(typingctx, flat, offset, rows, stride):
    result = types.Array(flat.dtype, 2, "C")

    def codegen(context, builder, signature, args):
        return _borrow(context, builder, result, signature.args[0], args[0], args[1], [args[2], args[3]])

    return result(flat, types.intp, types.intp, types.intp), codegen


@instead(_matrix)
def matrix(flat, offset, rows, stride):
    """The `rows` rows of `stride` entries that begin at ``flat[offset]``, as a 2-D array; no copy, no reference count."""
    step = flat.itemsize
    return as_strided(flat[offset:], (rows, stride), (stride * step, step))


@intrinsic
def _vector(typingctx, flat, offset, size):
    result = types.Array(flat.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        return _borrow(context, builder, result, signature.args[0], args[0], args[1], [args[2]])

    return result(flat, types.intp, types.intp), codegen


@instead(_vector)
def vector(flat, offset, size):
    """The `size` entries that begin at ``flat[offset]``, as a 1-D array; no copy, no reference count."""
    return flat[offset : offset + size]
