"""Section: the matrix kernel, called inside compiled code, against the peak of one core."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numba
import numpy as np

from fastmlp.kernels.compiler.jit import FLAGS
from fastmlp.kernels.layout import row_stride, zeros
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul

from .machine import FLOPS, burn
from .rounds import Contender, take_turns
from .setting import Setting, note

__all__ = ["CAPTION", "TITLE", "rows"]

TITLE = "Matrix kernel"
CAPTION = """\
C = bias + A B in float32 on one core, called in a compiled loop; the peak of fused multiply-adds is measured in turns with
it."""

#: Rows and columns of C, and the length of the sums. 64 rows are what a thread takes through the layers at a time.
SIZES = [(512, 512, 784), (64, 512, 784), (32, 32, 32)]


@numba.njit(**FLAGS)
def multiply(count, c, bias, a, b, columns, depth):
    """``c = bias + a b``, `count` times."""
    for _ in range(count):
        matmul(c, bias, SAME, a, a.shape[1], ADJACENT, b, columns, depth)


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    yield ["size", "GFLOP/s", "of the peak"]
    rng = np.random.default_rng(0)
    for size in SIZES:
        name = "×".join(map(str, size))
        note(f"matrix kernel, {name}")
        height, width, depth = size
        a, b, bias, c = (_padded(*shape, rng) for shape in ((height, depth), (depth, width), (1, width), (height, width)))
        multiply(1, c, bias, a, b, width, depth)
        expected = bias[0, :width].astype(np.float64) + a[:, :depth].astype(np.float64) @ b[:, :width]
        if not np.allclose(c[:, :width], expected, rtol=1e-4, atol=1e-3):
            sys.exit(f"compare_peers: the matrix kernel is wrong at {name}")
        turns = [
            Contender("kernel", lambda count: multiply(count, c, bias, a, b, width, depth)),  # noqa: B023  (run before the next)
            Contender("peak", burn),
        ]
        times = take_turns(turns, setting.among_ourselves())
        rate, peak = 2 * height * width * depth / times["kernel"] / 1e3, FLOPS / times["peak"] / 1e3
        yield [name, f"{rate:.0f}", f"{rate / peak:.0%}"]


def _padded(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A matrix as fastmlp lays it out: rows padded with zeros."""
    stride = row_stride(width, np.dtype(np.float32))
    array = zeros(height * stride, np.dtype(np.float32)).reshape(height, stride)
    array[:, :width] = rng.standard_normal((height, width))
    return array
