"""How Numba compiles kernels: each entry point once, as a whole.

Numba optimises every function by itself and makes machine code of it before it links a copy into the callers, then
optimises each caller and its copies again: a function five calls deep goes through LLVM six times, and only the last copy
runs. Here a *part*, which only other kernels call, is handed on as LLVM IR as it is; the *whole*, an entry point with all
its parts, goes through the full passes and to machine code once. To the first epoch of a training that is 4.8 s of CPU time
instead of 8.8, and what comes out is no slower: passes over each function alone, before it is inlined, made the step on
narrow layers 1.4 times as slow, Numba's cheap passes before the full ones (they serve the pruning of reference counts)
gained nothing.

This stands on hooks of Numba that are not public, the same from 0.62 to 0.68 at least. Where one is gone, :data:`AVAILABLE`
is false, and the kernels are compiled in Numba's own way.
"""

from __future__ import annotations

from types import SimpleNamespace

from numba.core import caching, codegen, compiler

__all__ = ["AVAILABLE", "BlockCompiler", "PartCompiler", "WholeCompiler"]

HOOKS = [
    (codegen.CPUCodeLibrary, "_optimize_functions _optimize_final_module _finalize_final_module _finalize_dynamic_globals"),
    (codegen.JITCodeLibrary, "codegen enable_object_caching"),
    (codegen.CPUCodegen, "_module_pass_manager"),
    (codegen.CPUCodeLibrary, "has_dynamic_globals"),
    (compiler.CompileResult, "_reduce _rebuild"),
    (caching.NullCache, "load_overload save_overload"),
]

#: Whether this version of Numba has all that is needed here and in cache.py.
AVAILABLE = all(hasattr(owner, name) for owner, names in HOOKS for name in names.split())


class _Part(codegen.JITCodeLibrary):
    """IR that is linked into others, and nothing more."""

    @property
    def codegen(self):
        # Asked for one thing: to store the address of the function's environment in its machine code, which there is not. Only
        # code that raises or calls the interpreter reads it; what Numba loads from its cache has none either.
        return SimpleNamespace(set_env=lambda *_: None)

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


class _Whole(codegen.JITCodeLibrary):
    """An entry point and everything it calls."""

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        manager, builder = self._codegen._module_pass_manager()
        manager.run(self._final_module, builder)


class _Block(_Whole):
    """A whole that becomes object code, as bytes, and is not loaded into Numba's own engine."""

    codegen = _Part.codegen
    _object_code: bytes

    @property
    def object_code(self) -> bytes:
        self._ensure_finalized()
        return self._object_code

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._object_code = self._codegen._tm.emit_object(self._final_module)
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0


class PartCompiler(compiler.Compiler):
    """For functions that only kernels call."""

    def __init__(self, typing, target, library, *rest):
        super().__init__(typing, target, library or _Part(target.codegen(), "part"), *rest)


class WholeCompiler(compiler.Compiler):
    """For entry points."""

    def __init__(self, typing, target, library, *rest):
        if library is None:
            library = _Whole(target.codegen(), "whole")
            library.enable_object_caching()
        super().__init__(typing, target, library, *rest)


class BlockCompiler(compiler.Compiler):
    """For functions that are called by their address."""

    def __init__(self, typing, target, library, *rest):
        super().__init__(typing, target, library or _Block(target.codegen(), "block"), *rest)
