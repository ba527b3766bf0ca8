"""Mean absolute error."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.criterion.criterion import ElementwiseLoss

__all__ = ["L1Loss"]


class L1Loss(ElementwiseLoss):
    """The absolute error, averaged over all elements; its derivative is 0 where outputs and targets agree.

    ``loss = mean over n, j of |out[n, j] - y[n, j]|``

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``, `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes. Nothing is broadcast.
    TypeError
        For targets that are not real numbers.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.L1Loss()
    >>> criterion([[1.0, 2.0]], [[0.0, 4.0]])
    1.5
    >>> criterion.backward()
    array([[ 0.5, -0.5]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"reduction": "sum"})

    @staticmethod
    def value(out, y):
        return abs(out - y)
