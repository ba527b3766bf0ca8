"""Which networks the engine runs. What they are lowered to: tests/test_program.py."""

from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, make_net

import fastmlp as fm
from fastmlp.modules.lowering import lower, try_lower
from fastmlp.program import Program


class Written(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class OwnArithmetic(fm.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class OwnName(fm.ReLU):
    pass


def test_modules_in_python_are_not_lowered():
    for module in (Written(), OwnArithmetic(), fm.Sequential(fm.Linear(2, 2), Written())):
        assert try_lower(fm.Sequential(fm.Linear(2, 2), module), 2, np.dtype(np.float32)) is None


def test_subclass_without_arithmetic_is_lowered():
    program = Program(2, np.dtype(np.float32))
    lower(OwnName(), program)
    assert len(program.lay_out(1).ops) == 1


def test_lowering_changes_nothing(dtype):
    model = make_net([2, 5, 2], dtype=dtype)
    before = model.storage.data.copy()
    try_lower(model, 2, dtype)
    assert_same_bits(model.storage.data, before)
