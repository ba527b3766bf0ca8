"""Losses."""

from fastmlp.criterion.criterion import Criterion, ElementwiseLoss
from fastmlp.criterion.cross_entropy import CrossEntropyLoss
from fastmlp.criterion.mse import MSELoss

__all__ = ["Criterion", "CrossEntropyLoss", "ElementwiseLoss", "MSELoss"]
