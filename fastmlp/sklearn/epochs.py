"""The loop of an estimator's epochs: several in a call of the engine, where nothing is to happen between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.blocks.squares import Squares
from fastmlp.sklearn.course import Course
from fastmlp.training.compiled import CompiledRun
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.loop import Loop
from fastmlp.training.run import Run

__all__ = ["EpochLoop"]

#: Entries of the orders of the epochs of a call, at most.
ORDERS = 2**18


class EpochLoop(Loop):
    """A run that a :class:`Course` judges: its epochs are noted one by one, in order, but not always trained one by one.

    Training stops after the epochs without an improvement have become too many, so that many can be taken at once and none is
    one too many. One by one they are taken where each may change the next (the rate of "invscaling", weights of rows, whose
    scale goes by the order), or where somebody looks at the network in between: held-out rows, callbacks of the user.
    """

    def __init__(self, run: Run, training: Any, course: Course, callbacks: Any, threads: int | None):
        super().__init__(run, training, None, False, (), callbacks, threads, None, False)
        self.course, self.data, self.optimizer = course, course.data, course.optimizer
        self._squares: list[np.ndarray] = []  # of the steps behind the last epoch that has been heard of, by call
        self._sums: list[Any] = []  # records of the ops that sum them
        if isinstance(run, CompiledRun):
            program = run.program
            self._sums = [record for op, record in zip(program.ops, program.records) if isinstance(op, Squares)]
        one_by_one = course.held_out is not None or callbacks or not isinstance(run, CompiledRun)
        self._one_by_one = bool(one_by_one or self.data.one_by_one or self.optimizer.schedule == "invscaling")

    def _go(self, bar: Any) -> None:
        run, last = self.run, self.training.epochs
        while run.epoch < last and not run.failed and not self.history.stopped:
            if run.batch == 0:
                self.data.at_once = self._epochs_at_once()
            try:
                self._advance(last)
            finally:  # Ctrl-C, too: what has been trained counts
                with interrupts_held():
                    self._hear()
            self._note_due()
            self._call_due()
        if run.failed:
            self._fail()

    def _epochs_at_once(self) -> int:
        if self._one_by_one:
            return 1
        here = self.course.estimator
        left = min(here.n_iter_no_change + 1 - here._no_improvement_count, ORDERS // self.data.rows)
        return max(1, int(left))

    def _advance(self, last: int) -> None:
        run, before = self.run, self.optimizer.steps
        if isinstance(run, CompiledRun):
            run.advance(last, min((record.steps for record in self._sums), default=None))
            steps = self.optimizer.steps - before
            if self._sums and steps:
                self._squares.append(np.sum([_of_steps(run.job.work, record, steps) for record in self._sums], axis=0))
        else:
            squares = self.optimizer.squares() if self.optimizer.penalised else 0.0
            run.advance(last, 1)
            if self.optimizer.steps > before:
                self._squares.append(np.array([squares]))

    def _hear(self) -> None:
        """Tell the course of the epochs that have ended."""
        run, batches = self.run, self.data.batches
        count = len(run.losses) - self._judged
        if not count:
            return
        squares = np.concatenate(self._squares) if self.optimizer.penalised else np.zeros(count * batches)
        self._squares = [squares[count * batches :]]
        for number in range(count):
            squares_of_epoch = float(self.optimizer.shares @ squares[number * batches : (number + 1) * batches])
            loss = run.losses[self._judged]
            self._judged += 1
            if self.course.heard(loss, squares_of_epoch, self.history):
                self.history.stopped = "tol"


def _of_steps(work: np.ndarray, record: Any, steps: int) -> np.ndarray:
    """The sums of the squares of each step of a call."""
    parts = work[record.sums : record.sums + steps * record.room].reshape(steps, record.room)
    return parts.sum(axis=1, dtype=np.float64)
