from __future__ import annotations

import pytest
from helpers import run_python

from fastmlp.kernels.compiler import processor


def test_tile_fits_the_registers():
    assert processor.REGISTER_BYTES in (16, 32, 64)
    sums = processor.TILE_ROWS * processor.TILE_VECTORS
    assert sums + processor.TILE_VECTORS + 1 <= processor.REGISTERS


@pytest.mark.once
def test_registers_follow_the_features_numba_compiles_for():
    for features, expected in {"+avx512f": (64, 32), "+avx,+avx2": (32, 16), "+sse2": (16, 16)}.items():
        assert processor._registers("x86_64-unknown-linux-gnu", features) == expected


@pytest.mark.once
def test_registers_of_arm_are_neon():
    assert processor._registers("aarch64-apple-darwin", "+neon,+fp-armv8") == (16, 32)


@pytest.mark.once  # it sets processor and mode itself
def test_narrow_registers_give_the_same_to_rounding(tmp_path):
    code = """
import os, sys
os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = "generic", "+sse2"
os.environ["NUMBA_DISABLE_JIT"] = "1"
from fastmlp.kernels.compiler import processor
assert processor.FEATURES == "+sse2"
assert processor.REGISTER_BYTES == 16, processor.REGISTER_BYTES
import numpy as np, fastmlp as fm
layer = fm.Linear(5, 19, rng=0, dtype=np.float64)
x = np.random.default_rng(0).standard_normal((9, 5))
expected = x @ layer.weight.data.T + layer.bias.data
assert np.abs(layer(x) - expected).max() < 1e-14
dy = np.ones((9, 19))
assert np.abs(layer.backward(dy) - dy @ layer.weight.data).max() < 1e-13
assert np.abs(layer.weight.grad - dy.T @ x).max() < 1e-13
"""
    if not processor.TRIPLE.startswith("x86_64"):
        pytest.skip("these are features of x86")
    run_python(code)
