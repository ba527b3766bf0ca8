"""Runs on the engine: many steps a call, on one thread or several."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.kernels import engine
from fastmlp.kernels.losses import MSE
from fastmlp.kernels.scan import all_finite
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.kernels.threads import ABORT, CONTROL_SIZE
from fastmlp.modules import Sequential
from fastmlp.optim import SGD
from fastmlp.program import Program
from fastmlp.team import run_together
from fastmlp.training.data import Data
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.run import Run

__all__ = ["CompiledRun"]

#: How long the engine stays in one call: Ctrl-C is heard, and the progress bar moves, between two.
SLICE_SECONDS = 0.05


class CompiledRun(Run):
    """A run whose steps are taken by the engine."""

    def __init__(
        self,
        program: Program,
        model: Sequential,
        criterion: Criterion,
        optimizer: SGD,
        data: Data,
        first_epoch: int,
        rate: Callable[[int], float],
        threads: int,
    ):
        super().__init__(data, first_epoch, rate)
        self.optimizer, self.threads = optimizer, threads
        self.storage = model.storage
        self.velocity = optimizer._velocity(self.storage)
        space = program.lay_out(min(data.batch_size, len(data.x)), loss=criterion.code, threads=threads)
        regression = data.y.dtype != np.int64
        self.job = engine.Job(
            ops=space.ops,
            plan=space.plan,
            run=np.zeros(engine.RUN_SIZE, np.int64),
            params=self.storage.data,
            velocity=self.velocity,
            hyper=np.empty((0, 0), self.storage.data.dtype),
            work=space.work,
            labels_work=space.labels,
            x=data.x.reshape(-1),
            targets=data.y.reshape(-1) if regression else np.empty(0, data.x.dtype),
            labels=data.y if not regression else np.empty(0, np.int64),
            order=np.arange(len(data.x)),
            epoch_losses=np.empty(0),
            control=np.zeros(CONTROL_SIZE, np.int64),
        )
        self._terms = program.width_out if criterion.code == MSE else 1  # that the loss of a row is the mean of
        self._steps = 8  # of a call; grows towards SLICE_SECONDS
        self._compiled = False

    def advance(self, last_epoch: int) -> None:
        left = (last_epoch - self.epoch) * self.data.batches - self.batch
        steps = min(self._steps, left)
        if self.optimizer.steps == 0 and self.optimizer.dampening:
            steps = 1  # it has hyperparameters of its own
        if not self._compiled:
            self._call(0)  # while Ctrl-C is heard at once
            self._compiled = True
        with interrupts_held():
            before = self.storage.data.copy(), self.velocity.copy()
            began = time.perf_counter()
            try:
                self._call(steps)
            except BaseException:  # a thread could not be started, or a second Ctrl-C
                self._restore(before)
                raise
            seconds = time.perf_counter() - began
            done, sums = self._outcome()
            if self.job.run[engine.NOT_FINITE] or not all_finite(self.storage.data):
                done, sums = self._last_finite(before, done)
                self.failed = True
            self.optimizer.steps += done
            self._count(done, sums)
        if steps == self._steps and steps < left:
            self._steps = max(1, min(8 * steps, int(steps * SLICE_SECONDS / max(seconds, 1e-9))))

    def _call(self, steps: int) -> None:
        """Take `steps` steps from where the run is."""
        touched = (self.batch + max(steps, 1) - 1) // self.data.batches + 1
        rates = [self.rate(self.epoch + epoch) for epoch in range(touched)]
        hyper = self.optimizer._hyper(self.storage.data.dtype, rates, first=self.optimizer.steps == 0)
        self.job = job = self.job._replace(hyper=hyper, epoch_losses=np.zeros(touched))
        job.epoch_losses[0] = self._partial  # goes on with the sum, so that it does not depend on where calls are cut
        run = job.run
        run[engine.SEED], run[engine.SHUFFLE] = self.data.seed, self.data.shuffle
        run[engine.EPOCH_ROWS], run[engine.BATCHES] = self.data.rows, self.data.batches
        run[engine.FIRST_EPOCH], run[engine.FIRST_BATCH] = self.epoch, self.batch
        run[engine.STEPS], run[engine.STEPS_DONE], run[engine.NOT_FINITE] = steps, 0, 0
        job.control[:] = 0

        def call_off() -> None:
            job.control[ABORT] = 1  # whoever waits at a barrier leaves

        run_together(lambda thread, threads: engine.train_steps(job, thread, threads), self.threads, call_off)

    def _outcome(self) -> tuple[int, list[float]]:
        """How many steps the last call has done, and the sums of their losses by epoch."""
        return int(self.job.run[engine.STEPS_DONE]), self.job.epoch_losses.tolist()

    def _last_finite(self, before: tuple[np.ndarray, np.ndarray], done: int) -> tuple[int, list[float]]:
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
                return 0, [0.0]
            self._call(good)
            return self._outcome()
        except BaseException:
            self._restore(before)
            raise

    def _restore(self, before: tuple[np.ndarray, np.ndarray]) -> None:
        self.storage.data[:], self.velocity[:] = before
        if self.data.shuffle:
            epoch_order(self.job.order, self.data.seed, self.epoch)  # an epoch may have begun since
