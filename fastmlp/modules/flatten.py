"""Rows of several axes as rows of one."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.modules.identity import Identity

__all__ = ["Flatten"]


class Flatten(Identity):
    """All axes but the first as one: a network that begins with it takes images, say, where it would take rows.

    In another place there is nothing to flatten, and it is the identity.

    Parameters
    ----------
    start_dim, end_dim : int, default 1 and -1
        The axes that become one: these and no others.

    Shape: ``(N, A, B, ...)`` to ``(N, A * B * ...)``. The gradient of the input has the shape of the output.

    Raises
    ------
    ValueError
        For other axes.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Flatten(), fm.Linear(28 * 28, 10))
    >>> model(np.zeros((5, 28, 28))).shape
    (5, 10)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def _checked(self, name: str, value: Any) -> Any:
        only = {"start_dim": 1, "end_dim": -1}.get(name)
        if only is not None and checks.as_size(value, name, least=-9) != only:
            raise ValueError(f"{name} must be {only}: all axes but the first, the rows, become one; got {value}")
        return value

    def _flattens(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"Flatten(start_dim={self.start_dim}, end_dim={self.end_dim})"
