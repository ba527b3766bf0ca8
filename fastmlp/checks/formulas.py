"""Formulas that users hand over as plain functions: what they take is looked at, and they are tried on numbers to come."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fastmlp.checks.messages import shown
from fastmlp.checks.scalars import as_number
from fastmlp.kernels.compiler.derivative import derivative
from fastmlp.kernels.compiler.expression import plain
from fastmlp.kernels.compiler.trial import try_out

__all__ = ["as_constants", "check_formulas", "first_argument", "name_of"]


def as_constants(constants: Any, owner: Any) -> dict[str, float]:
    """The numbers of a formula by name; names of what the owner has already are refused."""
    if constants is None:
        return {}
    if not isinstance(constants, Mapping):
        raise TypeError(f"constants must be a dictionary of numbers by name; got {shown(constants)}")
    for name in constants:
        if not isinstance(name, str) or not name.isidentifier():
            raise TypeError(f"constants must be a dictionary of numbers by name; {shown(name)} is no name")
        if hasattr(owner, name):
            raise ValueError(f"a constant cannot be called {name!r}: {type(owner).__name__} has an attribute of that name")
    return {name: as_number(value, name, least=-float("inf")) for name, value in constants.items()}


def check_formulas(
    owner: str, value: Any, slope: Any, inputs: Sequence[str], reads: Sequence[str], constants: Mapping[str, float]
) -> tuple[str, ...]:
    """Refuse formulas that cannot be compiled; the names of the constants, in the order in which the formulas take them.

    ``value(*inputs, *constants)`` and ``slope(*reads, *constants)``, which may be None. They are traced as the kernels will
    trace them, in both dtypes.
    """
    names = _constants_of(f"value of {owner}", value, inputs, constants)
    try_out(f"value of {owner}", value, len(inputs) + len(names))
    if slope is None:
        slope = derivative(plain(value))
        try_out(f"value of {owner}, differentiated,", slope, len(inputs) + len(names), of=value)
    else:
        others = _constants_of(f"slope of {owner}", slope, reads, constants)
        if others != names:
            wanted = f"value takes {', '.join(names)}, slope {', '.join(others)}"
            raise TypeError(f"value and slope of {owner} must take the constants in one order; {wanted}")
        try_out(f"slope of {owner}", slope, len(reads) + len(names))
    return names


def name_of(function: Any) -> str:
    """What a function is called."""
    return getattr(function, "__name__", type(function).__name__)


def first_argument(function: Any) -> str | None:
    """The name of the first argument of a function; None where there is none, or nobody says."""
    try:
        return next(iter(inspect.signature(plain(function)).parameters), None)
    except (TypeError, ValueError):
        return None


def _constants_of(what: str, function: Any, inputs: Sequence[str], constants: Mapping[str, float]) -> tuple[str, ...]:
    """The names of the constants in the order in which a function takes them, behind its inputs."""
    if not callable(function):
        raise TypeError(f"{what} must be a function; got {shown(function)}")
    try:
        parameters = list(inspect.signature(plain(function)).parameters.values())
    except (TypeError, ValueError):  # NumPy's functions do not say
        return tuple(constants)
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return tuple(constants)
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in by_position[len(inputs) :]]
    needed = [p.name for p in by_position[len(inputs) :] if p.default is p.empty]
    wanted = f"{what} must take {' and '.join(inputs)}"
    if constants:
        wanted += f", then the constants {', '.join(constants)}"
    if len(by_position) < len(inputs) or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise TypeError(f"{wanted}; it takes {_list(p.name for p in parameters)}")
    if missing := [name for name in needed if name not in constants]:
        example = ", ".join(f'"{name}": ...' for name in missing)
        raise TypeError(f"{wanted}; it takes {', '.join(missing)} too: constants={{{example}}} gives numbers")
    found = tuple(names[: len(constants)])
    if set(found) != set(constants):
        raise TypeError(f"{wanted}; it takes {_list(p.name for p in by_position)}")
    return found


def _list(names: Any) -> str:
    return ", ".join(names) or "nothing"
