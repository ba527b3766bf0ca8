from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels.op import HEADER, OP_SIZE, Fields, op_record


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
