"""Dropout for self-normalising networks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp.modules.dropout import RandomModule

__all__ = ["AlphaDropout"]

#: What SELU tends to for small numbers: minus its scale times its alpha.
LEAST = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


class AlphaDropout(RandomModule):
    """Dropout that keeps mean 0 and variance 1, for networks with SELU; in evaluation mode nothing is done.

    ``y = a * x + b`` with probability 1 - p, else ``y = a * m + b``, where m = -1.7581 is what SELU tends to for small numbers,
    ``a = 1 / sqrt((1 - p) * (1 + p * m^2))`` and ``b = -a * p * m``.

    Parameters
    ----------
    p : float, default 0.5
        From 0 to 1. It may be assigned later, which compiles nothing.
    rng : None, int or Generator
        For the seed, as with :class:`Dropout`.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps nothing for backward: the numbers are drawn once more.

    Raises
    ------
    ValueError, TypeError
        For a p that is not a number from 0 to 1.

    References
    ----------
    G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, section "New dropout technique".

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.AlphaDropout(0.5, rng=0)([[1.0, 1.0, 1.0, 1.0]]).round(3)
    array([[-0.779, -0.779,  1.666,  1.666]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"rng": 1}, {"p": 0.2, "rng": 2})

    def __init__(self, p: float = 0.5, *, rng: int | np.random.Generator | None = None):
        super().__init__(p, rng)

    def _formula(self) -> tuple[float, float, float]:
        if self.p == 1:  # as in PyTorch
            return 0.0, 0.0, 0.0
        a = ((1 - self.p) * (1 + self.p * LEAST**2)) ** -0.5
        b = -a * self.p * LEAST
        return a, b, a * LEAST + b
