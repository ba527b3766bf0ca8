"""What a run trains on, after the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Data"]


@dataclass
class Data:
    """Rows, their labels or targets, and how they are cut into batches."""

    x: np.ndarray
    y: np.ndarray
    batch_size: int
    batches: int  # in an epoch
    rows: int  # of an epoch that are trained on
    shuffle: bool
    seed: int
    weights: np.ndarray | None = None  # of the rows
    clip_norm: float | None = None
    clip_value: float | None = None

    def key(self, epoch: int) -> tuple[int, ...]:
        """What an epoch that was broken off must have in common with this one to go on."""
        return epoch, self.seed, len(self.x), self.rows, self.batch_size, int(self.shuffle)
