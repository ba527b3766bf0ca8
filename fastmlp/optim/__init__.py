"""Optimizers and learning-rate schedules."""

from fastmlp.optim.adam import Adam
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedule import CosineAnnealingLR, LRScheduler
from fastmlp.optim.sgd import SGD

__all__ = ["SGD", "Adam", "CosineAnnealingLR", "LRScheduler", "Optimizer"]
