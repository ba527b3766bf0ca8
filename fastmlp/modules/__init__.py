"""Networks and their parts."""

from fastmlp.modules.activation import Activation
from fastmlp.modules.alpha_dropout import AlphaDropout
from fastmlp.modules.batch_norm import BatchNorm1d
from fastmlp.modules.celu import CELU
from fastmlp.modules.dropout import Dropout
from fastmlp.modules.elu import ELU
from fastmlp.modules.embedding import Embedding
from fastmlp.modules.flatten import Flatten
from fastmlp.modules.gelu import GELU
from fastmlp.modules.hardsigmoid import Hardsigmoid
from fastmlp.modules.hardswish import Hardswish
from fastmlp.modules.hardtanh import Hardtanh
from fastmlp.modules.identity import Identity
from fastmlp.modules.layer_norm import LayerNorm
from fastmlp.modules.leaky_relu import LeakyReLU
from fastmlp.modules.linear import Linear
from fastmlp.modules.log_sigmoid import LogSigmoid
from fastmlp.modules.log_softmax import LogSoftmax
from fastmlp.modules.mish import Mish
from fastmlp.modules.module import Module
from fastmlp.modules.prelu import PReLU
from fastmlp.modules.relu import ReLU
from fastmlp.modules.relu6 import ReLU6
from fastmlp.modules.residual import Residual
from fastmlp.modules.rms_norm import RMSNorm
from fastmlp.modules.scale import Scale
from fastmlp.modules.selu import SELU
from fastmlp.modules.sequential import Sequential
from fastmlp.modules.sigmoid import Sigmoid
from fastmlp.modules.silu import SiLU
from fastmlp.modules.softmax import Softmax
from fastmlp.modules.softplus import Softplus
from fastmlp.modules.softsign import Softsign
from fastmlp.modules.standardize import Standardize
from fastmlp.modules.tanh import Tanh

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "AlphaDropout",
    "BatchNorm1d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Module",
    "PReLU",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Residual",
    "Scale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Standardize",
    "Tanh",
]
