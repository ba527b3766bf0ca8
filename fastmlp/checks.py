"""The border: every input is checked and converted here, once, before any kernel runs.

A message says the rule, what came, and where there is one the likely fix. Wrong kinds of things raise ``TypeError``, wrong
values and shapes ``ValueError``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.scan import all_finite, first_outside

__all__ = [
    "as_float_dtype",
    "as_float_dtype_of",
    "as_generator",
    "as_labels",
    "as_like",
    "as_matrix",
    "as_number",
    "as_output",
    "as_padded",
    "as_rows",
    "as_size",
    "as_targets",
    "check_same_length",
    "describe",
]

LARGEST_COUNT = 2**62

#: The one object of each dtype that NumPy's arrays have: quick to compare, and quick to allocate with.
NATIVE: dict[Any, np.dtype] = {np.dtype(kind): np.dtype(kind) for kind in (np.float32, np.float64)}


def as_float_dtype(dtype: Any) -> np.dtype:
    """float32 or float64, in native byte order."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be float32 or float64; got {dtype!r}") from None
    native = NATIVE.get(dtype.newbyteorder("="))
    if native is None:
        raise TypeError(f"dtype must be float32 or float64; got {dtype}")
    return native


def as_float_dtype_of(values: Any) -> np.dtype:
    """The dtype that a module without parameters computes in: that of its input, float32 for other numbers."""
    dtype = values.dtype.newbyteorder("=") if isinstance(values, (np.ndarray, np.generic)) else None
    return NATIVE.get(dtype, np.dtype(np.float32))


def as_size(value: Any, name: str, *, least: int = 1) -> int:
    """A whole number of at least `least`, small enough for the kernels' counters."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}")
    if value > LARGEST_COUNT:
        raise ValueError(f"{name} must be at most 2**62; got {value}")
    return value


def as_number(value: Any, name: str, *, least: float = 0.0, below: float = math.inf) -> float:
    """A finite real number, `least` <= number < `below`."""
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):
            raise TypeError
        converted = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    except OverflowError:
        converted = math.inf
    if not (least <= converted < below) or not math.isfinite(converted):
        limit = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{name} must be at least {least:g}{limit} and finite; got {value}")
    return converted


def as_generator(rng: Any) -> np.random.Generator:
    """The generator that `rng` stands for: None, an int, or a Generator (Scientific Python's SPEC 7)."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(f"rng must be None, an int of at least 0, or a numpy.random.Generator; got {rng!r}") from None


def describe(owner: Any) -> str:
    """What an error message calls something: on one line."""
    text = str(owner)
    return text if "\n" not in text else type(owner).__name__


def _real(values: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """An array of real numbers, converted to `dtype`; no copy where it already is."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be an array; its rows have different lengths") from None
    if array.dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "bytes"}.get(
            array.dtype.kind, str(array.dtype)
        )
        raise TypeError(f"{name} must hold real numbers; got {kind} (dtype {array.dtype}): convert it, {name}.astype(float)")
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):  # a number too large for the dtype becomes inf, which fit reports
        return array.astype(dtype)


class _Writable:
    """A writable face on a read-only array, without a copy: to Numba the two are different types, to be compiled twice.

    Kernels never write to their inputs.
    """

    def __init__(self, array: np.ndarray):
        self.base = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def _plain(array: np.ndarray) -> np.ndarray:
    """C-contiguous, aligned and writable, as the kernels are compiled for; copied only where it must be."""
    if array.flags.carray:
        return array
    array = np.require(array, requirements=["C", "A"])
    return array if array.flags.writeable else np.asarray(_Writable(array))


def as_matrix(values: Any, width: int | None, dtype: np.dtype, owner: Any, name: str = "x") -> np.ndarray:
    """An array of shape (N, `width`), N at least 1, any strides. `owner` is what expects it."""
    array = _real(values, name, dtype)
    expected = "width" if width is None else width
    if array.ndim != 2 or (width is not None and array.shape[1] != width):
        hint = ""
        if array.ndim == 1 and (width is None or array.shape[0] == width):
            hint = f": add a batch axis, {name}[None, :]"
        elif array.ndim == 1 and width == 1:
            hint = f": add a feature axis, {name}[:, None]"
        elif array.ndim == 2 and array.shape[0] == width:
            hint = f": transpose it, {name}.T"
        elif array.ndim > 2:
            hint = f": flatten all axes but the first, {name}.reshape(len({name}), -1)"
        what = "" if name in ("x", "X") else f"{name} of shape "
        raise ValueError(f"{describe(owner)} expects {what}(N, {expected}); got {array.shape}{hint}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"{describe(owner)} expects at least one row and one column; {name} is empty, {array.shape}")
    return array


def as_rows(
    values: Any, width: int | None, dtype: np.dtype, owner: Any, name: str = "X", *, finite: bool = False
) -> np.ndarray:
    """As :func:`as_matrix`, laid out for the kernels; with `finite`, NaN and infinity are refused."""
    if type(values) is np.ndarray and values.dtype is dtype and values.ndim == 2 and values.flags.carray:
        shape = values.shape  # what most callers bring, and a prediction of one row has no time for more
        if shape[0] and shape[1] and (width is None or shape[1] == width) and not finite:
            return values
    array = _plain(as_matrix(values, width, dtype, owner, name))
    if finite and not all_finite(array.reshape(-1)):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(
            f"{name} must be finite; row {row} holds {array[row][~np.isfinite(array[row])][0]} "
            f"(numbers beyond the range of {dtype} count as infinite; check_finite=False turns this check off)"
        )
    return array


def as_padded(array: np.ndarray) -> np.ndarray:
    """A copy whose rows are padded with zeros to whole lines."""
    padded = np.zeros((array.shape[0], row_stride(array.shape[1], array.dtype)), array.dtype)
    padded[:, : array.shape[1]] = array
    return padded


def as_labels(values: Any, classes: int, rows: int | None = None, name: str = "y") -> np.ndarray:
    """Labels 0 .. classes - 1, int64, shape (N,)."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold labels, whole numbers from 0 to {classes - 1}; got dtype {array.dtype}")
    if array.ndim != 1:
        hint = ": one label a row, not one-hot: y.argmax(axis=1)" if array.ndim == 2 and array.shape[1] > 1 else ""
        hint = f": drop the second axis, {name}[:, 0]" if array.ndim == 2 and array.shape[1] == 1 else hint
        raise ValueError(f"{name} must have the shape (N,), one label a row; got {array.shape}{hint}")
    if rows is not None:
        check_same_length(rows, array.shape[0], "X", name)
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~((array >= 0) & (array < classes) & (np.floor(array) == array)))
        if wrong.size:
            raise ValueError(
                f"{name} must hold labels, whole numbers from 0 to {classes - 1}; {name}[{wrong[0]}] is {array[wrong[0]]}"
            )
    elif array.dtype.kind == "u" and array.dtype.itemsize == 8:
        array = np.minimum(array, classes)  # too large stays too large, and fits int64
    converted = _plain(array.astype(np.int64, copy=False).view(np.ndarray))
    wrong = first_outside(converted, classes)
    if wrong >= 0:
        raise ValueError(
            f"{name} must hold labels, whole numbers from 0 to {classes - 1} (the model has {classes} outputs); "
            f"{name}[{wrong}] is {np.asarray(values)[wrong]}"
        )
    return converted


