"""Networks and their parts."""

from fastmlp.modules.activation import Activation, Identity, ReLU, Sigmoid, Tanh
from fastmlp.modules.linear import Linear
from fastmlp.modules.module import Module
from fastmlp.modules.sequential import Sequential

__all__ = ["Activation", "Identity", "Linear", "Module", "ReLU", "Sequential", "Sigmoid", "Tanh"]
