"""What a loss takes beside outputs and targets: weights of rows, numbers for each column or class, how a batch is reduced."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.checks.arrays import as_plain, as_real, check_same_length
from fastmlp.checks.messages import class_name, code, shown
from fastmlp.checks.scalars import as_number
from fastmlp.kernels.scan import first_beyond

__all__ = ["argument", "as_columns", "as_reduction", "as_vector", "as_weights", "check_kind"]

#: Kinds of targets that lie in an interval: its ends, whether nothing lies between them, and what a message says.
KINDS = {
    "signs": (-1.0, 1.0, True, "-1 or 1"),
    "probabilities": (0.0, 1.0, False, "from 0 to 1"),
    "distributions": (0.0, 1.0, False, "from 0 to 1"),
    "counts": (0.0, float("inf"), False, "at least 0"),
}


def as_weights(values: Any, dtype: np.dtype, rows: int, name: str = "sample_weight") -> np.ndarray:
    """How much each row counts: shape (N,), finite numbers of at least 0."""
    array = as_plain(as_real(values, name, dtype))
    if array.ndim != 1:
        hint = f": drop the second axis, {code(values, name)}[:, 0]" if array.ndim == 2 and array.shape[1] == 1 else ""
        raise ValueError(f"{name} must have the shape (N,), one number a row; got {array.shape}{hint}")
    check_same_length(rows, len(array), "X", name)
    wrong = first_beyond(array, 0.0, float(np.finfo(dtype).max), False)
    if wrong >= 0:
        raise ValueError(f"{name} must be finite numbers of at least 0; {name}[{wrong}] is {array[wrong]}")
    return array


def check_kind(array: np.ndarray, kind: str, name: str, owner: Any) -> None:
    """Refuse targets, laid out for the kernels, that are not of this kind."""
    low, high, ends, rule = KINDS[kind]
    wrong = first_beyond(array.reshape(-1), low, high, ends)
    if wrong >= 0:
        hint = f" (of labels 0 and 1: 2 * {name} - 1)" if kind == "signs" else ""
        row = wrong // array.shape[1]
        raise ValueError(f"{class_name(owner)} takes targets of {rule}{hint}; row {row} of {name} holds {array.flat[wrong]}")


def as_reduction(value: Any, *, more: tuple[str, ...] = ()) -> str:
    """How the losses of a batch become one: "mean" or "sum", or what else a loss has."""
    known = ("mean", "sum", *more)
    if isinstance(value, str) and value in known:
        return value
    rule = f"reduction must be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
    if isinstance(value, str) and value == "none":
        raise ValueError(f"{rule}; 'none' would give a loss for each row, and a way back needs one for the batch")
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"{rule}; got {shown(value)}")


def as_vector(
    value: Any, name: str, *, least: float = -float("inf"), above: float | None = None, below: float = float("inf")
) -> float | tuple[float, ...]:
    """A number, or a tuple of numbers, one for each column; each in an interval, as for `as_number`."""
    interval: dict[str, Any] = {"least": least, "above": above, "below": below}
    if not isinstance(value, np.ma.MaskedArray) and not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
        return as_number(value, name, **interval)
    array = as_real(value, name, np.dtype(np.float64))
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a number, or one for each column of the outputs, (C,); got {array.shape}")
    return tuple(as_number(number, f"{name}[{i}]", **interval) for i, number in enumerate(array.tolist()))


def as_columns(value: float | tuple[float, ...], width: int, name: str) -> tuple[float, ...]:
    """What :func:`as_vector` gave, for outputs of this width."""
    if not isinstance(value, tuple):
        return (value,) * width
    if len(value) != width:
        raise ValueError(f"{name} has {len(value)} numbers, the outputs have {width} columns: one for each")
    return value


def argument(name: str, value: Any) -> str:
    """An argument as one writes it."""
    if isinstance(value, tuple):
        return f"{name}=[{', '.join(f'{number:g}' for number in value)}]"
    return f"{name}={value:g}" if type(value) is float else f"{name}={value!r}"
