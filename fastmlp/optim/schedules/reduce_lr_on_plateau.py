"""A rate that falls where the loss does no longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """The learning rate times `factor` where a metric has not become better for more than `patience` epochs.

    By hand ``schedule.step(metric)`` comes after each epoch. In :func:`fastmlp.fit` the metric is the loss on the validation
    data, or, where there is none, the epoch's loss in training.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate at the moment is what the factor multiplies.
    mode : {"min", "max"}
        Whether smaller is better, or larger.
    factor : float, default 0.1
        At least 0 and below 1.
    patience : int, default 10
        Epochs in a row that may be no better, at least 0.
    threshold : float, default 1e-4
        By how much an epoch must be better than the best, at least 0.
    threshold_mode : {"rel", "abs"}
        Whether `threshold` is a part of the best, or a difference.
    cooldown : int, default 0
        Epochs after a fall that don't count, at least 0.
    min_lr : float, or list of float, default 0
        Below which no rate falls; a list has one for each group of parameters.
    eps : float, default 1e-8
        A fall that is not larger than this does not happen.

    Attributes
    ----------
    best : float
        The best metric so far.
    num_bad_epochs, cooldown_counter : int
        Epochs since; epochs of the cooldown that are left.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, other modes, and a metric that is no number. One that is NaN is no better.

    Notes
    -----
    It has no ``rate(t)``: the rate is the optimizer's own, whose ``state_dict`` keeps it. ``interval`` is always "epoch".

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (0.7, 0.6, 0.6, 0.6):
    ...     schedule.step(loss)
    >>> optimizer.lr
    0.25
    """

    takes_metric = True
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"patience": 2, "factor": 0.5},
        {"mode": "max", "patience": 1, "threshold": 0.01, "threshold_mode": "abs", "cooldown": 2, "min_lr": 0.005},
        {"patience": 0, "threshold": 0.05, "factor": 0.7, "eps": 0.01},
        {"mode": "max", "patience": 0, "threshold": 0.05, "factor": 0.7},
        {"patience": 1, "threshold_mode": "abs", "factor": 0.9, "cooldown": 1},
    )
    _rules: ClassVar = {
        "factor": lambda value, name: checks.as_number(value, name, below=1.0),
        "patience": lambda value, name: checks.as_size(value, name, least=0),
        "threshold": checks.as_number,
        "cooldown": lambda value, name: checks.as_size(value, name, least=0),
        "eps": checks.as_number,
        "best": lambda value, _: checks.as_metric(value),
        "num_bad_epochs": lambda value, name: checks.as_size(value, name, least=0),
        "cooldown_counter": lambda value, name: checks.as_size(value, name, least=0),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ):
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def _checked(self, name: str, value: Any) -> Any:
        if name == "mode" and value not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max"; got {value!r}')
        if name == "threshold_mode" and value not in ("rel", "abs"):
            raise ValueError(f'threshold_mode must be "rel" or "abs"; got {value!r}')
        if name == "interval" and value != "epoch":
            raise ValueError(f'interval of ReduceLROnPlateau must be "epoch"; got {value!r}')
        return self._as_of_groups(value, name) if name == "min_lr" else super()._checked(name, value)

    def step(self, metrics: float) -> None:  # type: ignore[override]
        """Go on to the next epoch; `metrics` says how well this one went."""
        metric = checks.as_metric(metrics)
        bad, cooling = 0 if self._is_better(metric) else self.num_bad_epochs + 1, self.cooldown_counter
        if bad == 0:
            self.best = metric
        if cooling:
            bad, cooling = 0, cooling - 1
        if bad > self.patience:
            self._reduce()
            bad, cooling = 0, self.cooldown
        self.num_bad_epochs, self.cooldown_counter = bad, cooling
        self.last_epoch += 1

    def _is_better(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        bar = self.best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else self.best + sign * self.threshold
        return metric > bar if self.mode == "max" else metric < bar

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if isinstance(self.min_lr, list):
            self._check_one_for_each_group(self.min_lr, "min_lr")  # one may have been added
        for number, group in enumerate(groups):
            self.__dict__["_group"] = number
            rate = max(group["lr"] * self.factor, self._here(self.min_lr))
            if group["lr"] - rate > self.eps:
                group["lr"] = rate
        self.__dict__.pop("_group", None)

    def _rates(self, epoch: int) -> list[float]:
        """The optimizer's own."""
        return self.get_last_lr()

    def rate(self, epoch: int) -> float:
        return self.optimizer.param_groups[self._group]["lr"]
