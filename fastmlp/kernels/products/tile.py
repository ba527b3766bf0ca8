"""The register tile: a few rows by a few vectors of C = max(floor, init + A B), emitted as LLVM vector IR.

All sums of a tile live in vector registers from the first product to the last: each entry of C is one chain of fused
multiply-adds over k, in order, whatever tile it falls into. So a product does not depend on how its rows are split
between tiles or threads.

Tiles below each other are one call: with AVX2, where a tile is small, 100 rows of 2 x 16 took 290 ns, so 172 (Zen 3).

Between two tiles the processor goes on multiplying as long as its window holds the instructions in between, some 200 of them.
So a tile precomputes next to nothing, and what keeps each row's address in a register or on the stack is spelt out as a chain
of additions: 10 rows of 25 x 25 took 179 ns, so 163, with fewer instructions around tiles too (:mod:`.matmul`) 150 (Zen 4).

The floor is 0 for a ReLU, which costs next to nothing while the sums are in registers; as a pass of its own, 75 vectors take
180 cycles beside a product of 2100. NaN stays NaN. Without one it is minus infinity, and passed over: the units that multiply
would take the maximum as well, a gradient of 24 x 25 over 10 rows 163 ns instead of 156 (Zen 4).

The layout of the sums follows K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS
34(3), 2008, section 4.2.3, without packing: rows that are whole lines, an odd number of them where they are long, need none.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, opaque, own_function, splat
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import data_of
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

#: So many turns of the loop over k are written out, each behind the other. LLVM is to take one at a time: with 16 registers it
#: would keep numbers on the stack where it takes two, 8 cycles a tile. And the loop begins with a line of code, or 100 rows of
#: 25 x 16 take 1070 ns instead of 905 (Zen 3), of 25 x 25 1510 instead of 1450 (Zen 4).
#:
#: Four turns with one addition for B and one for A are 21.5 instructions for twelve multiply-adds instead of 25, of which two
#: ask for B. Twelve take six cycles, in which a core could begin 36 instructions; but where somebody else has its other thread,
#: as often on a virtual machine, it begins about 18. There 128 x 784 x 24 ran at 66 GFLOP/s, at 83 with four turns; alone at
#: 100 and 101 (Zen 3). A tile of eight rows has the time.
TURNS = 1 if REGISTERS > 16 else 4

#: How wide a tile may be, in halves of a vector.
WIDTHS = (*((1,) if HALVES else ()), *range(2, 2 * TILE_VECTORS + 1, 2))

#: How many rows of B ahead a tile ask for. No prefetcher of the processor follows rows of a kibibyte and more, and a weight
#: that another core has just updated is far away: 64-256-256-10 at batch 128 on two threads 370 to 343 us, 784-512-512-10 on
#: one 4100 to 3920. Between 8 and 24 rows make no difference; asking for A as well makes none.
PREFETCH_ROWS = 12

INT, POINTER = ir.IntType(64), ir.PointerType()


def _kinds(scalar: ir.Type) -> list[ir.Type]:
    """What a tile takes: of C, init, A and B where they begin and strides, the depth, whether to ask, the floor, how many."""
    return [POINTER, INT, POINTER, INT, INT, POINTER, INT, INT, POINTER, INT, INT, INT, scalar, INT]


class _Emitter:
    """Writes one tile as an LLVM function of the module."""

    def __init__(self, module: ir.Module, scalar: ir.Type, itemsize: int, rows: int, halves: int):
        self.align, self.scalar = itemsize, scalar
        self.half = halves == 1
        self.lanes = REGISTER_BYTES // itemsize // (2 if self.half else 1)
        self.vector = ir.VectorType(scalar, self.lanes)
        self.rows, self.vectors = rows, 1 if self.half else halves // 2
        self.fma = fused_multiply_add(module, self.vector, itemsize)
        name = f"fastmlp_tile_{rows}x{halves}_f{8 * itemsize}"
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), _kinds(scalar)), name)
        self.function.attributes.add("noinline")  # one copy of the code, not one for each of its callers
        self._emit()

    def _at(self, builder, pointer, index):
        """The address of the entry `index` after one."""
        return builder.gep(pointer, [index], source_etype=self.scalar)

    def _load(self, builder, pointer):
        return builder.load(pointer, align=self.align, typ=self.vector)

    def _rows(self, builder, pointer, stride):
        """The address of each row, and of the one below: each from the one before, or LLVM keeps multiples of the stride."""
        starts = [pointer]
        for _ in range(self.rows):
            starts.append(opaque(builder, self._at(builder, starts[-1], stride)))
        return starts[:-1], starts[-1]

    def _vectors(self, builder, start):
        """The address of each vector of a row."""
        return [self._at(builder, start, INT(v * self.lanes)) for v in range(self.vectors)]

    def _whole(self, builder, half):
        """A whole vector with zeros beyond this half: nobody is to find there what was before."""
        places = ir.Constant(ir.VectorType(ir.IntType(32), 2 * self.lanes), list(range(2 * self.lanes)))
        return builder.shuffle_vector(half, ir.Constant(self.vector, None), places)

    def _first_of_each_line(self):
        """Vectors of a row that bring in all of its lines, wherever the first one begins: the last vector among them."""
        return sorted({*range(0, self.vectors, max(1, LINE_BYTES // REGISTER_BYTES)), self.vectors - 1})

    def _emit(self):
        first_c, c_row, first_init, init_row, init_n, first_a, a_row, a_k, b, b_row, depth, ask, floor, tiles = (
            self.function.args
        )
        names = ("entry", "begin", "one_for_a_row", "one_each", "limit", "store", "end")
        entry, begin, one_for_a_row, one_each, limit, store, end = map(self.function.append_basic_block, names)

        builder = ir.IRBuilder(entry)
        far = builder.mul(b_row, INT(PREFETCH_ROWS))
        a_rows = [INT(0), a_row, builder.mul(a_row, INT(2)), opaque(builder, builder.mul(a_row, INT(3)))]
        four_below = builder.mul(a_row, INT(4))
        silent = builder.select(builder.icmp_signed("==", ask, INT(0)), builder.sub(depth, INT(TURNS - 1)), INT(0))
        builder.branch(begin)

        builder = ir.IRBuilder(begin)
        (c, init, a), left = (builder.phi(POINTER) for _ in range(3)), builder.phi(INT)
        starts, init_below = self._rows(builder, init, init_row)
        builder.cbranch(builder.icmp_signed("==", init_n, INT(0)), one_for_a_row, one_each)

        builder = ir.IRBuilder(one_for_a_row)
        numbers = [builder.load(start, typ=self.scalar) for start in starts]
        spread = [[splat(builder, number, self.lanes)] * self.vectors for number in numbers]

        builder = ir.IRBuilder(one_each)
        apart = [[self._load(builder, place) for place in self._vectors(builder, start)] for start in starts]

        came = [(one_for_a_row, (INT(0), a, b, spread)), (one_each, (INT(0), a, b, apart))]
        if TURNS > 1 and self.rows > EDGE_ROWS:
            came = [self._loop(came, TURNS, silent, a_rows, four_below, a_k, b_row, None)]
        ask_for = far if self.rows > EDGE_ROWS else None
        leave, (_, _, _, sums) = self._loop(came, 1, depth, a_rows, four_below, a_k, b_row, ask_for)
        builder = ir.IRBuilder(leave)
        builder.cbranch(builder.fcmp_ordered("==", floor, ir.Constant(self.scalar, float("-inf"))), store, limit)

        builder = ir.IRBuilder(limit)
        least = splat(builder, floor, self.lanes)
        limited = [[builder.select(builder.fcmp_ordered(">", least, total), least, total) for total in row] for row in sums]
        builder.branch(store)

        builder = ir.IRBuilder(store)
        kept = [[builder.phi(self.vector) for _ in row] for row in sums]
        for phi, as_is, above in zip(*map(chain.from_iterable, (kept, sums, limited))):
            phi.add_incoming(as_is, leave)
            phi.add_incoming(above, limit)
        starts, c_below = self._rows(builder, c, c_row)
        for start, row in zip(starts, kept):
            for pointer, total in zip(self._vectors(builder, start), row):
                builder.store(self._whole(builder, total) if self.half else total, pointer, align=self.align)
        a_below, others = self._at(builder, a, builder.mul(a_row, INT(self.rows))), builder.sub(left, INT(1))
        firsts, nexts = (first_c, first_init, first_a, tiles), (c_below, init_below, a_below, others)
        for phi, first, following in zip((c, init, a, left), firsts, nexts):
            phi.add_incoming(first, entry)
            phi.add_incoming(following, store)
        builder.cbranch(builder.icmp_signed(">", others, INT(0)), begin, end)
        ir.IRBuilder(end).ret_void()

    def _loop(self, came, turns, limit, a_rows, four_below, a_k, b_row, far):
        """A loop over k, so many turns at a time, while it is below a limit; `far` where it asks for B.

        Rows of A are addressed by fours: one and its next three, at multiples of the stride that an instruction has room for.
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
        a_now, b_now, added = opaque(builder, a), b, sums
        for _ in range(turns):
            if far is not None:
                ahead = self._at(builder, b_now, far)
                for v in self._first_of_each_line():
                    emit_prefetch(builder, self._at(builder, ahead, INT(v * self.lanes)), LEVEL_1)
            line = [self._load(builder, self._at(builder, b_now, INT(v * self.lanes))) for v in range(self.vectors)]
            before, added = added, []
            fours = a_now
            for r in range(self.rows):
                if r > 0 and r % 4 == 0:
                    fours = opaque(builder, self._at(builder, fours, four_below))
                factor = splat(builder, builder.load(self._at(builder, fours, a_rows[r % 4]), typ=self.scalar), self.lanes)
                added.append([builder.call(self.fma, [factor, vector, total]) for vector, total in zip(line, before[r])])
            a_now, b_now = self._at(builder, a_now, a_k), self._at(builder, b_now, b_row)
            if turns > 1:  # else LLVM would load for several turns at once, for which there are no registers
                a_now, b_now = opaque(builder, a_now), opaque(builder, b_now)
                builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True), [])
        end = builder.add(k, INT(turns))
        back = builder.branch(test)
        self._keep_loop(builder.module, back)
        for phi, following in zip(phis, [end, a_now, b_now, *chain.from_iterable(added)]):
            phi.add_incoming(following, body)
        return behind, (k, a, b, sums)

    def _keep_loop(self, module, back):
        """One turn at a time, and from the beginning of a line of code on: see `TURNS`."""
        once = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        align = module.add_metadata([ir.MetaDataString(module, "llvm.loop.align"), ir.IntType(32)(LINE_BYTES)])
        loop = module.add_metadata([once, align, INT(self.rows)])
        loop.operands = (loop, once, align)  # a loop is known by a node that begins with itself
        back.set_metadata("llvm.loop", loop)


