"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastmlp import checks
from fastmlp.kernels.compiler.say import is_terminal, say
from fastmlp.training.history import History

__all__ = ["Progress", "as_progress"]

#: How often the bar moves, in seconds.
REDRAW = 0.1

#: Between two lines, where a bar was wanted and nobody can see one.
LINES = 10.0


def as_progress(value: Any) -> bool | float | None:
    """What `fit` is told: None; yes or no for a bar; or the least time between two lines, 0 for one each epoch."""
    if value is None:
        return None
    if isinstance(value, str) and value == "log":
        return 0.0
    if isinstance(value, (tuple, list)) and len(value) == 2 and value[0] == "log":
        return checks.as_number(value[1], "the seconds of progress")
    try:
        return checks.as_flag(value, "progress")
    except TypeError as error:
        raise TypeError(f'{error} ("log" and ("log", seconds) print lines)') from None


class Progress:
    """Shows the epoch, the losses and samples per second.

    `wanted` None: a bar where standard error is a terminal or a notebook, and tqdm is installed. True: a bar, or where nobody
    can see it move, a line now and then. False: nothing. A number: plain lines, with at least so many seconds between two.
    """

    def __init__(self, wanted: bool | float | None, epochs: int, first_epoch: int, rows: int, history: History):
        self.bar: Any = None
        self.rows, self.history, self.epochs = rows, history, epochs
        self._began = self._drawn = self._written = time.perf_counter()
        self._lines = history.epochs  # that a line has been printed of, or passed over
        self._between: float | None = None  # two lines
        looking = is_terminal() or _is_notebook()
        if isinstance(wanted, float):
            self._between = wanted
            return
        if wanted and not looking:
            self._between = LINES
            return
        if not (looking if wanted is None else wanted):
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm's about a notebook without widgets
                from tqdm.auto import tqdm
        except ImportError:
            if wanted:
                raise ImportError('progress=True needs tqdm: pip install "fastmlp[progress]"') from None
            return
        if sys.stderr is None:  # pythonw: there is nothing to draw on
            return
        with self._drawing():
            self.bar = tqdm(
                total=epochs,
                initial=first_epoch,
                unit="epoch",
                leave=bool(wanted),
                dynamic_ncols=True,
                bar_format="epoch {n:.0f}/{total:.0f} |{bar}| {elapsed}<{remaining}{postfix}",
            )

    def show(self, epoch: float, samples: int, *, last: bool = False) -> None:
        """Move to a place in the run, `epoch`; so many rows have been trained on since it began."""
        now = time.perf_counter()
        if self._between is not None:
            self._print(now, samples, last)
        if self.bar is None or (now - self._drawn < REDRAW and not last):
            return
        self._drawn = now
        with self._drawing():
            self.bar.set_postfix_str(", ".join([*self._losses(), self._speed(now, samples)]), refresh=False)
            self.bar.n = epoch
            self.bar.refresh()

    def _print(self, now: float, samples: int, last: bool) -> None:
        """Print the lines that are due."""
        finished, between = self.history.epochs, self._between
        if finished == self._lines or (between and now - self._written < between and not last):
            return
        assert between is not None
        for i in range(finished - 1 if between else self._lines, finished):
            count = f"epoch {self.history.first_epoch + i + 1}/{self.epochs}"
            say(", ".join([count, *self._numbers(i), self._speed(now, samples)]))
        self._lines, self._written = finished, now

    def _numbers(self, i: int) -> list[str]:
        """The losses and metrics of an epoch."""
        columns, result = self.history._columns, []
        for name, values in columns.items():
            if values and name not in ("rate", "seconds") and len(values) == len(columns["loss"]):
                result.append(f"{name.replace('_', ' ')} {values[i]:.4g}")
        return result

    def _losses(self) -> list[str]:
        """The newest losses, short enough to leave room for the bar."""
        named = {"loss": self.history.loss, "validation": self.history.validation_loss}
        return [f"{name} {values[-1]:.3g}" for name, values in named.items() if values]

    def _speed(self, now: float, samples: int) -> str:
        return f"{_short(samples / max(now - self._began, 1e-9))} samples/s"

    def close(self) -> None:
        """Take the bar away (a wanted one stays as it is)."""
        if self.bar is not None:
            with self._drawing():
                self.bar.close()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Go without a bar from where it cannot be drawn, on a closed stream for instance: it never ends a run."""
        try:
            yield
        except Exception:
            if self.bar is not None:
                self.bar.disable = True  # or it would try once more when it is collected
            self.bar = None


def _is_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which draws bars though standard error is no terminal."""
    ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(ipython, "kernel")


def _short(value: float) -> str:
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"
