"""A network as a file of C."""

from fastmlp.predictor.c_code.to_c import to_c

__all__ = ["to_c"]
