"""Dropout."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks, structure
from fastmlp.kernels.blocks.dropout import Dropout as DropoutOp
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Dropout", "RandomModule"]

SEEDS = 2**62


class RandomModule(Module):
    """The base of layers that draw: which numbers is a function of (seed, step, row of the batch, feature) alone.

    `seed` and `calls`, the number of steps so far, are whole numbers that belong to the state. So what is drawn doesn't depend
    on threads, is the same eagerly and in :func:`fastmlp.fit`, and goes on where it was after saving and loading.
    """

    counts = ("seed", "calls")
    draws = True
    p: float

    def __init__(self, p: float, rng: int | np.random.Generator | None = None):
        self.p = p
        self.calls = 0
        self.reset_parameters(rng)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw another seed, and begin with step 0."""
        self.seed = int(checks.as_generator(rng).integers(SEEDS))
        self.calls = 0

    def _checked(self, name: str, value: Any) -> Any:
        if name == "p":
            return checks.as_number(value, name, most=1)
        return checks.as_size(value, name, least=0) if name in self.counts else value

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("p", "seed", "training"):
            structure.changed()

    def _options(self) -> tuple[Any, ...]:
        return self.p, self.seed, self.training

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _formula(self) -> tuple[float, float, float]:
        """What becomes of a number x: ``factor * x + shift`` where it is kept, else `other`."""
        raise NotImplementedError

    def _ops(self, width: int) -> list[Op]:
        if not self.training or self.p == 0:
            return []
        return [DropoutOp(width, self.seed, round((1 - self.p) * 2**32), *self._formula(), (self, "calls"))]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p:g})"


class Dropout(RandomModule):
    """Each number is zero with probability p, else divided by 1 - p; in evaluation mode nothing is done.

    Parameters
    ----------
    p : float, default 0.5
        From 0 to 1. It may be assigned later, which compiles nothing.
    rng : None, int or Generator
        For the seed; see :meth:`reset_parameters`.

    Attributes
    ----------
    seed, calls : int
        What is drawn is a function of the seed, of the number of training steps before, and of the place in the batch. Both are
        in the ``state_dict``; one of PyTorch, which lacks them, can be loaded.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps nothing for backward: the numbers are drawn once more.

    Raises
    ------
    ValueError, TypeError
        For a p that is not a number from 0 to 1.

    Notes
    -----
    The masks don't depend on the number of threads, and are the same by hand and in :func:`fastmlp.fit`.
    ``reset_parameters(rng)`` of a network draws the seeds of its dropout layers too.

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dropout(0.5, rng=0)
    >>> layer([[1.0, 1.0, 1.0, 1.0]])
    array([[0., 0., 2., 2.]], dtype=float32)
    >>> layer.eval()([[1.0, 1.0, 1.0, 1.0]])
    array([[1., 1., 1., 1.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"rng": 1}, {"p": 0.2, "rng": 2})

    def __init__(self, p: float = 0.5, *, rng: int | np.random.Generator | None = None):
        super().__init__(p, rng)

    def _formula(self) -> tuple[float, float, float]:
        return 1 / (1 - self.p) if self.p < 1 else 0.0, 0.0, 0.0
