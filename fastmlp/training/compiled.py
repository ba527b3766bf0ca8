"""Runs on the engine: many steps a call, on one thread or several."""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.kernels.blocks.clip import Clip
from fastmlp.kernels.blocks.gradients import Gradients
from fastmlp.kernels.engine import run
from fastmlp.kernels.job import Job
from fastmlp.kernels.layout import zeros
from fastmlp.kernels.op import Op
from fastmlp.kernels.scan import all_finite
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.kernels.threads import ABORT
from fastmlp.modules import Sequential
from fastmlp.modules.route import Route
from fastmlp.optim import Optimizer
from fastmlp.parameters import spans_of
from fastmlp.program import Program
from fastmlp.team import run_together
from fastmlp.training.data import Data
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.pace import keep_pace, pace_of
from fastmlp.training.run import Rates, Run
from fastmlp.training.scalars import Scalars
from fastmlp.training.windows import Window

__all__ = ["CompiledRun"]

#: How long the engine stays in one call: Ctrl-C is heard, and the progress bar moves, between two.
SLICE_SECONDS = 0.05

#: A call copies the parameters before its first step, and transposes weights where columns are not shared, and looks at all
#: parameters after its last one: 6 ms for 2048-2048-2048, of which a step at batch 128 takes 40. So of long steps a call takes
#: some, in so many seconds. Twice as many in twice as many seconds made no difference that could be measured.
SOME, LONG_SLICE_SECONDS = 8, 0.25

