"""Networks and their parts."""

from fastmlp.modules.activation import Activation
from fastmlp.modules.alpha_dropout import AlphaDropout
from fastmlp.modules.batch_norm import BatchNorm1d
from fastmlp.modules.dropout import Dropout
from fastmlp.modules.flatten import Flatten
from fastmlp.modules.gelu import GELU
from fastmlp.modules.identity import Identity
from fastmlp.modules.layer_norm import LayerNorm
from fastmlp.modules.leaky_relu import LeakyReLU
from fastmlp.modules.linear import Linear
from fastmlp.modules.log_softmax import LogSoftmax
from fastmlp.modules.module import Module
from fastmlp.modules.prelu import PReLU
from fastmlp.modules.relu import ReLU
from fastmlp.modules.rms_norm import RMSNorm
from fastmlp.modules.scale import Scale
from fastmlp.modules.sequential import Sequential
from fastmlp.modules.sigmoid import Sigmoid
from fastmlp.modules.softmax import Softmax
from fastmlp.modules.tanh import Tanh

__all__ = [
    "GELU",
    "Activation",
    "AlphaDropout",
    "BatchNorm1d",
    "Dropout",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "PReLU",
    "RMSNorm",
    "ReLU",
    "Scale",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
