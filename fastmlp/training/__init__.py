"""Training in whole epochs, or as a function of one vector."""

from fastmlp.training.callbacks import Callback, CSVLogger, EarlyStopping, LambdaCallback, ModelCheckpoint, TensorBoard
from fastmlp.training.checkpoint import Checkpoint, load, load_checkpoint, save
from fastmlp.training.chunks import Chunks
from fastmlp.training.ensemble import Ensemble
from fastmlp.training.evaluate import evaluate
from fastmlp.training.fit import fit
from fastmlp.training.history import History, NonFiniteLossError
from fastmlp.training.lbfgs import fit_lbfgs
from fastmlp.training.many import fit_many
from fastmlp.training.objective import objective

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Chunks",
    "EarlyStopping",
    "Ensemble",
    "History",
    "LambdaCallback",
    "ModelCheckpoint",
    "NonFiniteLossError",
    "TensorBoard",
    "evaluate",
    "fit",
    "fit_lbfgs",
    "fit_many",
    "load",
    "load_checkpoint",
    "objective",
    "save",
]
