"""The identity."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Identity"]


class Identity(Module):
    """Nothing: ``y = x``.

    Shape: ``(N, W)`` to ``(N, W)``.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Identity()([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        return []
