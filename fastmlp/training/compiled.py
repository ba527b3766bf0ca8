"""Runs on the engine: many steps a call, on one thread or several."""

from __future__ import annotations

import time

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.kernels.blocks.clip import Clip
from fastmlp.kernels.engine import run
from fastmlp.kernels.layout import zeros
from fastmlp.kernels.scan import all_finite
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.kernels.threads import ABORT
from fastmlp.modules import Sequential
from fastmlp.modules.route import Route
from fastmlp.optim import Optimizer
from fastmlp.parameters import spans_of
from fastmlp.team import run_together
from fastmlp.training.data import Data
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.pace import Pace
from fastmlp.training.pieces import Window
from fastmlp.training.run import Rates, Run

__all__ = ["CompiledRun"]

#: How long the engine stays in one call: Ctrl-C is heard, and the progress bar moves, between two.
SLICE_SECONDS = 0.05

#: The dtypes whose engine has been called in this process.
READY: set[np.dtype] = set()


class CompiledRun(Run):
    """A run whose steps are taken by the engine."""

    def __init__(
        self,
        route: Route,
        model: Sequential,
        criterion: Criterion,
        optimizer: Optimizer,
        data: Data,
        first_epoch: int,
        rates: Rates,
        threads: int,
        shared: bool,
    ):
        super().__init__(data, first_epoch, rates)
        self.optimizer, self._pace, self._shared = optimizer, Pace(threads) if shared else None, shared
        self.threads = threads  # of the next call, at most
        self.storage = model.storage
        self.state = optimizer._state_of(self.storage)
        first = data.given.first
        width = first.x.shape[1]
        width_out = model._width_out(width)
        assert width_out is not None
        self._labels = first.y.ndim == 1
        loss = criterion._op(width_out, labels=self._labels, weighted=data.given.weighted)  # type: ignore[misc]
        dtype = self.storage.data.dtype
        clips = _clips(model, optimizer, data)
        updates = optimizer._updates_of(optimizer._spans()) if clips else optimizer._updates()
        group_at = {
            p.offset: number for number, group in enumerate(optimizer.param_groups) for p in group["params"] if p.requires_grad
        }
        self.program = route.training(width, loss, updates, group_at, dtype, data.batch_size, threads, clips)
        self.job = job = self.program.job()
        job.set(
            params=self.storage.data,
            grads=zeros(self.storage.data.size, dtype) if clips else self.storage.grad,
            state=self.state,
        )
        job.put(params=self.storage.data.size, seed=data.seed, shuffle=data.shuffle and data.whole, batch=data.batch_size)
        self._terms = criterion._terms(width_out)  # that the loss of a row is the mean of
        self._rates = np.zeros((1, 0))  # of the steps of the last call, by groups
        self._steps = 1 if shared and threads > 1 else 8  # of a call; grows towards SLICE_SECONDS

    def prepare(self) -> None:
        if self.storage.data.dtype not in READY:
            self._call(0)  # compiles the engine while Ctrl-C is heard at once
            READY.add(self.storage.data.dtype)

    def _enter(self, window: Window) -> None:
        (_, y, weights), dtype = window.rows, self.storage.data.dtype
        self.job.set(
            order=window.order,
            labels=y if self._labels else np.zeros(1, np.int64),
            weights=np.zeros(1, dtype) if weights is None else weights,
        )
        self.job.put(rows=window.trained, batches=window.batches)

    def advance(self, last_epoch: int, most: int | None = None) -> None:
        came = time.perf_counter()
        window = self.window()
        waited, whole = time.perf_counter() - came, window.epoch is None
        left = ((last_epoch - self.epoch) * self.data.batches if whole else window.first + window.batches) - self.batch
        left = left if most is None else min(left, most)
        steps = min(self._steps, left)
        if self._pace is not None:
            self.threads, most_here = self._pace.next()
            steps = steps if most_here is None else min(steps, most_here)
        with interrupts_held():
            before = self.storage.data.copy(), self.state.copy()
            began = time.perf_counter()
            try:
                self._call(steps)
            except BaseException:  # a thread could not be started, or a second Ctrl-C
                self._restore(before)
                raise
            seconds = time.perf_counter() - began
            done, sums, totals = self._outcome()
            if self.job.number("not_finite") or not all_finite(self.storage.data):
                done, sums, totals = self._last_finite(before, done)
                self.failed = True
            if self._pace is not None:
                self._pace.note(seconds, done)
            self.optimizer.steps += done
            self.job.counted_on(done)
            self._count(done, sums, totals, rates=self._rates[0], seconds=waited + seconds)
        if steps == self._steps and steps < left:
            self._steps = max(1, min(8 * steps, int(steps * SLICE_SECONDS / max(seconds, 1e-9))))

    def _call(self, steps: int) -> None:
        """Take `steps` steps from where the run is."""
        job, window = self.job, self.window()
        batch = self.batch - window.first
        touched = (batch + max(steps, 1) - 1) // window.batches + 1
        scalars = np.zeros((steps, job.number("scalars")), self.storage.data.dtype)
        if steps:
            t = np.arange(self.optimizer.steps + 1, self.optimizer.steps + 1 + steps)
            place = self.epoch, self.batch, steps
            self._rates = self.rates.of_steps(*place)
            self.optimizer._fill_scalars(scalars, t, self._rates, self.rates.momenta_of_steps(*place))
        sums = np.zeros(touched)
        sums[0] = self._partial  # goes on with the sum, so that it does not depend on where calls are cut
        totals = np.zeros(1 + touched)
        totals[1] = self._partial_total
        job.set(scalars=scalars.reshape(-1), sums=sums, totals=totals)
        job.put(first_epoch=self.epoch, first_batch=batch, steps=steps, steps_done=0, not_finite=0)
        job.control[:] = 0
        job.count()

        def call_off() -> None:
            job.control[ABORT] = 1  # whoever waits at a barrier leaves

        x = window.rows.x
        y = x if self._labels else window.rows.y

        def take_part(thread: int, threads: int) -> None:
            run(job.handle, 0, x, y, thread, threads)

        # A call that takes no step compiles, and helpers would only wait for Numba's lock.
        run_together(take_part, self.threads if steps else 1, call_off, self._shared)

    def _outcome(self) -> tuple[int, list[float], list[float] | None]:
        """How many steps the last call has done, and the sums of their losses by epoch, and of their weights."""
        totals = None if not self.data.given.weighted else self.job.totals[1:].tolist()
        return self.job.number("steps_done"), self.job.sums.tolist(), totals

    def _last_finite(self, before: tuple[np.ndarray, np.ndarray], done: int) -> tuple[int, list[float], list[float] | None]:
        """Go back to the last step that left finite parameters, and return how many steps that are, with their losses.

        Training is deterministic and a parameter that is not finite stays so: bisect, training again from `before`.
        """
        good, bad = 0, done + 1
        try:
            while bad - good > 1:
                tried = (good + bad) // 2
                self._restore(before)
                self._call(tried)
                if all_finite(self.storage.data):
                    good = tried
                else:
                    bad = tried
            self._restore(before)
            if good == 0:
                return 0, [0.0], None
            self._call(good)
            return self._outcome()
        except BaseException:
            self._restore(before)
            raise

    def _restore(self, before: tuple[np.ndarray, np.ndarray]) -> None:
        self.storage.data[:], self.state[:] = before
        if self.data.shuffle and self.data.whole:
            epoch_order(self.job.order, self.data.seed, self.epoch)  # an epoch may have begun since


def _clips(model: Sequential, optimizer: Optimizer, data: Data) -> list[Clip]:
    """The ops that make gradients smaller: in the order of the model's parameters, as by hand."""
    if data.clip_norm is None and data.clip_value is None:
        return []
    held = set(map(id, optimizer.params))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) in held]
    spans = [(first, last) for _, first, last in spans_of(trained)]
    if data.clip_norm is not None:
        return Clip.of(spans, data.clip_norm, by_value=False)
    assert data.clip_value is not None
    return Clip.of(spans, data.clip_value, by_value=True)
