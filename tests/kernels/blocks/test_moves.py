"""Input and output through programs that have nothing else, and the moves below them."""

from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, jit, kept_job, normal, run_job, small

from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.blocks.moves import NARROW, copy, copy_rows, gather_rows, transpose_features, transpose_rows
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.program import BLOCK_ROWS, Program

WIDTHS = [1, 2, NARROW - 1, NARROW, NARROW + 1, *small([33], [])]


def same(x):
    return x


def slope(y):
    return 1


@jit
def moved(target, at, stride, source, source_at, source_stride, rows, width):
    copy_rows(target, at, stride, source, source_at, source_stride, rows, width)


@jit
def gathered(target, at, stride, source, order, width):
    gather_rows(target, at, stride, source, order, width)


@jit
def copied(target, source):
    copy(target, source)


@jit
def turned(target, at, source, source_at, rows, width):
    transpose_rows(target, at, source, source_at, rows, width)


@jit
def turned_back(target, at, source, source_at, rows, width):
    transpose_features(target, at, source, source_at, rows, width)


def test_moves_write_the_rows_and_nothing_else(dtype, rng):
    """Narrow rows column by column, others row by row; each array begins somewhere and has a stride."""
    for width in WIDTHS:
        rows, stride, source_stride = 5, width + 3, width + 7
        source = normal(rng, 4 + rows * source_stride, dtype)
        expected = np.full(2 + rows * stride, 7, dtype)
        target = expected.copy()
        for n in range(rows):
            expected[2 + n * stride : 2 + n * stride + width] = source[4 + n * source_stride : 4 + n * source_stride + width]
        moved(target, 2, stride, source, 4, source_stride, rows, width)
        assert_same_bits(target, expected)
        order, tight = np.array([4, 0, 4, 2]), normal(rng, 6 * width, dtype)
        target, expected = np.full(1 + 4 * stride, 7, dtype), np.full(1 + 4 * stride, 7, dtype)
        for n, row in enumerate(order):
            expected[1 + n * stride : 1 + n * stride + width] = tight[row * width : (row + 1) * width]
        gathered(target, 1, stride, tight, order, width)
        assert_same_bits(target, expected)
        flat = np.zeros(width, dtype)
        copied(flat, tight[:width])
        assert_same_bits(flat, tight[:width])


def test_rows_along_the_vectors_and_back(dtype, rng):
    columns = FEATURE_MAJOR_BYTES // dtype.itemsize
    for width in (1, 3, 17):
        for rows in (1, 5, columns):
            source, target = normal(rng, (rows, width), dtype), np.full(2 + width * columns, 7, dtype)
            turned(target, 2, source.reshape(-1), 0, rows, width)
            matrix = target[2:].reshape(width, columns)
            assert_same_bits(matrix[:, :rows], source.T)
            assert (matrix[:, rows:] == 7).all()
            back = np.full(1 + rows * width, 7, dtype)
            turned_back(back, 1, target, 2, rows, width)
            assert_same_bits(back[1:].reshape(rows, width), source)


def test_rows_come_in_and_go_out(dtype, rng):
    """Forward and back, kept or in blocks, on threads: each row to its place."""
    for width in small(WIDTHS, [2, NARROW]):
        for rows in small([1, 5, BLOCK_ROWS, 3 * BLOCK_ROWS + 7], [1, 9]):
            x = normal(rng, (rows, width), dtype)
            ops = [Elementwise(width, "same", same, slope, "y")]
            job = kept_job(Program.both_ways(ops, dtype, batch=rows + 2), dtype)
            y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
            run_job(job, x, y)
            run_job(job, dx, x, number=1)
            assert_same_bits(y, x)
            assert_same_bits(dx, x)
            for threads in (1, 2):
                job = kept_job(Program.predicting(ops, dtype, threads=threads), dtype)
                y = np.full_like(x, np.nan)
                run_job(job, x, y, threads=threads)
                assert_same_bits(y, x)


def product(out, y):
    return out * y


def other(out, y):
    return y


def test_training_gathers_rows_and_targets_in_order(dtype, rng):
    """Rows of a batch are rows of the data, as the order says, the targets with them."""
    for width in (2, NARROW):
        x, y = normal(rng, (10, width), dtype), normal(rng, (10, width), dtype)
        order = rng.permutation(10)
        loss = ElementwiseLoss(width, "product", product, other)
        job = kept_job(Program.of_loss(loss, dtype, batch=4), dtype, order=order.copy(), sums=np.zeros(3))
        plan = job.run
        plan.gathers, plan.rows, plan.batch, plan.batches = 1, 10, 4, 3
        for first, rows in ((0, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (8, [8, 9])):
            plan.first_batch = first // 4
            run_job(job, x, y)
            record = job.program.records[0]
            inside = job.work[record.y : record.y + 4 * record.y_stride].reshape(4, -1)[: len(rows), :width]
            assert_same_bits(inside, x[order[rows]])
            losses = job.work[plan.losses : plan.losses + len(rows)]
            expected = (x.astype(np.float64) * y)[order[rows]].sum(1)
            np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
