"""A block: an op's compiled function, compiled alone, cached alone, called by its address.

``block(task, op, job, row, rows, at)`` does a task of an op for `rows` rows of the batch from `row` on, whose place in the
workspace is `at`, or for as many units. So the engine is compiled without any layer in it, and a new layer without the engine.

A call by address costs a few nanoseconds. Rejected: first-class functions of Numba (a wrapper for each signature, and a check
at each call); all blocks linked into the engine (one item more, and everybody compiles everything).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic

from fastmlp.kernels.compiler.jit import COMPILING, compile_block, instead
from fastmlp.kernels.compiler.machine import MachineCode
from fastmlp.kernels.compiler.numba_private import compiler_lock
from fastmlp.kernels.job import JobType, record_type
from fastmlp.kernels.op import op_record

__all__ = ["Block", "block", "call"]

INT = ir.IntType(64)


class Block:
    """One function ``(task, op, job, row, rows, at)``, and the record of the ops that it serves."""

    #: In plain Python an address is a number in here.
    known: ClassVar[weakref.WeakValueDictionary[int, Block]] = weakref.WeakValueDictionary()

    #: Machine code by the source of a block and the instructions of its formulas: of two that are the same, one is compiled.
    of_formulas: ClassVar[dict[tuple, MachineCode]] = {}

    def __init__(self, function: Callable, name: str, record: np.dtype, passes: tuple[Callable, ...] = ()):
        self.function, self.name, self.record, self.passes = function, name, record, passes
        self._compiled: dict[np.dtype, MachineCode] = {}

    @property
    def path(self) -> str | None:
        """Where another process finds this block, "module:name"; None for the block of a formula."""
        function = self.function
        return None if self.passes or "<" in function.__qualname__ else f"{function.__module__}:{function.__qualname__}"

    def address(self, dtype: np.dtype) -> int:
        """The address for parameters of this dtype; compiled, or loaded from the cache, at the first question."""
        if not COMPILING:
            self.known[id(self)] = self
            return id(self)
        if dtype not in self._compiled:
            with compiler_lock:  # of two threads that ask first, one: the other would free the code whose address this one has
                if dtype not in self._compiled:
                    signature = types.void(*_arguments(record_type(self.record), JobType(from_dtype(dtype))))
                    # A formula may be anybody's, and two may have one name.
                    depends = "".join(one.instructions(dtype) for one in self.passes)  # type: ignore[attr-defined]
                    key = self._source(), signature, depends
                    if key not in self.of_formulas:
                        self.of_formulas[key] = compile_block(self.function, signature, self.name, depends)
                    self._compiled[dtype] = self.of_formulas[key]
        return self._compiled[dtype].address

    def _source(self) -> tuple:
        """What the machine code depends on but for the formulas, which their instructions tell apart."""
        held = [cell.cell_contents for cell in self.function.__closure__ or ()]
        return self.function.__code__, tuple(x for x in held if not any(x is one for one in self.passes))

    def __repr__(self) -> str:
        return f"<block {self.name}>"


def block(name: str, *passes: Callable, **fields: type) -> Callable[[Callable], Block]:
    """Decorate the function of a block.

    `passes` are those of formulas that it calls (:func:`~.lines.lines_pass`), `fields` what its ops have behind the header.
    """
    return lambda function: Block(function, name, op_record(**fields), passes)


def _arguments(record, job):
    return types.int64, record, job, types.int64, types.int64, types.int64


@intrinsic
def _call(typingctx, op, task, job, row, rows, at):
    def codegen(context, builder, signature, args):
        arguments = _arguments(signature.args[0], signature.args[2])
        function_type = context.call_conv.get_function_type(types.none, arguments)
        op, task, job, row, rows, at = args
        address = builder.load(op, typ=INT)  # the first field of the header
        function = builder.inttoptr(address, function_type.as_pointer())
        context.call_conv.call_function(builder, function, types.none, arguments, [task, op, job, row, rows, at])
        return context.get_dummy_value()

    number = types.int64
    return types.void(op, number, job, number, number, number), codegen


@instead(_call)
def call(op, task, job, row, rows, at):
    """Have the block of `op` do a task."""
    chosen = Block.known[op.block]
    chosen.function(task, op.view(np.dtype((np.record, chosen.record))), job, row, rows, at)
