"""Where threads meet: a counter in shared memory, and a barrier that spins on it.

The threads are Python threads, each inside a kernel that has released the GIL. No threading layer of Numba is involved, so
nothing forbids fork, and two trainings may run at once.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.jit import inner, instead, kernel
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import TRIPLE

__all__ = [
    "ABORT",
    "ARRIVED",
    "AWAY",
    "BOX_ADDRESS",
    "BOX_GIVEN",
    "BOX_JOB",
    "BOX_SIZE",
    "BOX_STATE",
    "BOX_THREAD",
    "BOX_THREADS",
    "CONTROL_SIZE",
    "HANDED_ON",
    "LOOKING",
    "POSTED",
    "TAKEN",
    "WORKING",
    "barrier",
    "call_off",
    "hand_on",
    "is_called_off",
    "next_task",
    "pause",
    "stand_by",
    "wait_for",
    "yield_thread",
]

# Places in the shared `control` array (int64), a line apart. In relays each thread has one more, from HANDED_ON on.
ARRIVED, ABORT, TAKEN, HANDED_ON = 0, 8, 16, 24
CONTROL_SIZE = HANDED_ON

#: Places in the box (int64) of a thread that waits for work: pieces that Python has given it so far; its state; and of work
#: from compiled code the address of a function, the job, and which thread of how many is to do it.
BOX_GIVEN, BOX_STATE, BOX_ADDRESS, BOX_JOB, BOX_THREAD, BOX_THREADS = 0, 8, 16, 17, 18, 19
BOX_SIZE = 24

#: States of a thread that waits (:mod:`.together`).
AWAY, LOOKING, POSTED, WORKING = (np.int64(state) for state in range(4))

#: Looks at the counter before the processor is offered to another thread: a few microseconds, longer than an even step's
#: threads wait for each other, short enough that four times as many threads as cores still make progress.
SPINS = 4000

#: What makes the plain-Python twin of the atomic addition atomic.
LOCK = threading.Lock()

INT = ir.IntType(64)


def _pointer(context, builder, signature, args):
    data = data_of(context, builder, signature.args[0], args[0])
    return builder.gep(data, [args[1]], source_etype=INT)


@intrinsic
def _atomic_add(typingctx, array, index, value):
    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _pointer(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@instead(_atomic_add)
def atomic_add(array, index, value):
    """Add to an int64 entry that other threads change, and return what it was before."""
    with LOCK:
        before = array[index]
        array[index] += value
    return before


@intrinsic
def _atomic_load(typingctx, array, index):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_pointer(context, builder, signature, args), "seq_cst", 8, typ=INT)

    return types.int64(array, types.intp), codegen


@instead(_atomic_load)
def atomic_load(array, index):
    """An int64 entry that other threads change."""
    return array[index]


@intrinsic
def _atomic_store(typingctx, array, index, value):
    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _pointer(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@instead(_atomic_store)
def atomic_store(array, index, value):
    """Put a number into an int64 entry that other threads look at."""
    array[index] = value


@intrinsic
def _yield_thread(typingctx):
    def codegen(context, builder, signature, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        function_type = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


@instead(_yield_thread)
def yield_thread():
    """Offer the processor to another thread of the system."""
    time.sleep(0)


@intrinsic
def _pause(typingctx):
    def codegen(context, builder, signature, args):
        if TRIPLE.startswith(("x86_64", "amd64")):
            function_type = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@instead(_pause)
def pause():
    """Leave the core to its other thread, where it has two, for some dozens of cycles."""


@inner
def wait_for(control, place, goal):
    """Wait until a counter has come to `goal`; False if the run was called off meanwhile."""
    spins = 0
    while atomic_load(control, place) < goal:
        if is_called_off(control):
            return False
        spins += 1
        if spins > SPINS:
            yield_thread()
        else:
            pause()
    return True


@inner
def barrier(control, meeting, threads):
    """Wait until all threads have come to this meeting (numbered from 1); False if the run was called off meanwhile.

    The counter only grows, so no thread can mistake one meeting for the next.
    """
    if threads == 1:
        return True
    atomic_add(control, ARRIVED, 1)
    return wait_for(control, ARRIVED, meeting * threads)


@inner
def is_called_off(control):
    """Whether the run is over for all threads."""
    return atomic_load(control, ABORT) != 0


@inner
def call_off(control):
    """Have all threads leave that wait, or will."""
    atomic_store(control, ABORT, np.int64(1))


@inner
def hand_on(control, thread, pieces):
    """Let others know that so many pieces of a thread's are ready, with all that it has written."""
    atomic_store(control, HANDED_ON + 8 * thread, pieces)


@intrinsic
def _swap(typingctx, array, index, old, new):
    def codegen(context, builder, signature, args):
        place = _pointer(context, builder, signature, args)
        return builder.extract_value(builder.cmpxchg(place, args[2], args[3], "seq_cst", "seq_cst"), 1)

    return types.boolean(array, types.intp, types.int64, types.int64), codegen


@instead(_swap)
def swap(array, index, old, new):
    """Put a number in the place of another one, unless some other thread has changed that; whether it was done."""
    with LOCK:
        if array[index] != old:
            return False
        array[index] = new
    return True


@intrinsic
def _work(typingctx, box):
    def codegen(context, builder, signature, args):
        start = data_of(context, builder, signature.args[0], args[0])

        def word(place, kind):
            return builder.load(builder.gep(start, [INT(place)], source_etype=INT), typ=kind)

        kinds = types.voidptr, types.int64, types.int64
        function_type = context.call_conv.get_function_type(types.none, kinds)
        address = word(BOX_ADDRESS, INT)
        function = builder.inttoptr(address, function_type.as_pointer())
        values = word(BOX_JOB, ir.PointerType()), word(BOX_THREAD, INT), word(BOX_THREADS, INT)
        context.call_conv.call_function(builder, function, types.none, kinds, values)
        return context.get_dummy_value()

    return types.void(box), codegen


@instead(_work)
def work(box):
    """Do what lies in a box: of compiled code alone."""
    raise NotImplementedError


@kernel
def stand_by(box, seen, looks):
    """Look at a box until Python has given something more than `seen` pieces, so many times at most after the last work.

    What compiled code posts meanwhile is done here.
    """
    swap(box, BOX_STATE, AWAY, LOOKING)
    left = looks
    while True:
        if atomic_load(box, BOX_STATE) == POSTED and swap(box, BOX_STATE, POSTED, WORKING):
            work(box)
            swap(box, BOX_STATE, WORKING, LOOKING)
            left = looks
        if (left <= 0 or atomic_load(box, BOX_GIVEN) != seen) and swap(box, BOX_STATE, LOOKING, AWAY):
            return
        left -= 1
        pause()


@inner
def next_task(control, before):
    """The number, from 0, of the next task that no thread has taken; `before` have been asked for in earlier rounds.

    The counter only grows. A round of T tasks is asked T + threads times: each thread asks once in vain.
    """
    return atomic_add(control, TAKEN, 1) - before
