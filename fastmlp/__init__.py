"""fastmlp: multilayer perceptrons on a CPU, at the limit of the processor."""

from fastmlp import datasets
from fastmlp._version import __version__
from fastmlp.criterion import (
    BCELoss,
    BCEWithLogitsLoss,
    Criterion,
    CrossEntropyLoss,
    ElementwiseLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    PoissonNLLLoss,
    QuantileLoss,
    SmoothL1Loss,
)
from fastmlp.modules import GELU, Activation, Identity, LeakyReLU, Linear, Module, ReLU, Scale, Sequential, Sigmoid, Tanh
from fastmlp.optim import SGD, Adam, CosineAnnealingLR, LRScheduler, Optimizer
from fastmlp.parameters import Parameter
from fastmlp.training import History, NonFiniteLossError, fit

__all__ = [
    "GELU",
    "SGD",
    "Activation",
    "Adam",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineAnnealingLR",
    "Criterion",
    "CrossEntropyLoss",
    "ElementwiseLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "History",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LRScheduler",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "Module",
    "MultiMarginLoss",
    "NLLLoss",
    "NonFiniteLossError",
    "Optimizer",
    "Parameter",
    "PoissonNLLLoss",
    "QuantileLoss",
    "ReLU",
    "Scale",
    "Sequential",
    "Sigmoid",
    "SmoothL1Loss",
    "Tanh",
    "__version__",
    "datasets",
    "fit",
]
