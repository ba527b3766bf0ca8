"""Tables as they come, as numbers that a network learns well from."""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Columns", "is_frame"]

#: Categories of a column, a missing value among them, that become a column of their own each; more are embedded.
ONE_HOT = 9

#: Entries of the vector of a category.
ENTRIES = 8

#: Numbers further out than some of these distances of the quartiles are drawn in: x / sqrt(1 + (x / 3)^2) is below 3.
REACH = 3.0


def is_frame(X: Any) -> bool:
    """Whether `X` is a data frame of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


class Number:
    """A column of numbers: centred by the median, scaled by the quartiles' distance, drawn in smoothly, in float32."""

    def __init__(self, values: np.ndarray):
        known = values[~np.isnan(values)]
        self.missing = len(known) < len(values)
        low, centre, high = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else (0.0, 0.0, 0.0)
        spread = high - low
        if not spread > 0 and len(known):  # half of the rows agree
            spread = (known.max() - known.min()) / 2
        self.centre = float(centre)
        self.factor = 1 / float(spread) if np.isfinite(spread) and spread > abs(centre) * 1e-14 else 0.0

    @property
    def width(self) -> int:
        """Columns that it becomes: none for one that is constant; one more says where values are missing."""
        return int(self.factor > 0) + int(self.missing)

    def columns(self, values: np.ndarray) -> list[np.ndarray]:
        """What the network gets."""
        unknown = np.isnan(values)
        result = []
        if self.factor > 0:
            x = np.where(unknown, 0.0, (values - self.centre) * self.factor)
            result.append(x / np.sqrt(1 + (x / REACH) ** 2))
        if self.missing:
            result.append(unknown.astype(np.float64))
        return result