def _emit_choice(function: ir.Function, scalar: ir.Type, itemsize: int) -> None:
    """The tile of so many rows and halves of a vector, one of those that are written here too."""
    function.attributes.add("alwaysinline")
    rows, halves, *rest = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    behind = function.append_basic_block("behind")
    heights = {height: function.append_basic_block(f"tiles_{height}") for height in (TILE_ROWS, EDGE_ROWS)}
    builder.cbranch(builder.icmp_signed("==", rows, INT(TILE_ROWS)), *heights.values())
    for height, block in heights.items():
        builder.position_at_end(block)
        choice = builder.switch(halves, behind)
        for width in WIDTHS:
            here = function.append_basic_block(f"tile_{height}x{width}")
            choice.add_case(INT(width), here)
            builder.position_at_end(here)
            builder.call(_Emitter(function.module, scalar, itemsize, height, width).function, rest)
            builder.branch(behind)
    builder.position_at_end(behind)
    builder.ret_void()


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
        dtype = signature.args[2].dtype
        scalar = context.get_data_type(dtype)
        arrays = {2: 3, 5: 6, 9: 10, 13: 14}  # position of an array -> position of the offset into it
        flat = []
        for position, value in enumerate(args[2:], start=2):
            if position in arrays:
                data = data_of(context, builder, signature.args[position], value)
                flat.append(builder.gep(data, [args[arrays[position]]], source_etype=scalar))
            elif position not in arrays.values():
                flat.append(value)
        itemsize = dtype.bitwidth // 8
        kinds, name = [INT, INT, *_kinds(scalar)], f"fastmlp_tiles_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit_choice(function, scalar, itemsize))
        builder.call(function, [*args[:2], *flat])
        return context.get_dummy_value()

    return signature, codegen


@instead(_tile)
def tile(
    rows, halves, c, c_at, c_row, init, init_at, init_row, init_n, a, a_at, a_row, a_k, b, b_at, b_row, depth, ask, floor, tiles
):
    """C = max(floor, init + A B) for so many tiles, below each other, of TILE_ROWS or EDGE_ROWS rows by one of WIDTHS.

    Each matrix is an array, where in it the tile begins, and its strides. `init_n` is 1, or 0 where the entries of a row of
    init are all the same one. `ask` is 1 where what is read of B is not in the first-level cache; tiles
    of EDGE_ROWS never ask.
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
