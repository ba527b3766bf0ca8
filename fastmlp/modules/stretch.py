"""A stretch: modules in a row that the engine takes in one call, forward or back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from fastmlp import beside
from fastmlp.kernels.engine import run
from fastmlp.kernels.job import Job
from fastmlp.kernels.op import Op
from fastmlp.kernels.products.tile import TILE_ROWS
from fastmlp.kernels.threads import ABORT
from fastmlp.parameters import Storage
from fastmlp.program import BLOCK_ROWS, Program
from fastmlp.team import run_together, team_size

__all__ = ["Kept", "Stretch"]

#: Memory for so many times the rows of a call is kept for smaller calls; beyond that, it is given back.
KEPT = 8

#: Work of a prediction, in flops, that is worth a thread more: one that sleeps takes 100-300 us until its core is awake and
#: has the weights. 784-512-512-10 on two cores of a Zen 4, 1 ms after the call before, one thread and two: 32 rows 390 and 394
#: us, 48 rows 581 and 410; 2-25-25-25-2: 10,000 rows 295 and 295, 20,000 rows 585 and 398.
FLOPS_PER_THREAD = 20_000_000

#: The same for a call so many seconds after the one before: the threads of that one still spin. 784-512-512-10: 16 rows 191 and
#: 151 us, 32 rows 395 and 291; 2-25-25-25-2: 2,000 rows 61 and 151, 5,000 rows 148 and 97.
SOON, FLOPS_PER_THREAD_SOON = 1e-4, 7_000_000

#: Into how many shares for each thread many rows are cut; no share is smaller than a block, but where there are few rows.
SHARES = 8


class Kept:
    """What a pass forward keeps for the way back: the job with its workspace, and the rows that are in it."""

    __slots__ = ("_job", "_stretch", "dtype", "shape")

    def __init__(self, stretch: Stretch, job: Job, rows: int):
        self._stretch, self._job = stretch, job
        #: Those of the output.
        self.shape, self.dtype = (rows, stretch.width_out), stretch.dtype

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """The gradient of the input for that of the output, C-contiguous; those of the parameters are added to."""
        dx = np.empty((self.shape[0], self._stretch.width_in), self._stretch.dtype)
        run(self._job.handle, 1, dx, dy, 0, 1)
        for storage, first, last in self._stretch.frozen:
            storage._grad[first:last] = 0
        return dx

    def release(self) -> None:
        """Let another pass have the workspace."""
        self._stretch.spare.append(self._job)


class Stretch:
    """Modules in a row, for inputs of one width; the parameters lie in one storage.

    Any number of threads may call it at the same time: each takes a job with a workspace of its own from those that are spare.
    """

    def __init__(
        self,
        ops: Callable[[int], Sequence[Op]],
        storage: Storage,
        width: int,
        dtype: np.dtype,
        frozen: Sequence[tuple[Storage, int, int]] = (),
        check: Callable[[np.ndarray], None] | None = None,
    ):
        self._ops, self.storage, self.width_in, self.dtype = ops, storage, width, dtype
        #: Spans of frozen parameters whose gradients are formed with those of others, and then set to zero.
        self.frozen = frozen
        #: What refuses inputs.
        self.check = check
        described = ops(width)
        self.width_out = described[-1].width_out if described else width
        self.flops_per_row = sum(op.flops for op in described)
        self.empty = not described
        self.spare: list[Job] = []  # for passes that keep
        self._alone: list[Job] = []  # for predictions on one thread
        self._together: dict[int, list[Job]] = {}  # on several, by their number
        self._jacobians: dict[int, list[Job]] = {}  # by the number of threads, too
        self._rows_for_two = 2 * FLOPS_PER_THREAD_SOON // max(1, self.flops_per_row)
        self._ended = 0.0  # when the last prediction of so many rows did

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Kept]:
        """The output for `x`, (N, I), C-contiguous, and what :meth:`Kept.backward` needs."""
        if self.check is not None:
            self.check(x)
        rows = x.shape[0]
        try:
            job = self.spare.pop()
        except IndexError:
            job = None
        if job is None or not rows <= job.batch <= KEPT * rows:
            job = self._with_parameters(Program.both_ways(self._ops(self.width_in), self.dtype, batch=rows), rows)
        out = np.empty((rows, self.width_out), self.dtype)
        if job.counted:
            job.count()
            job.counted_on(1)
        run(job.handle, 0, x, out, 0, 1)
        return out, Kept(self, job, rows)

    def predict(self, x: np.ndarray, out: np.ndarray, threads: int | None) -> None:
        """Write the output for `x` into `out`; both are C-contiguous."""
        if self.check is not None:
            self.check(x)
        rows = x.shape[0]
        if rows > self._rows_for_two if threads is None else threads != 1:
            soon = time.perf_counter() - self._ended < SOON
            worth = FLOPS_PER_THREAD_SOON if soon else FLOPS_PER_THREAD
            team = team_size(threads, rows * self.flops_per_row, worth, -(-rows // TILE_ROWS))
            if team > 1:
                self._predict_together(x, out, team, shared=threads is None)
            else:
                self._predict_alone(x, out)
            self._ended = time.perf_counter()
        else:
            self._predict_alone(x, out)

    def _predict_alone(self, x: np.ndarray, out: np.ndarray) -> None:
        try:
            job = self._alone.pop()
        except IndexError:
            job = self._predicting(1)
        run(job.handle, 0, x, out, 0, 1)
        self._alone.append(job)

    def jacobian(self, x: np.ndarray, threads: int | None) -> np.ndarray:
        """The derivatives of the outputs by the inputs, (N, O, I), for `x`, C-contiguous."""
        rows = len(x)
        out = np.empty((rows, self.width_out, self.width_in), self.dtype)
        flops = rows * self.flops_per_row * (1 + min(self.width_in, self.width_out))
        team = team_size(threads, flops, FLOPS_PER_THREAD, -(-rows // TILE_ROWS))
        jobs = self._jacobians.setdefault(team, [])
        try:
            job = jobs.pop()
        except IndexError:
            job = self._with_parameters(Program.jacobian(self._ops(self.width_in), self.dtype, threads=team), 0)
        job.control[:] = 0

        def call_off() -> None:
            job.control[ABORT] = 1  # whoever waits at a barrier leaves

        def take_part(thread: int, threads: int) -> None:
            run(job.handle, 0, x, out.reshape(rows, -1), thread, threads)

        run_together(take_part, team, call_off, threads is None)
        jobs.append(job)
        return out

    def _predicting(self, threads: int) -> Job:
        return self._with_parameters(Program.predicting(self._ops(self.width_in), self.dtype, threads=threads), 0)

    def _predict_together(self, x: np.ndarray, out: np.ndarray, threads: int, *, shared: bool) -> None:
        """Let threads take rows, some at a time, until all are done."""
        rows = len(x)
        jobs = self._together.setdefault(threads, [])
        try:
            job = jobs.pop()
        except IndexError:
            job = self._predicting(threads)
        chunk = -(-rows // (SHARES * threads * BLOCK_ROWS)) * BLOCK_ROWS
        if chunk * threads > rows:
            chunk = -(-rows // (threads * TILE_ROWS)) * TILE_ROWS
        job.phases[-1].unit = chunk
        job.control[:] = 0

        def take_part(thread: int, _: int) -> None:
            run(job.handle, 0, x, out, thread, threads)

        run_together(take_part, threads, shared=shared, all_needed=False)
        jobs.append(job)

    def _with_parameters(self, program: Program, rows: int) -> Job:
        beside.begin(program.dtype)
        job = program.job()
        job.batch = rows
        job.set(params=self.storage.data, grads=self.storage.grad)
        return job
