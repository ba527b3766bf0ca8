"""Schedules one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.constant_lr import ConstantLR
from fastmlp.optim.schedules.cosine_annealing_lr import CosineAnnealingLR
from fastmlp.optim.schedules.exponential_lr import ExponentialLR
from fastmlp.optim.schedules.linear_lr import LinearLR
from fastmlp.optim.schedules.one_cycle_lr import OneCycleLR
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["SequentialLR"]


class SequentialLR(LRScheduler):
    """Schedules one after the other: a warm-up, and what follows it.

    ``rate(t) = schedulers[k].rate(t - milestones[k - 1])``, where k milestones are at most t: each schedule begins at its
    milestone, from its own epoch 0.

    Parameters
    ----------
    optimizer : Optimizer
        That of all schedules.
    schedulers : list of LRScheduler
        The schedules; or functions that make one of an optimizer, as ``functools.partial(fm.LinearLR, total_iters=5)``. None
        that is told a metric.
    milestones : list of int
        Where the second schedule begins, the third, ...; in increasing order, one fewer than schedules.

    Raises
    ------
    ValueError, TypeError
        For schedules of another optimizer, another number of milestones, or milestones that don't increase.

    Notes
    -----
    ``interval`` is "step" where that of a schedule is, as OneCycleLR's, else "epoch"; the milestones count the same. A schedule
    with a learning rate of its own, as OneCycleLR, gives it to those that are made after it.

    Examples
    --------
    A warm-up of five epochs, then a cosine over the 45 that are left:

    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> warmup = fm.LinearLR(optimizer, start_factor=0.2, total_iters=5)
    >>> cosine = fm.CosineAnnealingLR(optimizer, T_max=45)
    >>> schedule = fm.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    >>> rates = []
    >>> for epoch in range(50):
    ...     rates.append(round(optimizer.lr, 3))
    ...     schedule.step()
    >>> rates[:7], rates[-1]
    ([0.1, 0.18, 0.26, 0.34, 0.42, 0.5, 0.499], 0.001)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"schedulers": [partial(LinearLR, total_iters=4), partial(CosineAnnealingLR, T_max=20)], "milestones": [4]},
        {
            "schedulers": [
                partial(OneCycleLR, max_lr=0.2, total_steps=20),
                partial(ConstantLR, factor=0.1, total_iters=3),
                partial(ExponentialLR, gamma=0.9),
            ],
            "milestones": [12, 17],
        },
    )

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler | Callable[[Optimizer], LRScheduler]],
        milestones: Sequence[int],
    ):
        self.optimizer = optimizer
        self.schedulers: list[LRScheduler] = schedulers  # type: ignore[assignment]  # which become some
        self.milestones: list[int] = milestones  # type: ignore[assignment]
        if any(schedule.interval == "step" for schedule in self.schedulers):
            self.interval = "step"
        super().__init__(optimizer)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "schedulers":
            return self._as_schedules(value)
        return self._as_milestones(value) if name == "milestones" else super()._checked(name, value)

    def _as_schedules(self, values: Any) -> list[LRScheduler]:
        values = list(values) if isinstance(values, Iterable) else [values]
        if not values:
            raise ValueError("SequentialLR expects at least one scheduler, but got no scheduler")
        schedules = [value(self.optimizer) if callable(value) else value for value in values]
        for place, schedule in enumerate(schedules):
            if not isinstance(schedule, LRScheduler):
                raise TypeError(f"schedulers[{place}] must be an LRScheduler of fastmlp; got {checks.shown(schedule)}")
            if schedule.takes_metric:
                raise ValueError(f"SequentialLR does not support {type(schedule).__name__}, whose step is told a metric")
            if schedule.optimizer is not self.optimizer:
                raise ValueError(f"SequentialLR expects all schedulers to be of the same optimizer; not so schedulers[{place}]")
        return schedules

    def _as_milestones(self, values: Any) -> list[int]:
        milestones = [checks.as_size(value, "each of milestones") for value in values]
        if len(milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR expects one scheduler more than milestones; got {len(self.schedulers)} and {len(milestones)}"
            )
        if any(first >= second for first, second in pairwise(milestones)):
            raise ValueError(f"milestones must increase; got {milestones}")
        return milestones

    def _rates(self, epoch: int) -> list[float]:
        number = bisect_right(self.milestones, epoch)
        return self.schedulers[number]._rates(epoch - self._begin(number))

    def _momenta(self, epoch: int) -> list[float] | None:
        """Those of the schedule at hand; of one that has no say in them, what the schedules before have left."""
        number = bisect_right(self.milestones, epoch)
        for k in range(number, -1, -1):
            last = epoch if k == number else self.milestones[k] - 1
            momenta = self.schedulers[k]._momenta(last - self._begin(k))
            if momenta is not None:
                return momenta
        return None

    def _begin(self, number: int) -> int:
        """The epoch in which a schedule begins."""
        return self.milestones[number - 1] if number else 0

    def rate(self, epoch: int) -> float:
        return self._rates(epoch)[self._group]

    def momentum(self, epoch: int) -> float | None:
        momenta = self._momenta(epoch)
        return None if momenta is None else momenta[self._group]

    def state_dict(self) -> dict:
        """All numbers of the schedule, and those of its schedules."""
        return super().state_dict() | {"schedulers": [schedule.state_dict() for schedule in self.schedulers]}

    def load_state_dict(self, state: dict) -> None:
        """Take over what ``state_dict`` gave, from schedules of the same classes."""
        checks.check_mapping(state, "state")
        states = state.get("schedulers", [])
        if len(states) != len(self.schedulers):
            raise KeyError(f"the state_dict does not fit: it is of {len(states)} schedulers, not {len(self.schedulers)}")
        before = [schedule.state_dict() for schedule in self.schedulers]
        try:
            for schedule, own in zip(self.schedulers, states):
                schedule.load_state_dict(own)
            super().load_state_dict(state | {"schedulers": self.schedulers})
        except BaseException:
            for schedule, own in zip(self.schedulers, before):
                schedule.load_state_dict(own)
            self._put_into_force()
            raise
