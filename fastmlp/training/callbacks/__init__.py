"""What is called between the epochs of `fit`: to stop early, to keep the best network, to write things down."""

from fastmlp.training.callbacks.callback import Callback, LambdaCallback, Training, as_callbacks
from fastmlp.training.callbacks.csv_logger import CSVLogger
from fastmlp.training.callbacks.early_stopping import EarlyStopping
from fastmlp.training.callbacks.model_checkpoint import ModelCheckpoint
from fastmlp.training.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "TensorBoard",
    "Training",
    "as_callbacks",
]
