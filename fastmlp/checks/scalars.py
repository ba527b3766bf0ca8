"""Sizes, hyperparameters, dtypes and generators; and the single numbers that a user's loss or schedule returns."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp.checks.messages import class_name, missing_return, shown

__all__ = [
    "LARGEST_COUNT",
    "as_flag",
    "as_float_dtype",
    "as_float_dtype_of",
    "as_generator",
    "as_loss",
    "as_metric",
    "as_number",
    "as_pair",
    "as_rate",
    "as_size",
    "check_mapping",
]

LARGEST_COUNT = 2**62

#: The one object of each dtype that NumPy's arrays have: quick to compare, and quick to allocate with.
NATIVE: dict[Any, np.dtype] = {np.dtype(kind): np.dtype(kind) for kind in (np.float32, np.float64)}


def as_float_dtype(dtype: Any) -> np.dtype:
    """float32 or float64, in native byte order."""
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # SyntaxError: text that starts like a list of dtypes
        raise TypeError(f"dtype must be float32 or float64; got {shown(dtype)}") from None
    native = NATIVE.get(dtype.newbyteorder("="))
    if native is None:
        raise TypeError(f"dtype must be float32 or float64; got {dtype}")
    return native


def as_float_dtype_of(values: Any) -> np.dtype:
    """The dtype that a module without parameters computes in: that of its input, float32 for other numbers."""
    if type(values) is np.ndarray and (native := NATIVE.get(values.dtype)) is not None:
        return native
    dtype = values.dtype.newbyteorder("=") if isinstance(values, (np.ndarray, np.generic)) else None
    return NATIVE.get(dtype, np.dtype(np.float32))


def as_size(value: Any, name: str, *, least: int = 1) -> int:
    """A whole number of at least `least`, small enough for the kernels' counters."""
    try:
        if isinstance(value, (bool, np.bool_, np.ma.MaskedArray)):
            raise TypeError
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {shown(value)}") from None
    if size < least:
        raise ValueError(f"{name} must be at least {least}; got {shown(size)}")
    if size > LARGEST_COUNT:
        raise ValueError(f"{name} must be at most 2**62; got {shown(size)}")
    return size


def as_number(
    value: Any,
    name: str,
    *,
    least: float = 0.0,
    above: float | None = None,
    below: float = math.inf,
    most: float | None = None,
) -> float:
    """A finite real number in an interval whose ends are closed or open.

    Parameters
    ----------
    value, name : object, str
        What came, and what messages call it.
    least, above : float
        ``least <= number``; with `above`, ``above < number`` instead.
    below, most : float
        ``number < below``; with `most`, ``number <= most`` instead.
    """
    number = _real_scalar(value)
    if number is None:
        raise TypeError(f"{name} must be a number; got {shown(value)}")
    high_enough = number >= least if above is None else number > above
    low_enough = number < below if most is None else number <= most
    if not (high_enough and low_enough and math.isfinite(number)):
        rule = []
        if above is not None or least > -math.inf:
            rule.append(f"at least {least:g}" if above is None else f"above {above:g}")
        if most is not None or below < math.inf:
            rule.append(f"below {below:g}" if most is None else f"at most {most:g}")
        if len(rule) < 2:
            rule.append("finite")
        raise ValueError(f"{name} must be {' and '.join(rule)}; got {shown(value, str)}")
    return number


def as_pair(value: Any, name: str, **bounds: Any) -> tuple[float, float]:
    """Two numbers, each as :func:`as_number` has it."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair of numbers; got {shown(value)}") from None
    return as_number(first, f"{name}[0]", **bounds), as_number(second, f"{name}[1]", **bounds)


def as_flag(value: Any, name: str) -> bool:
    """Yes or no: a bool, or 0 or 1. Text is neither: "False" would be taken for yes."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    number = _real_scalar(value)
    if number not in (0.0, 1.0):
        raise TypeError(f"{name} must be True or False; got {shown(value)}")
    return bool(number)


def as_loss(value: Any, owner: Any) -> float:
    """What the ``forward`` of a user's criterion returned, as a Python float.

    A real number of any precision is taken, and so is an array of one. NaN and infinity pass: who trains reports them.
    """
    if isinstance(value, np.ndarray) and value.size == 1 and not np.ma.is_masked(value):
        value = np.asarray(value).reshape(())[()]
    number = _real_scalar(value)
    if number is not None:
        return number
    rule = f"{class_name(owner)}.forward must return one number, the loss"
    if isinstance(value, np.ndarray) and value.size != 1:
        raise ValueError(f"{rule}; got an array of shape {value.shape}: take its mean, .mean()")
    if isinstance(value, (tuple, list)):
        raise TypeError(f"{rule}; got a {type(value).__name__} of {len(value)}")
    raise TypeError(f"{rule}; got {shown(value)}{missing_return(value)}")


def as_metric(value: Any, name: str = "metrics") -> float:
    """What a schedule is told about an epoch, or a metric returned: a real number, NaN and infinity too, or an array of one."""
    if isinstance(value, np.ndarray) and value.size == 1 and not np.ma.is_masked(value):
        value = np.asarray(value).reshape(())[()]
    number = _real_scalar(value)
    if number is None:
        raise TypeError(f"{name} must be a number, a loss for instance; got {shown(value)}")
    return number


def as_rate(value: Any, owner: Any, epoch: int) -> float:
    """What the ``rate(epoch)`` of a schedule returned: a learning rate, finite and at least 0."""
    where = f"{class_name(owner)}.rate({epoch})"
    if value is None:
        raise TypeError(f"{where} must return a number; got None{missing_return(value)}")
    return as_number(value, f"what {where} returns, a learning rate,")


def check_mapping(value: Any, name: str) -> None:
    """What ``state_dict`` gave, or another mapping: a file of arrays, say."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dictionary, as state_dict() gives it; got {shown(value)}")


def as_generator(rng: Any) -> np.random.Generator:
    """The generator that `rng` stands for: None, an int, or a Generator (Scientific Python's SPEC 7)."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(f"rng must be None, an int of at least 0, or a numpy.random.Generator; got {shown(rng)}") from None


def _real_scalar(value: Any) -> float | None:
    """A real number as a float, infinite where it is too large for one; None where it is no real number.

    ``float(...)`` alone takes text, bytes, NumPy's masked constant and the real part of a complex number, too.
    """
    if type(value) is float:
        return value
    if isinstance(value, (bool, np.ma.MaskedArray)):
        return None
    if isinstance(value, (np.ndarray, np.generic)) and (value.ndim or value.dtype.kind not in "iuf"):
        return None
    if not hasattr(type(value), "__float__") and not hasattr(type(value), "__index__"):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError, RuntimeError):  # such as a tensor of several numbers
        return None
