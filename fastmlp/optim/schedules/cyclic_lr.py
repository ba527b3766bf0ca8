"""Cyclical learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.cycled import Cycled

__all__ = ["CyclicLR"]

MODES = ("triangular", "triangular2", "exp_range")


class CyclicLR(Cycled):
    """A learning rate that goes up and down between `base_lr` and `max_lr`, again and again, and the momentum the other way.

    ``rate(t) = base_lr + (max_lr - base_lr) * height * scale``, where height goes along a line from 0 to 1 in `step_size_up`
    steps, and back in `step_size_down`; ``momentum(t) = max_momentum - (max_momentum - base_momentum) * height * scale``. The
    scale is 1 in the mode "triangular", ``1 / 2 ** (cycle - 1)`` in "triangular2", ``gamma ** t`` in "exp_range".

    Parameters
    ----------
    optimizer : Optimizer
        With a momentum or betas, unless `cycle_momentum` is False. Its own learning rate does not count.
    base_lr, max_lr : float, or list of float
        The ends of the learning rate; a list has one for each group of parameters.
    step_size_up : int, default 2000
        Steps of the way up.
    step_size_down : int, optional
        Steps of the way down, by default as many.
    mode : {"triangular", "triangular2", "exp_range"}
        How the cycles become smaller. With a `scale_fn` it does not count.
    gamma : float, default 1
        Of "exp_range", at least 0.
    scale_fn : function, optional
        The scale, in place of `mode`: a function of the cycle (1, 2, ...) or of the step, as `scale_mode` says.
    scale_mode : {"cycle", "iterations"}
        What `scale_fn` is a function of.
    cycle_momentum : bool, default True
        Whether the momentum (of an optimizer with betas, beta1) goes the other way.
    base_momentum, max_momentum : float, or list of float, default 0.8 and 0.9
        The ends of the momentum; above 0 and below 1.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, other modes, and an optimizer without momentum.

    Notes
    -----
    It counts steps, not epochs: ``interval`` is "step". ``state_dict`` has no `scale_fn`: ``load_state_dict`` keeps the one
    that is there.

    References
    ----------
    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), momentum=0.9)
    >>> schedule = fm.CyclicLR(optimizer, base_lr=0.25, max_lr=0.75, step_size_up=2)
    >>> [schedule.rate(step) for step in range(6)]
    [0.25, 0.5, 0.75, 0.5, 0.25, 0.5]
    >>> [round(schedule.momentum(step), 2) for step in range(3)]
    [0.9, 0.85, 0.8]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7},
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "step_size_down": 8, "mode": "triangular2"},
        {"base_lr": 0.02, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range", "gamma": 0.97, "base_momentum": 0.5},
        {"base_lr": 0.02, "max_lr": 0.1, "step_size_up": 4, "scale_fn": math.erf, "cycle_momentum": False},
        {"base_lr": 0.02, "max_lr": 0.1, "step_size_up": 4, "scale_fn": math.tanh, "scale_mode": "iterations"},
    )
    _rules: ClassVar = Cycled._rules | {
        "step_size_up": checks.as_size,
        "step_size_down": checks.as_size,
        "gamma": checks.as_number,
    }
    _no_state: ClassVar[tuple[str, ...]] = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
    ):
        self.step_size_up = step_size_up
        self.step_size_down = step_size_up if step_size_down is None else step_size_down
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        self.mode = mode
        self._cycle(optimizer, max_lr, cycle_momentum, base_momentum, max_momentum)
        super().__init__(optimizer, base_lr)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "mode" and value not in MODES and self.scale_fn is None:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, unless there is a scale_fn; got {value!r}")
        if name == "scale_mode" and value not in ("cycle", "iterations"):
            raise ValueError(f'scale_mode must be "cycle" or "iterations"; got {value!r}')
        if name == "scale_fn" and not (value is None or callable(value)):
            raise TypeError(f"scale_fn must be a function; got {checks.shown(value)}")
        return super()._checked(name, value)

    def _height(self, step: int) -> float:
        """Of the way from `base_lr` to `max_lr`, at a step."""
        size = self.step_size_up + self.step_size_down
        cycles, gone = divmod(step, size)
        height = gone / self.step_size_up if gone <= self.step_size_up else (size - gone) / self.step_size_down
        return height * self._scale(cycles + 1, step)

    def _scale(self, cycle: int, step: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.mode == "exp_range":
            return self.gamma**step
        return 1.0 if self.mode == "triangular" else 0.5 ** (cycle - 1)

    def rate(self, step: int) -> float:
        return self.base_lr + (self._here(self.max_lr) - self.base_lr) * self._height(step)

    def momentum(self, step: int) -> float | None:
        if not self.cycle_momentum:
            return None
        largest = self._here(self.max_momentum)
        return largest - (largest - self._here(self.base_momentum)) * self._height(step)
