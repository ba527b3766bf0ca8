"""Functions that SciPy calls from C: each takes what SciPy hands over, and has a network compute it.

The header of a Predictor comes as ``void *user_data``. Numbers are doubles there; they are converted where the network has
float32. A size that the network does not have is an error in the way that the caller knows: NaN, or a status of 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from llvmlite import ir
from numba.core import cgutils

from fastmlp.kernels.compiler.intrinsics import untyped
from fastmlp.kernels.compiler.machine import MachineCode
from fastmlp.kernels.compiler.trampoline import INT, POINTER, call_by_header, object_of

__all__ = ["CALLBACKS", "callback"]

SHORT, DOUBLE, SINGLE = ir.IntType(32), ir.DoubleType(), ir.FloatType()
NAN = ir.Constant(DOUBLE, float("nan"))


class _Network:
    """What a callback computes with: a header, and the type of its numbers."""

    def __init__(self, builder: ir.IRBuilder, header: ir.Value, places: dict[str, int], number: ir.Type):
        self.builder, self.header, self.places, self.number = builder, header, places, number
        self.inputs, self.outputs = self._word("inputs"), self._word("outputs")
        # On the stack, until the callback returns; whoever hands out a callback has seen to it that they are not large.
        self.x, self.out = self._memory(self.inputs), self._memory(self.outputs)

    def _word(self, name: str) -> ir.Value:
        return self.builder.load(self.builder.gep(self.header, [INT(self.places[name])], source_etype=INT), typ=INT)

    def _memory(self, size: ir.Value) -> ir.Value:
        return untyped(self.builder, self.builder.alloca(self.number, size=size))

    def run(self, source: Callable[[ir.Value], ir.Value]) -> None:
        """Compute the outputs for one row, whose entries `source` gives, as doubles."""
        builder = self.builder
        with cgutils.for_range(builder, self.inputs) as loop:
            value = source(loop.index)
            value = builder.fptrunc(value, SINGLE) if self.number == SINGLE else value
            builder.store(value, builder.gep(self.x, [loop.index], source_etype=self.number))
        call_by_header(builder, self.places["forward"], [self.header, self.x, self.out, INT(1)])

    def output(self, which: ir.Value) -> ir.Value:
        """One of the outputs, as a double."""
        value = self.builder.load(self.builder.gep(self.out, [which], source_etype=self.number), typ=self.number)
        return self.builder.fpext(value, DOUBLE) if self.number == SINGLE else value


def _double_at(builder: ir.IRBuilder, pointer: ir.Value) -> Callable[[ir.Value], ir.Value]:
    return lambda index: builder.load(builder.gep(pointer, [index], source_etype=DOUBLE), typ=DOUBLE)


def _where(builder: ir.IRBuilder, fits: ir.Value, otherwise: ir.Constant) -> None:
    """Go on where that holds, else return."""
    with builder.if_then(builder.not_(fits), likely=False):
        builder.ret(otherwise)


def _quad(builder, network, arguments):
    n, x, _ = arguments
    _where(builder, builder.icmp_signed("==", builder.sext(n, INT), network.inputs), NAN)
    network.run(_double_at(builder, x))
    builder.ret(network.output(INT(0)))


def _scalar(builder, network, arguments):
    network.run(lambda _: arguments[0])
    builder.ret(network.output(INT(0)))


def _generic_filter(builder, network, arguments):
    buffer, size, result, _ = arguments
    _where(builder, builder.icmp_signed("==", size, network.inputs), SHORT(0))
    network.run(_double_at(builder, buffer))
    builder.store(network.output(INT(0)), result)
    builder.ret(SHORT(1))


def _generic_filter1d(builder, network, arguments):
    line, length, result, results, _ = arguments
    window = builder.add(builder.sub(length, results), INT(1))
    _where(builder, builder.icmp_signed("==", window, network.inputs), SHORT(0))
    with cgutils.for_range(builder, results) as loop:
        network.run(_double_at(builder, builder.gep(line, [loop.index], source_etype=DOUBLE)))
        builder.store(network.output(INT(0)), builder.gep(result, [loop.index], source_etype=DOUBLE))
    builder.ret(SHORT(1))


def _geometric_transform(builder, network, arguments):
    place, source, rank_out, rank_in, _ = arguments
    ranks = (rank_out, network.inputs), (rank_in, network.outputs)
    _where(builder, builder.and_(*(builder.icmp_signed("==", builder.sext(rank, INT), n) for rank, n in ranks)), SHORT(0))
    network.run(lambda index: builder.sitofp(builder.load(builder.gep(place, [index], source_etype=INT), typ=INT), DOUBLE))
    with cgutils.for_range(builder, network.outputs) as loop:
        builder.store(network.output(loop.index), builder.gep(source, [loop.index], source_etype=DOUBLE))
    builder.ret(SHORT(1))


#: What each returns and takes in C, and what it does. The last argument is always the header. ``npy_intp`` has 64 bits.
CALLBACKS: dict[str, tuple[ir.Type, list[ir.Type], Callable]] = {
    "quad": (DOUBLE, [SHORT, POINTER, POINTER], _quad),
    "scalar": (DOUBLE, [DOUBLE, POINTER], _scalar),
    "generic_filter": (SHORT, [POINTER, INT, POINTER, POINTER], _generic_filter),
    "generic_filter1d": (SHORT, [POINTER, INT, POINTER, INT, POINTER], _generic_filter1d),
    "geometric_transform": (SHORT, [POINTER, POINTER, SHORT, SHORT, POINTER], _geometric_transform),
}


@cache
def callback(kind: str, itemsize: int, inputs: int, outputs: int, forward: int) -> MachineCode:
    """The machine code of a callback, for numbers of so many bytes; the others say where in a header these words stand."""
    result, arguments, body = CALLBACKS[kind]
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(result, arguments), "callback")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    places = {"inputs": inputs, "outputs": outputs, "forward": forward}
    body(builder, _Network(builder, function.args[-1], places, SINGLE if itemsize == 4 else DOUBLE), function.args)
    return object_of(module, "callback")
