"""The 1cycle policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.cycled import Cycled

__all__ = ["OneCycleLR"]


class OneCycleLR(Cycled):
    """One cycle over a whole training: the learning rate up to `max_lr`, then far down; the momentum down and up again.

    It goes from ``max_lr / div_factor`` to `max_lr` while `pct_start` of the steps are gone, then to
    ``max_lr / div_factor / final_div_factor``; the momentum from `max_momentum` to `base_momentum` and back. With `three_phase`
    the way down is as long as the way up and ends where it began, and a last phase follows to the smallest rate.

    Parameters
    ----------
    optimizer : Optimizer
        With a momentum or betas, unless `cycle_momentum` is False. Its own learning rate does not count.
    max_lr : float, or list of float
        The largest learning rate; a list has one for each group of parameters.
    total_steps : int, optional
        Steps of the training: ``epochs * steps_per_epoch`` where those are given instead.
    epochs, steps_per_epoch : int, optional
        In place of `total_steps`.
    pct_start : float, default 0.3
        From 0 to 1.
    anneal_strategy : {"cos", "linear"}
        Along half a cosine, or along a line.
    cycle_momentum : bool, default True
        Whether the momentum (of an optimizer with betas, beta1) goes the other way.
    base_momentum, max_momentum : float, or list of float, default 0.85 and 0.95
        The smallest and the largest; above 0 and below 1.
    div_factor, final_div_factor : float, default 25 and 1e4
        Above 0.
    three_phase : bool, default False
        Whether there are three phases.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, without a number of steps, for an optimizer without momentum; and at a step after the
        last.

    Notes
    -----
    It counts steps, not epochs: ``interval`` is "step". After the last step the smallest rate stays in force.

    References
    ----------
    L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2017.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(1000, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 25, rng=0), fm.ReLU(), fm.Linear(25, 2, rng=1))
    >>> optimizer = fm.SGD(model.parameters(), momentum=0.9)
    >>> schedule = fm.OneCycleLR(optimizer, max_lr=0.5, epochs=10, steps_per_epoch=len(X) // 50)
    >>> (round(optimizer.lr, 6), optimizer.momentum)
    (0.02, 0.95)
    >>> _ = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=10, batch_size=50, schedule=schedule)
    >>> (schedule.last_epoch, f"{optimizer.lr:.6f}", optimizer.momentum)
    (200, '0.000002', 0.95)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"max_lr": 0.2, "total_steps": 120},
        {"max_lr": 0.1, "epochs": 12, "steps_per_epoch": 10, "pct_start": 0.2, "anneal_strategy": "linear", "three_phase": True}
        | {"base_momentum": 0.5, "max_momentum": 0.9, "div_factor": 5.0, "final_div_factor": 100.0},
        {"max_lr": 0.1, "total_steps": 110, "pct_start": 0.1, "cycle_momentum": False},
    )
    _rules: ClassVar = Cycled._rules | {
        "total_steps": checks.as_size,
        "pct_start": partial(checks.as_number, most=1.0),
        "div_factor": partial(checks.as_number, above=0.0),
        "final_div_factor": partial(checks.as_number, above=0.0),
        "three_phase": checks.as_flag,
    }

    epochs = steps_per_epoch = None  # total_steps has them

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("you must define either total_steps or epochs and steps_per_epoch")
            total_steps = checks.as_size(epochs, "epochs") * checks.as_size(steps_per_epoch, "steps_per_epoch")
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.three_phase = three_phase
        self._cycle(optimizer, max_lr, cycle_momentum, base_momentum, max_momentum)
        largest = self.max_lr if isinstance(self.max_lr, list) else [self.max_lr] * len(optimizer.param_groups)
        super().__init__(optimizer, [rate / self.div_factor for rate in largest])

    def _checked(self, name: str, value: Any) -> Any:
        if name == "anneal_strategy" and value not in ("cos", "linear"):
            raise ValueError(f'anneal_strategy must be one of "cos" or "linear"; got {value!r}')
        return super()._checked(name, value)

    def _between(self, step: int, low: float, high: float, last: float) -> float:
        """A number at a step: it goes from `low` to `high`, and then to `last`, by way of `low` in three phases."""
        if step > self.total_steps:
            raise ValueError(
                f"tried to step {step} times; OneCycleLR has total_steps = {self.total_steps}: it counts batches, not epochs, "
                "so epochs * steps_per_epoch of them"
            )
        up, end = self.pct_start * self.total_steps, self.total_steps - 1
        phases = [(up - 1, low, high), (end, high, last)]
        if self.three_phase:
            phases[1:] = [(2 * up - 2, high, low), (end, low, last)]
        number = next((i for i, phase in enumerate(phases) if step <= phase[0]), len(phases) - 1)
        began, (ends, first, then) = phases[number - 1][0] if number else 0.0, phases[number]
        gone = min((step - began) / (ends - began), 1.0) if ends != began else 1.0
        if self.anneal_strategy == "linear":
            return (then - first) * gone + first
        return then + (first - then) / 2 * (math.cos(math.pi * gone) + 1)

    def rate(self, step: int) -> float:
        return self._between(step, self.base_lr, self._here(self.max_lr), self.base_lr / self.final_div_factor)

    def momentum(self, step: int) -> float | None:
        if not self.cycle_momentum:
            return None
        largest = self._here(self.max_momentum)
        return self._between(step, largest, self._here(self.base_momentum), largest)
