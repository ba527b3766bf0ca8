"""What hyperparameters may be, those that several optimizers have: each rule checks and converts, ``rule(value, name)``."""

from __future__ import annotations

from functools import partial

from fastmlp import checks

__all__ = ["betas", "flag", "fraction", "number"]

#: Finite and at least 0.
number = checks.as_number

#: True or False.
flag = checks.as_flag

#: At least 0 and below 1.
fraction = partial(checks.as_number, below=1.0)

#: Two fractions.
betas = partial(checks.as_pair, below=1.0)
