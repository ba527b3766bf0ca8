"""The classes that a file may name by themselves: those of the package. All others are handed over by whoever loads it."""

from __future__ import annotations

from types import ModuleType

from fastmlp import modules, optim
from fastmlp.modules import Module
from fastmlp.optim import Optimizer, schedules
from fastmlp.optim.schedules import LRScheduler

__all__ = ["DEEPEST", "KINDS"]

#: Modules within each other that a file may have: what a network costs grows with the cube of that.
DEEPEST = 50


def _kinds(base: type, package: ModuleType) -> dict[str, type]:
    """The classes that a package exports of one kind, but for their base, by name."""
    public = {name: getattr(package, name) for name in package.__all__}
    return {
        name: kind for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    }


#: The classes of each kind of thing, by name.
KINDS: dict[type, dict[str, type]] = {
    base: _kinds(base, package) for base, package in ((Module, modules), (Optimizer, optim), (LRScheduler, schedules))
}
