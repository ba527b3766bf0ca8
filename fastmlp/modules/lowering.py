"""Which networks the engine can run."""

from __future__ import annotations

import numpy as np

from fastmlp.modules.module import Module
from fastmlp.program import Program

__all__ = ["NotCompiledError", "lower", "try_lower"]

ARITHMETIC = ("forward", "backward", "_forward", "_backward")


class NotCompiledError(Exception):
    """A module runs in Python only."""


def lower(module: Module, program: Program) -> None:
    """Add a module to a program.

    Raises
    ------
    NotCompiledError
        If its class, or a subclass of a built-in one, brings arithmetic of its own.
    """
    for base in type(module).__mro__:
        if base is not Module and "_lower" in vars(base):
            return module._lower(program)
        if any(name in vars(base) for name in ARITHMETIC):
            break
    raise NotCompiledError(type(module).__name__)


def try_lower(module: Module, width: int, dtype: np.dtype) -> Program | None:
    """The program of a network for inputs of this width; None where a module runs in Python only."""
    program = Program(width, dtype)
    try:
        lower(module, program)
    except NotCompiledError:
        return None
    return program
