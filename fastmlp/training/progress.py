"""Progress: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastmlp import checks
from fastmlp.kernels.compiler.say import is_terminal, say
from fastmlp.training.history import History

__all__ = ["Progress", "as_progress"]

#: How often the bar moves, in seconds.
REDRAW = 0.1

#: Between two lines, where a bar was wanted and nobody can see one.
LINES = 10.0

#: Columns of a bar that is a text in a notebook.
LINE = 100

#: Columns of a line besides numbers of epochs and what stands behind the times: words, times, and a bar of 5 at least.
COLUMNS = len(" / || 00:00<00:00, ") + 5


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
    """Shows the epoch, or what else `word` counts, the losses and samples per second.

    `wanted` None: a bar where standard error is a terminal or a notebook, and tqdm is installed. True: a bar, or where nobody
    can see it move, a line now and then. False: nothing. A number: plain lines, with at least so many seconds between two.
    """

    def __init__(self, wanted: bool | float | None, epochs: int, first_epoch: int, history: History, word: str = "epoch"):
        self.bar: Any = None
        self.history, self.epochs, self.word = history, epochs, word
        self._began = self._drawn = self._written = time.perf_counter()
        self._lines = history.epochs  # that a line has been printed of, or passed over
        self._between: float | None = None  # two lines
        self._widest = 0  # text behind the bar so far: the bar's length is not to change with every number
        self._shown: Any = None  # the output of a notebook that has the bar, and what it has in the end
        self._final = ""
        self._notebook = _is_notebook()
        self._as_text = False  # there, for want of widgets
        looking = is_terminal() or self._notebook
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
        drawn_by = sys.modules.get("tqdm.notebook")  # where there are ipywidgets
        widgets = self._notebook and drawn_by is not None and issubclass(tqdm, drawn_by.tqdm)
        self._as_text = self._notebook and not widgets
        count = f"{word} {{n:{len(str(epochs))}.0f}}/{{total:.0f}}"
        how: dict[str, Any] = {"display": False} if widgets else {"file": _Nowhere(), "ncols": LINE} if self._as_text else {}
        with self._drawing():
            self.bar = tqdm(
                total=epochs,
                initial=first_epoch,
                unit="epoch",
                leave=bool(wanted),
                dynamic_ncols=not self._as_text,
                bar_format=f"{count} |{{bar}}| {{elapsed}}<{{remaining}}{{postfix}}",
                **how,
            )
            if self._notebook:
                from IPython.display import display

                given = self.bar.container if widgets else _text(str(self.bar))
                self._shown = display(given, raw=not widgets, display_id=True)

    def show(self, epoch: float, samples: int | None, *, last: bool = False) -> None:
        """Move to a place in the run, `epoch`; so many rows have been trained on since it began, if that is to be said."""
        now = time.perf_counter()
        if self._between is not None:
            self._print(now, samples, last)
        if self.bar is None or (now - self._drawn < REDRAW and not last):
            return
        self._drawn = now
        with self._drawing():
            behind = self._behind_the_bar(now, samples)
            self._final = f"{self.word} {epoch:.0f}/{self.epochs}, {behind.rstrip()}" if self.bar.leave else ""
            self.bar.set_postfix_str(behind, refresh=False)
            self.bar.n = epoch
            self.bar.refresh()
            if self._as_text:
                self._shown.update(_text(str(self.bar)), raw=True)

    def _print(self, now: float, samples: int | None, last: bool) -> None:
        """Print the lines that are due."""
        finished, between = self.history.epochs, self._between
        if finished == self._lines or (between and now - self._written < between and not last):
            return
        assert between is not None
        for i in range(finished - 1 if between else self._lines, finished):
            count = f"{self.word} {self.history.first_epoch + i + 1}/{self.epochs}"
            line = ", ".join([count, *self._numbers(i), *self._speed(now, samples)])
            if self._notebook:
                print(line, flush=True)  # standard error is red there
            else:
                say(line)
        self._lines, self._written = finished, now

    def _numbers(self, i: int) -> list[str]:
        """The losses and metrics of an epoch."""
        columns, result = self.history._columns, []
        for name, values in columns.items():
            if values and name not in ("rate", "seconds") and len(values) == len(columns["loss"]):
                result.append(f"{name.replace('_', ' ')} {values[i]:.4g}")
        return result

    def _behind_the_bar(self, now: float, samples: int | None) -> str:
        """The newest losses and the speed, or what of them the line has room for, as wide as they have been."""
        named = {"loss": self.history.loss, "val": self.history.validation_loss}
        losses = [f"{name} {_three_figures(values[-1])}" for name, values in named.items() if values]
        line = self.bar.ncols  # a text in a notebook; None where nobody knows
        room = line - COLUMNS - len(self.word) - 2 * len(str(self.epochs)) if isinstance(line, int) else 10**9
        choices = (", ".join(parts) for parts in ([*losses, *self._speed(now, samples)], losses, losses[:1]))
        text = next((text for text in choices if len(text) <= room), "")
        self._widest = max(self._widest, len(text))
        return text.ljust(min(self._widest, room)) if text else ""

    def _speed(self, now: float, samples: int | None) -> list[str]:
        return [] if samples is None else [f"{_short(samples / max(now - self._began, 1e-9))} samples/s"]

    def close(self) -> None:
        """Take the bar away (a wanted one stays as it is)."""
        if self.bar is not None:
            with self._drawing():
                self.bar.close()
        if self._shown is not None:
            # Where no widgets are alive, in a file or on a page, there would stand for ever how the bar began.
            with suppress(Exception):
                self._shown.update(_text(self._final), raw=True)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Go without a bar from where it cannot be drawn, on a closed stream for instance: it never ends a run."""
        try:
            yield
        except Exception:
            if self.bar is not None:
                self.bar.disable = True  # or it would try once more when it is collected
            self.bar = None


class _Nowhere:
    """Where a bar is written that is shown in another way."""

    encoding = "utf-8"  # tqdm draws with # elsewhere

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def _text(line: str) -> dict[str, str]:
    """A line, as an output of a notebook."""
    return {"text/plain": line}


def _is_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which draws bars though standard error is no terminal."""
    ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(ipython, "kernel")


def _three_figures(value: float) -> str:
    """As ``.3g``, but zeros at the end stay: numbers that change keep their width."""
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _short(value: float) -> str:
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{_three_figures(value)}{unit}"
        value /= 1000
    return f"{_three_figures(value)}G"
