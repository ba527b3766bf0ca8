"""The base of callbacks that write while a network trains."""

from __future__ import annotations

from typing import Any

from fastmlp.training.callbacks.callback import Callback
from fastmlp.training.history import History

__all__ = ["Writer"]


class Writer(Callback):
    """The base of callbacks that write to something that is open while a network trains, in `_open`."""

    _open: Any = None

    def on_end(self, history: History) -> None:
        self._close()

    def on_failure(self, error: BaseException, history: History) -> None:
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_open"} | {"training": None}
