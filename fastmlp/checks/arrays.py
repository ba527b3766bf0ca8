"""Arrays: inputs, gradients, parameters' values, what a user's module returns, and what results are written to."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np

from fastmlp.checks.messages import a, class_name, code, describe, missing_return, not_numbers, place, shape_hint, word
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.scan import all_finite

__all__ = [
    "as_array",
    "as_delta",
    "as_like",
    "as_matrix",
    "as_output",
    "as_padded",
    "as_plain",
    "as_real",
    "as_returned",
    "as_rows",
    "check_finite",
    "check_real",
    "check_same_length",
    "overlaps",
]

#: Entries of a list that NumPy takes as they are.
SCALARS = (int, float, complex, str, bytes, np.generic)


def as_array(values: Any, name: str) -> np.ndarray:
    """The array that `values` stands for, of NumPy's own class and any dtype; what NumPy would misread is refused."""
    if type(values) is np.ndarray:
        return values
    _refuse_foreign(values, name)
    try:
        with np.errstate(all="ignore"):
            return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(values, (list, tuple)) and "inhomogeneous" in str(error):
            raise ValueError(f"{name} must be an array; its rows have different lengths{_ragged(values)}") from None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = type(values).__name__
        raise TypeError(f"{name} must be an array of numbers; NumPy cannot convert this {kind}: {reason}") from error


def _foreign_kinds(values: Any) -> set[type]:
    """The classes of the entries of nested lists that NumPy may misread, level by level: in C, for lists are long.

    Four levels, as everything of more axes is refused by its shape, and a list may contain itself.
    """
    kinds: set[type] = set()
    for _ in range(4):
        here = set(map(type, values))
        kinds |= here
        if not any(issubclass(kind, (list, tuple)) for kind in here):
            break
        values = list(chain.from_iterable(entry for entry in values if isinstance(entry, (list, tuple))))
    return {kind for kind in kinds if kind is not np.ndarray and not issubclass(kind, (*SCALARS, list, tuple))}


def _refuse_foreign(values: Any, name: str) -> None:
    """Refuse what NumPy would take for something else than is meant: it drops masks, and wraps a sparse matrix as an object."""
    if isinstance(values, (list, tuple)):
        if _foreign_kinds(values):
            for row, entry in enumerate(values):
                _refuse_foreign(entry, f"row {row} of {name}")
        return
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.names is None and values.mask.any():
            index = tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(values))[0])
            first = f", the first in {place(index)}" if index else ""
            raise ValueError(
                f"{name} has masked entries{first}: fill them in, {word(name)}.filled(value), or leave such rows out"
            )
    elif hasattr(values, "toarray") and hasattr(values, "tocsr"):
        raise TypeError(
            f"{name} must be a dense array; got a sparse {type(values).__name__}: convert it, {word(name)}.toarray()"
        )
    elif getattr(values, "requires_grad", False) is True and hasattr(values, "detach"):
        kind = a(type(values).__name__)
        raise TypeError(f"{name} must be an array; got {kind} that requires grad: detach it, {word(name)}.detach().numpy()")


def _ragged(rows: Any) -> str:
    """Where the lengths of rows differ first."""
    lengths = [len(row) if hasattr(row, "__len__") else 1 for row in rows]
    other = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    return "" if other is None else f": row 0 has {lengths[0]}, row {other} has {lengths[other]}"


