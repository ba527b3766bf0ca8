"""Predictors as functions of C: those of SciPy, and one's own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from fastmlp.kernels.compiler.callbacks import callback
from fastmlp.kernels.compiler.jit import COMPILING
from fastmlp.kernels.compiler.trampoline import trampoline
from fastmlp.kernels.plan import STACK_BYTES
from fastmlp.kernels.predictor import FUNCTIONS, HEADER_PLACE

__all__ = ["KINDS", "c_function", "low_level"]

NUMBER, INTEGER, SIZE, POINTER = ctypes.c_double, ctypes.c_int, ctypes.c_ssize_t, ctypes.c_void_p
NUMBERS, SIZES = ctypes.POINTER(NUMBER), ctypes.POINTER(SIZE)

#: The signatures that SciPy knows, and what they are for.
KINDS: dict[str, tuple[Any, ...]] = {
    "quad": (NUMBER, INTEGER, NUMBERS, POINTER),
    "scalar": (NUMBER, NUMBER, POINTER),
    "generic_filter": (INTEGER, NUMBERS, SIZE, NUMBERS, POINTER),
    "generic_filter1d": (INTEGER, NUMBERS, SIZE, NUMBERS, SIZE, POINTER),
    "geometric_transform": (INTEGER, SIZES, NUMBERS, INTEGER, INTEGER, POINTER),
}


class _UserData(ctypes.c_void_p):
    """The address of a header, and the Predictor that it belongs to."""

    predictor: Any


def low_level(predictor: Any, kind: str) -> Any:
    """A ``scipy.LowLevelCallable``: see :meth:`Predictor.low_level`."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    refuse_without_machine_code()
    wanted = {"inputs": 1} if kind == "scalar" else {}
    wanted |= {} if kind == "geometric_transform" else {"outputs": 1}
    for name, size in wanted.items():
        if getattr(predictor, name) != size:
            raise ValueError(f"{kind} is for a network of {size} {name[:-1]}; got {predictor!r}")
    if 8 * (predictor.inputs + predictor.outputs) > STACK_BYTES:
        raise ValueError(f"{kind} is for networks of at most {STACK_BYTES // 8} inputs and outputs; got {predictor!r}")
    try:
        from scipy import LowLevelCallable
    except ImportError:
        raise ImportError('low_level needs SciPy: pip install "fastmlp[scipy]"') from None
    places = (int(HEADER_PLACE[name]) for name in ("inputs", "outputs", "forward"))
    code = callback(kind, predictor.dtype.itemsize, *places)
    user_data = _UserData(predictor.address)
    user_data.predictor = predictor
    return LowLevelCallable(ctypes.CFUNCTYPE(*KINDS[kind])(code.address), user_data)


def c_function(predictor: Any, name: str) -> Callable[..., None]:
    """A function as a ctypes pointer: see :meth:`Predictor.c_function`."""
    if name not in FUNCTIONS:
        raise ValueError(f"name must be one of {', '.join(FUNCTIONS)}; got {name!r}")
    refuse_without_machine_code()
    place, _, pointers, which = FUNCTIONS[name]
    function = ctypes.CFUNCTYPE(None, *[POINTER] * (1 + pointers), ctypes.c_int64)(trampoline(place, pointers, *which).address)
    function.predictor = predictor  # type: ignore[attr-defined]
    return function


def refuse_without_machine_code() -> None:
    """Say that there is nothing for C to call."""
    if not COMPILING:
        raise RuntimeError("there is no machine code for C to call while NUMBA_DISABLE_JIT is set")
