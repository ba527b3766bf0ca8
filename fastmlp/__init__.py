"""fastmlp: multilayer perceptrons on a CPU, at the limit of the processor."""

from fastmlp import datasets, init
from fastmlp._version import __version__
from fastmlp.criterion import Criterion, CrossEntropyLoss, ElementwiseLoss, HuberLoss, L1Loss, MSELoss
from fastmlp.derivatives import jacobian
from fastmlp.modules import GELU, Activation, Identity, LeakyReLU, Linear, Module, ReLU, Sequential, Sigmoid, Tanh
from fastmlp.optim import SGD, Adam, Optimizer
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
from fastmlp.parameters import Parameter
from fastmlp.training import History, NonFiniteLossError, fit

__all__ = [
    "GELU",
    "SGD",
    "Activation",
    "Adam",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "Criterion",
    "CrossEntropyLoss",
    "CyclicLR",
    "ElementwiseLoss",
    "ExponentialLR",
    "History",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LRScheduler",
    "LambdaLR",
    "LeakyReLU",
    "Linear",
    "LinearLR",
    "MSELoss",
    "Module",
    "MultiStepLR",
    "MultiplicativeLR",
    "NonFiniteLossError",
    "OneCycleLR",
    "Optimizer",
    "Parameter",
    "PolynomialLR",
    "ReLU",
    "ReduceLROnPlateau",
    "Sequential",
    "SequentialLR",
    "Sigmoid",
    "StepLR",
    "Tanh",
    "__version__",
    "datasets",
    "fit",
    "init",
    "jacobian",
]
