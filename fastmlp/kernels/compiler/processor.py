"""What the processor that Numba compiles for has: the width of a vector register and how many there are."""

from __future__ import annotations

import numba
from llvmlite import binding

from fastmlp.kernels.compiler.numba_private import host_features

__all__ = ["FEATURES", "FLUSHES", "PROCESSOR", "REGISTERS", "REGISTER_BYTES", "TILE_ROWS", "TILE_VECTORS", "TRIPLE"]

#: What LLVM calls the processor.
PROCESSOR: str = numba.config.CPU_NAME or binding.get_host_cpu_name()


#: Architecture, vendor and system, as LLVM writes them.
TRIPLE: str = binding.get_process_triple()

#: The feature set that Numba hands to LLVM: ``NUMBA_CPU_FEATURES`` where it is set, else the host's.
FEATURES: str = host_features() if numba.config.CPU_FEATURES is None else numba.config.CPU_FEATURES


def _registers(triple: str, features: str) -> tuple[int, int]:
    """Bytes of a vector register, and the number of registers."""
    if not triple.startswith(("x86_64", "i686", "amd64")):
        return 16, 32  # NEON
    has = {name[1:] for name in features.split(",") if name.startswith("+")}
    if "avx512f" in has:
        return 64, 32
    return (32, 16) if "avx" in has else (16, 16)


REGISTER_BYTES, REGISTERS = _registers(TRIPLE, FEATURES)

#: Whether the engine has results flushed to zero that are subnormal: intrinsics.flush_subnormals.
FLUSHES: bool = TRIPLE.startswith(("x86_64", "amd64"))

# The tile keeps TILE_ROWS x TILE_VECTORS sums, TILE_VECTORS vectors of B and one of A in registers. On a Zen 4 core
# (peak 115 GFLOP/s, 64x528x784 float32): 8x3 113, 12x2 112, 14x2 104, 6x4 111, 4x3 108, 8x1 114, 2x2 88, 1x2 53.
TILE_ROWS = 8 if REGISTERS == 32 else 4
TILE_VECTORS = 3