class Category:
    """A column of categories: numbered from 1 in their order; 0 is what has never been seen, or is missing."""

    def __init__(self, values: np.ndarray, missing: np.ndarray):
        self.known = sorted(set(values[~missing].tolist()), key=lambda value: (str(type(value)), value))
        self.places = {value: place for place, value in enumerate(self.known, 1)}
        self.missing = bool(missing.any())
        self.embedded = len(self.known) + self.missing > ONE_HOT

    def numbers(self, values: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """The numbers of the categories, and some that have never been seen."""
        found = [0 if gone else self.places.get(value, -1) for value, gone in zip(values.tolist(), missing.tolist())]
        result = np.array(found, np.int64)
        unseen = [values[row] for row in np.flatnonzero(result < 0)[:1]]
        return np.maximum(result, 0), unseen

    @property
    def shown(self) -> range:
        """The numbers that become a column each where it is not embedded: of two categories one, of one none."""
        numbers = range(0 if self.missing else 1, len(self.known) + 1)
        return numbers if len(numbers) > 2 else numbers[1:]

    @property
    def width(self) -> int:
        """Columns that it becomes where it is not embedded."""
        return len(self.shown)

    def columns(self, numbers: np.ndarray) -> list[np.ndarray]:
        """What the network gets where it is not embedded."""
        return [(numbers == number).astype(np.float64) for number in self.shown]


class Columns:
    """The columns of a table: numbers or categories by what is in them, unless `categorical` names some.

    Attributes
    ----------
    width : int
        Columns that the network gets.
    embeddings : dict of int to int
        By the number of such a column, how many categories it has.
    """

    def __init__(self, X: Any, categorical: Any = None):
        self.names = [str(name) for name in X.columns] if is_frame(X) else [str(place) for place in range(X.shape[1])]
        wanted = _chosen(categorical, self.names)
        self.kinds: list[Number | Category] = []
        self._said = False
        for place, (values, is_category) in enumerate(_columns_of(X)):
            if is_category if wanted is None else place in wanted:
                self.kinds.append(Category(*_as_categories(values, self.names[place])))
            else:
                self.kinds.append(Number(_as_numbers(values, self.names[place])))
        plain = sum(kind.width for kind in self.kinds if isinstance(kind, Number) or not kind.embedded)
        embedded = [kind for kind in self.kinds if isinstance(kind, Category) and kind.embedded]
        self.embeddings = {plain + place: len(kind.known) + 1 for place, kind in enumerate(embedded)}
        self.width = plain + len(embedded)
        if not self.width:  # nothing varies: a column of zeros
            self.width = 1

    def transform(self, X: Any) -> np.ndarray:
        """What the network gets, (N, width), in float32; embedded categories last."""
        plain: list[np.ndarray] = []
        embedded: list[np.ndarray] = []
        new: list[str] = []
        for name, kind, (values, _) in zip(self.names, self.kinds, _columns_of(X)):
            if isinstance(kind, Number):
                plain += kind.columns(_as_numbers(values, name))
                continue
            numbers, unseen = kind.numbers(*_as_categories(values, name))
            new += [f"{name!r} ({value!r})" for value in unseen]
            if kind.embedded:
                embedded.append(numbers)
            else:
                plain += kind.columns(numbers)
        if new and not self._said:
            self._said = True
            text = f"categories that were not seen in training count as missing, in {', '.join(new)}; this is said once"
            warnings.warn(text, UserWarning, stacklevel=4)
        columns = plain + embedded
        result = np.zeros((X.shape[0], self.width), np.float32)
        for place, column in enumerate(columns):
            result[:, place] = column
        return result


def _chosen(categorical: Any, names: Sequence[str]) -> set[int] | None:
    """The places of columns that are named, or numbered, or chosen by a mask."""
    if categorical is None:
        return None
    given = np.asarray(categorical)
    if given.dtype == bool:
        if given.shape != (len(names),):
            raise ValueError(f"categorical_features as a mask must have {len(names)} entries; got the shape {given.shape}")
        return set(np.flatnonzero(given).tolist())
    result = set()
    for entry in given.ravel().tolist():
        if isinstance(entry, str) and entry in names:
            result.add(names.index(entry))
        elif isinstance(entry, int) and 0 <= entry < len(names):
            result.add(entry)
        else:
            raise ValueError(f"categorical_features names {entry!r}, which is no column of X; it has {', '.join(names[:9])}")
    return result


def _columns_of(X: Any) -> list[tuple[np.ndarray, bool]]:
    """The values of each column, and whether they are categories by their dtype."""
    if not is_frame(X):
        return [(X[:, place], False) if X.dtype != object else _told_apart(X[:, place]) for place in range(X.shape[1])]
    result = []
    for place, name in enumerate(X.columns):
        column = X.iloc[:, place] if hasattr(X, "iloc") else X[name]
        kind = str(column.dtype).lower()
        values = np.asarray(column)
        if kind.startswith(("category", "categorical", "enum")):
            result.append((values.astype(object), True))
        elif values.dtype.kind in "biuf":
            result.append((values, False))
        elif values.dtype.kind in "mM":
            raise TypeError(f"column {name!r} holds dates or times: give numbers, days since some day for instance")
        else:
            result.append(_told_apart(values.astype(object)))
    return result


def _told_apart(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Objects, and whether they are categories: numbers alone are numbers."""
    known = values[~_missing(values)]
    return values, any(not isinstance(value, numbers.Real) for value in known.tolist())


def _missing(values: np.ndarray) -> np.ndarray:
    """Where nothing is: None, NaN, pandas' NA."""
    if values.dtype.kind in "biu":
        return np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        return np.isnan(values)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        return np.asarray(pandas.isna(values))
    return np.array([value is None or (isinstance(value, float) and value != value) for value in values.tolist()], bool)


def _as_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """A column of numbers, float64 with NaN where nothing is."""
    if values.dtype == object:
        missing = _missing(values)
        for value in values[~missing].tolist():
            if not isinstance(value, numbers.Real):
                raise (ValueError if isinstance(value, str) else TypeError)(
                    f"column {name!r} must hold numbers, as in training; argument must be a real number, not {value!r}"
                )
        values = np.where(missing, np.nan, values)
    result = values.astype(np.float64)
    if np.isinf(result).any():
        raise ValueError(f"column {name!r} contains infinity or a value too large for float64")
    return result


def _as_categories(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of categories, as objects, and where nothing is."""
    values = values if values.dtype == object else values.astype(object)
    missing = _missing(values)
    for value in values[~missing].tolist():
        if not isinstance(value, (str, bool, numbers.Real)):
            raise TypeError(f"column {name!r}: argument must be a string or a real number, not {type(value).__name__!r}")
    return values, missing
