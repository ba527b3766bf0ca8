"""fastmlp: multilayer perceptrons on a CPU, at the limit of the processor."""

from fastmlp import datasets
from fastmlp._version import __version__
from fastmlp.criterion import Criterion, CrossEntropyLoss, ElementwiseLoss, HuberLoss, L1Loss, MSELoss
from fastmlp.modules import (
    GELU,
    Activation,
    AlphaDropout,
    BatchNorm1d,
    Dropout,
    Identity,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Module,
    PReLU,
    ReLU,
    RMSNorm,
    Scale,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from fastmlp.optim import SGD, Adam, CosineAnnealingLR, LRScheduler, Optimizer
from fastmlp.parameters import Buffer, Parameter
from fastmlp.training import History, NonFiniteLossError, fit

__all__ = [
    "GELU",
    "SGD",
    "Activation",
    "Adam",
    "AlphaDropout",
    "BatchNorm1d",
    "Buffer",
    "CosineAnnealingLR",
    "Criterion",
    "CrossEntropyLoss",
    "Dropout",
    "ElementwiseLoss",
    "History",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LRScheduler",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "NonFiniteLossError",
    "Optimizer",
    "PReLU",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Scale",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "__version__",
    "datasets",
    "fit",
]
