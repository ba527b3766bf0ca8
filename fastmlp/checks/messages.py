"""The words of error messages: what came, on one line, and the line of code that mends it."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterable
from numbers import Number
from typing import Any

import numpy as np

__all__ = [
    "a",
    "class_name",
    "code",
    "describe",
    "full_name",
    "missing_return",
    "not_numbers",
    "place",
    "shape_hint",
    "shown",
    "word",
]

#: A repr longer than this would bury the sentence that it stands in.
LONGEST_REPR = 80

#: What messages call NumPy's kinds of dtype.
KINDS = {
    "c": "complex numbers",
    "O": "Python objects",
    "U": "text",
    "T": "text",
    "S": "bytes",
    "M": "dates",
    "m": "lengths of time",
    "V": "records",
}


def describe(owner: Any) -> str:
    """What an error message calls something: on one line."""
    text = str(owner)
    return text if "\n" not in text else type(owner).__name__


def shown(value: Any, form: Callable[[Any], str] = repr) -> str:
    """A value in the middle of a sentence: on one line, and short."""
    try:
        text = form(value.item() if isinstance(value, np.generic) else value)  # 0.5, not np.float64(0.5)
    except Exception:  # an int of more than 4,300 digits, or whatever a foreign __repr__ raises
        text = ""
    if text and "\n" not in text and len(text) <= LONGEST_REPR:
        return text
    if isinstance(value, int):
        return f"{'-' if value < 0 else ''}2**{abs(value).bit_length() - 1} or more"
    shape = getattr(value, "shape", None)
    return a(type(value).__name__) + (f" of shape {shape}" if isinstance(shape, tuple) else "")


def a(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" or noun == "ndarray" else f"a {noun}"


def class_name(owner: Any) -> str:
    """The class of an object, or the class or name that was given itself."""
    if isinstance(owner, str):
        return owner
    return owner.__name__ if isinstance(owner, type) else type(owner).__name__


def full_name(value: Any) -> str:
    """The class of an object with its module, where the class alone says too little: another library's SGD."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def word(name: str) -> str:
    """A name that can stand in a line of code: "grad of 0.weight" cannot."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else "values"


def code(values: Any, name: str) -> str:
    """`values` as an array, in a line of code that a message proposes: lists and data frames have no ``[:, None]``."""
    return word(name) if type(values) is np.ndarray else f"np.asarray({word(name)})"


def place(index: tuple[int, ...]) -> str:
    """Where in an array an entry stands."""
    if len(index) == 2:
        return f"row {index[0]}, column {index[1]}"
    return f"row {index[0]}" if len(index) == 1 else f"entry {index}"


def missing_return(value: Any) -> str:
    """What is wrong with a method that gave None."""
    return ": a return statement is missing" if value is None else ""


def not_numbers(array: np.ndarray, values: Any, name: str) -> str:
    """What an array without real numbers holds, and what to do about it; it was made from `values`."""
    kind = array.dtype.kind
    if array.ndim == 0 and kind in "OUTS":
        accepted = ": an array is accepted, and lists of numbers"
        if isinstance(values, Iterable) and not isinstance(values, (str, bytes, dict, np.ndarray, np.generic)):
            accepted = ": make a list of it first, list(...)"
        return f"{'None' if values is None else a(type(values).__name__)}{accepted}"
    found = f"{KINDS[kind]} (dtype {array.dtype})"
    if kind == "c":
        return f"{found}: take the real parts, {code(values, name)}.real"
    if kind in "Mm":
        since = code(values, name) if kind == "m" else f"({code(values, name)} - np.datetime64(0, 's'))"
        return f"{found}: count in seconds, {since} / np.timedelta64(1, 's')"
    if array.dtype.names is not None:
        return f"{found}: numpy.lib.recfunctions.structured_to_unstructured makes columns of the fields"
    for index, entry in np.ndenumerate(array) if kind == "O" else ():
        if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
            return f"{found}: {place(index)} is {entry}, a missing value: fill it in, or leave its row out"
        if not isinstance(entry, (Number, str)):
            return f"{found}: {place(index)} is {a(type(entry).__name__)}"
    try:
        with np.errstate(all="ignore"):
            array.astype(float)
    except (TypeError, ValueError, OverflowError):
        wrong = next(((index, entry) for index, entry in np.ndenumerate(array) if not _converts(entry)), None)
        return found if wrong is None else f"{found}: {place(wrong[0])} is {shown(wrong[1])}"
    return f"{found}: convert it, {code(values, name)}.astype(float)"


def _converts(entry: Any) -> bool:
    try:
        float(entry)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def shape_hint(shape: tuple[int, ...], width: int | None, array: str, column: bool | None = None) -> str:
    """How to get to (N, width) from another shape; `array` is what code calls the array."""
    row_axis, column_axis = f"add a batch axis, {array}[None, :]", f"add a feature axis, {array}[:, None]"
    if len(shape) == 1:
        if width is not None:
            return f": {row_axis}" if shape[0] == width else f": {column_axis}" if width == 1 else ""
        if column is not None:
            return f": {column_axis if column else row_axis}"
        return f": {row_axis}, for one row, or {column_axis}, for one column"
    if len(shape) == 2 and shape[0] == width and shape[1]:
        return f": transpose it, {array}.T"
    if len(shape) > 2 and (width is None or math.prod(shape[1:]) == width):
        return f": flatten all axes but the first, {array}.reshape(len({array}), -1)"
    if len(shape) > 1 and math.prod(shape) == width:
        return f": make it one row, {array}.reshape(1, -1)"
    return ""
