"""The history as a file of comma-separated values."""

from __future__ import annotations

import csv
import os
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.training.callbacks.writer import Writer
from fastmlp.training.history import History

__all__ = ["CSVLogger"]


class CSVLogger(Writer):
    """Writes the columns of the history to a file of comma-separated values, a line after each epoch.

    Parameters
    ----------
    path : str or path
        The file; what is in it is replaced.
    append : bool, default False
        Go on with the file, if there is one; so does a run that goes on from a checkpoint, without lines twice.

    Raises
    ------
    TypeError
        For something that is no path.
    OSError
        Where the file cannot be written, before anything is trained.

    Examples
    --------
    >>> import fastmlp as fm
    >>> logger = fm.CSVLogger("history.csv")
    """

    _quick: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike, append: bool = False):
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a path; got {checks.shown(path)}")
        self.path, self.append = os.fspath(path), checks.as_flag(append, "append")

    def on_begin(self) -> None:
        assert self.training is not None
        goes_on = self.append or self.training.history.epochs
        self._open = open(self.path, "a" if goes_on else "w", newline="", encoding="utf-8")  # noqa: SIM115 (until the end)
        if self._open.tell() == 0:
            csv.writer(self._open).writerow(["epoch", *self.training.columns])
            self._open.flush()

    def on_epoch_end(self, epoch: int, history: History) -> bool | None:
        assert self.training is not None
        csv.writer(self._open).writerow([epoch + 1, *(history.last(name) for name in self.training.columns)])
        self._open.flush()
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"bytes": self._open.tell()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take away the lines of epochs that come again."""
        if self._open.tell() > state["bytes"]:
            self._open.truncate(state["bytes"])
