"""A job reads the same from Python and from compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, in_threads, jit, kept_job, linear_op, run_python

from fastmlp.kernels.job import MOMENT, RUN_AT, Job, begin, record_type
from fastmlp.kernels.op import ADDRESSES, HEADER, OP_SIZE, PASS, PHASE, RUN, op_record
from fastmlp.program import Program

# Functions of a test are compiled as they stand, so each record has one that names its fields.


def reader(record, place):
    """A function (job handle, x, y, thread, index, numbers) that writes the fields of a record of the job into `numbers`."""
    lines = [f"    numbers[{i}] = {place}.{name}" for i, name in enumerate(record)]
    source = "def read(handle, x, y, thread, index, numbers):\n    job = begin(handle, x, y, thread)\n" + "\n".join(lines)
    space = {"begin": begin}
    exec(source, space)
    return jit(space["read"])


READERS = {
    "run": (RUN.names, reader(RUN.names, "job.run")),
    "passes": (PASS.names, reader(PASS.names, "job.passes[index]")),
    "phases": (PHASE.names, reader(PHASE.names, "job.phases[index]")),
    "calls": (("op", "task"), reader(("op", "task"), "job.calls[index]")),
    "ops": (HEADER, reader(HEADER, "job.ops[index]")),
}


def example(dtype):
    op, params = linear_op(np.ones((3, 5), dtype), np.ones(5, dtype))
    arrays = {"grads": np.zeros_like(params), "state": np.zeros(7, dtype), "scalars": np.zeros(4, dtype)}
    job = kept_job(Program.both_ways([op], dtype, batch=4), dtype, params=params, **arrays)
    job.x, job.y = np.arange(12, dtype=dtype).reshape(4, 3), np.arange(20, dtype=dtype).reshape(4, 5)
    return job


@pytest.mark.parametrize("name", READERS)
def test_records_read_the_same_from_compiled_code(name, dtype):
    job = example(dtype)
    fields, read = READERS[name]
    records = [job.run] if name == "run" else getattr(job, name)
    assert len(records) == {"run": 1, "passes": 2, "phases": 4, "calls": 8, "ops": 3}[name]
    for value, field in enumerate(fields):  # numbers of their own, all different, where that does no harm
        if name != "run" or not field.endswith("_at"):
            records[-1][field] = 1000 + value
    for index, record in enumerate(records):
        numbers = np.zeros(len(fields), np.int64)
        read(job.handle, job.x, job.y, np.int64(1), index, numbers)
        assert numbers.tolist() == [int(record[field]) for field in fields]


@jit
def first_entries(handle, x, y, thread, found, at):
    job = begin(handle, x, y, thread)
    found[0] = job.params[at]
    found[1] = job.grads[at]
    found[2] = job.state[at]
    found[3] = job.scalars[at]
    found[4] = job.work[at]
    found[5] = job.integers[at]
    found[6] = job.order[at]
    found[7] = job.labels[at]
    found[8] = job.weights[at]
    found[9] = job.sums[at]
    found[10] = job.totals[at]
    found[11] = job.control[at]
    found[12] = job.x[at + 1]
    found[13] = job.y[at + 1]
    found[14] = job.thread
    job.start, job.rows, job.step, job.epoch = 5, 6, 7, 8
    found[15] = job.start + 10 * job.rows + 100 * job.step + 1000 * job.epoch
    job.work[at] = 77
    job.sums[at] += 2
    job.labels[at] = 3


def test_arrays_are_those_of_python(dtype):
    job = example(dtype)
    names = [name for name in ADDRESSES if getattr(job, name).size]
    assert set(names) == set(ADDRESSES)
    for number, name in enumerate(ADDRESSES):
        getattr(job, name)[0] = 100 + number
    found = np.zeros(16)
    first_entries(job.handle, job.x, job.y, np.int64(3), found, 0)
    assert found.tolist() == [*range(100, 112), 1, 1, 3, 5 + 60 + 700 + 8000]
    assert (job.work[0], job.sums[0], job.labels[0]) == (77, 111, 3)
    assert job.thread == 0, "a thread's own numbers are its own"


def test_an_array_that_is_put_in_place_later_counts(dtype):
    job = example(dtype)
    other = np.full(9, 4, dtype)
    job.set(state=other)
    found = np.zeros(16)
    first_entries(job.handle, job.x, job.y, np.int64(0), found, 0)
    assert found[2] == 4
    assert job.table[ADDRESSES.index("state")] == other.ctypes.data
    assert job.state is other


@jit
def places_of(handle, x, y, thread, out):
    job = begin(handle, x, y, thread)
    for _ in range(200):
        job.start = job.thread * 10
        job.rows = job.thread + 1
        out[thread] += job.start + job.rows


def test_each_thread_has_places_of_its_own(dtype):
    job, out = example(dtype), np.zeros(4, np.int64)
    places_of(job.handle, job.x, job.y, np.int64(0), out.copy())
    in_threads(lambda thread: places_of(job.handle, job.x, job.y, np.int64(thread), out), 4)
    assert out.tolist() == [200 * (11 * thread + 1) for thread in range(4)]


def test_the_table_is_one_piece(dtype):
    job = example(dtype)
    run = job.run
    assert len(ADDRESSES) == RUN_AT
    starts = [run.passes_at, run.phases_at, run.calls_at, run.ops_at, job.table.size]
    assert starts[0] == RUN_AT + RUN.itemsize // 8
    parts = [(2, len(PASS.names)), (4, len(PHASE.names)), (8, 2), (3, OP_SIZE)]
    for (count, size), first, last in zip(parts, starts, starts[1:]):
        assert last - first == count * size
    job.run.steps = 41
    assert job.table[RUN_AT] == 41, "records are views"
    again = Job(job.table)
    assert again.run.steps == 41
    assert_same_bits(again.table, job.table)


def test_the_type_of_a_record_has_a_short_name_and_is_one():
    record = op_record(here=np.int64)
    assert record_type(record) is record_type(op_record(here=np.int64))
    assert record_type(record) is not record_type(op_record(there=np.int64))
    assert record_type(record).name != record_type(op_record(there=np.int64)).name
    assert len(record_type(RUN).name) < 20


def test_names_of_records_are_the_same_in_every_process():
    """They are part of the key in the cache."""
    code = "from fastmlp.kernels.job import record_type; from fastmlp.kernels.op import RUN; print(record_type(RUN).name)"
    assert run_python(code).strip() == record_type(RUN).name


def test_moments_are_no_arrays():
    assert not set(MOMENT) & {*ADDRESSES, "x", "y"}
