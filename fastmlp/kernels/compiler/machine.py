"""Machine code in memory: an object file's bytes, made callable by address.

Each piece has an LLVM engine of its own, which costs 0.1 ms: names in one cannot be mistaken for names in another, and the
code is given back with the object. All of it is public API of llvmlite.
"""

from __future__ import annotations

import numba
from llvmlite import binding

__all__ = ["MachineCode", "is_known"]


def is_known(symbol: str) -> bool:
    """Whether this process has the symbol. LLVM ends the process where machine code needs one that it has not."""
    return binding.address_of_symbol(symbol) is not None


class MachineCode:
    """One function's machine code; `address` is valid while this object lives.

    Parameters
    ----------
    symbol : str
        The function's name in the object code.
    code : bytes
        An object file, relocatable.
    """

    __slots__ = ("_keep", "address", "code", "symbol")

    def __init__(self, symbol: str, code: bytes):
        self.symbol, self.code = symbol, code
        target = binding.Target.from_triple(binding.get_process_triple())
        machine = target.create_target_machine(opt=numba.config.OPT, codemodel="jitdefault", jit=True)
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        if numba.config.ENABLE_PROFILING:
            engine.enable_jit_events()
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._keep: object = engine
        self.address: int = engine.get_function_address(symbol)

    @classmethod
    def elsewhere(cls, address: int, keep: object) -> MachineCode:
        """Code that something else has loaded, which `keep` keeps."""
        made = object.__new__(cls)
        made.symbol, made.code, made.address, made._keep = "", b"", address, keep
        return made
