"""What is called between the epochs of `fit`: the base, functions, and what `fit` is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.training.history import History

__all__ = ["Callback", "LambdaCallback", "Training", "as_callbacks"]


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
