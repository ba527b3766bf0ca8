"""The base of the losses whose targets are labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import Criterion

__all__ = ["ClassLoss"]


class ClassLoss(Criterion):
    """A loss of labels: classes may have weights, and rows of one label may be ignored."""

    targets: ClassVar[tuple[str, ...]] = ("labels",)
    #: Of the classes: None, or (C,).
    weight: Any = None
    #: The label of rows that are ignored: None, or a whole number.
    ignore_index: int | None = None
    #: Whether the mean is over the weights of the classes, too.
    _mean_over_classes = True

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        return checks.as_labels(y, width, rows, name, ignored=self.ignore_index)

    def _check_weights(self, weights: Any, targets: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray | None:
        counts = super()._check_weights(weights, targets, dtype, name)
        if targets.ndim != 1:
            return counts
        if self.ignore_index is not None and (ignored := targets == self.ignore_index).any():
            return np.where(ignored, dtype.type(0), dtype.type(1) if counts is None else counts)
        if counts is None and self._weighs:
            return np.ones(len(targets), dtype)
        return counts

    def _classes(self, width: int) -> tuple[float, ...]:
        """The weights of so many classes."""
        return checks.as_columns(1.0 if self.weight is None else self.weight, width, "weight")

    def _checked(self, name: str, value: Any) -> Any:
        if name == "weight" and value is not None:
            if np.ndim(value) == 0:
                raise TypeError(f"weight must be a number for each class, (C,); got {checks.shown(value)}")
            return checks.as_vector(value, name, least=0)
        if name == "ignore_index":
            return checks.as_size(value, name, least=-checks.LARGEST_COUNT)
        return super()._checked(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("weight", "ignore_index"):
            ignores = self.ignore_index is not None and self.ignore_index >= 0  # a label of a class, perhaps
            self.__dict__["_weighs"] = ignores or (self._mean_over_classes and self.weight is not None)

    def _described(self) -> list[str]:
        described = [] if self.weight is None else [checks.argument("weight", self.weight)]
        if self.ignore_index not in (None, -100):
            described.append(f"ignore_index={self.ignore_index}")
        return described
