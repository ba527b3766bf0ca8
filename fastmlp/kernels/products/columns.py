"""Sums over the batch, one for each column: gradients of parameters that are vectors.

A sum is one chain of multiply-adds over the rows, in order. The columns lie along the vectors, so that nothing is summed along
one, and threads share the columns. The sums are kept in memory, of which a few lines stay in the L1 cache: row by row, the
chains of many columns are under way together, where one line of columns at a time would wait for each addition.
"""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import muladd
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass

__all__ = ["add_products"]

_add_product = lines_pass(muladd, inputs=3)


@inner
def add_products(sums, at, a, a_at, a_row, b, b_at, b_row, columns, rows):
    """``sums[j] += sum over n < rows of a[n, j] * b[n, j]`` for `columns` columns, which are whole lines.

    All arrays are flat. `sums` begins at `at`; row n of a at ``a_at + n * a_row``, that of b at ``b_at + n * b_row``.
    """
    for n in range(rows):
        _add_product(columns, a, a_at + n * a_row, b, b_at + n * b_row, sums, at, sums, at, a, 0)
