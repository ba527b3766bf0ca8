"""A formula over flat arrays, as one explicit loop over whole lines of vectors.

Arrays here are whole 64-byte lines, so there is no remainder, and a step loads everything before it stores anything, so an
output may be an input. LLVM's vectoriser has to prove, or to check as the kernel runs, what is known here, and emits a scalar
loop beside; this emits the vectors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import chain, count

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from fastmlp.kernels.compiler.expression import F32, F64, LLVM, Value, as_llvm
from fastmlp.kernels.compiler.processor import REGISTER_BYTES

__all__ = ["lines_pass"]

LINE_BYTES = 64
INDEX, POINTER = ir.IntType(64), ir.PointerType()
NUMBER = count()
DTYPES = {types.float32: F32, types.float64: F64}


def lines_pass(formula: Callable, inputs: int, outputs: int = 1, constants: int = 0) -> Callable:
    """A function for kernels: ``run(size, in0, at0, ..., out0, at0, ..., c, at)`` computes `size` entries of each output.

    Parameters
    ----------
    formula
        ``formula(*inputs, *constants)`` gives the output, or a tuple of them, of numbers (see :mod:`.expression`).
    inputs, outputs, constants
        How many of each. An array is flat and C-contiguous, of float32 or float64, all of one dtype T, and is followed by the
        entry where the pass begins. Constants are adjacent entries of the last array, loaded once; where there are none, it may
        be any. An output may be the memory of an input, entry for entry; they must not overlap otherwise. `size` is a multiple
        of the entries of a line.

    Returns
    -------
    callable
        With an attribute ``instructions(dtype)``: the LLVM instructions as text, which tell formulas apart in every process.
    """
    arrays = inputs + outputs

    def run(size, *arguments):
        places = zip(arguments[0 : 2 * arrays : 2], arguments[1 : 2 * arrays : 2])
        parts = [array[at : at + size] for array, at in places]
        numbers = [arguments[-2][arguments[-1] + k] for k in range(constants)]
        with np.errstate(all="ignore"):  # as machine code
            results = as_tuple(formula(*parts[:inputs], *numbers))
        results = [np.array(x) for x in results]  # an input may be among them
        for part, result in zip(parts[inputs:], results):
            part[...] = result

    def as_tuple(results):
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != outputs:
            raise TypeError(f"the formula is to give {outputs} numbers; got {len(results)}")
        return results

    @type_callable(run)
    def typed(context):
        def signature(size, *arguments):
            dtype = getattr(arguments[0], "dtype", None)
            if dtype not in DTYPES:
                return None
            array = types.Array(dtype, 1, "C")
            if any(given != array for given in arguments[0::2]):
                return None
            return types.void(types.intp, *[array, types.intp] * (arrays + 1))

        names = ["size", *chain.from_iterable((f"array{k}", f"at{k}") for k in range(arrays + 1))]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature.pysig = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
        return signature

    name = f"fastmlp_lines_{next(NUMBER)}"
    function_type = ir.FunctionType(ir.VoidType(), [INDEX, *[POINTER] * (arrays + 1)])

    @lower_builtin(run, types.VarArg(types.Any))
    def emit(context, builder, signature, args):
        scalar, dtype = signature.args[1].dtype, DTYPES[signature.args[1].dtype]
        starts = []
        for k in range(1, 2 * arrays + 2, 2):
            data = context.make_array(signature.args[k])(context, builder, args[k]).data
            starts.append(builder.gep(data, [args[k + 1]], source_etype=context.get_data_type(scalar)))
        function = cgutils.get_or_insert_function(builder.module, function_type, f"{name}_f{8 * dtype.itemsize}")
        if function.is_declaration:
            function.linkage = "internal"
            write(function, dtype)
        builder.call(function, [args[0], *starts])
        return context.get_dummy_value()

    def write(function, dtype):
        itemsize, lanes, vectors = dtype.itemsize, REGISTER_BYTES // dtype.itemsize, LINE_BYTES // REGISTER_BYTES
        vector = ir.VectorType(LLVM[dtype], lanes)
        size, *starts, numbers = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        at = [builder.gep(numbers, [INDEX(k)], source_etype=vector.element) for k in range(constants)]
        repeated = [Value(builder, dtype, _splat(builder, builder.load(x, typ=vector.element), vector)) for x in at]
        # One line in an iteration: LLVM unrolls a short loop, such as a ReLU's, four times; where a formula is long, the
        # processor has several iterations under way anyway.
        with cgutils.for_range(builder, builder.sdiv(size, INDEX(LINE_BYTES // itemsize))) as loop:
            first = builder.mul(loop.index, INDEX(vectors))
            shifts = [builder.add(first, INDEX(v)) for v in range(vectors)]
            places = [[builder.gep(start, [shift], source_etype=vector) for start in starts] for shift in shifts]
            loaded = [[builder.load(place, typ=vector, align=itemsize) for place in row[:inputs]] for row in places]
            results = [as_tuple(formula(*(Value(builder, dtype, x) for x in row), *repeated)) for row in loaded]
            emitted = [[as_llvm(x, dtype, lanes) for x in row] for row in results]
            for row, values in zip(places, emitted):
                for place, value in zip(row[inputs:], values):
                    builder.store(value, place, align=itemsize)
        builder.ret_void()

    def instructions(dtype):
        function = ir.Function(ir.Module(), function_type, "formula")
        write(function, dtype)
        return str(function.module)

    run.instructions = instructions  # type: ignore[attr-defined]
    return run


def _splat(builder, x, vector):
    undefined, zeros = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(builder.insert_element(undefined, x, ir.IntType(32)(0)), undefined, zeros)
