"""Mean squared error."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.criterion.criterion import ElementwiseLoss

__all__ = ["MSELoss"]


class MSELoss(ElementwiseLoss):
    """The squared error, averaged over all elements.

    ``loss = mean over n, j of (out[n, j] - y[n, j])^2``

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
    >>> criterion = fm.MSELoss()
    >>> criterion([[1.0, 2.0]], [[0.0, 4.0]])
    2.5
    >>> criterion.backward()
    array([[ 1., -2.]], dtype=float32)
    """

    squares = True

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"reduction": "sum"})

    @staticmethod
    def value(out, y):
        d = out - y
        return d * d
