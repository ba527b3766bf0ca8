"""What a predictor's object carries the addresses of: functions that take rows through any network, called from compiled code.

A header is a few 64-bit integers, which describe a network to these functions, and to whoever calls them from C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic

from fastmlp.kernels.block import call
from fastmlp.kernels.blocks.moves import copy, copy_rows
from fastmlp.kernels.compiler.intrinsics import flush_subnormals, least, restore_rounding, vector
from fastmlp.kernels.compiler.jit import COMPILING, compile_block, inner, instead, kernel
from fastmlp.kernels.compiler.machine import MachineCode
from fastmlp.kernels.compiler.numba_private import compiler_lock, data_of, straight
from fastmlp.kernels.engine import carry
from fastmlp.kernels.plan import Plan, aim_y, finish, number_at, plan_at, start, word

__all__ = [
    "FUNCTIONS",
    "HEADER",
    "HEADER_PLACE",
    "KERNELS",
    "Header",
    "address",
    "arguments",
    "call_forward",
    "differentiate_rows",
    "predict_rows",
    "row_caller",
]

INT = ir.IntType(64)

#: Words of a header. The first ones are what C may read; an address is that of a function in Numba's calling convention.
HEADER = (
    "inputs",
    "outputs",
    "itemsize",  # of a number, in bytes: 4 or 8
    "forward",  # addresses of the functions below
    "derivatives",
    "row",  # plans: of one row forward
    "rows",  # of many
    "row_both_ways",  # of one row forward, and of deltas back or derivatives forward
    "rows_both_ways",
)

HEADER_PLACE = {name: np.int64(place) for place, name in enumerate(HEADER)}
INPUTS, OUTPUTS = HEADER_PLACE["inputs"], HEADER_PLACE["outputs"]
ROW, ROWS = HEADER_PLACE["row"], HEADER_PLACE["rows"]
ROW_BOTH_WAYS, ROWS_BOTH_WAYS = HEADER_PLACE["row_both_ways"], HEADER_PLACE["rows_both_ways"]

#: Numbers of the plans but of that of many rows forward, as :attr:`Program.ends` has them: where input and output lie in the
#: workspace, their strides, and where their deltas lie.
X, X_STRIDE, Y, Y_STRIDE, DX, DY = (np.int64(place) for place in range(6))

#: Phases of the plans for both ways.
FORWARD, BACKWARD, TANGENT = (np.int64(place) for place in range(3))

#: What :func:`differentiate_rows` is asked for.
JACOBIAN, VJP, JVP = (np.int64(place) for place in range(3))


@inner
def walk(job, which, rows):
    """Take the rows at hand through the calls of a phase."""
    phase = job.phases[which]
    for c in range(phase.first, phase.last):
        chosen = job.calls[c]
        call(job.ops[chosen.op], chosen.task, job, 0, rows, 0)


def predict_rows(header, x, out, rows):
    """Write the outputs for `rows` rows of x to out, as ``model.predict`` does, to the bit."""
    before = flush_subnormals()
    if rows == 1:
        plan, inputs, outputs = plan_at(header, ROW), number_at(header, INPUTS), number_at(header, OUTPUTS)
        job = start(plan, x, out)
        copy(vector(job.work, word(plan, X), inputs), vector(job.x, 0, inputs))
        walk(job, FORWARD, 1)
        copy(vector(job.y, 0, outputs), vector(job.work, word(plan, Y), outputs))
        finish(job)
    else:
        job = start(plan_at(header, ROWS), x, out)
        carry(job, job.phases[0], 0, rows)
        finish(job)
    restore_rounding(before)


@inner
def load(job, plan, at, step, rows, inputs):
    """Take rows of x, which begin `step` entries apart, through all layers: with a step of 0, one row again and again."""
    copy_rows(job.work, word(plan, X), word(plan, X_STRIDE), job.x, at, step, rows, inputs)
    walk(job, FORWARD, rows)


@inner
def seed(work, at, stride, width, first, rows):
    """Rows of an identity matrix, from row `first` on."""
    zero, one = work.dtype.type(0), work.dtype.type(1)
    for n in range(rows):
        for j in range(width):
            work[at + n * stride + j] = one if j == first + n else zero


@inner
def back_from_each(job, plan, row, first, rows, inputs, outputs):
    """The derivatives of outputs ``first ..`` by all inputs at one row, in rows: where the deltas of the input lie."""
    load(job, plan, row * inputs, 0, rows, inputs)
    seed(job.work, word(plan, DY), word(plan, Y_STRIDE), outputs, first, rows)
    walk(job, BACKWARD, rows)


@inner
def jacobian_of_row(job, plan, out, jac, row, inputs, outputs):
    """The derivatives at one row, (O, I): rows of the same products, back for each output or forward for each input.

    Whichever are fewer. The row goes forward as often, in the same tiles: that costs less than going back one by one.
    """
    block, tangent = job.phases[FORWARD].block, job.phases[TANGENT]
    by_inputs = inputs <= outputs and tangent.last > tangent.first
    ways = inputs if by_inputs else outputs
    for first in range(0, ways, block):
        rows = least(block, ways - first)
        if by_inputs:
            load(job, plan, row * inputs, 0, rows, inputs)
            seed(job.work, word(plan, DX), word(plan, X_STRIDE), inputs, first, rows)
            walk(job, TANGENT, rows)
        else:
            back_from_each(job, plan, row, first, rows, inputs, outputs)
        if first == 0:
            aim_y(job, out)
            copy_rows(job.y, row * outputs, outputs, job.work, word(plan, Y), word(plan, Y_STRIDE), 1, outputs)
        aim_y(job, jac)
        place = row * outputs * inputs
        if by_inputs:
            for i in range(rows):
                for o in range(outputs):
                    job.y[place + o * inputs + first + i] = job.work[word(plan, DY) + i * word(plan, Y_STRIDE) + o]
        else:
            copy_rows(job.y, place + first * inputs, inputs, job.work, word(plan, DX), word(plan, X_STRIDE), rows, inputs)


@inner
def jvp_of_row(job, plan, v, dout, row, inputs, outputs):
    """A product of the Jacobian by its rows, for a network of which derivatives do not go forward."""
    for first in range(0, outputs, job.phases[FORWARD].block):
        rows = least(job.phases[FORWARD].block, outputs - first)
        back_from_each(job, plan, row, first, rows, inputs, outputs)
        aim_y(job, v)
        for o in range(rows):
            place = word(plan, DX) + o * word(plan, X_STRIDE)
            total = job.work.dtype.type(0)
            for i in range(inputs):
                total += job.work[place + i] * job.y[row * inputs + i]
            job.work[place] = total
        aim_y(job, dout)
        for o in range(rows):
            job.y[row * outputs + first + o] = job.work[word(plan, DX) + o * word(plan, X_STRIDE)]


def differentiate_rows(header, x, a, b, rows, which):
    """Derivatives at `rows` rows of x, in evaluation mode.

    which     a               b
    JACOBIAN  out (N, O) out  jac (N, O, I) out: ``jac[n, o, i]`` is that of output o by input i
    VJP       dy (N, O)       dx (N, I) out: ``dx[n] = dy[n] @ jac[n]``
    JVP       v (N, I)        dout (N, O) out: ``dout[n] = jac[n] @ v[n]``
    """
    before = flush_subnormals()
    inputs, outputs = number_at(header, INPUTS), number_at(header, OUTPUTS)
    plan = plan_at(header, ROW_BOTH_WAYS if rows == 1 and which != JACOBIAN else ROWS_BOTH_WAYS)
    job = start(plan, x, a)
    x_stride, y_stride = word(plan, X_STRIDE), word(plan, Y_STRIDE)
    block, tangent = job.phases[FORWARD].block, job.phases[TANGENT]
    if which == JACOBIAN:
        for row in range(rows):
            jacobian_of_row(job, plan, a, b, row, inputs, outputs)
    elif which == JVP and tangent.last == tangent.first:
        for row in range(rows):
            jvp_of_row(job, plan, a, b, row, inputs, outputs)
    else:
        for row in range(0, rows, block):
            here = least(block, rows - row)
            load(job, plan, row * inputs, inputs, here, inputs)
            aim_y(job, a)
            if which == VJP:
                copy_rows(job.work, word(plan, DY), y_stride, job.y, row * outputs, outputs, here, outputs)
                walk(job, BACKWARD, here)
                aim_y(job, b)
                copy_rows(job.y, row * inputs, inputs, job.work, word(plan, DX), x_stride, here, inputs)
            else:
                copy_rows(job.work, word(plan, DX), x_stride, job.y, row * inputs, inputs, here, inputs)
                walk(job, TANGENT, here)
                aim_y(job, b)
                copy_rows(job.y, row * outputs, outputs, job.work, word(plan, DY), y_stride, here, outputs)
    finish(job)
    restore_rounding(before)


@intrinsic
def _call_forward(typingctx, header, x, out, rows):
    def codegen(context, builder, signature, args):
        data = [data_of(context, builder, kind, value) for kind, value in zip(signature.args[:3], args[:3])]
        kinds = arguments("forward", signature.args[1].dtype)
        place, function_type = INT(FUNCTIONS["forward"].place), context.call_conv.get_function_type(types.none, kinds)
        address = builder.load(builder.gep(data[0], [place], source_etype=INT), typ=INT)
        function = builder.inttoptr(address, function_type.as_pointer())
        context.call_conv.call_function(builder, function, types.none, kinds, [*data, args[3]])
        return context.get_dummy_value()

    return types.void(header, x, out, types.int64), codegen


@instead(_call_forward)
def _forward_of(header, x, out, rows):
    predict_rows(header, x, out, rows)


@kernel
def call_forward(header, x, out, rows):
    """What Python calls: 0.5 us, where ctypes and the addresses of two arrays take 3. `header` is an array."""
    _forward_of(header, x, out, rows)


def row_caller(handle: Any, x: np.ndarray, out: np.ndarray) -> Callable[[Any, np.ndarray, np.ndarray, int], None]:
    """:func:`call_forward` for arrays of exactly these types, which it does not look at: 0.28 us."""
    return straight(call_forward, handle, x, out, 1)


class Function(NamedTuple):
    """What a caller can ask for: a function's place in the header, the pointers that it takes, and what it is asked."""

    place: int
    kernel: str
    pointers: int
    which: tuple[int, ...] = ()


