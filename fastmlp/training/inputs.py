"""What `fit` and its relatives are given, as the kernels take it; and how a part of it is held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.checks.arrays import as_array
from fastmlp.criterion import Criterion
from fastmlp.modules import Module, Sequential
from fastmlp.modules.labels import as_classes, numbers_of
from fastmlp.optim import Optimizer

__all__ = [
    "Rows",
    "check_counts",
    "check_data",
    "check_kinds",
    "class_counts",
    "class_numbers",
    "classes_of",
    "held_out",
    "numbered",
    "weighted_by_class",
]


class Rows(NamedTuple):
    """Inputs, labels or targets, and weights where there are any, after the border: in memory, all of them."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    @property
    def length(self) -> int:
        """How many rows there are."""
        return len(self.x)

    @property
    def first(self) -> Rows:
        """Some of the rows: these."""
        return self

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weights is not None

    def layout(self, shuffle: bool) -> int:
        """A number that two runs have in common if their rows come in the same order."""
        return int(shuffle)

    def taken(self, rows: np.ndarray | slice) -> Rows:
        """Some rows; copies, of an array of numbers."""
        return Rows(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def pieces(self) -> Iterator[Rows]:
        """All rows, as they come."""
        yield self

    def split(self, fraction: float, seed: int, criterion: Criterion) -> tuple[Rows, Rows]:
        """Rows to train on, and a fraction of them that is held out."""
        held = held_out(self.y, self.length, fraction, seed, criterion)
        parts = self.taken(np.flatnonzero(~held)), self.taken(np.flatnonzero(held))
        check_counts(parts[0].weights, "what validation= leaves of X")
        check_counts(parts[1].weights, "validation X")
        return parts

    def with_class_weight(self, weight: Any, criterion: Criterion, classes: int | None) -> Rows:
        """The same rows, each weighted by its class, too."""
        counts = class_counts(self.y, criterion)
        rows = weighted_by_class(self, class_numbers(weight, counts, classes), criterion)
        check_counts(rows.weights, "X")
        return rows


def check_kinds(*things: tuple[Any, type, str]) -> None:
    """Refuse what is not of its kind; each thing comes with the kind and a name."""
    for value, kind, name in things:
        if not isinstance(value, kind):
            came = checks.full_name(value)
            if isinstance(value, type):
                came = f"the class {value.__name__}: make one, {value.__name__}()"
            hint = f": wrap it, Sequential({checks.describe(value)})" if isinstance(value, Module) else ""
            article = "an" if kind is Optimizer else "a"
            raise TypeError(f"{name} must be {article} {kind.__name__} of fastmlp; got {came}{hint}")


def classes_of(model: Sequential, criterion: Criterion, y: Any) -> np.ndarray | None:
    """The names of the classes: the model's, or those in `y` where its labels are text."""
    if model.classes is not None or "labels" not in criterion.targets or not _is_text(y):
        return model.classes
    return as_classes(np.unique(np.asarray(y).astype(str)))


def _is_text(y: Any) -> bool:
    """Whether labels are text."""
    if isinstance(y, np.ndarray) and y.dtype.kind in "biuf":
        return False
    try:
        given = np.asarray(y)
    except ValueError:  # rows of several lengths, say
        return False
    return given.dtype.kind == "U" or (given.dtype == object and all(isinstance(label, str) for label in given.flat))


def numbered(criterion: Criterion, y: Any, classes: np.ndarray, width: int | None, name: str) -> Any:
    """Labels by their numbers, where they are names of classes."""
    if "labels" not in criterion.targets or np.ndim(y) != 1 or not (classes.dtype.kind in "iu" or _is_text(y)):
        return y
    if width is not None and len(classes) > width:
        raise ValueError(f"{name} has labels of {len(classes)} classes, but the model has {width} outputs")
    return numbers_of(y, classes, name)


def check_data(
    model: Sequential,
    criterion: Criterion,
    X: Any,
    y: Any,
    sample_weight: Any,
    where: str,
    finite: bool,
    owner: str = "fit",
    classes: np.ndarray | None = None,
    *,
    counted: bool = True,
) -> Rows:
    """X, y and the weights of the rows as the kernels take them; `classes` are the names that labels may have.

    With `counted`, some row must count.
    """
    x_name, y_name, w_name = f"{where}X", f"{where}y", f"{where}sample_weight"
    x = checks.as_rows(X, model._width_in(), model.dtype, owner, x_name, finite=finite, module=model)
    check_input = model._route_as_whole().check_input
    if check_input is not None:
        check_input(x, x_name)
    width = model._width_out(x.shape[1])
    if classes is not None:
        y = numbered(criterion, y, classes, width, y_name)
    if criterion.runs_in_engine() and width is not None:
        y = criterion._check_targets(y, width, model.dtype, len(x), y_name, finite=finite)
        weights = criterion._check_weights(sample_weight, y, model.dtype, w_name)
    else:
        y = as_array(y, y_name)  # only the criterion knows what it takes
        checks.check_same_length(len(x), len(y) if y.ndim else 0, x_name, y_name)
        weights = None if sample_weight is None else checks.as_weights(sample_weight, model.dtype, len(x), w_name)
    if counted:
        check_counts(weights, x_name)
    return Rows(x, y, weights)


def check_counts(weights: np.ndarray | None, name: str) -> None:
    """Refuse weights of which all are 0."""
    if weights is not None and not weights.any():
        raise ValueError(f"no row of {name} counts: each has the weight 0, or is ignored")


def held_out(y: np.ndarray, count: int, fraction: float, seed: int, criterion: Criterion) -> np.ndarray:
    """Which of `count` rows are held out, as a mask: a function of the seed alone.

    Each class gives its share, to one row (systematic sampling of the rows in order of their classes, in a random order within
    each), and keeps one row for training.
    """
    wanted = max(1, round(fraction * count))
    generator = np.random.default_rng([seed, 1])
    order = generator.permutation(count)
    classes = _strata(y, criterion)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
        sorted_classes = classes[order]
        candidates = order[np.append(False, sorted_classes[1:] == sorted_classes[:-1])]  # all but the first of each class
    else:
        candidates = order[1:]
    wanted = min(wanted, len(candidates))
    if wanted == 0:
        raise ValueError(f"validation={fraction:g} leaves nothing to hold out: each class keeps a row to train on")
    places = ((np.arange(wanted) + generator.random()) * len(candidates) / wanted).astype(np.int64)
    chosen = np.zeros(count, bool)
    chosen[candidates[np.minimum(places, len(candidates) - 1)]] = True
    return chosen


def _strata(y: np.ndarray, criterion: Criterion) -> np.ndarray | None:
    """The classes of the rows, where the targets are labels, or one column of yes or no."""
    if y.ndim == 1 and y.dtype.kind in "iub":
        return y
    if y.ndim == 2 and y.shape[1] == 1 and criterion.targets[0] in ("signs", "probabilities"):
        return y[:, 0] > (0 if criterion.targets[0] == "signs" else 0.5)
    return None


def class_counts(y: np.ndarray, criterion: Criterion) -> np.ndarray:
    """How many rows of each class there are, ignored ones left out."""
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError("class_weight is for labels, (N,); other targets take sample_weight, a number for each row")
    return np.bincount(y[_real(y, criterion)])


def _real(y: np.ndarray, criterion: Criterion) -> np.ndarray:
    """Which labels are those of a class."""
    ignored = getattr(criterion, "ignore_index", None)
    return np.ones(len(y), bool) if ignored is None else y != ignored


def class_numbers(weight: Any, counts: np.ndarray, classes: int | None) -> np.ndarray:
    """How much each class counts; `weight` is a mapping, a number for each class, or "balanced".

    Balanced is scikit-learn's ``rows / (classes * rows of the class)``, over the classes that are there.
    """
    if classes is None:  # the width of a network that has modules in Python
        given = weight.keys() if isinstance(weight, Mapping) else () if isinstance(weight, str) else range(np.size(weight))
        labels = [checks.as_size(label, "a label of class_weight", least=0) for label in given]
        classes = 1 + max(len(counts) - 1, *labels, 0)
    numbers: np.ndarray = np.ones(classes)
    if isinstance(weight, str):
        if weight != "balanced":
            raise ValueError(f'class_weight must be a dictionary, a number for each class, or "balanced"; got {weight!r}')
        present = np.flatnonzero(counts)
        numbers[present] = counts.sum() / (len(present) * counts[present])
    elif isinstance(weight, Mapping):
        for label, value in weight.items():
            at = checks.as_size(label, "a label of class_weight", least=0)
            if at >= classes:
                raise ValueError(f"class_weight has the label {at}; the model has {classes} outputs, labels from 0")
            numbers[at] = checks.as_number(value, f"class_weight[{at}]")
    else:
        numbers = np.array(checks.as_columns(checks.as_vector(weight, "class_weight", least=0), classes, "class_weight"))
        if np.ndim(weight) == 0:
            raise TypeError(f"class_weight must be a number for each class, (C,); got {checks.shown(weight)}")
    return numbers


def weighted_by_class(rows: Rows, numbers: np.ndarray, criterion: Criterion) -> Rows:
    """The same rows, each weighted by the number of its class, too; ignored ones by 0."""
    real = _real(rows.y, criterion)
    weights = numbers[np.where(real, rows.y, 0)].astype(rows.x.dtype) * real
    return rows._replace(weights=weights if rows.weights is None else weights * rows.weights)
