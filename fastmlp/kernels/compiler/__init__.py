"""How kernels are compiled: the one door to Numba, the cache of machine code, and what is emitted as LLVM instructions."""
