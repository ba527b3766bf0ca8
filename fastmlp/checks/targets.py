"""What a network is to give: labels of a classification, targets of a regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.checks.arrays import as_array, as_plain, as_real, check_finite, check_real, check_same_length
from fastmlp.checks.messages import code, shape_hint
from fastmlp.kernels.scan import first_outside

__all__ = ["as_labels", "as_targets"]

#: The one object of the dtype that NumPy's arrays have: quick to compare.
INTEGER = np.dtype(np.int64)


def as_labels(values: Any, classes: int, rows: int | None = None, name: str = "y", *, ignored: int | None = None) -> np.ndarray:
    """Labels 0 .. classes - 1, int64, shape (N,); rows may be `ignored`. A new array, or a new view, if there are such."""
    plain = type(values) is np.ndarray and values.dtype is INTEGER and values.ndim == 1 and values.flags.carray
    if plain and (rows is None or len(values) == rows) and first_outside(values, classes) < 0:
        return values  # what most callers bring, and the loss of a small network has no time for more
    given = array = as_array(values, name)
    rule = f"labels, whole numbers from 0 to {classes - 1}" if classes != 1 else "labels, which are 0 for a single class"
    alone = ": with one output, BCEWithLogitsLoss is for labels 0 and 1" if classes == 1 else ""
    if array.ndim and array.dtype.kind in "OUTS" and all(isinstance(label, (str, bytes)) for label in array.flat):
        numbers = f"np.unique({code(values, name)}, return_inverse=True)[1]"
        raise TypeError(f"{name} must hold {rule}; got text (dtype {array.dtype}): number the classes, {numbers}")
    check_real(array, values, name, rule)
    if array.ndim != 1:
        hint = _label_hint(array.shape, rows, code(values, name))
        raise ValueError(f"{name} must have the shape (N,), one label a row; got {array.shape}{hint}")
    if rows is not None:
        check_same_length(rows, array.shape[0], "X", name)
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            wrong = np.flatnonzero(~((array >= 0) & (array < classes) & (np.floor(array) == array)) & (array != ignored))
        if wrong.size:
            raise ValueError(f"{name} must hold {rule}; {name}[{wrong[0]}] is {array[wrong[0]]}{alone}")
    elif array.dtype.kind == "u" and array.dtype.itemsize == 8:
        array = np.minimum(array, max(classes, (ignored or 0) + 1))  # too large stays too large, and fits int64
    converted = as_plain(array.astype(np.int64, copy=False))
    outside = first_outside(converted, classes)
    if outside >= 0 and ignored is not None:
        wrong = np.flatnonzero(((converted < 0) | (converted >= classes)) & (converted != ignored))
        if not wrong.size:
            return converted[:]
        outside = wrong[0]
    if outside >= 0:
        model = f" (the model has {classes} outputs)" if classes != 1 else ""
        raise ValueError(f"{name} must hold {rule}{model}; {name}[{outside}] is {given[outside]}{alone}")
    return converted


def _label_hint(shape: tuple[int, ...], rows: int | None, array: str) -> str:
    """How to get to one label a row from another shape."""
    if len(shape) != 2:
        return ""
    if shape[1] == 1:
        return f": drop the second axis, {array}[:, 0]"
    if shape[0] == 1 and rows != 1:
        return f": drop the first axis, {array}[0]"
    return f": one label a row, not one-hot: {array}.argmax(axis=1)"


def as_targets(
    values: Any,
    width: int,
    dtype: np.dtype,
    rows: int | None = None,
    name: str = "y",
    *,
    finite: bool = False,
    squared: bool = False,
) -> np.ndarray:
    """Targets of a regression, shape (N, width); (N,) is taken as (N, 1) where the width is 1.

    With `finite`, NaN and infinity are refused, and if the loss is of `squared` differences, also what is too large for that.
    """
    plain = type(values) is np.ndarray and values.dtype is dtype and values.flags.carray and not finite
    if plain and values.shape == (rows, width):
        return values  # as in as_labels
    array = as_real(values, name, dtype)
    if array.ndim == 1 and width == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != width:
        hint = _target_hint(array, width, values, name)
        raise ValueError(f"{name} must have the shape of the outputs, (N, {width}); got {array.shape}{hint}")
    if rows is not None:
        check_same_length(rows, array.shape[0], "X", name)
    array = as_plain(array)
    if finite:
        check_finite(array, name)
    if finite and squared and array.size:
        largest = float(np.sqrt(np.finfo(dtype).max)) / 2  # half: the output that is subtracted may be as large
        if array.max() > largest or array.min() < -largest:
            row, column = np.argwhere(np.abs(array) > largest)[0]
            raise ValueError(
                f"{name} must lie within {largest:.1e} of 0, for its squares leave the range of {dtype}; row {row} holds "
                f"{array[row, column]}: scale the targets (check_finite=False turns this check off)"
            )
    return array


def _target_hint(array: np.ndarray, width: int, values: Any, name: str) -> str:
    """How to get to targets of this width from another shape."""
    if array.ndim == 1:
        with np.errstate(all="ignore"):
            labels = ((array >= 0) & (array < width) & (np.floor(array) == array)).all()
        if labels:
            whole = np.asarray(values).dtype.kind in "iu"
            return f": one-hot labels are np.eye({width})[{code(values, name)}{'' if whole else '.astype(int)'}]"
    return shape_hint(array.shape, width, code(values, name))
