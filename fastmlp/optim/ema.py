"""The moving average of the parameters, which any formula may keep."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastmlp.kernels.compiler.expression import muladd, select

__all__ = ["averaging"]


@cache
def averaging(update: Callable[..., Any], states: int) -> Callable[..., Any]:
    """The formula of an optimizer with so many arrays of state, with the average behind them.

    The last scalar is ``1 - decay``. An average that is zero has not begun: it begins with what the parameter is then, whether
    that is at the first step, or where a parameter is trained later than others.
    """

    def formula(p: Any, g: Any, *others: Any) -> tuple:
        state, ema, numbers, rate = others[:states], others[states], others[states + 1 : -1], others[-1]
        results = update(p, g, *state, *numbers)
        p, *after = results if isinstance(results, tuple) else (results,)
        return p, *after, select(ema == 0, p, muladd(rate, p - ema, ema))

    return formula
