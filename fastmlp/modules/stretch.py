"""A stretch: modules in a row that the engine takes in one call, forward or back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmlp import beside
from fastmlp.kernels.compiler.jit import COMPILING
from fastmlp.kernels.engine import run, runner
from fastmlp.kernels.job import Job
from fastmlp.kernels.op import UNIT, Op
from fastmlp.kernels.plan import Plan
from fastmlp.kernels.predictor import Header, row_caller
from fastmlp.kernels.products.tile import TILE_ROWS
from fastmlp.kernels.threads import ABORT
from fastmlp.kernels.together import shared_call
from fastmlp.parameters import Storage
from fastmlp.program import BLOCK_ROWS, COLUMN_ROWS, Program, shares_panels
from fastmlp.team import cores_lately, run_beside, run_together, team_size, wake

__all__ = ["Kept", "Stretch"]

#: Memory for so many times the rows of a call is kept for smaller calls; beyond that, it is given back.
KEPT = 8

#: Work of a prediction, in flops, that is worth a thread more: one that sleeps takes 100-300 us until its core is awake and
#: has the weights. 784-512-512-10 on two cores of a Zen 4, 1 ms after the call before, one thread and two: 32 rows 390 and 394
#: us, 48 rows 581 and 410; 2-25-25-25-2: 10,000 rows 295 and 295, 20,000 rows 585 and 398.
FLOPS_PER_THREAD = 20_000_000

#: The same for a thread that spins, because a call before was a moment ago. 2-25-25-25-2, alone and with it: 200 rows 7.7 and
#: 8.0 us, 300 rows 10.7 and 9.5, 1,000 rows 30.8 and 20.0; 16-256-256-8: 4 rows 7.9 and 8.2 us, 8 rows 12.0 and 10.4.
FLOPS_PER_THREAD_AWAKE = 400_000

#: So many calls of that much work in a row, each so many seconds after the one before, wake threads for those that follow: a
#: thread that has nothing to do spins about as long (:data:`fastmlp.workers.LOOKS`).
SOON, IN_A_ROW = 1e-4, 2

#: Threads that have been woken are there after so many seconds, or not at all.
AWAKE_AFTER = 1e-3

#: A thread whose core another program takes away keeps the caller waiting, for milliseconds at times. After a call that has
#: taken so many times as long as alone, and so many seconds, calls go alone for so many times what was lost, and a millisecond.
LATE, SECONDS_LATE, WITHOUT = 1.25, 1e-5, 20

#: Up to so many flops, about two milliseconds, a first call goes alone, by which it is known what is late.
FLOPS_TO_LEARN = 200_000_000

#: Of a wide network, from so many rows to so many are taken together, since each part of a weight is copied for them. More rows
#: in pieces would gain, too, 10,000 of 784-512-512-10 a tenth (Zen 3); but on a busy machine, where threads that meet wait for
#: each other, they take 1.3 to 1.6 times as long, and so do 64 with threads that were asleep.
PANELS_FROM, PANELS_TO = 64, 512

#: What threads share: rows of a prediction, columns of a few rows, or of more rows of a wide network; rows of derivatives.
ROWS, COLUMNS, PANELS, DERIVATIVES = range(4)

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
        #: Into how many parts the columns of the widest product can be cut.
        self._columns = max([1, *(op.width_out // int(UNIT) for op in described if op.columns_block is not None)])
        self.empty = not described
        self.spare: list[Job] = []  # for passes that keep
        #: What takes one row, what that reads, and whose that is: threads that come together first each make their own.
        self._row: tuple[Callable[..., None], Any, Header] | None = None
        #: The same, for whoever has no time to call :meth:`predict`, where that would do nothing else.
        self.row: tuple[Callable[..., None], Any, Header] | None = None
        self._alone: list[Job] = []  # for more rows on one thread
        self._run: Callable[..., None] | None = None  # what takes these
        #: By the number of threads and what they share.
        self._jobs: dict[tuple[int, int], list[Job]] = {(1, ROWS): self._alone}
        self._panels: dict[int, bool] = {}  # by the number of threads, whether they can share columns of more rows than a few
        self._call_beside: Callable[..., int] | None = None
        rows = 2 * FLOPS_PER_THREAD_AWAKE // max(1, self.flops_per_row)
        self._rows_for_two = rows if rows > 1 else 0  # one row takes as long as two: the weights are read for it
        self._ended = 0.0  # when the last prediction of so many rows did
        self._in_a_row = 0  # how many came soon after each other
        self._without = 0.0  # until when threads that spin are not asked
        self._alone_takes: dict[int, float] = {}  # seconds for a row, the least so far, by how many bits the number of rows has
        self._woken = 0.0  # when some were woken

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
        if len(x) > self._rows_for_two if threads is None else threads != 1:
            self._predict_shared(x, out, threads)
        else:
            self._predict_alone(x, out)

    def _predict_shared(self, x: np.ndarray, out: np.ndarray, threads: int | None) -> None:
        """With as many threads as are worth it."""
        rows, began = len(x), time.perf_counter()
        flops, soon = max(rows, 2) * self.flops_per_row, began - self._ended < SOON
        self._in_a_row = self._in_a_row + 1 if soon else 0
        tiles = -(-rows // TILE_ROWS)
        parts = self._columns if rows <= COLUMN_ROWS else tiles
        if threads is None:
            wanted = min(cores_lately(began), flops // FLOPS_PER_THREAD_AWAKE, parts)
        else:
            wanted = team_size(threads, flops, FLOPS_PER_THREAD, parts)
        learns = threads is None and flops <= FLOPS_TO_LEARN and rows.bit_length() not in self._alone_takes
        done = False
        if COMPILING and wanted > 1 and began > self._without and not learns:
            done = run_beside(lambda boxes: self._predict_beside(x, out, boxes), wanted - 1)
        if not done:
            team = 1 if COMPILING and learns else team_size(threads, flops, FLOPS_PER_THREAD, tiles)
            if team > 1:
                self._predict_together(x, out, team, shared=threads is None)
            else:
                self._predict_alone(x, out)
                took = (time.perf_counter() - began) / rows
                self._alone_takes[rows.bit_length()] = min(took, self._alone_takes.get(rows.bit_length(), took))
                if COMPILING and wanted > 1 and self._in_a_row >= IN_A_ROW and began > max(self._without, self._woken):
                    self._call_beside = self._call_beside or shared_call(self.dtype)  # compiled before there is work for it
                    self._woken = began + AWAKE_AFTER
                    wake(wanted - 1)
        self._ended = time.perf_counter()

    def _predict_beside(self, x: np.ndarray, out: np.ndarray, boxes: np.ndarray) -> int:
        """With threads that spin: share columns, or take rows, some at a time."""
        rows, threads = len(x), len(boxes) + 1
        shares = COLUMNS if rows <= COLUMN_ROWS else self._shares(rows, threads)
        job = self._taken(threads, shares)
        if shares == ROWS:
            _cut(job, rows, threads)
        if self._call_beside is None:
            self._call_beside = shared_call(self.dtype)
        began = time.perf_counter()
        done = self._call_beside(job.handle, x, out, boxes, int(shares != ROWS))
        ended = time.perf_counter()
        self._jobs[threads, shares].append(job)
        lost = ended - began - LATE * rows * self._alone_takes.get(rows.bit_length(), math.inf)
        if lost > SECONDS_LATE:
            self._without = ended + 1e-3 + WITHOUT * lost
        return done

    def _prepare_row(self, x: np.ndarray, out: np.ndarray) -> tuple[Callable[..., None], Any, Header]:
        """Have one row taken as in compiled code: by the blocks for that, with its workspace on the stack of the call."""
        program = Program.of_row(self._ops(self.width_in), self.dtype)
        job = program.job()  # without the engine, which a second process would compile
        job.set(params=self.storage.data)
        plan, header = Plan(job, program.constants, program.ends), Header()
        header.write(self.dtype, {"inputs": self.width_in, "outputs": self.width_out}, {"row": plan}, ["forward"])
        self._row = row_caller(header.handle, x, out), header.handle, header
        if self.check is None and self._rows_for_two:
            self.row = self._row
        return self._row

    def _predict_alone(self, x: np.ndarray, out: np.ndarray) -> None:
        if len(x) == 1:
            row = self._row or self._prepare_row(x, out)
            row[0](row[1], x, out, 1)
        elif len(x) >= PANELS_FROM and self._shares(len(x), 1) == PANELS:
            job = self._taken(1, PANELS)
            run(job.handle, 0, x, out, 0, 1)
            self._jobs[1, PANELS].append(job)
        else:  # a few rows of a narrow network have little time for more
            try:
                job = self._alone.pop()
            except IndexError:
                job = self._taken(1, ROWS)
                self._run = self._run or runner(job.handle, x, out)
            self._run(job.handle, 0, x, out, 0, 1)  # type: ignore[misc]
            self._alone.append(job)

    def _shares(self, rows: int, threads: int) -> int:
        """What so many threads share of so many rows, more than a few."""
        if not PANELS_FROM <= rows <= PANELS_TO:
            return ROWS
        found = self._panels.get(threads)
        if found is None:
            found = self._panels[threads] = shares_panels(list(self._ops(self.width_in)), self.dtype, PANELS_TO, threads)
        return PANELS if found else ROWS

    def _taken(self, threads: int, shares: int) -> Job:
        """A job for a prediction, or for derivatives, to be put back."""
        try:
            return self._jobs.setdefault((threads, shares), []).pop()
        except IndexError:
            return self._with_parameters(self._sharing(threads, shares), 0)

    def _sharing(self, threads: int, shares: int) -> Program:
        layers = self._ops(self.width_in)
        if shares == PANELS:
            return Program.by_panels(layers, self.dtype, threads=threads, batch=PANELS_TO)
        make = {ROWS: Program.predicting, COLUMNS: Program.by_columns, DERIVATIVES: Program.jacobian}[shares]
        return make(layers, self.dtype, threads=threads)

    def jacobian(self, x: np.ndarray, threads: int | None) -> np.ndarray:
        """The derivatives of the outputs by the inputs, (N, O, I), for `x`, C-contiguous."""
        rows = len(x)
        out = np.empty((rows, self.width_out, self.width_in), self.dtype)
        flops = rows * self.flops_per_row * (1 + min(self.width_in, self.width_out))
        team = team_size(threads, flops, FLOPS_PER_THREAD, -(-rows // TILE_ROWS))
        job = self._taken(team, DERIVATIVES)
        job.control[:] = 0

        def call_off() -> None:
            job.control[ABORT] = 1  # whoever waits at a barrier leaves

        def take_part(thread: int, threads: int) -> None:
            run(job.handle, 0, x, out.reshape(rows, -1), thread, threads)

        run_together(take_part, team, call_off, threads is None)
        self._jobs[team, DERIVATIVES].append(job)
        return out

    def _predict_together(self, x: np.ndarray, out: np.ndarray, threads: int, *, shared: bool) -> None:
        """Let threads take rows, some at a time, until all are done. They may be asleep, so nobody waits for them."""
        job = self._taken(threads, ROWS)
        _cut(job, len(x), threads)
        job.control[:] = 0

        def take_part(thread: int, _: int) -> None:
            run(job.handle, 0, x, out, thread, threads)

        run_together(take_part, threads, shared=shared, all_needed=False)
        self._jobs[threads, ROWS].append(job)

    def _with_parameters(self, program: Program, rows: int) -> Job:
        beside.begin(program.dtype)
        job = program.job()
        job.batch = rows
        job.set(params=self.storage.data, grads=self.storage.grad)
        return job


def _cut(job: Job, rows: int, threads: int) -> None:
    """Say how many rows a thread takes at a time."""
    chunk = -(-rows // (SHARES * threads * BLOCK_ROWS)) * BLOCK_ROWS
    if chunk * threads > rows:
        chunk = -(-rows // (threads * TILE_ROWS)) * TILE_ROWS
    if job.chunk != chunk:  # to write it takes 2 us
        job.phases[-1].unit = job.chunk = chunk
