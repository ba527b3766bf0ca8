"""An embedding: a column of whole numbers becomes the vectors that a table has for them, behind the other columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import begin_sums, hand_over, scratch_of
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, row_stride
from fastmlp.kernels.op import ACCUMULATE, BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, UPDATE, Memory, Op

__all__ = ["Embedding"]

# Dimensions here: C categories, E entries of a vector. The table lies as (E, padded C), as its Parameter of shape (C, E) does.


@inner
def category(x, categories):
    """The number of a row's category; the first one for what is none, which the border has refused."""
    return np.int64(x) if x >= 0 and x < categories else np.int64(0)


@inner
def embedding_forward(op, job, rows, at):
    """``y = x without its column, then table[:, x[column]]``."""
    w, others = job.work, op.width_in - 1
    for n in range(rows):
        x, y = op.x + (at + n) * op.x_stride, op.y + (at + n) * op.y_stride
        for j in range(op.column):
            w[y + j] = w[x + j]
        for j in range(op.column, others):
            w[y + j] = w[x + j + 1]
        chosen = op.weight + category(w[x + op.column], op.categories)
        for e in range(op.entries):
            w[y + others + e] = job.params[chosen + e * op.table_stride]


@inner
def embedding_forward_feature_major(op, job, at):
    """The same with the rows of the batch along the vectors."""
    w, others, columns = job.work, op.width_in - 1, FEATURE_MAJOR_BYTES // job.work.itemsize
    x, y = op.x + at * op.x_stride, op.y + at * op.y_stride
    for j in range(others):
        source = x + (j if j < op.column else j + 1) * columns
        for n in range(columns):
            w[y + j * columns + n] = w[source + n]
    for n in range(columns):
        chosen = op.weight + category(w[x + op.column * columns + n], op.categories)
        for e in range(op.entries):
            w[y + (others + e) * columns + n] = job.params[chosen + e * op.table_stride]


@inner
def embedding_backward_input(op, job, rows, at):
    """The delta of the other columns, and 0 for the column of categories."""
    w, others = job.work, op.width_in - 1
    for n in range(rows):
        dx, dy = op.dx + (at + n) * op.x_stride, op.dy + (at + n) * op.y_stride
        for j in range(op.column):
            w[dx + j] = w[dy + j]
        w[dx + op.column] = w.dtype.type(0)
        for j in range(op.column, others):
            w[dx + j + 1] = w[dy + j]


@inner
def embedding_backward_params(task, op, job, at, entry):
    """The gradient of one entry of all vectors, at `at` in the workspace: the deltas of a category's rows, in their order."""
    w = job.work
    begin_sums(task, job, op.weight + entry * op.table_stride, 0, op.table_stride, op.categories, at)
    for n in range(job.rows):
        chosen = category(w[op.x + n * op.x_stride + op.column], op.categories)
        w[at + chosen] += w[op.dy + n * op.y_stride + op.width_in - 1 + entry]


@block(
    "embedding",
    weight=np.int64,  # offset of the table in the parameters
    has_bias=np.int64,  # 0
    column=np.int64,
    categories=np.int64,
    entries=np.int64,
    table_stride=np.int64,
    optimizer=np.int64,
    bias_optimizer=np.int64,
)
def _embedding(task, op, job, row, rows, at):
    if task == FORWARD:
        embedding_forward(op, job, rows, at)
    elif task == BACKWARD:
        embedding_backward_input(op, job, rows, at)
    elif task == FORWARD_FEATURE_MAJOR:
        embedding_forward_feature_major(op, job, at)
    else:  # UPDATE or ACCUMULATE
        scratch = scratch_of(job)
        for entry in range(row, row + rows):
            embedding_backward_params(task, op, job, scratch, entry)
            start = op.weight + entry * op.table_stride
            hand_over(task, job, op.optimizer, start, 0, op.table_stride, op.categories, scratch)


class Embedding(Op):
    """Of one column: of `width` features without it, then `entries` of the table that begins at `weight`."""

    block: Block = _embedding
    name = "embedding"
    reads_x_backward = True
    has_parameters = True

    def __init__(self, width: int, column: int, categories: int, entries: int, weight: int):
        super().__init__(width, width - 1 + entries)
        self.column, self.categories, self.entries, self.weight = column, categories, entries, weight

    def tasks(self, record: Any) -> set[int]:
        back = {BACKWARD} if record.dx >= 0 else set()
        return {FORWARD, FORWARD_FEATURE_MAJOR, UPDATE, ACCUMULATE} | back

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.weight, record.column, record.categories = self.weight, self.column, self.categories
        record.entries = record.units = self.entries
        record.table_stride = row_stride(self.categories, memory.dtype)
        memory.want_scratch(record.table_stride)