def check_real(array: np.ndarray, values: Any, name: str, rule: str = "real numbers") -> None:
    """Refuse an array, made from `values`, that does not hold real numbers."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold {rule}; got {not_numbers(array, values, name)}")


def as_real(values: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """An array of real numbers, converted to `dtype`; no copy where it already is."""
    array = as_array(values, name)
    check_real(array, values, name)
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):  # a number too large for the dtype becomes inf, which fit reports
        return array.astype(dtype)


class _Writable:
    """A writable face on a read-only array, without a copy: to Numba the two are different types, to be compiled twice.

    Kernels never write to their inputs.
    """

    def __init__(self, array: np.ndarray):
        self.base = array
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def as_plain(array: np.ndarray) -> np.ndarray:
    """C-contiguous, aligned and writable, as the kernels are compiled for; copied only where it must be."""
    if array.flags.carray:
        return array
    array = np.require(array, requirements=["C", "A"])
    return array if array.flags.writeable else np.asarray(_Writable(array))


def as_matrix(
    values: Any,
    width: int | None,
    dtype: np.dtype,
    owner: Any,
    name: str = "x",
    *,
    column: bool | None = None,
    module: Any = None,
) -> np.ndarray:
    """An array of shape (N, `width`), N at least 1, any strides. `owner` is what expects it.

    `column` says what an array of one axis most likely is, where the width does not: one column (True) or one row (False).
    `module` is whose input it is: one that flattens it takes further axes.
    """
    array = as_real(values, name, dtype)
    if array.ndim > 2 and module is not None and module._flattens():
        array = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    if array.ndim != 2 or (width is not None and array.shape[1] != width):
        expected = "width" if width is None else width
        what = "" if name in ("x", "X") else f"{name} of shape "
        hint = shape_hint(array.shape, width, code(values, name), column)
        raise ValueError(f"{describe(owner)} expects {what}(N, {expected}); got {array.shape}{hint}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"{describe(owner)} expects at least one row and one column; {name} is empty, {array.shape}")
    return array


def as_rows(
    values: Any,
    width: int | None,
    dtype: np.dtype,
    owner: Any,
    name: str = "X",
    *,
    finite: bool = False,
    column: bool | None = None,
    module: Any = None,
) -> np.ndarray:
    """As :func:`as_matrix`, laid out for the kernels; with `finite`, NaN and infinity are refused."""
    if type(values) is np.ndarray and values.dtype is dtype and values.ndim == 2 and values.flags.carray:
        shape = values.shape  # what most callers bring, and a prediction of one row has no time for more
        if shape[0] and shape[1] and (width is None or shape[1] == width) and not finite:
            return values
    array = as_plain(as_matrix(values, width, dtype, owner, name, column=column, module=module))
    if finite:
        check_finite(array, name)
    return array


def check_finite(array: np.ndarray, name: str) -> None:
    """Refuse NaN and infinity in a matrix that is laid out for the kernels."""
    if not all_finite(array.reshape(-1)):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(
            f"{name} must be finite; row {row} holds {array[row][~np.isfinite(array[row])][0]} "
            f"(numbers beyond the range of {array.dtype} count as infinite; check_finite=False turns this check off)"
        )


def as_padded(array: np.ndarray) -> np.ndarray:
    """A copy whose rows are padded with zeros to whole lines."""
    padded = np.zeros((array.shape[0], row_stride(array.shape[1], array.dtype)), array.dtype)
    padded[:, : array.shape[1]] = array
    return padded


def as_delta(values: Any, shape: tuple[int, int], dtype: np.dtype, owner: Any) -> np.ndarray:
    """What ``backward`` gets: the gradient of the loss with respect to the last output, which had this shape."""
    if type(values) is np.ndarray and values.dtype is dtype and values.shape == shape and values.flags.carray:
        return values
    array = as_real(values, "dy", dtype)
    if array.shape != shape:
        hint, dy = "", code(values, "dy")
        if array.ndim == 0:
            hint = ": not the loss, but its gradient, criterion.backward()"
        elif array.ndim == 2 and array.shape[::-1] == shape:
            hint = f": transpose it, {dy}.T"
        elif array.size == shape[0] * shape[1]:
            hint = f": {dy}.reshape{shape}"
        raise ValueError(
            f"backward of {describe(owner)} expects the shape of the last output, {shape}; got {array.shape}{hint}"
        )
    return as_plain(array)


def as_like(values: Any, view: np.ndarray, name: str) -> np.ndarray:
    """Values of the shape and dtype of `view`."""
    array = as_real(values, name, view.dtype)
    if array.shape != view.shape:
        hint = f": transpose it, {code(values, name)}.T" if array.ndim == 2 and array.shape[::-1] == view.shape else ""
        raise ValueError(f"{name} must have the shape {view.shape}; got {array.shape}{hint}")
    return array


def as_returned(values: Any, shape: int | tuple[int, int | None], dtype: np.dtype, owner: Any, method: str) -> np.ndarray:
    """What a method of a module written in Python returned, laid out for the kernels; it may be the module's own memory.

    Parameters
    ----------
    values : object
        What came back.
    shape : int or (int, int or None)
        The rows, and the width where it is known.
    dtype : dtype
        To convert to.
    owner, method : object, str
        The module and ``"forward"`` or ``"backward"``, for the messages.
    """
    rows, width = shape if isinstance(shape, tuple) else (shape, None)
    if values is None or isinstance(values, tuple):
        came = "None" + missing_return(values) if values is None else f"a tuple of {len(values)}, not one array"
        raise TypeError(f"{_returns(rows, width, owner, method)}; got {came}")
    array = as_real(values, f"what {class_name(owner)}.{method} returns", dtype)
    if array.ndim != 2 or array.shape[0] != rows or array.shape[1] == 0 or (width is not None and array.shape[1] != width):
        raise ValueError(f"{_returns(rows, width, owner, method)}; got {array.shape}")
    return as_plain(array)


def _returns(rows: int, width: int | None, owner: Any, method: str) -> str:
    """The rule for what a method of a module returns."""
    unknown = "I" if method == "backward" else "O"
    rule = f"{class_name(owner)}.{method} must return ({rows}, {unknown if width is None else width})"
    what = (
        "input" if hasattr(owner, "named_parameters") else "output"
    )  # of a loss, the gradient is that of the network's output
    return f"{rule}, the shape of the last {what}" if width is not None and method == "backward" else rule


def as_output(out: Any, shape: tuple[int, int], dtype: np.dtype, *, apart_from: np.ndarray | None = None) -> np.ndarray:
    """An array of the caller's that results are written to.

    Where it shares memory with `apart_from`, which is still read while results are written, this is fresh memory instead,
    which the caller copies in the end: ``if result is not out: out[...] = result``.
    """
    if not (type(out) is np.ndarray and out.dtype is dtype and out.shape == shape and out.flags.carray):
        out = _checked_output(out, shape, dtype)
    if apart_from is None or (out.base is None and apart_from.base is None and out is not apart_from):
        return out  # each has memory of its own, or nobody asks: a third of the time of looking at bounds
    return np.empty(shape, dtype) if overlaps(out, apart_from) else out


def _checked_output(out: Any, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be an array of {dtype}, not masked: pass out.data, or np.ma.getdata(out)")
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        raise TypeError(f"out must be an array of {dtype}; got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != shape or not out.flags.carray:
        state = "" if out.flags.carray else ", not C-contiguous, aligned and writable"
        raise ValueError(f"out must have the shape {shape} and be C-contiguous and writable; got {out.shape}{state}")
    return np.asarray(out)  # the same memory, of NumPy's own class, as the kernels are compiled for


def overlaps(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the memory of two arrays may overlap: by its bounds, which is exact for contiguous arrays."""
    return np.may_share_memory(first, second)


def check_same_length(first: int, second: int, first_name: str, second_name: str) -> None:
    """Two arrays have as many rows as each other."""
    if first != second:
        raise ValueError(f"{first_name} and {second_name} must have as many rows as each other; got {first} and {second}")
