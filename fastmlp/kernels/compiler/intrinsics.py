"""The few instructions Numba has no name for, each above the plain-Python twin that runs when the JIT is off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import borrowed_array, data_of, link_function
from fastmlp.kernels.compiler.processor import FLUSHES

__all__ = [
    "flush_subnormals",
    "fused_multiply_add",
    "itemsize_of",
    "least",
    "matrix",
    "muladd",
    "opaque",
    "own_function",
    "restore_rounding",
    "splat",
    "untyped",
    "vector",
]


def own_function(
    context: Any, builder: ir.IRBuilder, name: str, kinds: Sequence[ir.Type], write: Callable[[ir.Function], None]
) -> ir.Function:
    """A function of ours that takes these kinds of values and returns nothing, for whoever emits a call of it.

    Its name tells it from all others. `write` fills it in, once a process, in a module of its own, and may add others there.
    """
    signature = ir.FunctionType(ir.VoidType(), kinds)
    link_function(context, name, lambda module: write(ir.Function(module, signature, name)))
    return cgutils.get_or_insert_function(builder.module, signature, name)


def splat(builder: ir.IRBuilder, x: ir.Value, lanes: int) -> ir.Value:
    """A vector whose entries are all `x`, for whoever emits instructions."""
    vector = ir.VectorType(x.type, lanes)
    undefined, zeros = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(builder.insert_element(undefined, x, ir.IntType(32)(0)), undefined, zeros)


def fused_multiply_add(module: ir.Module, vector: ir.VectorType, itemsize: int) -> ir.Function:
    """The instruction of :func:`muladd` for vectors whose entries have so many bytes, for whoever emits instructions."""
    name = f"llvm.fmuladd.v{vector.count}f{8 * itemsize}"
    return cgutils.get_or_insert_function(module, ir.FunctionType(vector, [vector] * 3), name)


def opaque(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """A whole number or a pointer, of whose origin LLVM knows nothing: what an empty line of assembly gives."""
    return builder.call(ir.InlineAsm(ir.FunctionType(x.type, [x.type]), "", "=r,0"), [x])


def untyped(builder: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    """A pointer to anything, for whoever emits instructions.

    llvmlite refuses to store another type through a pointer whose type it knows, and casts none that LLVM has as one type.
    """
    empty = ir.Constant(ir.LiteralStructType([POINTER]), ir.Undefined)
    return builder.extract_value(builder.insert_value(empty, pointer, 0), 0)


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


@intrinsic
def _itemsize_of(typingctx, array):
    def codegen(context, builder, signature, args):
        return context.get_constant(types.int64, context.get_abi_sizeof(context.get_data_type(array.dtype)))

    return types.int64(array), codegen


@instead(_itemsize_of)
def itemsize_of(array):
    """Bytes of an entry, a constant: Numba reads ``array.itemsize`` from the array, so what is divided by it is at run time."""
    return array.itemsize


def _borrow(context, builder, array_type, flat_type, flat, offset, shape):
    """An array structure that points into `flat` and owns nothing: Numba counts no references to it."""
    entry = context.get_data_type(flat_type.dtype)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(entry))
    strides = [itemsize]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    start = builder.gep(data_of(context, builder, flat_type, flat), [offset], source_etype=entry)
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


#: The flag of x86-64's control register (MXCSR) that flushes results to zero.
FLUSH_TO_ZERO = 1 << 15

CONTROL, POINTER = ir.IntType(32), ir.PointerType()


def _control_register(builder, name, place):
    """Store the control register (stmxcsr), or load it (ldmxcsr)."""
    function_type = ir.FunctionType(ir.VoidType(), [POINTER])
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"llvm.x86.sse.{name}"), [place])


@intrinsic
def _flush_subnormals(typingctx):
    def codegen(context, builder, signature, args):
        if not FLUSHES:
            return CONTROL(0)
        place = cgutils.alloca_once(builder, CONTROL)
        _control_register(builder, "stmxcsr", place)
        before = builder.load(place, typ=CONTROL)
        builder.store(builder.or_(before, CONTROL(FLUSH_TO_ZERO)), place)
        _control_register(builder, "ldmxcsr", place)
        return before

    return types.uint32(), codegen


@instead(_flush_subnormals)
def flush_subnormals():
    """From here on, results of this thread that are subnormal are zero; what it returns is for :func:`restore_rounding`.

    An instruction that takes or makes a subnormal number may cost an x86-64 processor a hundred cycles and more. What is read
    stays what it is (the mode "denormals are zero" is not set): where numbers begin to be zero, log and comparisons would jump.
    On other processors nothing happens, nor in plain Python: AArch64's mode flushes what is read, too.
    """
    return 0


@intrinsic
def _restore_rounding(typingctx, before):
    def codegen(context, builder, signature, args):
        if FLUSHES:
            place = cgutils.alloca_once(builder, CONTROL)
            builder.store(args[0], place)
            _control_register(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


@instead(_restore_rounding)
def restore_rounding(before):
    """The control register as it was before :func:`flush_subnormals`, all of it."""
