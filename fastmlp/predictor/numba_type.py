"""The type that a Predictor has in compiled code."""

from __future__ import annotations

import numpy as np
from numba import types

__all__ = ["TYPES", "PredictorType"]


class PredictorType(types.Type):
    """A Predictor whose numbers are of this dtype. Its widths are no part of the type: another network compiles nothing."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype
        super().__init__(name=f"Predictor({dtype})")


TYPES = {np.dtype(np.float32): PredictorType(types.float32), np.dtype(np.float64): PredictorType(types.float64)}
