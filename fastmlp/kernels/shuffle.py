"""The order of the rows in an epoch: a function of (seed, epoch) alone."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.jit import inner, instead, kernel

__all__ = ["epoch_order", "shuffle"]

MASK = 0xFFFFFFFFFFFFFFFF
u64 = np.uint64
FIRST = np.int64(0)


@inner
def _mix(key, counter):
    z = u64(key) + (u64(counter) + u64(1)) * u64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
    return z ^ (z >> u64(31))


@instead(_mix)
def mix(key, counter):
    """The `counter`-th 64-bit number of stream `key`: a uint64, which wraps around when compiled, an int in Python.

    SplitMix64: G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (int(key) + (int(counter) + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@inner
def shuffle(order, seed, epoch):
    """Fill `order` (N, int64) with the rows 0 .. N-1 in the order of this epoch: R. Durstenfeld's shuffle, CACM 7(7), 1964.

    The index below i + 1 comes from the top 53 bits of a number; its bias is below (i + 1) / 2^53.
    """
    key = mix(u64(mix(u64(seed), FIRST)), epoch)
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        unit = np.float64(u64(mix(u64(key), i)) >> u64(11)) * 1.1102230246251565e-16
        j = np.int64(unit * (i + 1))
        order[i], order[j] = order[j], order[i]


@kernel
def epoch_order(order, seed, epoch):
    """:func:`shuffle`, for Python."""
    shuffle(order, seed, epoch)
