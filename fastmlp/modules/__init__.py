"""Networks and their parts."""

from fastmlp.modules.activation import Activation
from fastmlp.modules.gelu import GELU
from fastmlp.modules.identity import Identity
from fastmlp.modules.leaky_relu import LeakyReLU
from fastmlp.modules.linear import Linear
from fastmlp.modules.module import Module
from fastmlp.modules.relu import ReLU
from fastmlp.modules.scale import Scale
from fastmlp.modules.sequential import Sequential
from fastmlp.modules.sigmoid import Sigmoid
from fastmlp.modules.tanh import Tanh

__all__ = ["GELU", "Activation", "Identity", "LeakyReLU", "Linear", "Module", "ReLU", "Scale", "Sequential", "Sigmoid", "Tanh"]
