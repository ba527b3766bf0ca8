"""What the processor that Numba compiles for has: the width of a vector register and how many there are."""

from __future__ import annotations

import numba
from llvmlite import binding
from numba.core import codegen

__all__ = ["PROCESSOR", "REGISTERS", "REGISTER_BYTES", "TILE_ROWS", "TILE_VECTORS"]

#: What LLVM calls the processor.
PROCESSOR: str = numba.config.CPU_NAME or binding.get_host_cpu_name()


def _features() -> set[str]:
    """The feature set Numba hands to LLVM: ``NUMBA_CPU_FEATURES`` where it is set, else the host's."""
    text = numba.config.CPU_FEATURES
    if text is None:
        text = codegen.get_host_cpu_features()
    return {name[1:] for name in text.split(",") if name.startswith("+")}


def _registers() -> tuple[int, int]:
    """Bytes of a vector register, and the number of registers."""
    if not binding.get_process_triple().startswith(("x86_64", "i686", "amd64")):
        return 16, 32  # NEON
    features = _features()
    if "avx512f" in features:
        return 64, 32
    return (32, 16) if "avx" in features else (16, 16)


REGISTER_BYTES, REGISTERS = _registers()

# The tile keeps TILE_ROWS x TILE_VECTORS sums, TILE_VECTORS vectors of B and one of A in registers. On a Zen 4 core
# (peak 115 GFLOP/s, 64x528x784 float32): 8x3 113, 12x2 112, 14x2 104, 6x4 111, 4x3 108, 8x1 114, 2x2 88, 1x2 53.
TILE_ROWS = 8 if REGISTERS == 32 else 4
TILE_VECTORS = 3
