"""Threads that take part in a call without coming back to Python: who looks for work finds a job in its box.

To hand work to a thread through Python takes 100 us where that thread sleeps, and where it spins still 5-50, since it has to
get the GIL from the thread that calls. What is handed over here, by a few stores and a compare-and-swap, begins in a fraction
of a microsecond. 784-512-512-10 on two cores of a Zen 4: one row 36 -> 26 us, 8 rows 100 -> 61 us.

A thread that looks (:func:`.threads.stand_by`) belongs to whoever has taken it out of the list of those that wait. Its *box*
has a state, which only these change:

=======  ==========================================================  =========================
AWAY     it is in Python, or asleep                                  itself
LOOKING  it looks at its box                                         itself; who takes work back
POSTED   work lies there                                             who calls
WORKING  it has taken the work                                       itself
=======  ==========================================================  =========================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import flush_subnormals, restore_rounding, untyped
from fastmlp.kernels.compiler.jit import compile_block, inner, kernel
from fastmlp.kernels.compiler.machine import MachineCode
from fastmlp.kernels.compiler.numba_private import compiler_lock, data_of, straight
from fastmlp.kernels.engine import take_part
from fastmlp.kernels.job import PLACE, JobType, begin
from fastmlp.kernels.threads import (
    ABORT,
    BOX_ADDRESS,
    BOX_JOB,
    BOX_STATE,
    BOX_THREAD,
    BOX_THREADS,
    CONTROL_SIZE,
    LOOKING,
    POSTED,
    WORKING,
    barrier,
    pause,
    yield_thread,
)

__all__ = ["predict_beside", "shared_call"]

INT = ir.IntType(64)

#: Looks at a box, of 10-40 ns each, until somebody who is to be there at a barrier has taken the work.
PATIENCE = 400

#: Looks at a box until the processor is offered to another thread.
SPINS = 4000


@intrinsic
def _own(typingctx, job, thread):
    def codegen(context, builder, signature, args):
        words = ir.VectorType(INT, len(PLACE))
        mine = untyped(builder, cgutils.alloca_once(builder, INT, size=len(PLACE)))
        builder.store(builder.load(args[0], typ=words, align=8), mine, align=8)
        builder.store(args[1], builder.gep(mine, [INT(PLACE["thread"])], source_etype=INT))
        return mine

    return job(job, types.int64), codegen


def take_share(job, thread, threads):
    """Go through the phases of a pass forward as one of `threads`; the job is another thread's, of which this makes its own."""
    before = flush_subnormals()
    mine = _own(job, thread)
    chosen = mine.passes[0]
    meeting = asked = np.int64(0)
    for p in range(chosen.first, chosen.last):
        asked = take_part(mine, mine.phases[p], threads, asked)
        if p + 1 < chosen.last:
            meeting += 1
            if not barrier(mine.control, meeting, threads):
                break
    restore_rounding(before)


@intrinsic
def _share(typingctx, address, job, thread, threads):
    def codegen(context, builder, signature, args):
        address, *values = args
        kinds = signature.args[1:]
        function_type = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(address, function_type.as_pointer())
        context.call_conv.call_function(builder, function, types.none, kinds, values)
        return context.get_dummy_value()

    return types.void(address, job, thread, threads), codegen


def _box(context, builder, signature, args, place):
    """The address of a word of a box, whose own address is an entry of an array."""
    boxes = data_of(context, builder, signature.args[0], args[0])
    box = builder.load(builder.gep(boxes, [args[1]], source_etype=INT), typ=ir.PointerType())
    return builder.gep(box, [INT(place)], source_etype=INT)


@intrinsic
def _post(typingctx, boxes, i, address, job, thread, threads):
    def codegen(context, builder, signature, args):
        def put(place, value):
            builder.store(value, _box(context, builder, signature, args, place))

        _, _, address, job, thread, threads = args
        put(BOX_ADDRESS, address)
        put(BOX_JOB, builder.ptrtoint(job, INT))
        put(BOX_THREAD, thread)
        put(BOX_THREADS, threads)
        state = _box(context, builder, signature, args, BOX_STATE)
        swapped = builder.cmpxchg(state, INT(LOOKING), INT(POSTED), "seq_cst", "seq_cst")
        return builder.extract_value(swapped, 1)

    number = types.int64
    return types.boolean(boxes, number, number, job, number, number), codegen


@intrinsic
def _take_back(typingctx, boxes, i):
    def codegen(context, builder, signature, args):
        state = _box(context, builder, signature, args, BOX_STATE)
        swapped = builder.cmpxchg(state, INT(POSTED), INT(LOOKING), "seq_cst", "seq_cst")
        return builder.extract_value(swapped, 1)

    return types.boolean(boxes, types.int64), codegen


@intrinsic
def _state(typingctx, boxes, i):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_box(context, builder, signature, args, BOX_STATE), "seq_cst", 8, typ=INT)

    return types.int64(boxes, types.int64), codegen


@inner
def wait_for(boxes, i):
    """Until the owner of a box has done what it has taken; what it has not taken is taken back."""
    if _take_back(boxes, i):
        return
    spins = 0
    while _state(boxes, i) == WORKING:
        spins += 1
        if spins > SPINS:
            yield_thread()
        else:
            pause()


@inner
def all_come(boxes, count):
    """Whether everybody takes the work soon."""
    for i in range(count):
        looks = 0
        while _state(boxes, i) != WORKING:
            looks += 1
            if looks > PATIENCE:
                return False
            pause()
    return True


@kernel
def predict_beside(table, x, y, address, boxes, meets):
    """A pass forward of a program, by this thread and those whose boxes are at the addresses in `boxes`; 1 where it is done.

    address  of :func:`take_share`
    meets    1 where the phases are to be met by all, so that nothing is done (and 0 returned) unless everybody comes soon; 0
             where there is one phase, of which whoever comes takes a part
    """
    job = begin(table, x, y, 0)
    job.start = job.step = job.epoch = job.step_row = job.microbatch = 0
    job.rows = job.step_rows = x.shape[0]
    for i in range(CONTROL_SIZE):
        job.control[i] = 0
    threads, posted = boxes.size + 1, 0
    while posted < boxes.size and _post(boxes, posted, address, job, posted + 1, threads):
        posted += 1
    if meets and not (posted == boxes.size and all_come(boxes, posted)):
        job.control[ABORT] = 1
        threads = 0
    else:
        _share(address, job, 0, threads)
    for i in range(posted):
        wait_for(boxes, i)
    return np.int64(threads > 0)


@cache
def _compiled(dtype: np.dtype) -> tuple[MachineCode, Callable[..., int]]:
    with compiler_lock:
        share = compile_block(take_share, types.void(JobType(from_dtype(dtype)), types.int64, types.int64), "take_share")
    words, numbers = np.zeros(1, np.int64), np.zeros((1, 1), dtype)
    return share, straight(predict_beside, words, numbers, numbers, 0, words, 0)


def shared_call(dtype: np.dtype) -> Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], int]:
    """``call(table, x, y, boxes, meets)``: :func:`predict_beside` for parameters of this dtype, which looks at no type."""
    share, call = _compiled(dtype)
    address = share.address
    return lambda table, x, y, boxes, meets: call(table, x, y, address, boxes, meets)
