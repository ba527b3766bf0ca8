"""The logarithm of softmax along a row."""

from __future__ import annotations

from fastmlp.modules.softmax import Softmax

__all__ = ["LogSoftmax"]


class LogSoftmax(Softmax):
    """The logarithm of softmax along the row: ``y = x - log(sum(exp(x)))``, the largest number of the row subtracted first.

    Parameters
    ----------
    dim : int, optional
        1 or -1, the features of a row. None is the same, as in PyTorch for inputs of two axes.

    Shape: ``(N, W)`` to ``(N, W)``.

    Raises
    ------
    ValueError
        For another axis.

    Notes
    -----
    Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.LogSoftmax(dim=1)([[0.0, 0.0]])
    array([[-0.6931472, -0.6931472]], dtype=float32)
    """

    _logarithm = True
