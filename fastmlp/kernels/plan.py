"""A plan: what a call from somebody's compiled code needs of a program, as memory that any number of threads read at a time.

A job in the engine has a workspace of its own, so each thread that predicts takes another one, from Python. Here the workspace
is made by the call itself: on the stack, where it takes no more than STACK_BYTES, else by malloc. All else that a job consists
of stays as it is, and lies in the plan, to be copied: addresses of arrays and records, and the numbers that a workspace
begins with (zeros, constants of formulas). So a call needs no lock and no pool, may be interrupted by another one, and works
in a forked child.
"""

from __future__ import annotations

import copy

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import untyped
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.job import PLACE, RECORDS, RUN_AT, RUN_PLACE, Job, JobType
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.op import ADDRESSES

__all__ = ["STACK_BYTES", "Plan", "aim_y", "finish", "number_at", "plan_at", "start", "word"]

#: A workspace of so many bytes is on the stack: a thread has 128 KiB where the C library is musl, 512 KiB on macOS.
STACK_BYTES = 32768

# Words of a plan: bytes of the workspace, pieces to copy, numbers of whoever made the plan; then a job; then the pieces, each
# where it begins, in bytes, and how many lines it has.
SIZE, PIECES, OWN = 0, 1, 2
OWN_WORDS = 6
JOB_AT = OWN + OWN_WORDS
PIECES_AT = JOB_AT + len(PLACE)

#: Behind the words of a job on the stack: what malloc has given.
ALLOCATED = len(PLACE)

INT, BYTE, POINTER = ir.IntType(64), ir.IntType(8), ir.PointerType()


class Plan:
    """A job that calls from compiled code copy, with its workspace as it is at first.

    Parameters
    ----------
    job : Job
        With all arrays but x and y. Nothing is ever written to it.
    constants : list of (int, int)
        Where numbers lie in its workspace that a call finds there: from entry, to entry, whole lines.
    own : sequence of int
        For whoever reads them with :func:`word`.
    """

    def __init__(self, job: Job, constants: list[tuple[int, int]], own: tuple[int, ...] = ()):
        self.job, self.own = job, own
        #: Bytes of the workspace.
        self.size = job.work.nbytes
        if len(own) > OWN_WORDS:
            raise ValueError(f"a plan has room for {OWN_WORDS} numbers; got {len(own)}")
        itemsize = job.work.itemsize
        constants = merged(constants)
        pieces = [word for first, last in constants for word in (first * itemsize, (last - first) * itemsize // LINE_BYTES)]
        #: What compiled code reads.
        self.words = np.array(
            [self.size, len(constants), *own, *[0] * (OWN_WORDS - len(own)), *_words_of(job), *pieces], np.int64
        )

    @property
    def address(self) -> int:
        """Of the words."""
        return self.words.ctypes.data


def _words_of(job: Job) -> list[int]:
    """A job as it lies on the stack of a thread."""
    table = job.table
    addresses = {name: int(table[place]) for place, name in enumerate(ADDRESSES)}
    starts = {name: RUN_AT if name == "run" else int(table[RUN_PLACE[f"{name}_at"]]) for name in RECORDS}
    records = {name: table.ctypes.data + 8 * start for name, start in starts.items()}
    return [(addresses | records).get(name, 0) for name in PLACE]


def merged(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces of memory in order, neighbours as one."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(pieces):
        if result and result[-1][1] >= first:
            result[-1] = result[-1][0], max(last, result[-1][1])
        elif last > first:
            result.append((first, last))
    return result


# In compiled code a header and a plan are pointers to integers; in plain Python a header is a list, a plan the object above.


@intrinsic
def _plan_at(typingctx, header, place):
    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(args[0], [args[1]], source_etype=INT), typ=args[0].type)

    return header(header, types.int64), codegen


@instead(_plan_at)
def plan_at(header, place):
    """The plan that a header has at a place."""
    return header[place]


@intrinsic
def _number_at(typingctx, header, place):
    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(args[0], [args[1]], source_etype=INT), typ=INT)

    return types.int64(header, types.int64), codegen


@instead(_number_at)
def number_at(header, place):
    """The number that a header has at a place."""
    return header[place]


@intrinsic
def _word(typingctx, plan, which):
    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(args[0], [builder.add(args[1], INT(OWN))], source_etype=INT), typ=INT)

    return types.int64(plan, types.int64), codegen


