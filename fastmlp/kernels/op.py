"""What a program is made of, as records in one table of 64-bit integers: ops, calls, phases, passes.

==========  ==================================================================================================================
op          an entry of a program (a layer, the input, a loss, an optimizer): a header that all have, then its block's fields
task        what a call asks an op for: FORWARD, BACKWARD, UPDATE, ...
call        a task of an op
phase       calls without a barrier between them, shared between threads by rows, by units, or in an op's own way, or not at all
pass        phases that one call of the engine goes through: its prologue once, then those of each micro-batch and step
==========  ==================================================================================================================

An *offset* is into the workspace, and a *stride* is a padded width, both counted in entries of the dtype of the parameters.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.kernels.layout import lanes_per_line, whole_lines

if TYPE_CHECKING:
    from fastmlp.kernels.block import Block

__all__ = [
    "ACCUMULATE",
    "ADDRESSES",
    "ALL",
    "BACKWARD",
    "BACKWARD_COLUMNS",
    "CALL",
    "EACH",
    "FORWARD",
    "FORWARD_COLUMNS",
    "FORWARD_FEATURE_MAJOR",
    "GRADIENT_STATISTICS",
    "HEADER",
    "OP_SIZE",
    "PASS",
    "PHASE",
    "PREPARE",
    "ROWS",
    "RUN",
    "STATISTICS",
    "STEP",
    "TASKS",
    "UNIT",
    "UNITS",
    "UPDATE",
    "WEIGH",
    "Fields",
    "Memory",
    "Op",
    "op_record",
]

#: Tasks, in the order of their numbers. Rows of the batch are shared out in FORWARD, FORWARD_FEATURE_MAJOR and BACKWARD; units
#: (rows of a weight) in UPDATE, ACCUMULATE and PREPARE. An optimizer takes a span of parameters: in UPDATE their gradient lies
#: in the workspace, in STEP in `grads`; a relay takes a whole step. In STATISTICS and GRADIENT_STATISTICS, which come before
#: FORWARD and BACKWARD of the ops that have them, units are features, each over the whole batch. A loss whose rows have weights
#: is one unit in WEIGH: it sums those of the batch. In FORWARD_COLUMNS and BACKWARD_COLUMNS, which a wide op has for FORWARD
#: and behind BACKWARD, units are columns of the output, and of the delta of the input, each over the whole batch.
TASKS = (
    *("FORWARD", "FORWARD_FEATURE_MAJOR", "BACKWARD", "UPDATE", "STEP", "ACCUMULATE", "PREPARE"),
    *("STATISTICS", "GRADIENT_STATISTICS", "WEIGH", "FORWARD_COLUMNS", "BACKWARD_COLUMNS"),
)
FORWARD, FORWARD_FEATURE_MAJOR, BACKWARD, UPDATE, STEP, ACCUMULATE, PREPARE = range(7)
STATISTICS, GRADIENT_STATISTICS, WEIGH, FORWARD_COLUMNS, BACKWARD_COLUMNS = range(7, len(TASKS))

#: How a phase is shared: by the rows of the batch, by the units of each op, or as its one op says, which each thread calls with
#: the number of the step in a call and how many threads there are: behind such a phase they meet before a shuffle only. Or not
#: at all: each thread makes all calls, for all units of each op, and goes on.
ROWS, UNITS, ALL, EACH = range(4)

#: Rows of a weight that are shared out together: the line that a row becomes in the transposed copy. (Typed: see matmul.py.)
UNIT = np.int64(16)


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names], align=True)


#: The arrays of a job whose addresses lie at the beginning of its table, in this order.
ADDRESSES = (
    "params",
    "grads",
    "state",
    "scalars",
    "work",
    "integers",
    "order",
    "labels",
    "weights",
    "sums",
    "totals",
    "control",
)

RUN = _record(
    "steps",  # to take
    "steps_done",  # out
    "microbatches_done",  # out: of these steps
    "not_finite",  # out: 1 where the run ended before the update of a batch whose loss is not finite
    "rows",  # of an epoch; 0: those of x
    "batch",  # rows of a step; 0: all
    "microbatch",  # rows that a step takes at a time, adding up their gradients; 0: all of its rows
    "batches",  # of an epoch
    "first_epoch",
    "first_batch",
    "first_step",  # the row of its scalars
    "shuffle",
    "seed",
    "gathers",  # 1 where row n of a batch is row order[n] of the data
    "ordered",  # rows from the order of an epoch to that of the next; 0: all epochs have the same
    "ordered_from",  # the epoch that `order` begins with
    "kept",  # 1 where every row has a place of its own in the workspace, 0 where every thread has one for the rows at hand
    "apart",  # rows from the place of one thread to that of the next
    "losses",  # offset of the losses of the rows, -1 where there is no loss
    "weighs",  # 1 where the rows have weights: `totals` takes their sums
    "params",  # how many there are, padding included: from one array of the optimizer's state to the next
    "scalars",  # of the optimizers, for each step
    "zero",  # offset of a row of zeros, as wide as the widest layer
    "zero_stride",
    "one",  # offset of a line that begins with 1
    "scratch",  # offset of scratch memory, of this size for each thread
    "scratch_size",
    "passes_at",  # where in the table
    "phases_at",
    "calls_at",
    "ops_at",
)

#: Phases: from `loop` on they are gone through for every micro-batch, from `step` on once a step, behind its last one.
PASS = _record("first", "loop", "step", "last")

PHASE = _record(
    "kind",
    "first",  # calls: from, to
    "last",
    "block",  # rows that a thread carries through all calls at a time
    "unit",  # rows, or units, that are shared out together
    "pool",  # one in so many units is nobody's: whoever is done with its own takes the next
    "sums",  # 1 where the losses of the rows are complete after it
    "row_cost",  # of a row, in vectors of multiply-adds, with its features along the vectors
    "lane_cost",  # of as many rows as a vector has entries, with the rows along the vectors; 0: not possible
    "other_first",  # calls for that
    "other_last",
)

CALL = _record("op", "task")

#: What all ops have. The delta of an op's output has the layout of the output. No delta of the input is wanted where dx is -1.
HEADER = (
    "block",  # address of its compiled function
    "width_in",
    "width_out",
    "units",
    "x",
    "x_stride",
    "y",
    "y_stride",
    "dx",
    "dy",
)

#: Of an op, in integers: the header and at most so many fields of its block.
OP_SIZE = 32


def op_record(**fields: type) -> np.dtype:
    """The record of a block's ops: the header, then `fields` by name, each np.int64 or np.float64."""
    named = [(name, np.int64) for name in HEADER] + list(fields.items())
    if len(named) > OP_SIZE:
        raise ValueError(f"an op has room for {OP_SIZE - len(HEADER)} fields of its block; got {len(fields)}")
    for name in fields:
        if name in HEADER or hasattr(np.record, name):  # op.size is the field when compiled, and 1 in plain Python
            raise ValueError(f"a field of a block cannot be called {name!r}: the header or NumPy's records have that name")
    return np.dtype(
        {
            "names": [name for name, _ in named],
            "formats": [kind for _, kind in named],
            "offsets": [8 * i for i in range(len(named))],
            "itemsize": 8 * OP_SIZE,
        },
        align=True,
    )


