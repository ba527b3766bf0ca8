"""Formulas tried out: traced as kernels trace them, for errors that name what a formula may not do, and where it does it."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from llvmlite import ir

from fastmlp.kernels.compiler.expression import plain
from fastmlp.kernels.compiler.value import F32, F64, LLVM, Number, Value, as_llvm

__all__ = ["try_out"]

#: Whose code no user has written.
PACKAGES = ("fastmlp", "numpy", "numba")


def try_out(what: str, formula: Callable, inputs: int, outputs: int = 1, *, of: Callable | None = None) -> None:
    """Trace a formula of so many numbers, which is to give so many, in either dtype.

    Errors begin with `what`; where the formula was made of another one, their place is in that one, `of`.

    Raises
    ------
    TypeError
        For what a formula may not do.
    """
    try:
        _trace(plain(formula), inputs, outputs)
    except TypeError as error:
        place = _place(of or formula, error.__traceback__)
        raise TypeError(f"{what} cannot be compiled: {place}{': ' if place else ''}{error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "numba":
            raise
        raise TypeError(
            f"{what} cannot be compiled: {_place(of or formula, error.__traceback__) or 'it'} calls a function that Numba has "
            "compiled; leave out its @njit, or call its py_func"
        ) from error


def _trace(formula, inputs, outputs):
    for dtype in (F32, F64):
        function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [LLVM[dtype]] * inputs), "formula")
        builder = ir.IRBuilder(function.append_basic_block())
        given = formula(*(Value(builder, dtype, x) for x in function.args))
        results = given if isinstance(given, tuple) else (given,)
        if len(results) != outputs or not all(isinstance(x, Number | int | float | np.generic) for x in results):
            numbers = "one number" if outputs == 1 else f"a tuple of {outputs} numbers"
            raise TypeError(f"a formula gives {numbers}; got {_said(given)}")
        for x in results:
            as_llvm(x, dtype, 1)


def _said(given: Any) -> str:
    if given is None:
        return "None: a return is missing"
    if isinstance(given, tuple):
        return f"a tuple of {len(given)}"
    return "one number" if isinstance(given, Number) else f"an object of the class {type(given).__name__}"


def _place(function: Any, trace: TracebackType | None) -> str:
    """Where in a user's code an error was raised, "`math.exp(x)` in line 7 of model.py"; else the function's name."""
    frames = [
        summary
        for (frame, _), summary in zip(traceback.walk_tb(trace), traceback.extract_tb(trace), strict=True)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in PACKAGES
    ]
    if not frames:
        return getattr(function, "__name__", "")
    file, line = frames[-1].filename, frames[-1].lineno or 0
    where, text = f"line {line} of {Path(file).name}", linecache.getline(file, line).strip()
    first, last = (getattr(frames[-1], name, None) for name in ("colno", "end_colno"))  # from Python 3.11 on
    if first is not None and last is not None and getattr(frames[-1], "end_lineno", line) == line:
        text = linecache.getline(file, line).encode()[first:last].decode() or text
    return f"`{text}` in {where}" if text else where
