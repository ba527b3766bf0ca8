"""The records that a program is made of, and the memory that is handed out for them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import lanes
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.kernels import op as module
from fastmlp.kernels.op import (
    ADDRESSES,
    CALL,
    HEADER,
    OP_SIZE,
    PASS,
    PHASE,
    RUN,
    TASKS,
    UNIT,
    Fields,
    Memory,
    Op,
    op_record,
)


def test_records_are_integers_side_by_side():
    for record in (RUN, PASS, PHASE, CALL):
        names = record.names
        assert len(set(names)) == len(names)
        assert [record.fields[name] for name in names] == [(np.dtype(np.int64), 8 * i) for i in range(len(names))]
        assert record.itemsize == 8 * len(names)


def test_tasks_are_numbered_in_their_order():
    assert [getattr(module, name) for name in TASKS] == list(range(len(TASKS)))


def test_an_op_is_the_header_and_the_fields_of_its_block():
    record = op_record(length=np.int64, slope=np.float64)
    assert record.names == (*HEADER, "length", "slope")
    assert record.itemsize == 8 * OP_SIZE
    assert record.fields["length"] == (np.dtype(np.int64), 8 * len(HEADER))
    assert record.fields["slope"] == (np.dtype(np.float64), 8 * len(HEADER) + 8)
    assert record.names[0] == "block", "which a call by address reads"


def test_an_op_has_room_for_so_many_fields():
    room = OP_SIZE - len(HEADER)
    full = op_record(**{f"f{i}": np.int64 for i in range(room)})
    assert full.fields[f"f{room - 1}"][1] == 8 * (OP_SIZE - 1)
    with pytest.raises(ValueError, match=f"room for {room} fields of its block; got {room + 1}"):
        op_record(**{f"f{i}": np.int64 for i in range(room + 1)})


def test_a_field_has_a_name_of_its_own():
    """As an attribute of a record, `size` is NumPy's in plain Python, and would be the field when compiled."""
    for name in ("size", "shape", "data", "max", "T", "width_in", "block"):
        with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
            op_record(**{name: np.int64})
    for record in (RUN, PASS, PHASE, CALL, op_record()):
        assert not [name for name in record.names if hasattr(np.record, name)]


def test_addresses_come_first_and_once():
    assert len(set(ADDRESSES)) == len(ADDRESSES)
    assert not set(ADDRESSES) & {"x", "y"}, "these come with each call"


def test_rows_of_a_weight_that_go_together_are_a_line_of_its_transposed_copy():
    assert int(UNIT) % lanes(np.float32) == 0
    assert int(UNIT) % lanes(np.float64) == 0


sizes = st.lists(st.tuples(st.sampled_from(["take", "values", "integers", "scratch"]), st.integers(0, 100)), max_size=20)


@given(sizes, st.sampled_from([np.float32, np.float64]))
def test_memory_is_handed_out_on_lines_and_once(asked, dtype):
    memory = Memory(np.dtype(dtype), batch=8, threads=2, backward=True)
    parts, integers, scratch, values = [], [], 0, {}
    for kind, size in asked:
        if kind == "take":
            parts.append((memory.take(size), size))
        elif kind == "values":
            numbers = tuple(float(i) for i in range(size))
            start = memory.take_values(numbers)
            parts.append((start, size))
            values[start] = numbers if size else values.get(start, ())
        elif kind == "integers":
            integers.append((memory.take_integers(size), size))
        else:
            memory.want_scratch(size)
            scratch = max(scratch, size)
    for taken, end, line in ((parts, memory.size, lanes(dtype)), (integers, memory.integers, 8)):
        assert all(start % line == 0 for start, _ in taken)
        assert all(start + size <= following for (start, size), (following, _) in pairwise(taken))
        assert not taken or taken[-1][0] + taken[-1][1] <= end
    assert scratch <= memory.scratch_size < scratch + lanes(dtype)
    assert memory.scratch_size % lanes(dtype) == 0
    assert {start: numbers for start, numbers in memory.values if numbers} == {k: v for k, v in values.items() if v}


def test_an_op_that_says_nothing_goes_forward_and_back_where_a_delta_is_wanted():
    op = Op(3, 5)
    record = np.zeros(1, np.dtype((np.record, op_record())))[0]
    record.dx = -1
    assert op.tasks(record) == {module.FORWARD, module.FORWARD_FEATURE_MAJOR}
    record.dx = 0
    assert op.tasks(record) == {module.FORWARD, module.FORWARD_FEATURE_MAJOR, module.BACKWARD}
    assert not op.absorb(Op(5, 5))
    assert op.costs(8) == (0, 0.0)
    assert (op.width_in, op.width_out, op.flops) == (3, 5, 0)


def test_fields_become_the_integers_of_their_record():
    record = op_record(first=np.int64, factor=np.float64, last=np.int64)
    fields = Fields(record)
    assert set(fields.integers(record)) == {0}
    fields.x_stride, fields.first, fields.factor, fields.last = 7, -1, 0.1, np.int64(2**40)
    integers = np.array(fields.integers(record), np.int64)
    assert integers.size == OP_SIZE
    read = integers.view(record)[0]
    assert (read["x_stride"], read["first"], read["factor"], read["last"]) == (7, -1, 0.1, 2**40)
    assert sum(read[name] for name in HEADER) == 7


def test_a_name_that_is_no_field_is_an_error():
    record = op_record(first=np.int64)
    fields = Fields(record)
    fields.frist = 1
    with pytest.raises(AttributeError, match="frist"):
        fields.integers(record)
