"""fastmlp: multilayer perceptrons on a CPU, at the limit of the processor."""

from fastmlp import datasets
from fastmlp._version import __version__
from fastmlp.criterion import Criterion, CrossEntropyLoss, ElementwiseLoss, HuberLoss, L1Loss, MSELoss
from fastmlp.modules import GELU, Activation, Identity, LeakyReLU, Linear, Module, ReLU, Sequential, Sigmoid, Tanh
from fastmlp.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    CosineAnnealingLR,
    Lion,
    LRScheduler,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from fastmlp.parameters import Parameter
from fastmlp.training import History, NonFiniteLossError, fit

__all__ = [
    "GELU",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CosineAnnealingLR",
    "Criterion",
    "CrossEntropyLoss",
    "ElementwiseLoss",
    "History",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LRScheduler",
    "LeakyReLU",
    "Linear",
    "Lion",
    "MSELoss",
    "Module",
    "NAdam",
    "NonFiniteLossError",
    "Optimizer",
    "Parameter",
    "RAdam",
    "RMSprop",
    "ReLU",
    "Rprop",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "__version__",
    "datasets",
    "fit",
]