FUNCTIONS = {
    "forward": Function(int(HEADER_PLACE["forward"]), "forward", 2),
    "jacobian": Function(int(HEADER_PLACE["derivatives"]), "derivatives", 3, (int(JACOBIAN),)),
    "vjp": Function(int(HEADER_PLACE["derivatives"]), "derivatives", 3, (int(VJP),)),
    "jvp": Function(int(HEADER_PLACE["derivatives"]), "derivatives", 3, (int(JVP),)),
}

KERNELS: dict[str, Callable] = {"forward": predict_rows, "derivatives": differentiate_rows}

_compiled: dict[tuple[str, np.dtype], MachineCode] = {}


def arguments(name: str, number: types.Float) -> tuple:
    """The types of a function's arguments: the header, pointers to numbers, how many rows there are, and what is asked."""
    _, _, pointers, which = FUNCTIONS[name]
    return (types.CPointer(types.int64), *[types.CPointer(number)] * pointers, types.int64, *[types.int64] * len(which))


def address(kernel: str, dtype: np.dtype) -> int:
    """Where a kernel begins, for numbers of this dtype; compiled, or loaded from the cache, at the first question."""
    with compiler_lock:
        if (kernel, dtype) not in _compiled:
            name = next(name for name, function in FUNCTIONS.items() if function.kernel == kernel)
            signature = types.void(*arguments(name, from_dtype(dtype)))
            _compiled[kernel, dtype] = compile_block(KERNELS[kernel], signature, f"predictor-{kernel}")
        return _compiled[kernel, dtype].address


class Header:
    """The words of a header, at one address for good, and what functions take: these, or in plain Python what they mean."""

    def __init__(self) -> None:
        self.words = np.zeros(len(HEADER), np.int64)
        self.handle: Any = self.words
        #: All plans that it has ever pointed to: a call that is under way may read them.
        self.plans: list[Plan] = []

    def write(self, dtype: np.dtype, sizes: Mapping[str, int], plans: Mapping[str, Plan], kernels: Iterable[str]) -> None:
        """Describe a network: its widths, its plans by their names, and the kernels that may be called with them."""
        words: dict[str, Any] = {**sizes, "itemsize": dtype.itemsize}
        self.plans += plans.values()
        if COMPILING:
            words |= {name: address(name, dtype) for name in kernels}
            words |= {name: plan.address for name, plan in plans.items()}
        else:
            self.handle = [(words | dict(plans)).get(name, 0) for name in HEADER]
        for name, value in words.items():
            self.words[HEADER_PLACE[name]] = value
