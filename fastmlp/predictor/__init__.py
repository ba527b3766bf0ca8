"""A trained network inside somebody's compiled code."""

from fastmlp.predictor import extension  # what Numba has to know about a Predictor
from fastmlp.predictor.c_code import to_c
from fastmlp.predictor.predictor import Predictor, compiled, predictor_at

__all__ = ["Predictor", "compiled", "extension", "predictor_at", "to_c"]