#: The last run leaves its memory to the next one, where that has the same program, up to so many bytes: pages that a system
#: gives anew are cleared, in a virtual machine found, too. Without, 16 steps of 2048-2048-2048 at batch 128 took 6 % more time.
#: One whose numbers were not finite leaves none: some may have come where zeros are taken for granted.
SPARE_BYTES = 2**27
SPARE: WeakKeyDictionary[Program, tuple[Job, tuple[np.ndarray, np.ndarray]]] = WeakKeyDictionary()

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
        self.optimizer, self._shared = optimizer, shared
        self.threads = threads  # of the next call, at most
        self.storage = model.storage
        self.state = optimizer._state_of(self.storage)
        first = data.given.first
        width = first.x.shape[1]
        width_out = model._width_out(width)
        assert width_out is not None
        self._labels, self._weighted = first.y.ndim == 1, data.given.weighted
        loss = criterion._op(width_out, labels=self._labels, weighted=data.given.weighted)  # type: ignore[misc]
        dtype = self.storage.data.dtype
        between = _between(model, optimizer, data)
        updates = optimizer._updates_of(optimizer._spans()) if between else optimizer._updates()
        group_at = {
            p.offset: number for number, group in enumerate(optimizer.param_groups) for p in group["params"] if p.requires_grad
        }
        self.program = route.training(width, loss, updates, group_at, dtype, data.microbatch, threads, between)
        self._work = self.program.flops_per_row, data.batch_size, dtype
        self._pace = pace_of(threads, self._work) if shared and threads > 1 else None
        self.job, self._before = self._room(bool(between))
        job = self.job
        job.set(params=self.storage.data, scalars=np.zeros(0, dtype), state=self.state)
        job.put(params=self.storage.data.size, seed=data.seed, shuffle=data.shuffle and data.whole)
        job.put(batch=data.batch_size, microbatch=data.microbatch)
        self._terms = criterion._terms(width_out)  # that the loss of a row is the mean of
        self._scalars = Scalars(optimizer, rates, self.job.number("scalars"), dtype)
        self._row = 0  # of these, for the first step of the last call
        self._sums, self._totals, self._touched = np.zeros(0), np.zeros(0), 0
        self._held, self._params = interrupts_held(), self.storage.data
        # Of the last call, by thread: seconds in the engine, since a look at few steps would feel what Python does around it,
        # and how much of them it had its core.
        self._times: list[tuple[float, float]] = []
        self._steps = 2 if shared and threads > 1 else 8  # of a call; grows towards SLICE_SECONDS

    def _room(self, between: bool) -> tuple[Job, tuple[np.ndarray, np.ndarray]]:
        """A job, and room for parameters and state: those of the run before, or new ones."""
        params, left = self.storage.data, SPARE.pop(self.program, None)
        if left is not None:
            self.program.adopt(left[0])
            return left
        job = self.program.job()
        job.set(grads=zeros(params.size, params.dtype) if between else self.storage.grad)
        return job, (np.empty_like(params), np.empty_like(self.state))

    def prepare(self) -> None:
        if self.storage.data.dtype not in READY:
            self._call(0)  # compiles the engine while Ctrl-C is heard at once
            READY.add(self.storage.data.dtype)

    def close(self) -> None:
        super().close()
        if self._pace is not None:
            keep_pace(self._pace, self._work)
        job, nothing = self.job, np.zeros(1, np.int64)
        SPARE.clear()
        if not self.failed and sum(array.nbytes for array in (job.work, job.grads, *self._before)) <= SPARE_BYTES:
            job.program, job.counted = None, ()  # it goes with its network, and the job with it
            job.set(order=nothing, labels=nothing, weights=nothing, state=nothing, scalars=nothing)  # no longer somebody's
            SPARE[self.program] = job, self._before

    def _enter(self, window: Window) -> None:
        (_, y, weights), dtype = window.rows, self.storage.data.dtype
        self.job.set(
            order=window.order,
            labels=y if self._labels else np.zeros(1, np.int64),
            weights=np.zeros(1, dtype) if weights is None else weights,
        )
        ordered = window.trained if window.epochs > 1 else 0
        self.job.put(rows=window.trained, batches=window.batches, ordered=ordered, ordered_from=window.epoch or 0)

    def advance(self, last_epoch: int, most: int | None = None) -> None:
        came = time.perf_counter()
        window, data = self.window(), self.data
        waited = time.perf_counter() - came
        if window.epoch is None:
            end = (last_epoch - self.epoch) * data.batches
        else:
            epochs = min(last_epoch, window.epoch + window.epochs) - 1 - self.epoch  # behind the one at hand
            end = epochs * data.batches + window.first + window.batches
        left = end - self.batch if most is None else min(end - self.batch, most)
        steps = min(self._steps, left)
        if self._pace is not None:
            self.threads, most_here = self._pace.next()
            if most_here is not None:
                steps = min(most_here, left if self._pace.looks else steps)
        with self._held:
            before, job, params = self._before, self.job, self._params
            before[0][...] = params
            before[1][...] = self.state
            began = time.perf_counter()
            try:
                self._call(steps)
            except BaseException:  # a thread could not be started, or a second Ctrl-C
                self._restore(before)
                raise
            seconds = time.perf_counter() - began
            done, sums, totals = self._outcome()
            if job.number("not_finite") or not all_finite(params):
                self.failed = True
                done, sums, totals = self._last_finite(before, done)
            if self._pace is not None:
                seconds_each, shares = zip(*self._times)
                self._pace.note(max(seconds_each), done, min(shares))
            self.optimizer.__dict__["steps"] += done  # past __setattr__: no hyperparameter changes
            if job.counted and done:
                job.counted_on(job.number("microbatches_done"))
            self._count(done, sums, totals, rates=self._scalars.of_first_group, first=self._row, seconds=waited + seconds)
            if self.rates.schedule is not None:
                self._scalars.agree()
        if steps == self._steps and steps < left:
            each = max(seconds, 1e-9) / steps
            wanted = max(int(SLICE_SECONDS / each), min(SOME, int(LONG_SLICE_SECONDS / each)))
            self._steps = max(1, min(8 * steps, wanted))

    def _call(self, steps: int) -> None:
        """Take `steps` steps from where the run is."""
        job, window, scalars = self.job, self.window(), self._scalars
        batch = self.batch - window.first
        if steps:
            rows, left = scalars.rows, (self.data.last_epoch - self.epoch) * self.data.batches - self.batch
            self._row = scalars.find(self.epoch, self.batch, steps, left)
            if scalars.rows is not rows:
                job.set(scalars=scalars.rows.reshape(-1))
        touched = self._touched = (batch + steps - 1) // window.batches + 1 if steps else 1
        if len(self._sums) < touched:
            self._sums, self._totals = np.zeros(touched), np.zeros(1 + touched)
            job.set(sums=self._sums, totals=self._totals)
        if touched > 1:
            self._sums[1:touched] = self._totals[2 : 1 + touched] = 0
        self._sums[0] = self._partial  # goes on with the sum, so that it does not depend on where calls are cut
        self._totals[1] = self._partial_total
        job.put_steps(steps, self.epoch, batch, self._row)
        if job.counted:
            job.count()
        # A call that takes no step compiles, and helpers would only wait for Numba's lock.
        threads = self.threads if steps else 1
        job.control[:] = 0
        self._times.clear()
        run_together(self._take_part, threads, self._call_off, self._shared)

    def _take_part(self, thread: int, threads: int) -> None:
        """Go through the steps as one of so many threads."""
        assert self._window is not None
        rows = self._window.rows
        given = self.job.handle, 0, rows.x, rows.x if self._labels else rows.y, thread, threads
        if self._pace is None:
            run(*given)
            return
        began, worked = time.perf_counter(), time.thread_time()
        run(*given)
        worked, seconds = time.thread_time() - worked, time.perf_counter() - began
        self._times.append((seconds, worked / max(seconds, 1e-9)))

    def _call_off(self) -> None:
        """Have leave whoever waits at a barrier."""
        self.job.control[ABORT] = 1

    def _outcome(self) -> tuple[int, list[float], list[float] | None]:
        """How many steps the last call has done, and the sums of their losses by epoch, and of their weights."""
        done, touched = self.job.number("steps_done"), self._touched
        totals = self._totals[1 : 1 + touched].tolist() if self._weighted else None
        return done, self._sums[:touched].tolist() if touched > 1 else [self._sums.item(0)], totals

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


def _between(model: Sequential, optimizer: Optimizer, data: Data) -> list[Op]:
    """The ops between the gradients of a step and its update, where these are to be there together."""
    return [Gradients(model.storage.data.size), *_clips(model, optimizer, data)] if data.together else []


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
