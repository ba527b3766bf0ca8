"""One rule for "can the engine run this?", for modules, losses and optimizers alike."""

from __future__ import annotations

__all__ = ["runs_compiled"]


def runs_compiled(kind: type, entry: str, *arithmetic: str) -> bool:
    """Whether a class brings what the engine runs: a method `entry`, with none of the methods `arithmetic` in a class below.

    So a subclass of a built-in class that has arithmetic of its own runs in Python, as it says, and one that only adds
    attributes or names does not.
    """
    for base in kind.__mro__[:-1]:
        if entry in vars(base):
            return vars(base)[entry] is not None
        if any(name in vars(base) for name in arithmetic):
            return False
    return False
