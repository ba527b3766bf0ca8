"""Objects from what a file says of them: the border where it is checked. Nothing is looked up but names of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp._version import __version__
from fastmlp.modules import Module, Sequential
from fastmlp.optim import Optimizer
from fastmlp.optim.schedules import LRScheduler
from fastmlp.parameters import Parameter
from fastmlp.saving.catalogue import DEEPEST, KINDS
from fastmlp.saving.errors import LoadError

__all__ = ["Builder", "as_custom", "entry_of"]

#: What a class of ours can be called, in a message.
NOUNS = {Module: "module", Optimizer: "optimizer", LRScheduler: "schedule"}


def as_custom(custom: Any) -> dict[str, Callable[..., Any]]:
    """Classes and functions by name, from a dictionary or a list of them."""
    if custom is None:
        return {}
    if not isinstance(custom, Mapping):
        if not isinstance(custom, Iterable) or isinstance(custom, (str, type)):
            raise TypeError(f"custom must be a dictionary or a list of classes and functions; got {checks.shown(custom)}")
        named = [(getattr(thing, "__name__", None), thing) for thing in custom]
        for name, thing in named:
            if name is None or not callable(thing):
                raise TypeError(f"custom must hold classes and functions; got {checks.shown(thing)}")
        custom = dict(named)
    for name, thing in custom.items():
        if not isinstance(name, str) or not callable(thing):
            raise TypeError(f"custom must be a dictionary of classes and functions by name; got {checks.shown(thing)}")
    return dict(custom)


def entry_of(entry: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """An entry of a JSON object, of this kind."""
    if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
        raise LoadError(f"its description has no proper {name!r}: {checks.shown(entry)}")
    return entry[name]


class Builder:
    """Builds the parts of one file; `used` are the names of the arrays that have come by."""

    def __init__(self, tensors: Mapping[str, np.ndarray], custom: Mapping[str, Callable[..., Any]]):
        self.tensors, self.custom = tensors, custom
        self.used: set[str] = set()
        self._optimizer: Optimizer | None = None
        self._depth = 0

    # Values.

    def value(self, value: Any) -> Any:
        """What a value of the JSON stands for."""
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((tag, inside),) = value.items()
            how = getattr(self, f"_{tag}", None) if tag in TAGS else None
            if how is not None:
                return how(inside)
        raise LoadError(f"its description has a value of no known kind: {checks.shown(value)}")

    def _float(self, text: Any) -> float:
        if text not in ("nan", "inf", "-inf"):
            raise LoadError(f"its description has a number that is none: {checks.shown(text)}")
        return float(text)

    def _tuple(self, items: Any) -> tuple:
        if not isinstance(items, list):
            raise LoadError("its description has a tuple that is none")
        return tuple(map(self.value, items))

    def _dict(self, items: Any) -> dict:
        if not isinstance(items, dict):
            raise LoadError("its description has a dictionary that is none")
        return {key: self.value(item) for key, item in items.items()}

    def _pairs(self, pairs: Any) -> dict:
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise LoadError("its description has pairs that are none")
        result = {self.value(key): self.value(item) for key, item in pairs}
        if len(result) < len(pairs):
            raise LoadError("its description has pairs of one key")
        return result

    def _array(self, name: Any) -> np.ndarray:
        if not isinstance(name, str) or name not in self.tensors:
            raise LoadError(f"the array {checks.shown(name)} is not there")
        self.used.add(name)
        return self.tensors[name]

    def _dtype(self, name: Any) -> np.dtype:
        if name not in DTYPES:
            raise LoadError(f"there is no dtype {checks.shown(name)}")
        return np.dtype(name)

    def _custom(self, name: Any) -> Callable[..., Any]:
        if not isinstance(name, str) or name not in self.custom:
            raise LoadError(f"there is no class or function {checks.shown(name)}")
        return self.custom[name]

    def _Module(self, entry: Any) -> Module:  # noqa: N802  # the tag is the class
        return self.module(entry)

    def _LRScheduler(self, entry: Any) -> LRScheduler:  # noqa: N802
        return self.schedule(entry)

    # Things.

    def _made(self, entry: Any, base: type, *first: Any) -> Any:
        """A thing of the class that an entry names, made with its arguments."""
        if isinstance(entry, dict) and "custom" in entry:
            kind = self._custom(entry["custom"])
        else:
            name = entry_of(entry, "class", str)
            if name not in KINDS[base]:
                raise LoadError(f"fastmlp {__version__} has no {NOUNS[base]} {checks.shown(name)}")
            kind = KINDS[base][name]
        arguments = {name: self.value(value) for name, value in entry_of(entry, "arguments", dict).items()}
        made = kind(*first, **arguments)
        if not isinstance(made, base):
            raise LoadError(f"{entry.get('custom')} must give {checks.messages.a(base.__name__)}; got {checks.shown(made)}")
        return made

    def module(self, entry: Any) -> Module:
        """A module with its parts, whose numbers are anything yet."""
        if self._depth > DEEPEST:
            raise LoadError("its modules are nested too deeply")
        self._depth += 1
        try:
            return self._module(entry)
        finally:
            self._depth -= 1

    def _module(self, entry: Any) -> Module:
        if not isinstance(entry, dict) or "modules" not in entry:
            module = self._made(entry, Module)
            for name in entry.get("without", ()):
                if name not in module._optional:
                    raise LoadError(f"{checks.describe(module)} cannot be without {checks.shown(name)}")
                setattr(module, name, None)
            return module
        pairs = entry_of(entry, "modules", list)
        if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            raise LoadError("its description has a row of modules that is none")
        row = {name: self.module(part) for name, part in pairs}
        if len(row) < len(pairs):
            raise LoadError("its description has two modules of one name")
        network = self._made(entry, Module, *row.values())
        if not isinstance(network, Sequential) or len(network) != len(row):
            raise LoadError(f"{checks.describe(network)} does not keep the modules that it is given")
        if list(network._modules) != list(row):
            network._set_row(row)
        return network

    def optimizer(self, entry: Any, parameters: Mapping[str, Parameter]) -> Optimizer:
        """An optimizer of parameters that are known by name."""
        groups = []
        for names in entry_of(entry, "groups", list):
            if not isinstance(names, list) or not all(isinstance(name, str) and name in parameters for name in names):
                raise LoadError(f"its optimizer has parameters that the model lacks: {checks.shown(names)}")
            groups.append({"params": [parameters[name] for name in names]})
        optimizer = self._made(entry, Optimizer, groups)
        optimizer.load_state_dict(self.value(entry_of(entry, "state", dict)))
        return optimizer

    def of_optimizer(self, optimizer: Optimizer) -> None:
        """Have the schedules that come be those of an optimizer."""
        self._optimizer = optimizer

    def schedule(self, entry: Any) -> LRScheduler:
        """A schedule at its beginning; those within it are of the same optimizer."""
        if self._optimizer is None:
            raise LoadError("its description has a schedule where there is no optimizer")
        schedule = self._made(entry, LRScheduler, self._optimizer)
        if "interval" in entry:
            schedule.interval = entry["interval"]
        return schedule


#: The keys of objects that stand for a value; each has a method of Builder.
TAGS = ("float", "tuple", "dict", "pairs", "array", "dtype", "custom", "Module", "LRScheduler")

DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")
