"""What the schedules that cycle the momentum have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["Cycled"]


class Cycled(LRScheduler):
    """A schedule up to `max_lr`, with the momentum between `max_momentum` and `base_momentum`, for each step."""

    interval = "step"
    max_lr: Any  # a number, or a list of one for each group
    base_momentum: Any
    max_momentum: Any
    _rules: ClassVar = {"cycle_momentum": checks.as_flag}

    def _cycle(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        cycle_momentum: bool,
        base_momentum: float | Sequence[float],
        max_momentum: float | Sequence[float],
    ) -> None:
        """Take what a cycle needs, before the base's constructor."""
        self.optimizer = optimizer  # the lists below are as long as its groups
        self.max_lr = max_lr
        self.cycle_momentum = cycle_momentum
        if self.cycle_momentum:
            for group in optimizer.param_groups:
                optimizer._with_momentum(group, 0.0)
        self.base_momentum = base_momentum
        self.max_momentum = max_momentum

    def _checked(self, name: str, value: Any) -> Any:
        if name == "max_lr":
            return self._as_of_groups(value, name)
        if name in ("base_momentum", "max_momentum"):
            # Without momentum SGD has no velocity, so 0 is another optimizer.
            return self._as_of_groups(value, name, above=0.0, below=1.0)
        return super()._checked(name, value)
