"""What a file says of models, optimizers and schedules: their classes and the arguments that make them, as JSON.

Numbers, texts, None and lists stand for themselves. All else is an object with one key, which says what it is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.modules import Module, Sequential
from fastmlp.modules.module import _named
from fastmlp.optim import Optimizer
from fastmlp.optim.schedules import LRScheduler
from fastmlp.parameters import Parameter
from fastmlp.saving.catalogue import DEEPEST, KINDS

__all__ = ["Describer", "takes_row"]


class Describer:
    """Describes the parts of one file; `tensors` are the arrays that came by, by name."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors = tensors
        self.named: dict[str, Any] = {}  # functions and classes that the file asks for
        self.arrays: list[str] = []  # the names of arrays that are values

    # Values.

    def value(self, value: Any, place: str) -> Any:
        """A value as JSON; `place` is where it stands."""
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, float):
            return {"float": str(float(value))}
        if isinstance(value, (list, tuple)):
            items = [self.value(item, f"{place}/{i}") for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            items = [self.value(item, f"{place}/{key}") for key, item in value.items()]
            if all(isinstance(key, str) for key in value):
                return {"dict": dict(zip(value, items))}
            return {"pairs": [[self.value(key, place), item] for key, item in zip(value, items)]}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            return {"array": self._tensor(value, place)}
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return {"dtype": np.dtype(value).name}
        if isinstance(value, Module):
            return {"Module": self.module(value, place)}
        if isinstance(value, LRScheduler):
            return {"LRScheduler": self.schedule(value, place)}
        if callable(value):
            return {"custom": self._name_of(value, place)}
        raise TypeError(f"{place} is {checks.shown(value)}, which a file cannot hold")

    def _tensor(self, array: np.ndarray, place: str) -> str:
        while place in self.tensors:
            place += "'"
        self.tensors[place] = array
        self.arrays.append(place)
        return place

    def _name_of(self, thing: Any, place: str) -> str:
        """What a file calls a function or a class that is not in it: by its own name, or by its place where it has none."""
        name = getattr(thing, "__name__", "")
        if not name.isidentifier() or self.named.get(name, thing) is not thing:
            if isinstance(thing, type):
                raise TypeError(
                    f"two classes are called {name}: a file asks for classes by name, so call one of them otherwise"
                )
            name = place
        self.named[name] = thing
        return name

    # Things that are made anew.

    def _class_of(self, thing: Any, base: type, place: str) -> dict[str, Any]:
        kind = type(thing)
        if KINDS[base].get(kind.__name__) is kind:
            return {"class": kind.__name__}
        return {"custom": self._name_of(kind, place)}

    def _arguments_of(self, thing: Any, place: str) -> dict[str, Any]:
        config = thing.get_config()
        if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
            raise TypeError(f"{type(thing).__name__}.get_config must return a dictionary of arguments by name")
        return {name: self.value(value, f"{place}/{name}") for name, value in config.items()}

    def module(self, module: Module, place: str, depth: int = 0) -> dict[str, Any]:
        """A module and its parts."""
        if depth > DEEPEST:
            raise ValueError(f"a file has room for {DEEPEST} modules within each other, no more")
        entry = self._class_of(module, Module, place) | {"arguments": self._arguments_of(module, place)}
        if takes_row(module):
            row = module._modules  # type: ignore[attr-defined]
            entry["modules"] = [[name, self.module(part, f"{place}/{name}", depth + 1)] for name, part in row.items()]
            _check_covered(module, place, row.values())
        elif "class" in entry:
            _check_covered(module, place, ())
            gone = [name for name in module._optional if getattr(module, name) is None]
            if 0 < len(gone) < len(module._optional):
                entry["without"] = gone
        return entry

    def optimizer(self, optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Any]:
        """An optimizer of parameters whose names are known by their ids."""
        groups = []
        for group in optimizer.param_groups:
            strange = [parameter for parameter in group["params"] if id(parameter) not in names]
            if strange:
                raise ValueError(f"the optimizer has a parameter that the model lacks: {strange[0]!r}")
            groups.append([names[id(parameter)] for parameter in group["params"]])
        entry = self._class_of(optimizer, Optimizer, "optimizer")
        arguments, state = self._arguments_of(optimizer, "optimizer"), self.value(optimizer.state_dict(), "optimizer")
        return entry | {"arguments": arguments, "groups": groups, "state": state}

    def schedule(self, schedule: LRScheduler, place: str) -> dict[str, Any]:
        """A schedule, without its place."""
        entry = self._class_of(schedule, LRScheduler, place) | {"arguments": self._arguments_of(schedule, place)}
        return entry | ({"interval": schedule.interval} if "interval" in vars(schedule) else {})


def takes_row(module: Any) -> bool:
    """Whether the constructor of a network is given its modules."""
    if not isinstance(module, Sequential):
        return False
    return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in inspect.signature(type(module)).parameters.values())


def _check_covered(module: Module, place: str, parts: Any) -> None:
    """Refuse what would be lost: parameters and modules that are no part of what the constructor makes."""
    inside = {id(part) for part in parts}
    more = [name for name, part in module.named_children() if id(part) not in inside]
    more += [name for name, _ in _named(vars(module), Parameter) if name not in module._vectors]
    if more:
        raise TypeError(
            f"{more[0]} has been added to {checks.describe(module)} ({place}), whose constructor knows nothing of it: make a "
            "class that has both, to be saved by name"
        )
