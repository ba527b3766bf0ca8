"""The base of callbacks that watch a column of the history."""

from __future__ import annotations

from typing import Any

from fastmlp import checks
from fastmlp.training.callbacks.callback import Callback
from fastmlp.training.metrics import better

__all__ = ["Monitor"]


class Monitor(Callback):
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
