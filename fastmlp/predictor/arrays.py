"""What the functions of a Predictor take: the same for Python, for compiled code and for C."""

from __future__ import annotations

__all__ = ["ARRAYS", "WRITTEN", "sizes"]

#: The arrays of each function: a name, and the axes of one row, by their names in the header.
ARRAYS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "forward": (("x", ("inputs",)), ("out", ("outputs",))),
    "jacobian": (("x", ("inputs",)), ("out", ("outputs",)), ("jac", ("outputs", "inputs"))),
    "vjp": (("x", ("inputs",)), ("dy", ("outputs",)), ("dx", ("inputs",))),
    "jvp": (("x", ("inputs",)), ("v", ("inputs",)), ("dout", ("outputs",))),
}

#: Those that are written to.
WRITTEN = ("out", "jac", "dx", "dout")


def sizes(name: str) -> str:
    """What an error says of arrays whose sizes don't fit: a constant, in compiled code."""
    each = ", ".join(f"{called} ({', '.join(f'p.{axis}' for axis in axes)})" for called, axes in ARRAYS[name])
    return f"the sizes of the arrays don't fit the Predictor p, which takes {each} for one row, or N rows of each"
