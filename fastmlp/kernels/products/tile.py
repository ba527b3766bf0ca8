"""The register tile: a few rows by a few vectors of C = max(floor, init + A B), emitted as LLVM vector IR.

All sums of a tile live in vector registers from the first product to the last: each entry of C is one chain of fused
multiply-adds over k, in order, whatever tile it falls into. So a product does not depend on how its rows are split
between tiles or threads.

Tiles below each other are one call: with AVX2, where a tile is small, 100 rows of 2 x 16 took 290 ns, so 172 (Zen 3).

The floor is minus infinity, or 0 for a ReLU, which costs next to nothing while the sums are in registers; as a pass of its
own, 75 vectors take 180 cycles beside a product of 2100. NaN stays NaN.

The layout of the sums follows K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS
34(3), 2008, section 4.2.3, without packing: rows that are whole lines, an odd number of them where they are long, need none.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, opaque, splat
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, REGISTERS, TILE_ROWS, TILE_VECTORS
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.products.prefetch import LEVEL_1, emit_prefetch

__all__ = ["EDGE_ROWS", "HALVES", "TILE_ROWS", "tile"]

#: Rows of the tile for what is left below TILE_ROWS. An odd last row runs as two equal ones (all row strides zero).
EDGE_ROWS = 2

#: Whether there is a tile of half a vector, for the few outputs of a last layer. A Zen 4 begins one multiply-add of 512 bits a
#: cycle, and two of 256: a layer with at most 8 outputs takes 5 cycles for 8 rows and an input instead of 8, and a step of
#: 20-100-1 on 200 rows 27.6 us instead of 30.2 (47.0 instead of 49.4 in float64).
HALVES = REGISTER_BYTES == 64

#: Whether LLVM may take two turns of the loop over k at once. With 16 registers numbers are kept on the stack then, 8 cycles a
#: tile: 100 rows of 25 x 16 took 1230 ns, one turn at a time 1005; all tiles in one call 1070, or 905 where the loop begins
#: with a line of code (Zen 3).
UNROLLS = REGISTERS > 16

#: So many turns of the loop over k are written out where LLVM takes one at a time, each behind the other, with one addition for
#: B and one for A: 21.5 instructions for twelve multiply-adds instead of 25, of which two ask for B. Twelve take six cycles,
#: in which a core could begin 36 instructions; but where somebody else has its other thread, as often on a virtual machine, it
#: begins about 18. There 128 x 784 x 24 ran at 66 GFLOP/s, at 83 with four turns; alone at 100 and 101 (Zen 3).
TURNS = 1 if UNROLLS else 4

#: How wide a tile may be, in halves of a vector; and a number above these.
WIDTHS = (*((1,) if HALVES else ()), *range(2, 2 * TILE_VECTORS + 1, 2))
WIDER = 2 * TILE_VECTORS + 1

#: How many rows of B ahead a tile ask for. No prefetcher of the processor follows rows of a kibibyte and more, and a weight
#: that another core has just updated is far away: 64-256-256-10 at batch 128 on two threads 370 to 343 us, 784-512-512-10 on
#: one 4100 to 3920. Between 8 and 24 rows make no difference; asking for A as well makes none.
PREFETCH_ROWS = 12

INT, POINTER = ir.IntType(64), ir.PointerType()


class _Emitter:
    """Writes one tile as an LLVM function of the module; every caller in the module shares it."""

    def __init__(self, module: ir.Module, scalar: ir.Type, itemsize: int, rows: int, halves: int):
        self.align, self.scalar = itemsize, scalar
        self.half = halves == 1
        self.lanes = REGISTER_BYTES // itemsize // (2 if self.half else 1)
        self.vector = ir.VectorType(scalar, self.lanes)
        self.rows, self.vectors = rows, 1 if self.half else halves // 2
        self.fma = fused_multiply_add(module, self.vector, itemsize)
        matrices = [POINTER, INT, POINTER, INT, INT, POINTER, INT, INT, POINTER, INT]
        signature = ir.FunctionType(ir.VoidType(), [*matrices, INT, INT, scalar, INT])
        name = f"fastmlp_tile_{rows}x{halves}_f{8 * itemsize}"
        self.function = cgutils.get_or_insert_function(module, signature, name)
        if self.function.is_declaration:
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")  # one copy of the code, not one for each of its callers
            self._emit()

    def _at(self, builder, pointer, index):
        """The address of the entry `index` after one."""
        return builder.gep(pointer, [index], source_etype=self.scalar)

    def _load(self, builder, pointer):
        return builder.load(pointer, align=self.align, typ=self.vector)

    def _row(self, builder, pointer, stride, row):
        """The address of each vector of a row."""
        start = self._at(builder, pointer, builder.mul(stride, INT(row)))
        return [self._at(builder, start, INT(v * self.lanes)) for v in range(self.vectors)]

    def _first_of_each_line(self):
        """Vectors of a row that bring in all of its lines, wherever the first one begins: the last vector among them."""
        return sorted({*range(0, self.vectors, max(1, LINE_BYTES // REGISTER_BYTES)), self.vectors - 1})

    def _emit(self):
        c, c_row, init, init_row, init_n, a, a_row, a_k, b, b_row, depth, ask, floor, tiles = self.function.args
        names = ("entry", "begin", "one_for_a_row", "one_each", "end")
        entry, begin, one_for_a_row, one_each, end = map(self.function.append_basic_block, names)
        rows = range(self.rows)

        builder = ir.IRBuilder(entry)
        far = builder.mul(b_row, INT(PREFETCH_ROWS))
        a_offsets = [builder.mul(a_row, INT(r)) for r in rows]
        if self.half:  # LLVM would add one up from the other, a chain of as many additions as rows, and 8 cycles instead of 5
            a_offsets = [opaque(builder, offset) for offset in a_offsets]
        silent = builder.select(builder.icmp_signed("==", ask, INT(0)), builder.sub(depth, INT(TURNS - 1)), INT(0))
        least = splat(builder, floor, self.lanes)
        builder.branch(begin)

        builder = ir.IRBuilder(begin)
        tile_of = [(builder.phi(POINTER), first, row) for first, row in ((c, c_row), (init, init_row), (a, a_row))]
        (c, _, _), (init, _, _), (a, _, _) = tile_of
        left = builder.phi(INT)
        left.add_incoming(tiles, entry)
        builder.cbranch(builder.icmp_signed("==", init_n, INT(0)), one_for_a_row, one_each)

        builder = ir.IRBuilder(one_for_a_row)
        spread = []
        for r in rows:
            place = self._at(builder, init, builder.mul(init_row, INT(r)))
            spread.append([splat(builder, builder.load(place, typ=self.scalar), self.lanes)] * self.vectors)

        builder = ir.IRBuilder(one_each)
        start = [[self._load(builder, p) for p in self._row(builder, init, init_row, r)] for r in rows]

        came = [(one_for_a_row, (INT(0), a, b, spread)), (one_each, (INT(0), a, b, start))]
        if TURNS > 1 and self.rows > EDGE_ROWS:
            came = [self._loop(came, TURNS, silent, a_offsets, a_k, b_row, None)]
        leave, (_, _, _, sums) = self._loop(came, 1, depth, a_offsets, a_k, b_row, far if self.rows > EDGE_ROWS else None)

        builder = ir.IRBuilder(leave)
        for r in rows:
            for pointer, total in zip(self._row(builder, c, c_row, r), sums[r]):
                kept = builder.select(builder.fcmp_ordered(">", least, total), least, total)
                if self.half:  # beyond it zeros: nobody is to find there what was before
                    places = ir.Constant(ir.VectorType(ir.IntType(32), 2 * self.lanes), list(range(2 * self.lanes)))
                    kept = builder.shuffle_vector(kept, ir.Constant(self.vector, None), places)
                builder.store(kept, pointer, align=self.align)
        for phi, first, row in tile_of:
            phi.add_incoming(first, entry)
            phi.add_incoming(self._at(builder, phi, builder.mul(row, INT(self.rows))), leave)
        others = builder.sub(left, INT(1))
        left.add_incoming(others, leave)
        builder.cbranch(builder.icmp_signed(">", others, INT(0)), begin, end)
        ir.IRBuilder(end).ret_void()

    def _loop(self, came, turns, limit, a_offsets, a_k, b_row, far):
        """A loop over k, so many turns at a time, while it is below a limit; `far` where it asks for B.

        Each block that it comes from has k, where A and B are read, and the sums; so has the block behind it: what is returned.
        """
        test, body, behind = map(self.function.append_basic_block, ("test", "body", "behind"))
        builder = ir.IRBuilder(test)
        k, a, b = builder.phi(INT), builder.phi(POINTER), builder.phi(POINTER)
        sums = [[builder.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        phis = [k, a, b, *chain.from_iterable(sums)]
        builder.cbranch(builder.icmp_signed("<", k, limit), body, behind)
        for block, (first_k, first_a, first_b, first_sums) in came:
            ir.IRBuilder(block).branch(test)
            for phi, first in zip(phis, [first_k, first_a, first_b, *chain.from_iterable(first_sums)]):
                phi.add_incoming(first, block)

        builder = ir.IRBuilder(body)
        a_now, b_now, added = a, b, sums
        for _ in range(turns):
            if far is not None:
                ahead = self._at(builder, b_now, far)
                for v in self._first_of_each_line():
                    emit_prefetch(builder, self._at(builder, ahead, INT(v * self.lanes)), LEVEL_1)
            line = [self._load(builder, self._at(builder, b_now, INT(v * self.lanes))) for v in range(self.vectors)]
            before, added = added, []
            for r in range(self.rows):
                factor = splat(builder, builder.load(self._at(builder, a_now, a_offsets[r]), typ=self.scalar), self.lanes)
                added.append([builder.call(self.fma, [factor, vector, total]) for vector, total in zip(line, before[r])])
            a_now, b_now = self._at(builder, a_now, a_k), self._at(builder, b_now, b_row)
            if turns > 1:  # else LLVM would load for several turns at once, for which there are no registers
                a_now, b_now = opaque(builder, a_now), opaque(builder, b_now)
                builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True), [])
        end = builder.add(k, INT(turns))
        back = builder.branch(test)
        if self.half or not UNROLLS:  # of half a vector two turns would want more registers for offsets than there are
            self._keep_loop(builder.module, back)
        for phi, following in zip(phis, [end, a_now, b_now, *chain.from_iterable(added)]):
            phi.add_incoming(following, body)
        return behind, (k, a, b, sums)

    def _keep_loop(self, module, back):
        """One turn at a time, and from the beginning of a line of code on: see `UNROLLS`."""
        once = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        align = module.add_metadata([ir.MetaDataString(module, "llvm.loop.align"), ir.IntType(32)(LINE_BYTES)])
        loop = module.add_metadata([once, align, INT(self.rows)])
        loop.operands = (loop, once, align)  # a loop is known by a node that begins with itself
        back.set_metadata("llvm.loop", loop)


@intrinsic
def _tile(
    typingctx,
    rows,
    halves,
    c,
    c_at,
    c_row,
    init,
    init_at,
    init_row,
    init_n,
    a,
    a_at,
    a_row,
    a_k,
    b,
    b_at,
    b_row,
    depth,
    ask,
    floor,
    tiles,
):
    n = types.intp
    signature = types.void(n, n, c, n, n, init, n, n, n, a, n, n, n, b, n, n, n, n, c.dtype, n)

    def codegen(context, builder, signature, args):
        chosen, dtype = args[:2], signature.args[2].dtype
        scalar = context.get_data_type(dtype)
        arrays = {2: 3, 5: 6, 9: 10, 13: 14}  # position of an array -> position of the offset into it
        flat = []
        for position, value in enumerate(args[2:], start=2):
            if position in arrays:
                data = context.make_array(signature.args[position])(context, builder, value).data
                flat.append(builder.gep(data, [args[arrays[position]]], source_etype=scalar))
            elif position not in arrays.values():
                flat.append(value)
        behind = builder.append_basic_block("behind")
        choice = builder.switch(builder.add(builder.mul(chosen[0], INT(WIDER)), chosen[1]), behind)
        for height in (EDGE_ROWS, TILE_ROWS):
            for width in WIDTHS:
                function = _Emitter(builder.module, scalar, dtype.bitwidth // 8, height, width).function
                here = builder.append_basic_block(f"tile_{height}x{width}")
                choice.add_case(INT(height * WIDER + width), here)
                builder.position_at_end(here)
                builder.call(function, flat)
                builder.branch(behind)
        builder.position_at_end(behind)
        return context.get_dummy_value()

    return signature, codegen


@instead(_tile)
def tile(
    rows, halves, c, c_at, c_row, init, init_at, init_row, init_n, a, a_at, a_row, a_k, b, b_at, b_row, depth, ask, floor, tiles
):
    """C = max(floor, init + A B) for so many tiles, below each other, of TILE_ROWS or EDGE_ROWS rows by one of WIDTHS.

    Each matrix is an array, where in it the tile begins, and its strides. `init_n` is 1, or 0 where the entries of a row of
    init are all the same one. `ask` is 1 where what is read of B is not in the first-level cache.
    """
    c, init, a, b = c.reshape(-1), init.reshape(-1), a.reshape(-1), b.reshape(-1)
    width = halves * (REGISTER_BYTES // 2 // c.itemsize)
    total = [init[init_at + r * init_row + init_n * np.arange(width)] for r in range(tiles * rows)]
    for k in range(depth):
        line = b[b_at + k * b_row : b_at + k * b_row + width]
        for r in range(tiles * rows):
            total[r] += a[a_at + r * a_row + k * a_k] * line
    for r in range(tiles * rows):
        c[c_at + r * c_row : c_at + r * c_row + width] = np.where(floor > total[r], floor, total[r])
        if halves == 1:
            c[c_at + r * c_row + width : c_at + r * c_row + 2 * width] = 0
