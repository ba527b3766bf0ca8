"""A formula over flat arrays, as one explicit loop over whole lines of vectors.

Arrays here are whole 64-byte lines, so there is no remainder, and a step loads everything before it stores anything, so an
output may be an input. LLVM's vectoriser has to prove, or to check as the kernel runs, what is known here, and emits a scalar
loop beside; this emits the vectors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import chain, count
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from fastmlp.kernels.compiler.intrinsics import opaque, own_function, splat
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.compiler.value import F32, F64, LLVM, Value, as_llvm

__all__ = [
    "LINE_BYTES",
    "as_tuple",
    "check_count",
    "columns_pass",
    "goals",
    "instead_of",
    "lines_pass",
    "repeated_constants",
    "update_pass",
]

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
    count = inputs + outputs + 1
    kinds = [*(f"in{k}" for k in range(inputs)), *(f"out{k}" for k in range(outputs)), "c"]
    names = ["size", *chain.from_iterable((kind, f"at_{kind}") for kind in kinds)]

    def places(arguments):
        return [(arguments[2 * k], arguments[2 * k + 1]) for k in range(count)]

    def starts(builder, arrays, arguments, start):
        return [start(arrays[k], arguments[2 * k + 1]) for k in range(count)]

    return _pass(formula, inputs, outputs, constants, names, places, starts)


def update_pass(formula: Callable, states: int, constants: int) -> Callable:
    """A function for kernels: ``run(size, p, at_p, g, at_g, s, at_s, stride, c, at_c)`` updates `size` entries of p and state.

    ``formula(p, g, *state, *constants)`` gives p, or p and the state. The arrays of state are parts of `s`, `stride` entries
    from one to the next. Else as :func:`lines_pass`.
    """
    names = ["size", "p", "at_p", "g", "at_g", "s", "at_s", "stride", "c", "at_c"]

    def places(arguments):
        p, at_p, g, at_g, s, at_s, stride, c, at_c = arguments
        state = [(s, at_s + k * stride) for k in range(states)]
        return [(p, at_p), (g, at_g), *state, (p, at_p), *state, (c, at_c)]

    def starts(builder, arrays, arguments, start):
        p, g, s, c = arrays
        _, at_p, _, at_g, _, at_s, stride, _, at_c = arguments
        state = [start(s, builder.add(at_s, builder.mul(stride, INDEX(k)))) for k in range(states)]
        return [start(p, at_p), start(g, at_g), *state, start(p, at_p), *state, start(c, at_c)]

    return _pass(formula, 2 + states, 1 + states, constants, names, places, starts)


def columns_pass(formula: Callable, inputs: int, columns: int, constants: int) -> Callable:
    """A function for kernels: ``run(size, in0, at0, ..., k, at_k, stride, out, at, c, at_c)``, with numbers for each column.

    ``formula(*inputs, *columns, *constants)`` gives the output. The columns' numbers are parts of `k`, `stride` entries from
    one to the next. Else as :func:`lines_pass`.
    """
    names = ["size", *chain.from_iterable((f"in{i}", f"at_in{i}") for i in range(inputs))]
    names += ["k", "at_k", "stride", "out", "at_out", "c", "at_c"]

    def places(arguments):
        *given, k, at_k, stride, out, at_out, c, at_c = arguments
        pairs = list(zip(given[::2], given[1::2]))
        return [*pairs, *((k, at_k + i * stride) for i in range(columns)), (out, at_out), (c, at_c)]

    def starts(builder, arrays, arguments, start):
        *given, k, out, c = arrays
        *places_of, _, at_k, stride, _, at_out, _, at_c = arguments
        pairs = [start(array, at) for array, at in zip(given, places_of[1::2])]
        numbers = [start(k, builder.add(at_k, builder.mul(stride, INDEX(i)))) for i in range(columns)]
        return [*pairs, *numbers, start(out, at_out), start(c, at_c)]

    return _pass(formula, inputs + columns, 1, constants, names, places, starts)


def _pass(
    formula: Callable, inputs: int, outputs: int, constants: int, names: list[str], places: Callable, starts: Callable
) -> Callable:
    """The pass of a formula whose arguments have these names.

    Of the arguments, `places` makes (array, entry where it begins) of each input, each output, and the constants; `starts` does
    the same in a kernel, with ``start(array, entry)`` for the address.
    """
    arrays = inputs + outputs

    def run(size, *arguments):
        check_count(names, size, *arguments)
        *given, (numbers, first) = places(arguments)
        assert size * given[0][0].itemsize % LINE_BYTES == 0  # machine code would leave out the rest
        parts = [array[at : at + size] for array, at in given]
        with np.errstate(all="ignore"):  # as machine code
            results = as_tuple(formula(*parts[:inputs], *(numbers[first + k] for k in range(constants))), outputs)
        copies = [np.array(x) for x in results]  # an input may be among them
        for part, result in zip(parts[inputs:], copies):
            part[...] = result

    def write(function, dtype):
        itemsize, lanes, vectors = dtype.itemsize, REGISTER_BYTES // dtype.itemsize, LINE_BYTES // REGISTER_BYTES
        vector = ir.VectorType(LLVM[dtype], lanes)
        size, *pointers, numbers = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        repeated = repeated_constants(builder, numbers, constants, dtype)
        pointers[inputs:] = goals(builder, pointers[inputs:])
        # One line in an iteration: LLVM unrolls a short loop, such as a ReLU's, four times; where a formula is long, the
        # processor has several iterations under way anyway. Tried: vectors of two or four lines, which LLVM splits into
        # instructions that alternate, and a second loop for the lines left over. Steps of disc-b100 took 0.96-1.01 times as
        # long in float32, 0.87 times with Softplus in float64, a polynomial of degree 21: not worth twice the code to compile.
        with cgutils.for_range(builder, builder.sdiv(size, INDEX(LINE_BYTES // itemsize))) as loop:
            first = builder.mul(loop.index, INDEX(vectors))
            shifts = [builder.add(first, INDEX(v)) for v in range(vectors)]
            rows = [[builder.gep(pointer, [shift], source_etype=vector) for pointer in pointers] for shift in shifts]
            loaded = [[builder.load(place, typ=vector, align=itemsize) for place in row[:inputs]] for row in rows]
            results = [as_tuple(formula(*(Value(builder, dtype, x) for x in row), *repeated), outputs) for row in loaded]
            emitted = [[as_llvm(x, dtype, lanes) for x in row] for row in results]
            for row, values in zip(rows, emitted):
                for place, value in zip(row[inputs:], values):
                    builder.store(value, place, align=itemsize)
        builder.ret_void()

    return instead_of(run, names, arrays + 1, starts, write)


def check_count(names: list[str], *arguments: Any) -> None:
    """A pass takes as many arguments as it has names for."""
    if len(arguments) != len(names):
        raise TypeError(f"this pass takes {len(names)} arguments, {', '.join(names)}; got {len(arguments)}")


def as_tuple(results: Any, count: int) -> tuple:
    """What a formula gives, as a tuple of so many numbers."""
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != count:
        raise TypeError(f"the formula is to give {count} numbers; got {len(results)}")
    return results


def goals(builder: ir.IRBuilder, pointers: list[ir.Value]) -> list[ir.Value]:
    """Where results go; LLVM is not to see that a result overwrites what it was computed from.

    Where it does, and a result is a choice between what was there and something else, LLVM makes choice and store one
    instruction: with AVX2 vmaskmov, which an AMD processor begins every 12 cycles. The slope of a ReLU, for 128 x 256 numbers,
    took 16 us instead of 3.1 (Zen 3), a step of 2-25-25-25-2 on 100 rows 25.1 instead of 21.4.
    """
    return [opaque(builder, pointer) for pointer in pointers]


def repeated_constants(builder: ir.IRBuilder, numbers: ir.Value, constants: int, dtype: np.dtype) -> list[Value]:
    """Adjacent numbers of memory, each in all lanes of a vector."""
    vector = ir.VectorType(LLVM[dtype], REGISTER_BYTES // dtype.itemsize)
    at = [builder.gep(numbers, [INDEX(k)], source_etype=vector.element) for k in range(constants)]
    return [Value(builder, dtype, splat(builder, builder.load(x, typ=vector.element), vector.count)) for x in at]


def instead_of(run: Callable, names: list[str], pointers: int, starts: Callable, write: Callable, sizes: int = 1) -> Callable:
    """Have kernels call, where they name `run`, a function of LLVM: so many sizes and pointers, which `write` fills in.

    Of the arguments of `run` behind the sizes, `starts` makes the pointers.
    """

    @type_callable(run)
    def typed(context):
        def signature(*arguments):
            check_count(names, *arguments)
            given = [x for x in arguments if isinstance(x, types.Array)]
            if not all(array.ndim == 1 and array.layout == "C" for array in given):
                return None  # Numba says that there is no such function
            dtype = given[0].dtype if given else None
            if dtype not in DTYPES or any(array.dtype != dtype for array in given):
                return None
            return types.void(*(x if isinstance(x, types.Array) else types.intp for x in arguments))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature.pysig = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
        return signature

    function_type = ir.FunctionType(ir.VoidType(), [*[INDEX] * sizes, *[POINTER] * pointers])
    name = f"fastmlp_lines_{next(NUMBER)}"

    @lower_builtin(run, types.VarArg(types.Any))
    def emit(context, builder, signature, args):
        kinds, values = signature.args[sizes:], args[sizes:]
        scalar = next(kind.dtype for kind in kinds if isinstance(kind, types.Array))
        dtype, entry = DTYPES[scalar], context.get_data_type(scalar)
        arrays = [(kind, value) for kind, value in zip(kinds, values) if isinstance(kind, types.Array)]
        data = [data_of(context, builder, *array) for array in arrays]
        places = starts(builder, data, values, lambda array, at: builder.gep(array, [at], source_etype=entry))
        own = f"{name}_f{8 * dtype.itemsize}"
        function = own_function(context, builder, own, function_type.args, lambda function: write(function, dtype))
        builder.call(function, [*args[:sizes], *places])
        return context.get_dummy_value()

    def instructions(dtype):
        function = ir.Function(ir.Module(), function_type, "formula")
        write(function, dtype)
        return str(function.module)

    run.instructions = instructions  # type: ignore[attr-defined]
    return run
