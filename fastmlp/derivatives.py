"""Derivatives of what a network computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.modules import Module

__all__ = ["jacobian"]


def jacobian(model: Module, X: Any, *, threads: int | None = None) -> np.ndarray:
    """The derivative of each output of `model` by each input, for every row of `X`, in evaluation mode.

    Parameters
    ----------
    model : Module
        A network, or a layer, that the engine runs.
    X : array_like, (N, I)
        Anything NumPy converts to real numbers.
    threads : int, optional
        How many threads share the rows; by default as many as the work is worth, at most :func:`fastmlp.get_num_threads`.
        The results do not depend on it.

    Returns
    -------
    ndarray, (N, O, I)
        ``[n, o, i]`` is the derivative of output o by input i at row n.

    Raises
    ------
    ValueError, TypeError
        For another width, no rows, an array that does not hold real numbers, and a model with parts written in Python.

    Notes
    -----
    One compiled call: each block of rows goes forward once, and then back for each output, or, where the inputs are no more and
    every layer can do so, forward for each input. Keeps nothing, and leaves the gradients of the parameters alone. Where only a
    product with the Jacobian is needed, ``model.backward`` gives it in one way back.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> layer = fm.Linear(2, 3)
    >>> matrices = fm.jacobian(layer, np.zeros((5, 2)))
    >>> matrices.shape
    (5, 3, 2)
    >>> bool((matrices == layer.weight.data).all())
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module of fastmlp; got {checks.shown(model)}")
    if threads is not None:
        threads = checks.as_size(threads, "threads")
    return model._jacobian(X, threads)
