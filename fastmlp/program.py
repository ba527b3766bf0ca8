"""Programs: ops in a row, lowered to the table that the engine walks.

``print(program)`` shows what a step does, phase by phase, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from typing import Any

import numpy as np

from fastmlp import beside
from fastmlp.kernels.blocks.gradients import CHUNK
from fastmlp.kernels.blocks.jacobian import Jacobian
from fastmlp.kernels.blocks.moves import Input, Output
from fastmlp.kernels.blocks.optimizers import Frozen
from fastmlp.kernels.blocks.relay import Relay
from fastmlp.kernels.compiler.caches import level_2_bytes
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, REGISTERS
from fastmlp.kernels.job import RUN_AT, Job
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, row_stride, whole_lines, zeros
from fastmlp.kernels.op import (
    ACCUMULATE,
    ALL,
    BACKWARD,
    BACKWARD_COLUMNS,
    EACH,
    FORWARD,
    FORWARD_COLUMNS,
    FORWARD_FEATURE_MAJOR,
    GRADIENT_STATISTICS,
    OP_SIZE,
    PHASE,
    PREPARE,
    ROWS,
    RUN,
    STATISTICS,
    STEP,
    TASKS,
    UNIT,
    UNITS,
    UPDATE,
    WEIGH,
    Fields,
    Memory,
    Op,
)
from fastmlp.kernels.products.panels import PANEL_BYTES
from fastmlp.kernels.threads import CONTROL_SIZE

__all__ = ["BLOCK_ROWS", "COLUMN_ROWS", "RELAY_EACH", "Program", "are_narrow", "shares_panels"]

#: Rows that a thread carries through the layers at a time: these, or more while a block touches no more than BLOCK_BYTES. A
#: step of the disc network on 100 rows takes 23.7 us with 16, 21.5 with 32, 19.9 with 64, 19.0 with all at once; wide layers
#: don't care between 32 and 128, but what a block touches is to stay in the L2 cache.
BLOCK_ROWS, BLOCK_BYTES = 64, 2**18

#: Weights of so many times the second-level cache are fetched anew for each block of rows: then blocks have more rows, and are
#: shared out by halves of them, not by 16 rows. On a Zen 4 (peak 115 GFLOP/s on one core, 228 on two; 1 MiB of cache)
#: 1024-1024-1024-1024 at batch 512 went 96 -> 100 GFLOP/s on one core and 186 -> 200 on two, 2048-2048-2048 at batch 128
#: 93 -> 97 and 178 -> 188, 784-1024-1024-10 at batch 256 94 -> 99; with AVX2 kernels 77 -> 82 each. 784-512-512-10, of 2.7
#: times the cache, lost 2 %.
WIDE_FROM = 4
WIDE_BLOCK_ROWS = 128

#: There a layer so wide has its columns shared (blocks/linear_wide.py), so many at a time: whole panels. By 48 two threads had
#: 288 and 224 of 512; by 24 784-1024-1024-10 takes 0.97 times as long.
COLUMNS_FROM, COLUMN_UNIT = 256, int(PANEL_BYTES) // 4

#: In training with so many rows, and in predictions. Where tiles have 8 rows they read a weight a quarter as fast, and copying
#: it to panels has to pay by many rows: on a Zen 4 steps of 1024-1024-1024-1024 on 512 rows take 0.94 times as long, of
#: 784-1024-1024-10 on 256 0.99, of 2048-2048-2048 on 128 1.03; predictions of three layers of 1024 for 256 rows 1.03.
TRAINED_FROM, PREDICTED_FROM = (2, 2) if REGISTERS == 16 else (256, 2**62)

#: So many units at least are to be there for each thread, and at most so many rows, since their deltas are there twice.
UNITS_EACH, COLUMNS_ROWS = 4, 4096

#: Rows of the batch that are worth a thread of a relay. Two threads of a Zen 4 take 1.04 times as long as one with batches of
#: 32 through 2-25-25-25-2, 0.83 with 50, 0.58 with 200; of 64 through 8-16-4 0.93, of 256 0.59.
RELAY_EACH = 24

#: What two threads write for themselves, copies and rows of a relay, lies so many bytes, or rows, apart: a processor that reads
#: ahead would fetch lines that the other thread is writing. With rows side by side a step of 2-25-25-25-2 on 100 rows took 10.7
#: us instead of 10.1.
RELAY_APART, RELAY_ROWS = 4096, 64

#: Rows from the place of one thread in the workspace of a prediction to that of the next. A tile asks for rows of B ahead: with
#: the places side by side, for what the other thread is writing; 100,000 rows of the disc network took 1.35 ms instead of 1.06.
APART = 2 * BLOCK_ROWS

#: One in so many units of work is nobody's until somebody is done with its own. A prediction has nothing else: a thread that is
#: late or slow takes fewer rows.
POOL, ALL_POOL, NO_POOL = 4, 1, 2**62

#: So few rows leave a thread less than two tiles of eight: then threads share the columns of each product instead.
COLUMN_ROWS = 15

#: Fields of a phase by name; a call is an op and a task.
Phase = dict[str, int]
Call = tuple[int, int]


class Program:
    """Ops in a row, each reading the output of the one before, and the passes that an engine goes through them.

    The constructors are :meth:`training`, :meth:`both_ways`, :meth:`predicting`, :meth:`by_columns`, :meth:`by_panels`,
    :meth:`of_row`, :meth:`jacobian`, :meth:`differentiating`, :meth:`of_loss` and :meth:`of_updates`. Each lays out memory for
    `batch` rows; :meth:`job` makes the table, which still lacks the arrays of the caller.
    """

    def __init__(self, ops: Sequence[Op], dtype: np.dtype, memory: Memory, *, input_delta: bool = False):
        self.ops, self.dtype, self.memory = list(ops), dtype, memory
        self.phases: list[Phase] = []
        self.calls: list[Call] = []
        self.passes: list[tuple[int, int, int, int]] = []
        self.records: list[Any] = [Fields(op.block.record) for op in self.ops]
        self._table: np.ndarray | None = None
        self._counted: list[tuple[int, Any, str]] = []
        self._plan: dict[str, int] = {"losses": -1, "steps": 1, "kept": int(memory.backward)}
        self._lay_out(input_delta)

    # The passes.

    @classmethod
    def training(
        cls,
        layers: Iterable[Op],
        loss: Op,
        updates: Sequence[Op],
        group_of: Callable[[int], int | None],
        dtype: np.dtype,
        *,
        batch: int,
        threads: int,
        between: Sequence[Op] = (),
    ) -> Program:
        """Whole steps: rows gathered, forward, loss, backward, update.

        `updates` are the optimizer's ops, one for each group of parameters; `group_of` tells the group of the parameter that
        begins at an offset, None for one that is not trained.

        With ops `between`, all gradients of a step are added up in `grads` before any is applied, over one micro-batch of
        `batch` rows after the other where a step has several; then come these ops, and `updates` of spans of parameters.
        """
        layers = widened(fused(layers, batch), dtype, batch, threads, TRAINED_FROM)
        groups = {place: group_of(place) for op in layers if op.has_parameters for place in op.places()}
        for op in layers:
            op.has_parameters &= any(groups.get(place) is not None for place in op.places())
        relays = 1 < threads <= batch // RELAY_EACH and not between and are_narrow([*layers, loss], dtype)
        for op in layers if relays else ():
            op.block = op.relay_block or op.block
        memory = Memory(dtype, batch + relays * (threads - 1) * RELAY_ROWS, threads, backward=True)
        memory.relays, memory.apart = relays, RELAY_APART // dtype.itemsize
        memory.copies = relays or (threads > 1 and batch > 1 and are_kept(layers, dtype))  # see `_phase_of_own`
        first = len(layers) + 2
        ops = [Input(layers[0].width_in if layers else loss.width_in), *layers, loss, *updates, *between]
        if None in groups.values():
            ops.append(Frozen())
        ops += [Relay()] * relays
        program = cls(ops, dtype, memory)
        update_of = {place: len(ops) - 1 - relays if group is None else first + group for place, group in groups.items()}
        for op, record in zip(program.ops, program.records):
            if op.has_parameters:
                record.optimizer = update_of[record.weight]
                record.bias_optimizer = update_of[record.bias] if record.has_bias else record.optimizer
                if batch == 1 and not between and record.optimizer == record.bias_optimizer:
                    program._update_at_once(op, record)
        program._plan.update(gathers=1, scalars=max((op.first_scalar + op.scalars for op in updates), default=0))
        if relays:
            return program._by_relay(program._forward(UPDATE, layers))
        turned = program._forward(PREPARE, layers)
        own = turned if memory.copies else []
        shared = [call for call in program._forward(PREPARE) if call not in own]
        frozen = [call for call in turned if not program.ops[call[0]].has_parameters]
        own_again, shared_again = ([call for call in calls if call not in frozen] for calls in (own, shared))
        program._phase(UNITS, shared, pool=POOL)
        program._phase_of_own(own)
        once = len(program.phases)
        program._phase_of_weights()
        program._rows(program._forward(FORWARD) + program._backward(BACKWARD), loss)
        if between:
            program._phase(UNITS, program._forward(ACCUMULATE, layers), pool=POOL)
            step = len(program.phases)
            program._phases_between(between)
            # By UNIT, a cache line, the two threads of a step of tabular took 409 us instead of 378.
            program._phase(UNITS, program._forward(STEP, updates), pool=POOL, unit=int(CHUNK))
            program._phase(UNITS, shared_again, pool=POOL)
            program._phase_of_own(own_again)
            program._pass(once=once, step=step)
        else:
            calls = program._forward(UPDATE, layers)
            program._phase(UNITS, calls, pool=program._pool_of(calls))
            program._phase_of_own(own_again)
            program._pass(once=once)
        return program

    @classmethod
    def both_ways(cls, layers: Iterable[Op], dtype: np.dtype, *, batch: int) -> Program:
        """Pass 0 goes forward from x to y; pass 1 from the delta y back to the delta x, and adds to the gradients."""
        layers = fused(layers, batch)
        memory = Memory(dtype, batch, 1, backward=True)
        ops = [Input(layers[0].width_in), *layers, Output(layers[-1].width_out)]
        program = cls(ops, dtype, memory, input_delta=True)
        program._rows(program._forward(FORWARD))
        program._pass()
        program._phase(UNITS, program._forward(PREPARE), pool=POOL)
        program._rows(program._backward(BACKWARD))
        program._phase(UNITS, program._forward(ACCUMULATE), pool=POOL)
        program._pass(once=1)
        return program

    @classmethod
    def of_row(cls, layers: Iterable[Op], dtype: np.dtype) -> Program:
        """A phase that takes one row through the layers in evaluation mode, by somebody who brings it and takes the output."""
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given), 1)
        memory = Memory(dtype, 1, 1, backward=False)
        program = cls([Input(given[0].width_in), *layers, Output(given[-1].width_out)], dtype, memory)
        program._phase(ROWS, program._forward(FORWARD, layers))
        return program

    @classmethod
    def predicting(cls, layers: Iterable[Op], dtype: np.dtype, *, threads: int, batch: int | None = None) -> Program:
        """One pass forward in evaluation mode, which keeps nothing; the threads take rows as they come.

        A thread carries `batch` rows through the layers at a time, by default as many as are quick.
        """
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given))
        lanes = REGISTER_BYTES // dtype.itemsize
        costs = [op.costs(lanes) for op in layers]
        row_cost = lane_cost = 0
        if all(cost is not None for cost in costs):
            row_cost = sum(cost[0] for cost in costs if cost)
            lane_cost = int(sum(cost[1] for cost in costs if cost))
        columns = FEATURE_MAJOR_BYTES // dtype.itemsize
        narrow = 0 < lane_cost < row_cost * lanes and (batch is None or batch >= columns)
        memory = Memory(dtype, APART * threads if threads > 1 else batch or BLOCK_ROWS, threads, backward=False)
        program = cls([Input(given[0].width_in), *layers, Output(given[-1].width_out)], dtype, memory)
        program._plan["apart"] = APART
        block = columns if narrow else batch or BLOCK_ROWS
        other = program._forward(FORWARD_FEATURE_MAJOR) if narrow else []
        costs_of = {"row_cost": row_cost, "lane_cost": lane_cost} if narrow else {}
        program._phase(ROWS, program._forward(FORWARD), other, pool=ALL_POOL, block=block, unit=block, **costs_of)
        program._pass()
        return program

    @classmethod
    def by_columns(cls, layers: Iterable[Op], dtype: np.dtype, *, threads: int) -> Program:
        """One pass forward of a few rows, at most COLUMN_ROWS: threads share the columns of each product, and meet behind it.

        Each reads a part of the weights, which stays in its own second-level cache. What is no product is done by whoever
        comes first.
        """
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given))
        memory = Memory(dtype, COLUMN_ROWS, threads, backward=False)
        ops = [Input(given[0].width_in), *layers, Output(given[-1].width_out)]
        for op in layers:
            op.block = op.columns_block or op.block
        program = cls(ops, dtype, memory)
        program._plan["kept"] = 1  # the rows have one place in the workspace, whoever takes them
        for shared, calls in groupby(program._forward(FORWARD), lambda call: ops[call[0]].columns_block is not None):
            if shared:
                for number, _ in calls:
                    program.records[number].units = ops[number].width_out
                    program._phase(UNITS, [(number, FORWARD_COLUMNS)], pool=NO_POOL)
            else:
                program._phase(ROWS, list(calls), pool=ALL_POOL, block=COLUMN_ROWS, unit=COLUMN_ROWS)
        program._pass()
        return program

    @classmethod
    def by_panels(cls, layers: Iterable[Op], dtype: np.dtype, *, threads: int, batch: int) -> Program:
        """One pass forward of at most `batch` rows of a wide network, of which threads share columns as in training.

        784-512-512-10, 128 rows: 2.35 ms by rows on one thread of a Zen 3, so 2.18; on two 1.30, so 1.10.
        """
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given))
        layers = widened(layers, dtype, batch, threads, PREDICTED_FROM)
        memory = Memory(dtype, batch, threads, backward=False)
        program = cls([Input(given[0].width_in), *layers, Output(given[-1].width_out)], dtype, memory)
        program._plan["kept"], program.row_unit = 1, int(UNIT)  # as by columns; and there may be few rows
        program._rows(program._forward(FORWARD))
        program._pass()
        return program

    @classmethod
    def jacobian(cls, layers: Iterable[Op], dtype: np.dtype, *, threads: int) -> Program:
        """One pass in evaluation mode: rows forward once, then back for each output, or forward again for each input.

        Whichever are fewer; threads take rows as they come.
        """
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given))
        memory = Memory(dtype, APART * threads if threads > 1 else BLOCK_ROWS, threads, backward=True)
        ops = [Input(given[0].width_in), *layers, Jacobian(given[-1].width_out)]
        program = cls(ops, dtype, memory, input_delta=True)
        program._plan.update(kept=0, apart=APART)
        first, last = program.records[0], program.records[-1]
        tangents = [op.tangent(record) for op, record in zip(layers, program.records[1:])]
        forward = first.width_out <= last.width_in and None not in tangents
        if not forward:
            program._phase(UNITS, program._forward(PREPARE, layers), pool=POOL)
        program._phase(ROWS, program._forward(FORWARD), pool=ALL_POOL, block=BLOCK_ROWS)
        program._pass()
        calls = program._backward(BACKWARD, layers)
        if forward:
            steps = zip(layers, program.records[1:], tangents)
            calls = program._tangents(steps)
        ends = (first.dy, first.y_stride), (last.dx, last.x_stride)
        (last.begin, last.begin_stride), (last.end, last.end_stride) = ends if forward else ends[::-1]
        last.forward, last.inputs = forward, first.width_out
        last.first, last.last = len(program.calls), len(program.calls) + len(calls)
        program.calls += calls  # of no phase: the last op goes through them, again and again
        return program

    @classmethod
    def differentiating(cls, layers: Iterable[Op], dtype: np.dtype, *, batch: int) -> Program:
        """In evaluation mode, phases that somebody goes through who brings input and deltas, and takes what becomes of them.

        Rows forward; deltas back; derivatives forward, which has no calls where an op cannot do that. No pass has them.
        """
        given = list(layers)
        layers = fused(chain.from_iterable(op.evaluated() for op in given))
        for op in layers:
            op.block = op.derivative_block or op.block
        memory = Memory(dtype, batch, 1, backward=True, gradients=False)
        program = cls([Input(given[0].width_in), *layers, Output(given[-1].width_out)], dtype, memory, input_delta=True)
        program._plan["kept"] = 0
        tangents = [op.tangent(record) for op, record in zip(layers, program.records[1:])]
        program._phase(ROWS, program._forward(FORWARD, layers), block=batch)
        program._phase(ROWS, program._backward(BACKWARD, layers), block=batch)
        steps = [] if None in tangents else list(zip(layers, program.records[1:], tangents))
        program._phase(ROWS, program._tangents(steps), block=batch)
        return program

    @classmethod
    def of_loss(cls, loss: Op, dtype: np.dtype, *, batch: int) -> Program:
        """Pass 0: the losses of rows, and their sum; pass 1: the gradient by the outputs; pass 2: that gradient once more."""
        memory = Memory(dtype, batch, 1, backward=True)
        program = cls([Input(loss.width_in), loss], dtype, memory, input_delta=True)
        program._phase_of_weights()
        program._phase(ROWS, program._forward(FORWARD), pool=POOL, sums=1)
        program._pass()
        program._phase(ROWS, program._backward(BACKWARD), pool=POOL)
        program._pass()
        program._phase(ROWS, program._forward(BACKWARD, program.ops[:1]), pool=POOL)
        program._pass()
        return program

    @classmethod
    def of_norm(cls, clips: Sequence[Op], dtype: np.dtype) -> Program:
        """Pass 0: the sums of the squares of the gradients; pass 1: they are scaled, for a norm and a limit in `totals`."""
        program = cls(clips, dtype, Memory(dtype, 0, 1, backward=False))
        for task in (STATISTICS, UPDATE):
            program._phase(UNITS, program._forward(task), pool=POOL, unit=1)
            program._pass()
        return program

    @classmethod
    def of_updates(cls, updates: Sequence[Op], dtype: np.dtype) -> Program:
        """One pass: each op updates its span of the parameters by their gradients."""
        program = cls(updates, dtype, Memory(dtype, 0, 1, backward=False))
        program._plan["scalars"] = max((op.first_scalar + op.scalars for op in updates), default=0)
        program._phase(UNITS, program._forward(STEP), pool=POOL)
        program._pass()
        return program

    # Laying out.

    def _lay_out(self, input_delta: bool) -> None:
        memory, plan = self.memory, self._plan
        widest = max([1, *(max(op.width_in, op.width_out) for op in self.ops)])
        plan["zero_stride"] = row_stride(widest, self.dtype)
        plan["zero"], plan["one"] = memory.take(plan["zero_stride"]), memory.take(memory.lanes)
        y, stride, dy = 0, 0, -1
        touched = 0
        wanted = memory.backward and input_delta
        previous: Op | None = None
        for op, record in zip(self.ops, self.records):
            record.width_in, record.width_out = op.width_in, op.width_out
            record.x, record.x_stride, record.dx = y, stride, dy
            stride = row_stride(op.width_out, self.dtype)
            touched += stride
            read_elsewhere = previous is not None and (previous.keeps_output or (memory.backward and previous.reads_y_backward))
            overwrites = op.in_place and not (read_elsewhere or (memory.backward and op.reads_x_backward))
            if op.width_out and not (overwrites or op.keeps_output):
                y = memory.take(memory.batch * stride)
            wanted = wanted or (memory.backward and op.has_parameters)
            if not wanted:
                dy = -1
            elif op.width_out and not (op.in_place and dy >= 0):
                dy = memory.take(memory.batch * stride)
            record.y, record.y_stride, record.dy = y, stride, dy
            op.lay_out(record, memory)
            if op.gives_losses:
                plan["losses"] = memory.take(memory.batch)
            previous = op
        if memory.relays:
            memory.want_scratch(memory.batch)  # for the losses of the rows side by side
        plan["scratch_size"] = memory.scratch_size + memory.relays * memory.apart
        plan["scratch"] = memory.take(memory.threads * plan["scratch_size"])
        bytes_of_a_row = 2 * self.dtype.itemsize * max(touched, 1)
        self.block = max(BLOCK_ROWS, BLOCK_BYTES // bytes_of_a_row // BLOCK_ROWS * BLOCK_ROWS)
        self.row_unit = int(UNIT)
        if are_wide([op for op in self.ops if not op.wide], self.dtype):
            each = memory.batch // memory.threads // int(UNIT) * int(UNIT)
            self.block, self.row_unit = max(self.block, WIDE_BLOCK_ROWS), max(self.row_unit, min(WIDE_BLOCK_ROWS // 2, each))

    def _forward(self, task: int, ops: Iterable[Op] | None = None) -> list[Call]:
        """The calls of all ops (or of some) that have this task, in order."""
        chosen = None if ops is None else {id(op) for op in ops}
        return [
            (i, task)
            for i, (op, record) in enumerate(zip(self.ops, self.records))
            if (chosen is None or id(op) in chosen)
            and task in op.tasks(record)
            and (task not in (UPDATE, ACCUMULATE) or op.has_parameters or not op.places())
        ]

    def _backward(self, task: int, ops: Iterable[Op] | None = None) -> list[Call]:
        return self._forward(task, ops)[::-1]

    def _tangents(self, steps: Iterable[tuple[Op, Any, list[tuple[dict[str, int], int]] | None]]) -> list[Call]:
        """The calls by which derivatives go forward through ops: an op, its record, and what :meth:`Op.tangent` says."""
        return [self._once_more(op, record, *step) for op, record, found in steps for step in found or ()]

    def _once_more(self, op: Op, record: Any, changes: dict[str, int], task: int) -> Call:
        """A call of an op that is there, with a record of its own: what differs in it, and the task."""
        self.ops.append(Again(op))
        self.records.append(record.changed(**changes))
        return len(self.ops) - 1, task

    def _pool_of(self, calls: Sequence[Call]) -> int:
        """How much of an update is nobody's: all, where no op has more than two units for a thread.

        Shared out, some thread would have one more of each op. Two threads of a Zen 4 take 1.5 times as long for a step of
        2-25-25-25-2 on one row without, 1.1 times on 10.
        """
        most, threads = max((self.records[op].units for op, _ in calls), default=0), self.memory.threads
        return ALL_POOL if threads > 1 and most <= 2 * threads * UNIT else POOL

    def _by_relay(self, updates: Sequence[Call]) -> Program:
        """Have the last op take whole steps, with all threads."""
        record, number = self.records[-1], len(self.ops) - 1
        rows = self._forward(FORWARD) + self._forward(PREPARE) + self._backward(BACKWARD)
        self._plan["apart"] = RELAY_ROWS
        self._phase(ALL, [(number, STEP)])
        self._pass()
        record.first = len(self.calls)
        record.middle, record.last = record.first + len(rows), record.first + len(rows) + len(updates)
        record.block_rows = self.block
        self.calls += [*rows, *updates]  # of no phase, as in `jacobian`
        return self

    def _update_at_once(self, op: Op, record: Any) -> None:
        """Have an op apply the formula of its optimizer itself, if it can."""
        update = self.ops[record.optimizer]
        chosen = op.row_block_with(update)
        if chosen is not None:
            op.block, record.scalars = chosen, update.first_scalar

    def _phase_of_own(self, calls: Sequence[Call]) -> None:
        """Where parameters have changed: what each thread makes of all of them for itself.

        That is transposed copies of weights. Made in common, behind the update of the same rows, half of each would lie in the
        other core's cache, and be written while it has the lines. Two threads of a Zen 4 took 64-256-256-10 with 128 rows in
        336 us, so 330, with 16 rows in 87, so 81; on cores that share no cache in 570, so 515. Where the copies are larger than
        the second-level cache there is little to gain (784-512-512-10: level, 0.94) or to lose (784-1024-1024-10: 1.02).
        """
        if calls:
            self._phase(EACH, calls)

    def _phase_of_weights(self) -> None:
        """Where rows have weights: the sum of those of a batch, which the gradient of each row is divided by."""
        calls = self._forward(WEIGH)
        if calls:
            self._plan["weighs"] = 1
            self._phase(UNITS, calls, pool=POOL)

    def _phases_between(self, ops: Sequence[Op]) -> None:
        """Squares of gradients summed, where a norm is asked for; then the gradients made smaller, where that is."""
        for task in (STATISTICS, STEP):
            calls = self._forward(task, ops)
            if calls:
                self._phase(UNITS, calls, pool=POOL, unit=1)

    def _rows(self, calls: Sequence[Call], loss: Op | None = None) -> None:
        """A phase by rows; or several, cut where an op needs statistics of the whole batch, and where its columns are shared.

        One completes the losses.
        """
        before = {FORWARD: STATISTICS, BACKWARD: GRADIENT_STATISTICS}
        columns = {FORWARD: FORWARD_COLUMNS, BACKWARD: BACKWARD_COLUMNS}
        here: list[Call] = []

        def by_rows() -> None:
            if here:
                complete = any(self.ops[op] is loss and task == FORWARD for op, task in here)
                self._phase(ROWS, here, pool=POOL, unit=self.row_unit, sums=int(complete))
                here.clear()

        for number, task in calls:
            op, record = self.ops[number], self.records[number]
            if before.get(task) in op.tasks(record):
                by_rows()
                self._phase(UNITS, [(number, before[task])], pool=POOL)
            if not (op.wide and task == FORWARD):
                here.append((number, task))
            if op.wide and (task == FORWARD or record.dx >= 0):
                by_rows()
                units = op.width_out if task == FORWARD else op.width_in
                call = self._once_more(op, record, {"units": units}, columns[task])
                self._phase(UNITS, [call], pool=POOL, unit=COLUMN_UNIT)
        by_rows()

    def _pass(self, once: int = 0, step: int | None = None) -> None:
        """Make a pass of the phases since the pass before; all but the first `once` of them are in every step.

        Those before `step` are gone through for each micro-batch.
        """
        first, last = self.passes[-1][-1] if self.passes else 0, len(self.phases)
        self.passes.append((first, first + once, last if step is None else step, last))

    def _phase(self, kind: int, calls: Sequence[Call], other: Sequence[Call] = (), **fields: int) -> None:
        first = len(self.calls)
        self.calls += [*calls, *other]
        middle, last = first + len(calls), len(self.calls)
        places = {"first": first, "last": middle, "other_first": middle, "other_last": last}
        self.phases.append({"kind": kind, "block": self.block, "unit": int(UNIT)} | places | fields)

    def job(self) -> Job:
        """The table, and the arrays that belong to the program itself."""
        if self._table is None:
            self._table = self._written()
        job = Job(self._table.copy())
        work = zeros(self.memory.size, self.dtype)
        work[self._plan["one"]] = 1
        for start, values in self.memory.values:
            work[start : start + len(values)] = values
        job.set(
            work=work,
            integers=np.zeros(max(1, self.memory.integers), np.int64),
            control=np.zeros(CONTROL_SIZE + 8 * self.memory.relays * self.memory.threads, np.int64),
            sums=np.zeros(1),
            totals=np.zeros(2),
        )
        self.adopt(job)
        return job

    def adopt(self, job: Job) -> None:
        """Go with the job: blocks hold the machine code. It may be one that has been let go of."""
        job.program, job.counted = self, self._counted

    def _written(self) -> np.ndarray:
        """The table, with the addresses of the blocks; not yet those of arrays."""
        beside.ask((op.block for op in reversed(self.ops)), self.dtype)  # it takes them from the last one on
        # Products first, since their block takes longest, then from the first one on: both end at about the same time.
        for op, fields in sorted(zip(self.ops, self.records), key=lambda pair: pair[0].flops == 0):
            fields.block = op.block.address(self.dtype)
        parts = [
            chain.from_iterable(self.passes),
            (phase.get(name, 0) for phase in self.phases for name in PHASE.names or ()),
            chain.from_iterable(self.calls),
            chain.from_iterable(fields.integers(op.block.record) for op, fields in zip(self.ops, self.records)),
        ]
        plan, table, behind = dict(self._plan), [0] * RUN_AT, list[int]()
        self._counted = []
        for name, part in zip(("passes_at", "phases_at", "calls_at", "ops_at"), parts):
            plan[name] = RUN_AT + len(RUN.names or ()) + len(behind)
            behind += part
        for i, op in enumerate(self.ops):
            if op.counter is not None:
                place = plan["ops_at"] + i * OP_SIZE + (op.block.record.names or ()).index("count")
                self._counted.append((place, *op.counter))
        table += [plan.get(name, 0) for name in RUN.names or ()] + behind
        return np.array(table, np.int64)

    @property
    def ends(self) -> tuple[int, ...]:
        """Where the input lies and where the output, their strides, and where their deltas lie."""
        first, last = (next(r for op, r in zip(self.ops, self.records) if isinstance(op, kind)) for kind in (Input, Output))
        return first.y, first.y_stride, last.x, last.x_stride, first.dy, last.dx

    @property
    def constants(self) -> list[tuple[int, int]]:
        """Where in the workspace numbers lie that a job finds there: from entry, to entry, whole lines."""
        zero, one = self._plan["zero"], self._plan["one"]
        pieces = [(zero, zero + self._plan["zero_stride"]), (one, one + self.memory.lanes)]
        return pieces + [(start, start + whole_lines(len(values), self.dtype)) for start, values in self.memory.values]

    @property
    def flops_per_row(self) -> int:
        """Of a pass forward."""
        return sum(op.flops for op in self.ops)

    def __str__(self) -> str:
        letters = {FORWARD_FEATURE_MAJOR: "F", PREPARE: "P", ACCUMULATE: "A"}
        kinds = {ROWS: "rows", UNITS: "units", ALL: "all threads", EACH: "each thread"}
        shared = FORWARD_COLUMNS, BACKWARD_COLUMNS

        def names_of(calls: Sequence[Call]) -> list[str]:
            return [f"{letters.get(task, TASKS[task][0])} {self.ops[op].name}" for op, task in calls]

        lines = []
        for number, (first, loop, step, last) in enumerate(self.passes):
            if len(self.passes) > 1:
                lines.append(f"pass {number}")
            for p in range(first, last):
                phase = self.phases[p]
                if phase["first"] == phase["last"]:  # nothing to prepare
                    continue
                calls = self.calls[phase["first"] : phase["last"]]
                names = names_of(calls)
                when = " once" if p < loop else " of each micro-batch" if p < step < last else ""
                kind = "columns" if any(task in shared for _, task in calls) else kinds[phase["kind"]]
                lines.append(f"{kind}{when}: {', '.join(_counted(names))}")
        inner = self.calls[self.phases[-1]["other_last"] :] if self.phases else []
        if inner:
            when = self.ops[-1].name if self.phases[-1]["kind"] == ALL else "again and again"
            lines.append(f"{when}: {', '.join(_counted(names_of(inner)))}")
        return "\n".join(lines)


class Again(Op):
    """An op once more; what it is asked for stands where it is added."""

    def __init__(self, op: Op):
        super().__init__(op.width_in, op.width_out)
        self.block, self.name = op.block, op.name

    def tasks(self, record: Any) -> set[int]:
        return set()


def are_wide(ops: Iterable[Op], dtype: np.dtype) -> bool:
    """Whether the weights are far more than the second-level cache has room for."""
    return sum(op.flops for op in ops) // 2 * dtype.itemsize > WIDE_FROM * level_2_bytes()


def are_kept(ops: Iterable[Op], dtype: np.dtype) -> bool:
    """Whether the second-level cache has room for the transposed copies: of all products but the first."""
    products = [op.flops for op in ops if op.flops]
    return sum(products[1:]) // 2 * dtype.itemsize <= level_2_bytes()


def are_narrow(ops: Iterable[Op], dtype: np.dtype) -> bool:
    """Whether a step of these may be a relay, on several threads."""
    return all(op.relays(dtype) for op in ops)


def widened(ops: list[Op], dtype: np.dtype, batch: int, threads: int, rows: int) -> list[Op]:
    """The ops of a batch; where they are wide, and it has enough rows, wide layers with the blocks that share their columns."""
    least = max(COLUMNS_FROM, UNITS_EACH * threads * COLUMN_UNIT if threads > 1 else 0)
    for op in ops if rows <= batch <= COLUMNS_ROWS and are_wide(ops, dtype) else ():
        if op.wide_block is not None and min(op.width_in, op.width_out) >= least:
            op.wide, op.block = True, op.wide_block
    return ops


def shares_panels(ops: list[Op], dtype: np.dtype, batch: int, threads: int) -> bool:
    """Whether nearly all work of a prediction is in layers whose columns so many threads can share."""
    wide = sum(op.flops for op in widened(ops, dtype, batch, threads, PREDICTED_FROM) if op.wide)
    return 8 * wide > 7 * sum(op.flops for op in ops)


def fused(ops: Iterable[Op], batch: int | None = None) -> list[Op]:
    """The ops, those left out that the one before has absorbed; for a batch of one row, with the blocks they have for one."""
    result: list[Op] = []
    for op in ops:
        if not (result and result[-1].absorb(op)):
            result.append(op)
    for op in result if batch == 1 else ():
        op.block = op.row_block or op.block
    return result


def _counted(names: list[str]) -> list[str]:
    """Equal neighbours as one, with how many there are."""
    result: list[list] = []
    for name in names:
        if result and result[-1][0] == name:
            result[-1][1] += 1
        else:
            result.append([name, 1])
    return [name if count == 1 else f"{name} x{count}" for name, count in result]
