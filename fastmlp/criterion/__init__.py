"""Losses."""

from fastmlp.criterion.criterion import Criterion, ElementwiseLoss
from fastmlp.criterion.cross_entropy import CrossEntropyLoss
from fastmlp.criterion.huber import HuberLoss
from fastmlp.criterion.l1 import L1Loss
from fastmlp.criterion.mse import MSELoss

__all__ = ["Criterion", "CrossEntropyLoss", "ElementwiseLoss", "HuberLoss", "L1Loss", "MSELoss"]