@instead(_word)
def word(plan, which):
    """A number of whoever made the plan."""
    return plan.own[which]


def _field(builder, words, place):
    return builder.gep(words, [INT(place)], source_etype=INT)


def _copy_lines(builder, target, source, lines):
    """Copy whole lines of 64 bytes, eight integers at a time."""
    line = ir.VectorType(INT, LINE_BYTES // 8)
    with cgutils.for_range(builder, lines) as loop:
        places = [builder.gep(pointer, [loop.index], source_etype=line) for pointer in (source, target)]
        builder.store(builder.load(places[0], typ=line, align=8), places[1], align=8)


@intrinsic
def _start(typingctx, plan, x, y):
    def codegen(context, builder, signature, args):
        plan, x, y = args
        job = untyped(builder, cgutils.alloca_once(builder, INT, size=len(PLACE) + 1))
        size = builder.load(_field(builder, plan, SIZE), typ=INT)
        fits = builder.icmp_signed("<=", size, INT(STACK_BYTES))
        on_stack = builder.alloca(BYTE, size=builder.select(fits, size, INT(0)))
        on_stack.align = LINE_BYTES
        before = builder.block
        with builder.if_then(builder.not_(fits), likely=False):
            malloc = cgutils.get_or_insert_function(builder.module, ir.FunctionType(POINTER, [INT]), "malloc")
            allocated = builder.call(malloc, [builder.add(size, INT(LINE_BYTES))])
            # A step from the pointer, no integer that is made one (see the engine's rule about that).
            beyond = builder.and_(builder.neg(builder.ptrtoint(allocated, INT)), INT(LINE_BYTES - 1))
            aligned = builder.gep(allocated, [beyond], source_etype=BYTE)
            otherwise = builder.block
        work, owned = builder.phi(POINTER), builder.phi(POINTER)
        for phi, first, second in ((work, on_stack, aligned), (owned, ir.Constant(POINTER, None), allocated)):
            phi.add_incoming(first, before)
            phi.add_incoming(second, otherwise)
        words = ir.VectorType(INT, len(PLACE))
        builder.store(builder.load(_field(builder, plan, JOB_AT), typ=words, align=8), job, align=8)
        template = builder.load(_field(builder, plan, JOB_AT + PLACE["work"]), typ=POINTER)
        for place, value in ((PLACE["work"], work), (PLACE["x"], x), (PLACE["y"], y), (ALLOCATED, owned)):
            builder.store(value, _field(builder, job, place))
        with cgutils.for_range(builder, builder.load(_field(builder, plan, PIECES), typ=INT)) as loop:
            piece = builder.gep(plan, [builder.add(INT(PIECES_AT), builder.mul(loop.index, INT(2)))], source_etype=INT)
            offset, lines = builder.load(piece, typ=INT), builder.load(_field(builder, piece, 1), typ=INT)
            target, source = (builder.gep(start, [offset], source_etype=BYTE) for start in (work, template))
            _copy_lines(builder, target, source, lines)
        return job

    return JobType(x.dtype)(plan, x, y), codegen


@instead(_start)
def start(plan, x, y):
    """A job with a workspace of its own, until the function that has called this returns; x and y are pointers."""
    job = copy.copy(plan.job)
    job.work, job.x, job.y = plan.job.work.copy(), x.reshape(-1), y.reshape(-1)
    return job


@intrinsic
def _finish(typingctx, job):
    def codegen(context, builder, signature, args):
        owned = builder.load(_field(builder, args[0], ALLOCATED), typ=POINTER)
        with builder.if_then(cgutils.is_not_null(builder, owned), likely=False):
            free = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [POINTER]), "free")
            builder.call(free, [owned])
        return context.get_dummy_value()

    return types.void(job), codegen


@instead(_finish)
def finish(job):
    """Give back what :func:`start` has allocated."""


@intrinsic
def _aim_y(typingctx, job, pointer):
    def codegen(context, builder, signature, args):
        builder.store(args[1], _field(builder, untyped(builder, args[0]), PLACE["y"]))
        return context.get_dummy_value()

    return types.void(job, pointer), codegen


@instead(_aim_y)
def aim_y(job, pointer):
    """Have another array be the job's y."""
    job.y = pointer.reshape(-1)
