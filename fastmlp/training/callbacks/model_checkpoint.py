"""Files of the model after epochs."""

from __future__ import annotations

import os
from typing import Any

from fastmlp import checks
from fastmlp.training.callbacks.monitor import Monitor
from fastmlp.training.checkpoint import save
from fastmlp.training.history import History

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Monitor):
    """Saves the model, the optimizer, the schedule and the history after epochs, by :func:`fastmlp.save`.

    Parameters
    ----------
    path : str or path
        The file; it is replaced by each newer one, as a whole. ``{epoch}`` in it becomes the number of the epoch, from 1.
    monitor : str, default "validation_loss"
        The column that says which epoch is the best, with `save_best_only`.
    save_best_only : bool, default False
        Save only where that column is better than ever before.
    mode : {"auto", "min", "max"}
        As for :class:`EarlyStopping`.
    every : int, optional
        Save after each so many steps, not after epochs.

    Raises
    ------
    ValueError, TypeError
        For arguments outside these bounds; and when training begins, for a column that it does not have.
    OSError
        Where the file cannot be written; training ends, and nothing that has been trained is lost.

    Examples
    --------
    >>> import fastmlp as fm
    >>> best = fm.ModelCheckpoint("best.fastmlp", save_best_only=True)
    """

    def __init__(
        self,
        path: str | os.PathLike,
        monitor: str = "validation_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        every: int | None = None,
    ):
        super().__init__(monitor, mode)
        self.every = None if every is None else checks.as_size(every, "every")
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a path; got {checks.shown(path)}")
        self.path, self.save_best_only = os.fspath(path), checks.as_flag(save_best_only, "save_best_only")
        if self.save_best_only and every is not None:
            raise ValueError("save_best_only goes by epochs, every by steps: give one of them")

    def on_begin(self) -> None:
        if self.save_best_only:
            super().on_begin()

    def on_epoch_end(self, epoch: int, history: History) -> bool | None:
        if self.every is not None:
            return None
        if self.save_best_only:
            value = history.last(self.monitor)
            if self._improves(value):
                self._save(epoch, history)
                self.best, self.best_epoch = value, epoch
        else:
            self._save(epoch, history)
        return None

    def on_steps(self, step: int, history: History) -> bool | None:
        self._save(history.first_epoch + history.epochs, history)
        return None

    def _save(self, epoch: int, history: History) -> None:
        assert self.training is not None
        path = self.path.replace("{epoch}", str(epoch + 1))
        save(path, self.training.model, self.training.optimizer, self.training.schedule, history)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() if self.save_best_only else {}
