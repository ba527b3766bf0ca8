"""The matrix product and the transposed copy, in register tiles."""
