"""What the processor can do: its name, and its peak of fused multiply-adds."""

from __future__ import annotations

import os
import platform
import threading
import time
from pathlib import Path

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.processor import REGISTER_BYTES

__all__ = ["FLOPS", "burn", "cores", "fma_peak", "processor_name"]

LANES = REGISTER_BYTES // 4
CHAINS = 12  # independent sums: more than latency times throughput of any core
FLOPS = 2 * LANES * CHAINS  # of one round of the loop below


@intrinsic
def _fma_loop(typingctx, count):
    """`count` rounds of CHAINS float32 vector multiply-adds that wait for nothing but themselves.

    No chain may begin at its fixed point, here 1: LLVM sees that it stays there and leaves the chain out.
    """

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.FloatType(), LANES)
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}f32")
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [float(i + 2)] * LANES)) for i in range(CHAINS)]
        factor = ir.Constant(vector, [0.5] * LANES)
        with cgutils.for_range(builder, args[0]):
            for place in sums:
                builder.store(builder.call(fma, [builder.load(place), factor, factor]), place)
        total = builder.load(sums[0])
        for place in sums[1:]:
            total = builder.fadd(total, builder.load(place))
        return builder.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.intp), codegen


@numba.njit(nogil=True)
def burn(count):
    """`count` rounds of FLOPS flops on registers."""
    return _fma_loop(count)


def fma_peak(threads: int = 1, seconds: float = 1.0) -> float:
    """GFLOP/s of fused multiply-adds on registers, on `threads` threads at once; the best within `seconds`."""
    burn(1)
    count = 20_000_000 // CHAINS

    def once() -> float:
        workers = [threading.Thread(target=burn, args=(count,)) for _ in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return FLOPS * count * threads / (time.perf_counter() - began) / 1e9

    began, best = time.perf_counter(), 0.0
    while time.perf_counter() - began < seconds:
        best = max(best, once())
    return best


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
