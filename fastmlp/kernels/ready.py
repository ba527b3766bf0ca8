"""The engine compiled before it is called, by whoever knows the dtype only."""

from __future__ import annotations

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels.compiler.jit import is_cached
from fastmlp.kernels.engine import run

__all__ = ["compile_engine", "engine_is_cached"]


def _signature(dtype: np.dtype) -> tuple:
    """The types that the engine is called with: its arguments are the same for all programs."""
    number, rows = types.int64, types.Array(from_dtype(dtype), 2, "C")
    return types.Array(number, 1, "C"), number, rows, rows, number, number


def compile_engine(dtype: np.dtype) -> None:
    """Have the engine ready for parameters of this dtype: compiled, or loaded from the cache."""
    run.compile(_signature(dtype))  # type: ignore[attr-defined]


def engine_is_cached(dtype: np.dtype) -> bool:
    """Whether nobody need compile the engine for parameters of this dtype, or nobody could keep it."""
    return is_cached(run, _signature(dtype))
