"""Training in whole epochs, or as a function of one vector."""

from fastmlp.training.checkpoint import Checkpoint, load, load_checkpoint, save
from fastmlp.training.fit import fit
from fastmlp.training.history import History, NonFiniteLossError
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.objective import objective

__all__ = ["Checkpoint", "History", "NonFiniteLossError", "fit", "fit_lbfgs", "load", "load_checkpoint", "objective", "save"]
