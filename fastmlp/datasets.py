"""Data sets to learn on."""

from __future__ import annotations

import math

import numpy as np

from fastmlp import checks

__all__ = ["make_disc"]


def make_disc(
    n: int,
    centre: tuple[float, float] = (0.5, 0.5),
    radius: float = 1 / math.sqrt(2 * math.pi),
    *,
    rng: int | np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Random points in the unit square, labelled 1 inside a disc and 0 outside.

    Parameters
    ----------
    n : int
        How many points.
    centre : pair of float, default (0.5, 0.5)
        Centre of the disc.
    radius : float, default 1 / sqrt(2 pi)
        Its radius. By default the disc covers half of the square, so that both labels are as likely.
    rng : None, int or Generator
        Where the points come from.

    Returns
    -------
    X : ndarray, (n, 2), float32
    y : ndarray, (n,), int64

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(1000, rng=0)
    >>> X.shape, X.dtype, y.shape, y.dtype
    ((1000, 2), dtype('float32'), (1000,), dtype('int64'))
    """
    n = checks.as_size(n, "n")
    radius = checks.as_number(radius, "radius")
    middle = np.asarray(centre, np.float64)
    if middle.shape != (2,) or not np.isfinite(middle).all():
        raise ValueError(f"centre must be a pair of finite numbers; got {centre!r}")
    X = checks.as_generator(rng).random((n, 2), dtype=np.float32)
    y = ((X - middle) ** 2).sum(axis=1) <= radius**2
    return X, y.astype(np.int64)
