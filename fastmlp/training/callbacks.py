"""What is called between the epochs of `fit`: to stop early, to keep the best network, to write things down."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.training.checkpoint import save
from fastmlp.training.history import History
from fastmlp.training.metrics import better

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


@dataclass
class Training:
    """What a callback may look at, as ``self.training``: the call of :func:`fastmlp.fit` that it belongs to."""

    model: Sequential
    criterion: Criterion
    optimizer: Optimizer
    schedule: LRScheduler | None
    history: History
    first_epoch: int
    epochs: int  # the number, from 0, of the epoch behind the last
    columns: tuple[str, ...]  # that the history will have


class Callback:
    """The base of callbacks: ``fm.fit(..., callbacks=[...])``. A subclass has some of the methods.

    A plain function ``f(epoch, history) -> stop`` is a callback, too: it is called after each epoch, and training ends where it
    returns True.

    Attributes
    ----------
    every : int or None
        Of how many steps :meth:`on_steps` is called after each; None: never.
    training : Training
        The model, the optimizer and so on, from :meth:`on_begin` until the end.

    Notes
    -----
    Between the epochs that a callback does not ask for, training stays in compiled calls of many epochs: a callback without
    `on_epoch_end` costs nothing. What a callback writes into parameters and hyperparameters counts from the next step on.

    An exception ends training: the model is as after the last finished step, and the exception has the history so far in its
    attribute ``history``. Where such a run goes on from a checkpoint, the callback that failed is called again, then those
    behind it; one with a memory keeps it by `state_dict` and `load_state_dict`.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(100, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1))
    >>> optimizer = fm.Adam(model.parameters())
    >>> good = lambda epoch, history: history.loss[-1] < 0.68
    >>> history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1000, rng=0, callbacks=good)
    >>> history.epochs < 1000
    True
    """

    every: int | None = None
    training: Training | None = None
    #: Whether Ctrl-C waits for its end: it is short, and what it counts must not be counted twice.
    _quick: ClassVar[bool] = False

    def on_begin(self) -> None:
        """Before the first step."""

    def on_epoch_end(self, epoch: int, history: History) -> bool | None:
        """After an epoch, numbered from 0, and its validation; True ends training."""

    def on_steps(self, step: int, history: History) -> bool | None:
        """After each `every` steps; `step` is ``optimizer.steps``. True ends training."""

    def on_end(self, history: History) -> None:
        """After the last epoch, or where a callback or ``max_seconds`` has ended training."""

    def on_failure(self, error: BaseException, history: History) -> None:
        """Instead of `on_end`, where an exception ends training, Ctrl-C included; it goes on afterwards."""

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on from a checkpoint needs: numbers, texts, arrays, and lists and dictionaries of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave, unless that was empty; after :meth:`on_begin`, where a run goes on."""


class LambdaCallback(Callback):
    """A callback of functions.

    Parameters
    ----------
    on_begin : callable, optional
        ``f()``.
    on_epoch_end : callable, optional
        ``f(epoch, history) -> stop``.
    on_end : callable, optional
        ``f(history)``.

    Raises
    ------
    TypeError
        For something that cannot be called.

    Examples
    --------
    >>> import fastmlp as fm
    >>> callback = fm.LambdaCallback(on_epoch_end=lambda epoch, history: print(epoch, history.loss[-1]))
    """

    def __init__(
        self,
        on_begin: Callable[[], Any] | None = None,
        on_epoch_end: Callable[[int, History], Any] | None = None,
        on_end: Callable[[History], Any] | None = None,
    ):
        given = {"on_begin": on_begin, "on_epoch_end": on_epoch_end, "on_end": on_end}
        for name, function in given.items():
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function; got {checks.shown(function)}")
            if function is not None:
                setattr(self, name, function)


class _Monitor(Callback):
    """The base of those that watch a column."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a column; got {checks.shown(monitor)}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f'mode must be "auto", "min" or "max"; got {checks.shown(mode)}')
        self.monitor, self.mode, self.min_delta = monitor, mode, checks.as_number(min_delta, "min_delta")
        if mode == "auto" and better(monitor) is None:
            raise ValueError(
                f'whether smaller or larger numbers of {monitor!r} are better is not known: pass mode="min" or "max"'
            )
        self.best: float | None = None
        self.best_epoch: int | None = None

    def on_begin(self) -> None:
        assert self.training is not None
        if self.monitor not in self.training.columns:
            hint = ": pass validation=" if self.monitor.startswith("validation_") else ""
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, which this training does not have{hint}; it has "
                f"{', '.join(self.training.columns)}"
            )

    def _improves(self, value: float) -> bool:
        """Whether a number is the best one so far, by more than `min_delta`; NaN is not."""
        sign = -1.0 if (better(self.monitor) if self.mode == "auto" else self.mode) == "max" else 1.0
        if self.best is None:
            return value == value
        return sign * value < sign * self.best - self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(_Monitor):
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


class ModelCheckpoint(_Monitor):
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


class _Writer(Callback):
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


class CSVLogger(_Writer):
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


class TensorBoard(_Writer):
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


def as_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks that `fit` is given: one, or several; functions among them."""
    if callbacks is None:
        return []
    several = not isinstance(callbacks, Callback) and not callable(callbacks)
    if several and not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be Callbacks, or functions f(epoch, history) -> stop; got {checks.shown(callbacks)}")
    result: list[Callback] = []
    for callback in callbacks if several else [callbacks]:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(f"a callback must be an object; got the class: make one, {callback.__name__}(...)")
        if isinstance(callback, Callback):
            if callback.every is not None:
                checks.as_size(callback.every, f"every of {type(callback).__name__}")
            result.append(callback)
        elif callable(callback):
            result.append(LambdaCallback(on_epoch_end=callback))
        else:
            raise TypeError(
                f"a callback must be a Callback or a function f(epoch, history) -> stop; got {checks.shown(callback)}"
            )
    if len({id(callback) for callback in result}) < len(result):
        raise ValueError("a callback is listed twice")
    return result
