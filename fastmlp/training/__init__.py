"""Training in whole epochs, or as a function of one vector."""

from fastmlp.training.fit import fit
from fastmlp.training.history import History, NonFiniteLossError
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.objective import objective

__all__ = ["History", "NonFiniteLossError", "fit", "fit_lbfgs", "objective"]
