"""A way to predict, as the with_*.py files offer them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Predictor"]


@dataclass(frozen=True)
class Predictor:
    """``predict()`` gives the outputs for all rows, finished, in whatever kind of array the library has.

    Ways to run one library share its `name`: the fastest of them counts. ``prepare()`` goes before each turn.
    """

    name: str
    predict: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None
