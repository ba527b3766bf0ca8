"""The end of training where a column gets no better."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.training.callbacks.monitor import Monitor
from fastmlp.training.history import History

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
    """Ends training where a column of the history gets no better, and brings the best network back.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        A column: a loss, or a metric.
    patience : int, default 10
        How many epochs without an improvement end training, at least 1.
    min_delta : float, default 0
        What counts as an improvement is more than this much.
    mode : {"auto", "min", "max"}
        Whether smaller or larger numbers are better; "auto" knows losses and the metrics that have a name here.
    restore_best : bool, default True
        Whether the parameters, buffers and counts of the best epoch come back at the end, also where the last epoch came first.
        The optimizer stays as it is.
    start_from_epoch : int, default 0
        The first epoch of the run, counted from 0, that is looked at.

    Attributes
    ----------
    best, best_epoch : float, int
        The best number, and its epoch from 0; None before the first.

    Raises
    ------
    ValueError, TypeError
        For arguments outside these bounds; and when training begins, for a column that it does not have.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(200, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1))
    >>> optimizer, stop = fm.Adam(model.parameters(), lr=0.1), fm.EarlyStopping(patience=5)
    >>> history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1000, rng=0, validation=0.2, callbacks=stop)
    >>> stop.best == min(history.validation_loss)
    True
    """

    _quick: ClassVar[bool] = True

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.as_size(patience, "patience")
        self.restore_best = checks.as_flag(restore_best, "restore_best")
        self.start_from_epoch = checks.as_size(start_from_epoch, "start_from_epoch", least=0)
        self._kept: tuple[Any, list[tuple[Any, str, Any]]] | None = None

    def on_begin(self) -> None:
        super().on_begin()
        self.best = self.best_epoch = self._kept = None
        self._waited = 0

    def on_epoch_end(self, epoch: int, history: History) -> bool | None:
        assert self.training is not None
        if epoch - self.training.first_epoch < self.start_from_epoch:
            return False
        value = history.last(self.monitor)
        if self._improves(value):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                model = self.training.model
                counts = [(module, name, getattr(module, name)) for _, module, name in model._named_counts()]
                self._kept = model.storage.data.copy(), counts
            return False
        self._waited += 1
        return self._waited >= self.patience

    def on_end(self, history: History) -> None:
        if self._kept is not None:
            assert self.training is not None
            numbers, counts = self._kept
            self.training.model.storage.data[:] = numbers
            for module, name, value in counts:
                if getattr(module, name) != value:
                    setattr(module, name, value)
        self._kept = None

    def on_failure(self, error: BaseException, history: History) -> None:
        self._kept = None

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict() | {"waited": self._waited}
        if self._kept is not None:
            assert self.training is not None
            numbers, counts = self._kept
            arrays = {name: array.view_of(numbers) for name, array in self.training.model._named_arrays()}
            state |= {"arrays": arrays, "counts": [value for _, _, value in counts]}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._waited = state["waited"]
        if "arrays" in state and self.restore_best:
            assert self.training is not None
            model = self.training.model
            numbers = np.zeros_like(model.storage.data)
            for name, array in model._named_arrays():
                array.view_of(numbers)[...] = state["arrays"][name]
            counts = [(module, name, value) for (_, module, name), value in zip(model._named_counts(), state["counts"])]
            self._kept = numbers, counts
