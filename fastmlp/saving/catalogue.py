"""The classes that a file may name by themselves: those of the package. All others are handed over by whoever loads it."""

from __future__ import annotations

from fastmlp import modules, optim
from fastmlp.modules import Module
from fastmlp.optim import Optimizer, schedules
from fastmlp.optim.schedules import LRScheduler

__all__ = ["KINDS"]

#: The classes of each kind of thing, by name.
KINDS: dict[type, dict[str, type]] = {
    base: {
        name: found for name in package.__all__ if isinstance(found := getattr(package, name), type) and issubclass(found, base)
    }
    for base, package in ((Module, modules), (Optimizer, optim), (LRScheduler, schedules))
}