class Fields:
    """An op's fields while it is laid out, all 0 at first: plain attributes, under the names of its record and no others.

    To look at a field of a NumPy record takes 0.8 us, to assign one 1.2, some 400 times for a `fit` of the disc network.
    """

    def __init__(self, record: np.dtype):
        self.__dict__.update(_blank(record))

    def changed(self, **values: int) -> Fields:
        """Another one with the same values but for these."""
        other = object.__new__(Fields)
        other.__dict__.update(self.__dict__ | values)
        return other

    def integers(self, record: np.dtype) -> list[int]:
        """The record as integers, as wide as all ops are."""
        values = list(self.__dict__.values())
        if len(values) != len(_blank(record)):
            wrong = sorted(self.__dict__.keys() - _blank(record).keys())
            raise AttributeError(f"no field of the op: {', '.join(wrong)}")
        for place in _floats(record):
            values[place] = np.float64(values[place]).view(np.int64)
        return values + [0] * (OP_SIZE - len(values))


@cache
def _blank(record: np.dtype) -> dict[str, int]:
    return dict.fromkeys(record.names or (), 0)


@cache
def _floats(record: np.dtype) -> list[int]:
    return [place for place, name in enumerate(record.names or ()) if record[name] == np.float64]


class Memory:
    """Hands out parts of a workspace, each beginning on a line, and says what the workspace is for."""

    def __init__(self, dtype: np.dtype, batch: int, threads: int, *, backward: bool, gradients: bool = True):
        self.dtype, self.batch, self.threads, self.backward = dtype, batch, threads, backward
        #: Whether gradients of parameters are formed; else a way back is for one call, and prepares nothing.
        self.gradients = backward and gradients
        #: Whether threads keep their rows of the batch, and have what they write apart: steps are relays (blocks/relay.py).
        self.relays = False
        #: Whether each thread has transposed copies of the weights for itself.
        self.copies = False
        self.apart = 0  # entries between two threads' parts
        self.lanes = lanes_per_line(dtype)
        self.size = self.scratch_size = self.integers = 0
        self.values: list[tuple[int, tuple[float, ...]]] = []  # to be written at these offsets
        self._shared: dict[str, int] = {}

    def take(self, size: int) -> int:
        """The offset of `size` entries."""
        start = self.size
        self.size += whole_lines(int(size), self.dtype)
        return start

    def shared(self, name: str, size: int) -> int:
        """The offset of `size` entries that several ops have together, under a name."""
        if name not in self._shared:
            self._shared[name] = self.take(size)
        return self._shared[name]

    def take_values(self, values: tuple[float, ...]) -> int:
        """The offset of some constants."""
        start = self.take(len(values))
        self.values.append((start, values))
        return start

    def take_integers(self, size: int) -> int:
        """The offset of `size` entries of the workspace of integers."""
        start = self.integers
        self.integers += -(-size // 8) * 8
        return start

    def want_scratch(self, size: int) -> None:
        """Have at least so much scratch memory for each thread."""
        self.scratch_size = max(self.scratch_size, whole_lines(int(size), self.dtype))


class Op:
    """An entry of a program before any memory is laid out for it: a block, widths, and what the laying out has to know."""

    block: Block
    #: Where a batch of one row has a block of its own; of the same record.
    row_block: Block | None = None
    #: What does some columns of a few rows, in FORWARD_COLUMNS; None where the op is no product.
    columns_block: Block | None = None
    #: Where threads share its columns for more rows than a few, the block that does so; of the same record.
    wide_block: Block | None = None
    #: Where steps are relays, the block for them; of the same record.
    relay_block: Block | None = None
    #: Where programs that take derivatives, and form no gradients, have a block of their own; of the same record.
    derivative_block: Block | None = None
    name = ""
    #: Whether it has its `wide_block`.
    wide = False
    #: What its way back reads: the input and the output, as they were on the way forward.
    reads_x_backward = False
    reads_y_backward = False
    #: Whether the output may lie where the input lay, and the delta of the input where that of the output lies.
    in_place = False
    #: Whether its output is its input, untouched, which somebody else reads, too: so the next op may not overwrite it.
    keeps_output = False
    #: Whether all that it does is done row by row, and nothing depends on which rows are taken together.
    by_rows = False
    has_parameters = False  # that are trained
    #: Where they begin; -1: there is none.
    weight = bias = -1
    #: What counts its training steps: an object and the name of a number of its; the field `count` of the record gets it.
    counter: tuple[Any, str] | None = None
    #: Of a loss: it fills in the losses of the rows.
    gives_losses = False
    #: Of an optimizer: how many scalars it reads for each step, and the first of them.
    scalars = first_scalar = 0
    #: Whether the matrix of its derivatives is: then the way back of a delta is the way forward of a derivative, too.
    symmetric = False
    #: Flops for each row on the way forward, where they count.
    flops = 0
    #: Where it is max(x, floor) of each number: what an op before it may absorb.
    floor: float | None = None

    def __init__(self, width_in: int, width_out: int):
        self.width_in, self.width_out = width_in, width_out

    def absorb(self, following: Op) -> bool:
        """Take over what the following op does, if that is cheaper; else return False."""
        return False

    def row_block_with(self, update: Op) -> Block | None:
        """For a batch of one row: a block that applies the formula of an optimizer's op to its parameters itself, if any.

        Its record has a field `scalars`: where those of the optimizer are.
        """
        return None

    def relays(self, dtype: np.dtype) -> bool:
        """Whether a step with it may be a relay."""
        return self.by_rows

    def places(self) -> list[int]:
        """Where its parameters begin."""
        return [place for place in (self.weight, self.bias) if place >= 0]

    def evaluated(self) -> list[Op]:
        """What stands in its place in evaluation mode."""
        return [self]

    def tangent(self, record: Any) -> list[tuple[dict[str, int], int]] | None:
        """How derivatives go forward, from where the delta of the input lies to where that of the output does.

        Calls of its block: a task each, and what is different in the record. None: not possible.
        """
        return [({"dx": record.dy, "dy": record.dx}, BACKWARD)] if self.symmetric else None

    def costs(self, lanes: int) -> tuple[int, float] | None:
        """Vectors of multiply-adds: of a row, features along the vectors, and of a vector of rows. None: not possible."""
        return 0, 0.0

    def tasks(self, record: Any) -> set[int]:
        """What its block can be asked for."""
        return {FORWARD, FORWARD_FEATURE_MAJOR} | ({BACKWARD} if record.dx >= 0 else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        """Fill in the fields of the block; the header has been."""

    def __repr__(self) -> str:
        return self.name
