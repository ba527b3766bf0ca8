"""Where a run is: what comes next, and what has been finished."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.shuffle import epoch_order
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.training.data import Data
from fastmlp.training.windows import Window

__all__ = ["Rates", "Run"]


class Rates:
    """The learning rates of a run, by step: those of a schedule, or else those that the optimizer has."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        first_epoch: int,
        batches: int,
        *,
        fresh: bool = True,
        first_batch: int = 0,
    ):
        """With `fresh`, a schedule that has not begun begins where the run does, else with its own epoch 0."""
        self.optimizer, self.schedule, self.first_batch = optimizer, schedule, first_batch
        self._first_epoch, self._batches = first_epoch, batches
        # What a schedule has said when it was checked.
        self._rates: dict[int, list[float]] = {}
        self._momenta: dict[int, list[float] | None] = {}
        # A schedule that has begun goes on from where it is.
        self._first = 0
        if schedule is not None:
            begin = first_epoch if fresh else 0
            self._first = schedule.last_epoch or (begin if schedule.interval == "epoch" else begin * batches)
            if schedule.last_epoch and schedule.interval == "step":
                self._first -= first_batch  # of the epoch that goes on

    def _unit(self, epoch: int, batch: int) -> int:
        """The epoch, or the step, that the schedule counts at a place of the run."""
        assert self.schedule is not None
        epochs = epoch - self._first_epoch
        return self._first + (epochs if self.schedule.interval == "epoch" else epochs * self._batches + batch)

    def of_steps(self, epoch: int, batch: int, steps: int) -> np.ndarray:
        """Learning rates (groups, steps) of the steps from a place of the run on."""
        groups = self.optimizer.param_groups
        if self.schedule is None:
            return np.repeat([[group["lr"]] for group in groups], steps, axis=1)
        units, places = self._units(epoch, batch, steps)
        rates = [self._rates.get(unit) or self.schedule._rates(unit) for unit in units]
        return np.array(rates)[places].T if steps else np.zeros((len(groups), 0))

    def momenta_of_steps(self, epoch: int, batch: int, steps: int) -> np.ndarray | None:
        """The momenta, as :meth:`of_steps`; None where the schedule leaves them alone."""
        if self.schedule is None or type(self.schedule).momentum is LRScheduler.momentum:
            return None
        units, places = self._units(epoch, batch, steps)
        momenta = [self._momenta.get(unit) or self.schedule._momenta(unit) for unit in units]
        if not any(momenta):
            return None
        now = [self.optimizer._momentum_of(group) for group in self.optimizer.param_groups]  # until the schedule's first
        return np.array([some or now for some in momenta])[places].T

    def _units(self, epoch: int, batch: int, steps: int) -> tuple[range, np.ndarray]:
        """The epochs, or the steps, that the schedule is asked for; and which of them each step is in."""
        assert self.schedule is not None
        places = (batch + np.arange(steps)) // self._batches if self.schedule.interval == "epoch" else np.arange(steps)
        first = self._unit(epoch, batch)
        return range(first, first + int(places[-1]) + 1 if steps else first), places

    def check(self, epochs: int, most: int) -> None:
        """Ask for the rates that come, `most` at most, so that a schedule's mistake shows before anything is trained."""
        if self.schedule is None or self.schedule.takes_metric:
            return
        count = epochs if self.schedule.interval == "epoch" else epochs * self._batches
        for unit in range(self._first, self._first + min(count, most)):
            self._rates[unit], self._momenta[unit] = self.schedule._rates(unit), self.schedule._momenta(unit)
        if any(self._momenta.values()) and not self.optimizer._has_momentum():
            raise ValueError("the schedule changes the momentum, which is 0 at the moment: begin with one above 0")

    def follow(self, epoch: int, batch: int) -> None:
        """Have the schedule count what has been trained, and put the rate of what comes next into force.

        A schedule that has no rate there, as one that ends with the run, leaves the last one in force. One that is told a
        metric counts by itself (:meth:`tell`).
        """
        if self.schedule is None or self.schedule.takes_metric:
            return
        unit = self._unit(epoch, batch)
        if unit != self.schedule.last_epoch:
            self.schedule.last_epoch = unit
            rates = self._rates.get(unit)
            if rates is not None and len(rates) == len(self.optimizer.param_groups):
                self.schedule._put(rates, self._momenta[unit])
                return
            self.schedule._settle()

    def tell(self, metric: float) -> None:
        """Tell a schedule that wants to know it how well an epoch went."""
        if self.schedule is not None and self.schedule.takes_metric:
            self.schedule.step(metric)  # type: ignore[arg-type]


