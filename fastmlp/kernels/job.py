"""A job: the arrays and records that one call of the engine works on, handed to blocks as one pointer.

Python keeps the arrays (:class:`Job`), and hands the engine one table of integers that begins with their addresses; every array
that Python hands to a kernel costs 70 ns, and the prediction of two rows takes 2 us in all. The table is memory that Python has
written, so LLVM knows nothing about the pointers it loads from there: nowhere is an integer made a pointer to data.

In the engine a job is a pointer to a struct on the stack of its thread. ``job.work`` loads an array from there, without a count
of references: a block is called with six numbers, whatever a job consists of.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr,
    lower_setattr,
    models,
    register_model,
)

from fastmlp.kernels.compiler.intrinsics import untyped
from fastmlp.kernels.compiler.jit import COMPILING, instead
from fastmlp.kernels.compiler.numba_private import AttributeTemplate, borrowed_array, data_of
from fastmlp.kernels.op import ADDRESSES, CALL, PASS, PHASE, RUN, op_record

__all__ = ["Job", "JobType", "begin"]

#: Where the records of a run lie in a table: behind the addresses.
RUN_AT = len(ADDRESSES)
RUN_PLACE = {name: RUN_AT + i for i, name in enumerate(RUN.names or ())}

STEPS, STEPS_DONE, MICROBATCHES_DONE, NOT_FINITE, FIRST_EPOCH, FIRST_BATCH, FIRST_STEP = (
    RUN_PLACE[name]
    for name in ("steps", "steps_done", "microbatches_done", "not_finite", "first_epoch", "first_batch", "first_step")
)

#: Integers of a job, which differ from thread to thread and from step to step. `rows` rows from `start` of the epoch on are
#: those at hand: a whole step, or one micro-batch of it; the step has `step_rows` rows, `step_row` of them before these.
#: `step` is the row of its scalars, and `microbatch` counts the passes forward of a call.
MOMENT = ("thread", "start", "rows", "step", "epoch", "step_rows", "step_row", "microbatch")

RECORDS = {"run": RUN, "passes": PASS, "phases": PHASE, "calls": CALL, "ops": op_record()}
ARRAYS = (*ADDRESSES, "x", "y")
INTEGERS = ("integers", "order", "labels", "control")

#: Places in the struct.
PLACE = {name: i for i, name in enumerate((*ARRAYS, *RECORDS, *MOMENT))}
INT, POINTER = ir.IntType(64), ir.PointerType()


class Job:
    """The arrays of a job, and its records.

    params    T (P), in/out
    grads     T (P), in/out, or empty
    state     T (arrays of the optimizer's state, P), in/out, or empty
    scalars   T (steps, scalars of the optimizers), in
    work      T, workspace
    integers  int64, workspace
    order     int64 (rows), in/out: the rows of an epoch in order; or those of several epochs, one behind the other
    labels    int64 (rows), in
    weights   T (rows), in: how much each row counts, where the program weighs
    sums      float64 (epochs touched), in/out: the losses of their rows, summed
    totals    float64 (1 + epochs touched), in/out: the weights of a batch, summed; and those of the epochs
    control   int64 (CONTROL_SIZE, in relays 8 more for each thread), zero on entry
    """

    params: np.ndarray
    grads: np.ndarray
    state: np.ndarray
    scalars: np.ndarray
    work: np.ndarray
    integers: np.ndarray
    order: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    sums: np.ndarray
    totals: np.ndarray
    control: np.ndarray
    batch = 0  # rows that there is room for
    chunk = 0  # rows that a thread of a prediction takes at a time
    program: Any  # whose table this is
    counted: Sequence[tuple[int, Any, str]] = ()  # places of the table, for numbers that objects have under a name

    def __init__(self, table: np.ndarray):
        self.table, self._numbers = table, memoryview(table)  # type: ignore[arg-type]
        #: What the engine takes: the table, or in plain Python the job itself.
        self.handle: Any = table if COMPILING else self
        self.x = self.y = None
        self.thread = self.start = self.rows = self.step = self.epoch = 0
        self.step_rows = self.step_row = self.microbatch = 0

    def set(self, **arrays: np.ndarray) -> None:
        """Put arrays into their places."""
        for name, array in arrays.items():
            setattr(self, name, array)
            self.table[PLACE[name]] = array.__array_interface__["data"][0]  # ``ctypes.data`` takes four times as long

    def count(self) -> None:
        """Have the ops that count passes forward in training go on from where their modules are."""
        for place, owner, name in self.counted:
            self.table[place] = getattr(owner, name)

    def counted_on(self, passes: int) -> None:
        """Have their modules count so many passes forward."""
        for _, owner, name in self.counted:
            owner.__dict__[name] += passes

    def put(self, **numbers: int) -> None:
        """Put numbers into the record of the run, in a tenth of the time that attributes of NumPy's records take."""
        for name, number in numbers.items():
            self._numbers[RUN_PLACE[name]] = number

    def put_steps(self, steps: int, epoch: int, batch: int, row: int) -> None:
        """Say which steps the next call takes: how many, from which place on, and the row of the scalars of the first."""
        numbers = self._numbers
        numbers[STEPS], numbers[FIRST_EPOCH], numbers[FIRST_BATCH], numbers[FIRST_STEP] = steps, epoch, batch, row
        numbers[STEPS_DONE] = numbers[MICROBATCHES_DONE] = numbers[NOT_FINITE] = 0

    def number(self, name: str) -> int:
        """A number of the record of the run, as quickly."""
        return self._numbers[RUN_PLACE[name]]

    def __getattr__(self, name: str) -> Any:
        """The records, as views of the table; made when they are asked for, which costs 5 us each."""
        if name not in RECORDS:
            raise AttributeError(name)
        table, names = self.table, list(RECORDS)
        if name == "run":
            found = table[RUN_AT : RUN_AT + RUN.itemsize // 8].view(_attributes(RUN))[0]
        else:
            ends = [*(int(table[RUN_PLACE[f"{other}_at"]]) for other in names[1:]), table.size]
            place = names.index(name)
            found = table[ends[place - 1] : ends[place]].view(_attributes(RECORDS[name]))
        setattr(self, name, found)
        return found


@cache
def _attributes(record: np.dtype) -> np.dtype:
    """A record whose fields are attributes, as they are to Numba."""
    return np.dtype((np.record, record))


@cache
def record_type(record: np.dtype) -> types.Record:
    """The type of a record in compiled code, under a short name.

    Numba's own name spells out all fields, in the name of each function that takes one: the first `fit` took 0.1 s more.
    """
    made = from_dtype(record)
    made.name = f"Record{hashlib.sha256(made.name.encode()).hexdigest()[:8]}"
    return made


class JobType(types.Type):
    """A job in compiled code; `dtype` is that of the parameters."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype
        super().__init__(name=f"Job({dtype})")


@register_model(JobType)
class _JobModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, INT.as_pointer())  # Numba compares types of pointers where it stores a variable


def _type_of(job: JobType, name: str) -> types.Type | None:
    """The type of an attribute."""
    if name in MOMENT:
        return types.int64
    if name == "run":
        return record_type(RUN)
    if name in RECORDS:
        return types.Array(record_type(RECORDS[name]), 1, "C")
    if name in INTEGERS:
        return types.Array(types.int64, 1, "C")
    if name in ARRAYS:
        return types.Array(types.float64 if name in ("sums", "totals") else job.dtype, 1, "C")
    return None


@infer_getattr
class _JobAttributes(AttributeTemplate):
    key = JobType

    def generic_resolve(self, job, name):
        return _type_of(job, name)


def _field(builder, job, name):
    """Where an attribute lies."""
    return builder.gep(job, [INT(PLACE[name])], source_etype=INT)


def _getter(name):
    @lower_getattr(JobType, name)
    def get(context, builder, job_type, job):
        if name in MOMENT:
            return builder.load(_field(builder, job, name), typ=INT)
        kind: Any = _type_of(job_type, name)
        if name == "run":
            return builder.load(_field(builder, job, name), typ=context.get_value_type(kind))
        itemsize = INT(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        data = builder.load(_field(builder, job, name), typ=context.get_value_type(types.CPointer(kind.dtype)))
        # Nobody asks for its size: blocks look at parts of it (intrinsics.matrix).
        return borrowed_array(context, builder, kind, data, [INT(0)], [itemsize], itemsize)


def _setter(name):
    @lower_setattr(JobType, name)
    def put(context, builder, signature, args):
        builder.store(context.cast(builder, args[1], signature.args[1], types.int64), _field(builder, args[0], name))


for _name in PLACE:
    _getter(_name)
for _name in MOMENT:
    _setter(_name)


@intrinsic
def _begin(typingctx, table, x, y, thread):
    def codegen(context, builder, signature, args):
        table_type, x_type, y_type, _ = signature.args
        start = data_of(context, builder, table_type, args[0])
        job = untyped(builder, cgutils.alloca_once(builder, INT, size=len(PLACE)))

        def put(name, value):
            builder.store(value, _field(builder, job, name))

        for place, name in enumerate(ADDRESSES):
            put(name, builder.load(builder.gep(start, [INT(place)], source_etype=INT), typ=POINTER))
        for name, array_type, array in (("x", x_type, args[1]), ("y", y_type, args[2])):
            put(name, data_of(context, builder, array_type, array))
        for name in RECORDS:
            where = INT(RUN_AT)
            if name != "run":
                at = INT(RUN_AT + (RUN.names or ()).index(f"{name}_at"))
                where = builder.load(builder.gep(start, [at], source_etype=INT), typ=INT)
            put(name, builder.gep(start, [where], source_etype=INT))
        builder.store(args[3], _field(builder, job, "thread"))
        return job

    return JobType(x.dtype)(table, x, y, types.int64), codegen


@instead(_begin)
def begin(job, x, y, thread):
    """The job of one thread, from what :attr:`Job.handle` gives; x and y are the arrays that come and go."""
    job = copy.copy(job)
    job.x, job.y, job.thread = x.reshape(-1), y.reshape(-1), thread
    return job
