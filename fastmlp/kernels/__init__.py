"""Compiled kernels: raw arrays in, raw arrays out.

Every function here runs under Numba and, with ``NUMBA_DISABLE_JIT=1``, as plain Python. Kernels never raise, never
allocate inside a loop and never check: whatever reaches them has passed :mod:`fastmlp.checks`.

Dimension letters, used in every docstring of this package:

====  ==========================================================================
N     rows of the batch
I     ``in_features`` of a layer
O     ``out_features`` of a layer
P     entries of the flat parameter vector, padding included
W     width of an activation
====  ==========================================================================

A *matrix* is C-contiguous, its rows padded with zeros to whole 64-byte lines (:mod:`fastmlp.kernels.layout`); its second
dimension is therefore the padded width, and the logical width comes as a number where a kernel needs it.
"""
