"""What the processor can do: multiply-adds on registers, the same for every commit. The report divides by it."""

from __future__ import annotations

from functools import cache

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .setting import Timed, kernel, pin, together
from .workloads import PEAK_FLOPS

CHAINS = 12  # independent sums: more than latency times throughput of any core


@cache
def burner(lanes: int):
    """A function that does so many rounds of 2 * lanes * CHAINS flops in float32, on registers; compiled.

    No chain may begin at its fixed point, here 1: LLVM sees that it stays there and leaves the chain out.
    """

    @intrinsic
    def loop(typingctx, count):
        def codegen(context, builder, signature, args):
            vector = ir.VectorType(ir.FloatType(), lanes)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f32"
            )
            sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [float(i + 2)] * lanes)) for i in range(CHAINS)]
            factor = ir.Constant(vector, [0.5] * lanes)
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
        return loop(count)

    burn(1)
    return burn


class FusedMultiplyAdds(Timed):
    """4 GFLOP of float32 multiply-adds on each thread, all at once."""

    params = ([1, 2],)
    param_names = ("threads",)

    def setup(self, threads):
        pin(threads)
        lanes = kernel("processor.REGISTER_BYTES") // 4
        self.burn, self.count = burner(lanes), PEAK_FLOPS // (2 * lanes * CHAINS)

    def time_4_gigaflop(self, threads):
        together(lambda: self.burn(self.count), threads)
