"""What a training run leaves behind."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastmlp import pickles

__all__ = ["History", "NonFiniteLossError", "carried_by_failures"]

#: Columns that every run has; further ones are metrics.
COLUMNS = ("loss", "validation_loss", "rate", "seconds")

#: Positive curves whose largest number is so many times the smallest are drawn on a logarithmic axis.
WIDE = 20


class History:
    """What :func:`fastmlp.fit` returns: columns of numbers, one for each finished epoch.

    ``history.loss`` is a column as a list, which grows while training goes on; ``history["loss"]`` is the same as an array.
    Metrics are columns, too: ``history["validation_accuracy"]``.

    Attributes
    ----------
    loss : list of float
        The mean over the rows of an epoch of the loss at the step that trained on them, weighted where they have weights; the
        sum, of a criterion with ``reduction="sum"``.
    validation_loss : list of float
        The loss on the validation data after the epoch; empty where there is none.
    rate : list of float
        The learning rate of the epoch's last step, that of the first group of parameters.
    seconds : list of float
        The time of the epoch's steps, and of waiting for data: without compiling, validation and callbacks.
    first_epoch : int
        The number, from 0, of the first epoch: above 0 where a run went on.
    interrupted : bool
        Whether Ctrl-C ended the run.
    stopped : str
        What else ended it before its last epoch: a callback, or ``max_seconds``; empty if nothing did.

    Notes
    -----
    Two histories are equal if all is equal but the seconds.

    Examples
    --------
    >>> import fastmlp as fm
    >>> history = fm.History([0.5, 0.25], [0.75, 0.5])
    >>> history
    History(2 epochs: loss 0.5 -> 0.25, validation_loss 0.75 -> 0.5)
    >>> history["loss"].min()
    np.float64(0.25)
    """

    loss: list[float]
    validation_loss: list[float]
    rate: list[float]
    seconds: list[float]

    def __init__(
        self,
        loss: Any = (),
        validation_loss: Any = (),
        rate: Any = (),
        seconds: Any = (),
        *,
        first_epoch: int = 0,
        interrupted: bool = False,
        stopped: str = "",
        **metrics: Any,
    ):
        given = dict(zip(COLUMNS, (loss, validation_loss, rate, seconds))) | metrics
        self._columns: dict[str, list[float]] = {name: [_number(value) for value in values] for name, values in given.items()}
        self.first_epoch, self.interrupted, self.stopped = first_epoch, interrupted, stopped

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("_columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"the history has no column {name!r}: it has {', '.join(columns)}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_columns", {}):
            self._columns[name] = value if isinstance(value, list) else list(value)
        else:
            object.__setattr__(self, name, value)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise KeyError(f"the history has no column {name!r}: it has {', '.join(self._columns)}")
        return np.array(self._columns[name], np.float64)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The names of the columns that have numbers; ``loss`` always."""
        return [name for name, values in self._columns.items() if values or name == "loss"]

    def last(self, name: str) -> float:
        """The newest number of a column.

        Raises
        ------
        KeyError
            If there is no such column, or it is empty.
        """
        if not self._columns.get(name):
            raise KeyError(f"the history has no numbers of {name!r}: it has {', '.join(self.keys())}")
        return self._columns[name][-1]

    def _append(self, name: str, value: float) -> None:
        self._columns.setdefault(name, []).append(value)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self._columns["loss"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History):
            return NotImplemented
        mine, theirs = ({**h.to_dict(), "seconds": None} for h in (self, other))
        return json.dumps(mine) == json.dumps(theirs)  # as text, NaN is equal to NaN

    def __getstate__(self) -> dict:
        return pickles.closed(self.__dict__)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(pickles.opened(state, self))

    def to_dict(self) -> dict[str, Any]:
        """Columns and attributes, as plain Python: what ``History(**d)`` takes."""
        columns: dict[str, Any] = {name: list(values) for name, values in self._columns.items()}
        return columns | {"first_epoch": self.first_epoch, "interrupted": self.interrupted, "stopped": self.stopped}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> History:
        """The history that :meth:`to_dict` gave."""
        return cls(**state)

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """:meth:`to_dict` as JSON, written to a file where a path is given. NaN and infinity are ``null``."""
        finite = {
            name: [value if math.isfinite(value) else None for value in values] if isinstance(values, list) else values
            for name, values in self.to_dict().items()
        }
        text = json.dumps(finite, allow_nan=False)
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        return text

    def to_frame(self) -> Any:
        """A pandas DataFrame: a column for each, a row for each epoch, numbered from `first_epoch` + 1.

        Raises
        ------
        ImportError
            Where there is no pandas.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("to_frame needs pandas: pip install pandas (to_dict() needs nothing)") from None
        columns = {name: self._column(name, self.epochs) for name in self.keys()}
        return pandas.DataFrame(columns, index=pandas.RangeIndex(*self._numbers(), name="epoch"))

    def _numbers(self) -> tuple[int, int]:
        """The numbers of the epochs, counted from 1: the first, and behind the last."""
        return self.first_epoch + 1, self.first_epoch + 1 + self.epochs

    def _column(self, name: str, rows: int) -> np.ndarray:
        """A column of so many numbers: NaN where a run ended before it had one."""
        result = np.full(rows, np.nan)
        values = self._columns[name][:rows]
        result[: len(values)] = values
        return result

    def plot(self, *names: str, ax: Any = None) -> Any:
        """Draw columns over the epochs, by default the losses; needs matplotlib, the extra ``plot``.

        Parameters
        ----------
        *names : str
            Columns.
        ax : matplotlib Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        Axes
            ``history.plot().figure.savefig("loss.png")`` keeps it.

        Raises
        ------
        ImportError
            Where there is no matplotlib.
        KeyError
            For a name that is no column.
        """
        try:
            from matplotlib import pyplot
            from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
        except ImportError:
            raise ImportError('plot needs matplotlib: pip install "fastmlp[plot]"') from None
        chosen = names or tuple(name for name in ("loss", "validation_loss") if self._columns[name])
        curves = {name: self[name] for name in chosen}
        if ax is None:
            ax = pyplot.figure(figsize=(6.4, 4), layout="constrained").add_subplot()
        for name, values in curves.items():
            label = {"loss": "training", "validation_loss": "validation"}.get(name, name.replace("_", " "))
            numbers = np.arange(len(values)) + self.first_epoch + 1
            ax.plot(numbers, values, label=label, marker="o" if len(values) < 3 else None)
        drawn = np.concatenate([np.zeros(0), *curves.values()])
        drawn = drawn[np.isfinite(drawn)]
        if drawn.size and drawn.min() > 0 and drawn.max() > WIDE * drawn.min():
            ax.set_yscale("log")
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            for of in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
                of(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        losses = all(name in ("loss", "validation_loss") for name in chosen)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss" if losses else "" if len(chosen) > 1 else chosen[0].replace("_", " "))
        if len(chosen) > 1:
            ax.legend(frameon=False)
        ax.grid(alpha=0.3)
        return ax

    def __repr__(self) -> str:
        parts = []
        for name, values in self._columns.items():
            if values and name not in ("rate", "seconds"):
                parts.append(f"{name} {values[0]:.4g}" + (f" -> {values[-1]:.4g}" if len(values) > 1 else ""))
        if self._columns["seconds"]:
            parts.append(f"{sum(self._columns['seconds']):.3g} s")
        parts += ["interrupted"] * self.interrupted
        parts += [f"stopped by {self.stopped}"] * bool(self.stopped)
        count = f"{self.epochs} epoch{'s' * (self.epochs != 1)}"
        return f"History({count}{': ' * bool(parts)}{', '.join(parts)})"


def _number(value: Any) -> float:
    """A number of a column; None is JSON's NaN."""
    return math.nan if value is None else float(value)


@contextmanager
def carried_by_failures(history: History) -> Iterator[None]:
    """Have whatever ends a run carry its history, in an attribute: nothing that has been trained is lost."""
    try:
        yield
    except BaseException as failure:
        history.interrupted = isinstance(failure, KeyboardInterrupt)
        failure.history = history  # type: ignore[attr-defined]
        raise


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite. `history` has the epochs before, `epoch` (from 0) is where it happened."""

    def __init__(self, message: str, epoch: int, history: History):
        super().__init__(message)
        self.epoch, self.history = epoch, history

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.epoch, self.history)
