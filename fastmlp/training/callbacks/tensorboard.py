"""The history for TensorBoard."""

from __future__ import annotations

import os

from fastmlp import checks
from fastmlp.training.callbacks.writer import Writer
from fastmlp.training.history import History

__all__ = ["TensorBoard"]


class TensorBoard(Writer):
    """Writes the columns of the history for TensorBoard; needs tensorboardX, the extra ``tensorboard``.

    Parameters
    ----------
    log_dir : str or path
        The folder, which ``tensorboard --logdir`` is told.

    Raises
    ------
    ImportError
        Where there is no tensorboardX, when training begins.

    Examples
    --------
    >>> import fastmlp as fm
    >>> board = fm.TensorBoard("runs/first")
    """

    def __init__(self, log_dir: str | os.PathLike):
        if not isinstance(log_dir, (str, os.PathLike)):
            raise TypeError(f"log_dir must be a path; got {checks.shown(log_dir)}")
        self.log_dir = os.fspath(log_dir)

    def on_begin(self) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError('TensorBoard needs tensorboardX: pip install "fastmlp[tensorboard]"') from None
        assert self.training is not None
        history = self.training.history
        # What a run wrote of epochs that come again, after its last checkpoint, is not shown.
        again = {"purge_step": history.first_epoch + history.epochs + 1} if history.epochs else {}
        self._open = SummaryWriter(self.log_dir, **again)

    def on_epoch_end(self, epoch: int, history: History) -> bool | None:
        assert self.training is not None
        for name in self.training.columns:
            self._open.add_scalar(name, history.last(name), epoch + 1)
        return None
