"""Training in whole epochs."""

from fastmlp.training.fit import fit
from fastmlp.training.history import History, NonFiniteLossError

__all__ = ["History", "NonFiniteLossError", "fit"]
