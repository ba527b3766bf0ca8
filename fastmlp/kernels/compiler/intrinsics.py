"""The few instructions Numba has no name for, each above the plain-Python twin that runs when the JIT is off."""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import borrowed_array

__all__ = ["flush_subnormals", "least", "matrix", "muladd", "restore_rounding", "splat", "vector"]

INT = ir.IntType(64)


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


#: What makes results flush to zero, in the control register of x86-64 and of AArch64.
FLUSH = {"x86_64": 1 << 15, "amd64": 1 << 15, "aarch64": 1 << 24, "arm64": 1 << 24}.get(platform.machine().lower(), 0)


@intrinsic
def _flush_subnormals(typingctx):
    def codegen(context, builder, signature, args):
        if not FLUSH:
            return ir.Constant(INT, 0)
        before = _read_control(builder)
        _write_control(builder, builder.or_(before, INT(FLUSH)))
        return before

    return types.int64(), codegen


@instead(_flush_subnormals)
def flush_subnormals():
    """From here on, results of this thread that are too small for a normal number are zero; for :func:`restore_rounding`.

    A processor takes a hundred cycles or more for an instruction that meets a subnormal number, and gradients of rows that a
    network is sure of, and momenta of units that are dead, end there.
    """
    return 0


@intrinsic
def _restore_rounding(typingctx, before):
    def codegen(context, builder, signature, args):
        if FLUSH:
            _write_control(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@instead(_restore_rounding)
def restore_rounding(before):
    """Round as before :func:`flush_subnormals`."""


def _read_control(builder):
    """The control register of floating-point arithmetic, as 64 bits."""
    if FLUSH == 1 << 24:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(INT, []), "llvm.aarch64.get.fpcr")
        return builder.call(function, [])
    place = cgutils.alloca_once(builder, ir.IntType(32))
    function_type = ir.FunctionType(ir.VoidType(), [ir.PointerType()])
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse.stmxcsr"), [place])
    return builder.zext(builder.load(place, typ=ir.IntType(32)), INT)


def _write_control(builder, value):
    if FLUSH == 1 << 24:
        function_type = ir.FunctionType(ir.VoidType(), [INT])
        builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.aarch64.set.fpcr"), [value])
        return
    place = cgutils.alloca_once(builder, ir.IntType(32))
    builder.store(builder.trunc(value, ir.IntType(32)), place)
    function_type = ir.FunctionType(ir.VoidType(), [ir.PointerType()])
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse.ldmxcsr"), [place])
