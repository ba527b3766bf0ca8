"""The progress bar: tqdm on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastmlp.kernels.compiler.say import is_terminal

__all__ = ["Progress"]


class Progress:
    """Shows the epoch, the loss and samples per second.

    `wanted` None: where standard error is a terminal and tqdm is installed. True: always. False: never.
    """

    def __init__(self, wanted: bool | None, epochs: int, first_epoch: int, rows: int):
        self.bar: Any = None
        self.rows = rows
        if not (is_terminal() if wanted is None else wanted):
            return
        try:
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

    def show(
        self, epoch: int, batch: int, batches: int, loss: float | None, seconds: float, steps: int, batch_size: int
    ) -> None:
        """Move to a place in the run."""
        if self.bar is None:
            return
        samples = steps * batch_size / max(seconds, 1e-9)
        loss_text = "" if loss is None else f"loss {loss:.4g}, "
        with self._drawing():
            self.bar.set_postfix_str(f"{loss_text}{_short(samples)} samples/s", refresh=False)
            self.bar.n = epoch + batch / batches
            self.bar.refresh()

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


def _short(value: float) -> str:
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"
