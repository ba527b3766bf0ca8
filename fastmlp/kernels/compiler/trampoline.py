"""Functions for C that call one of ours: what Numba compiles has a calling convention of its own.

``int32 f(result*, excinfo**, arguments...)`` is Numba's; the two extra pointers are for a result and an exception, which the
functions called here do not have.
"""

from __future__ import annotations

from functools import cache

import numba
from llvmlite import binding, ir

from fastmlp.kernels.compiler.intrinsics import untyped
from fastmlp.kernels.compiler.machine import MachineCode

__all__ = ["object_of", "trampoline"]

INT, POINTER, STATUS = ir.IntType(64), ir.PointerType(), ir.IntType(32)


def call_by_header(builder: ir.IRBuilder, place: int, arguments: list[ir.Value]) -> None:
    """Call the function whose address stands at a place of a header, the first argument, by Numba's convention."""
    header = arguments[0]
    function_type = ir.FunctionType(STATUS, [POINTER, POINTER, *(value.type for value in arguments)])
    address = builder.load(builder.gep(header, [INT(place)], source_etype=INT), typ=INT)
    function = builder.inttoptr(address, function_type.as_pointer())
    with builder.goto_entry_block():
        result, exception = (untyped(builder, builder.alloca(INT)) for _ in range(2))
    builder.call(function, [result, exception, *arguments])


@cache
def trampoline(place: int, pointers: int, *behind: int) -> MachineCode:
    """``void f(const void *header, pointers..., int64_t rows)``, which calls what the header has at a place.

    That gets the numbers `behind`, too, as its last arguments.
    """
    module = ir.Module()
    function_type = ir.FunctionType(ir.VoidType(), [POINTER, *[POINTER] * pointers, INT])
    function = ir.Function(module, function_type, "trampoline")
    builder = ir.IRBuilder(function.append_basic_block())
    call_by_header(builder, place, [*function.args, *map(INT, behind)])
    builder.ret_void()
    return object_of(module, "trampoline")


def object_of(module: ir.Module, symbol: str) -> MachineCode:
    """The machine code of a module's function."""
    triple = binding.get_process_triple()
    machine = binding.Target.from_triple(triple).create_target_machine(opt=numba.config.OPT, codemodel="jitdefault", jit=True)
    parsed = binding.parse_assembly(str(module))
    parsed.triple, parsed.data_layout = triple, str(machine.target_data)
    parsed.verify()
    return MachineCode(symbol, machine.emit_object(parsed))