def as_targets(
    values: Any, width: int, dtype: np.dtype, rows: int | None = None, name: str = "y", *, finite: bool = False
) -> np.ndarray:
    """Targets of a regression, shape (N, width); (N,) is taken as (N, 1) where the width is 1."""
    array = _real(values, name, dtype)
    if array.ndim == 1 and width == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != width:
        hint = ": one-hot labels are np.eye(classes)[y]" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have the shape of the outputs, (N, {width}); got {array.shape}{hint}")
    if rows is not None:
        check_same_length(rows, array.shape[0], "X", name)
    array = _plain(array)
    if finite and not all_finite(array.reshape(-1)):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"{name} must be finite; row {row} is not (check_finite=False turns this check off)")
    return array


def as_output(out: Any, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """An array of the caller's that results are written to."""
    if type(out) is np.ndarray and out.dtype is dtype and out.shape == shape and out.flags.carray:
        return out
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        raise TypeError(f"out must be an array of {dtype}; got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != shape or not out.flags.carray:
        state = "" if out.flags.carray else ", not C-contiguous, aligned and writable"
        raise ValueError(f"out must have the shape {shape} and be C-contiguous and writable; got {out.shape}{state}")
    return out


def check_same_length(first: int, second: int, first_name: str, second_name: str) -> None:
    """Two arrays have as many rows as each other."""
    if first != second:
        raise ValueError(f"{first_name} and {second_name} must have as many rows as each other; got {first} and {second}")


def as_like(values: Any, view: np.ndarray, name: str) -> np.ndarray:
    """Values of the shape and dtype of `view`."""
    array = _real(values, name, view.dtype)
    if array.shape != view.shape:
        raise ValueError(f"{name} must have the shape {view.shape}; got {array.shape}")
    return array
