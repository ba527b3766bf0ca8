"""Optimizers and learning-rate schedules."""

from fastmlp.optim.adadelta import Adadelta
from fastmlp.optim.adagrad import Adagrad
from fastmlp.optim.adam import Adam
from fastmlp.optim.adamax import Adamax
from fastmlp.optim.adamw import AdamW
from fastmlp.optim.clip import clip_grad_norm_, clip_grad_value_
from fastmlp.optim.lion import Lion
from fastmlp.optim.nadam import NAdam
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.radam import RAdam
from fastmlp.optim.rmsprop import RMSprop
from fastmlp.optim.rprop import Rprop
from fastmlp.optim.schedules import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from fastmlp.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "MultiplicativeLR",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Rprop",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
