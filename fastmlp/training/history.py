"""What a training run leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["History", "NonFiniteLossError", "carried_by_failures"]


@dataclass
class History:
    """What :func:`fastmlp.fit` returns.

    Attributes
    ----------
    loss : list of float
        For each finished epoch, the mean over its rows of the loss at the step that trained on them, weighted where they have
        weights; the sum, of a criterion with ``reduction="sum"``.
    validation_loss : list of float
        For each finished epoch, the loss on the validation data after it; empty where there is none.
    seconds : float
        Wall time of the run.
    interrupted : bool
        Whether Ctrl-C ended the run.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


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
