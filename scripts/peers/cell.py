"""What the sweep measures of some rows and a width, for its table and its picture."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["INPUTS", "OUTPUTS", "Cell"]

#: The networks are INPUTS-width-width-OUTPUTS.
INPUTS, OUTPUTS = 16, 8


class Cell(NamedTuple):
    """What was measured for some rows and a width: our time in microseconds, and the fastest peer's, where there is one."""

    ours: float
    best: float | None = None
    peer: str = ""

    @property
    def ratio(self) -> float | None:
        """Our time over the best peer's."""
        return None if self.best is None else self.ours / self.best