class Run:
    """The place of a training run: `epoch` and `batch` come next; `losses`, `rated`, `seconds` are those of finished epochs.

    A subclass gives :meth:`advance`.
    """

    def __init__(self, data: Data, first_epoch: int, rates: Rates):
        self.data, self.rates = data, rates
        self.epoch, self.batch = first_epoch, rates.first_batch
        self._windows = data.windows(self.epoch, self.batch)
        self._window: Window | None = None
        self.losses: list[float] = []
        self.rated: list[float] = []  # the learning rates of the last steps
        self.seconds: list[float] = []
        self.failed = False  # the step that comes next has a loss that is not finite
        self._key = data.key(0)[1:]  # what an epoch that is broken off must have in common with the one that goes on
        self._partial = 0.0  # sum of the losses of the rows of this epoch so far
        self._partial_total = 0.0  # and of the weights
        self._partial_seconds = 0.0
        if self.batch:
            *_, self._partial, self._partial_total = rates.optimizer._place  # type: ignore[misc]
        self._terms = 1  # that the loss of a row is the mean of; 0: losses are sums

    def window(self) -> Window:
        """The rows that the next steps are taken on: in memory, in the order of the epoch."""
        here = self._window
        if here is None or not here.holds(self.epoch, self.batch):
            here = self._window = None  # its memory is free before the next one comes
            here = self._window = next(self._windows)
            if here.epoch is None and self.batch and self.data.shuffle:  # an epoch that was broken off goes on
                epoch_order(here.order, self.data.seed, self.epoch)
            self._enter(here)
        return here

    def _enter(self, window: Window) -> None:
        """Get ready for steps on other rows."""

    def close(self) -> None:
        """Let go of the data: a thread may be reading ahead."""
        self._windows.close()

    def prepare(self) -> None:
        """Compile what the steps need: time that is none of training."""

    def advance(self, last_epoch: int, most: int | None = None) -> None:
        """Train for a while, at most up to the end of epoch `last_epoch` - 1, and `most` steps."""
        raise NotImplementedError

    def _count(
        self,
        steps: int,
        sums: list[float],
        totals: list[float] | None = None,
        *,
        rates: np.ndarray | None = None,
        first: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Note that `steps` steps are done; `sums` are the summed losses of each epoch touched, from its first row on.

        `totals` are the sums of the weights of rows, where they have weights; `rates` the learning rates of the steps, from
        `first` on.
        """
        if steps == 0:
            return
        before, batches = self.batch, self.data.batches
        finished, self.batch = divmod(before + steps, batches)
        self.epoch += finished
        each = seconds / steps
        for epoch, loss in enumerate(sums[:finished]):
            divisor = (self.data.rows if totals is None else totals[epoch]) * self._terms
            self.losses.append(loss / divisor if divisor else float("nan") if self._terms else loss)
            self.seconds.append(self._partial_seconds + each * (batches if epoch else batches - before))
            self._partial_seconds = 0.0
            if rates is not None:
                self.rated.append(float(rates[first + (epoch + 1) * batches - before - 1]))
        self._partial_seconds += each * (self.batch if finished else steps)
        self._partial = sums[finished] if finished < len(sums) else 0.0
        self._partial_total = totals[finished] if totals is not None and finished < len(totals) else 0.0
        here = self.rates.optimizer.__dict__  # past __setattr__: no hyperparameter changes
        here["epochs"] = self.epoch
        here["_place"] = (self.epoch, *self._key, self.batch, self._partial, self._partial_total) if self.batch else None
        if self.rates.schedule is not None:
            self.rates.follow(self.epoch, self.batch)
