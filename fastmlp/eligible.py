"""One rule for "can the engine run this?", for modules, losses and optimizers alike."""

from __future__ import annotations

from types import FunctionType

__all__ = ["check_names", "check_static", "has_formula", "runs_compiled"]


def runs_compiled(kind: type, entry: str, *arithmetic: str) -> bool:
    """Whether a class brings what the engine runs: a method `entry`, with none of the methods `arithmetic` in a class below.

    So a subclass of a built-in class that has arithmetic of its own runs in Python, as it says, and one that only adds
    attributes or names does not.
    """
    for base in kind.__mro__[:-1]:
        if any(name in vars(base) for name in arithmetic):
            return False
        if entry in vars(base):
            return vars(base)[entry] is not None
    return False


def has_formula(kind: type, name: str) -> bool:
    """Whether a class has a formula of this name: a method is none."""
    found = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return found is not None and not isinstance(found, (FunctionType, classmethod))


def check_static(kind: type, names: tuple[str, ...], options: str) -> None:
    """Refuse formulas that a class has written as methods: what they read from ``self`` would be compiled in, once and for all.

    `options` says where a formula gets the numbers that are options.
    """
    for name in names:
        found = vars(kind).get(name)
        by_numba = hasattr(found, "py_func") and not isinstance(found, staticmethod)  # what Numba has compiled binds, too
        if by_numba or isinstance(found, (FunctionType, classmethod)):
            raise TypeError(f"{name} of {kind.__name__} must be a staticmethod: a formula has no self; {options}")


def check_names(kind: type, *attributes: str) -> None:
    """Refuse one name where a class is to have a tuple of names: the letters of a text would each be one."""
    for attribute in attributes:
        if isinstance(found := vars(kind).get(attribute), str):
            raise TypeError(f"{attribute} of {kind.__name__} must be a tuple of names, with a comma: ({found!r},)")
