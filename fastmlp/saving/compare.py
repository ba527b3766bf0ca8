"""Where two descriptions differ: whether a file is of things like those at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["first_difference"]


class _Word(str):
    """Text that stands in a sentence without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


#: What stands in a difference where one of the two has nothing.
NOTHING = _Word("nothing")


def first_difference(
    here: Any, there: Any, place: str, arrays_here: Mapping[str, np.ndarray], arrays_there: Mapping[str, np.ndarray]
) -> tuple[str, Any, Any] | None:
    """The first place where two descriptions of a thing differ, and what stands there in each; None where they are alike."""
    ours, theirs = dict(_leaves(here, place, arrays_here)), dict(_leaves(there, place, arrays_there))
    for name in ours | theirs:
        one, other = ours.get(name, NOTHING), theirs.get(name, NOTHING)
        if one != other and repr(one) != repr(other):  # as text, NaN is equal to NaN
            return name, one, other
    return None


def _leaves(entry: Any, place: str, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any]]:
    """The classes and arguments in a description, each with its place."""
    if isinstance(entry, dict) and "arguments" in entry:
        yield place, _Word(entry.get("class", entry.get("custom")))
        for name, part in entry.get("modules", ()):
            yield from _leaves(part, f"{place}/{name}", arrays)
        for name, value in entry["arguments"].items():
            yield from _leaves(value, f"{place}/{name}", arrays)
        for name in ("without", "interval", "groups"):
            if name in entry:
                yield f"{place}/{name}", entry[name]
    elif isinstance(entry, dict) and entry.keys() & {"Module", "LRScheduler"}:
        (inside,) = entry.values()
        yield from _leaves(inside, place, arrays)
    elif isinstance(entry, list):
        yield f"{place}: length", len(entry)
        for number, value in enumerate(entry):
            yield from _leaves(value, f"{place}/{number}", arrays)
    else:
        yield place, _plain(entry, arrays)


def _plain(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """A value of a description as plain Python: arrays as lists, functions and classes by name."""
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, inside),) = value.items()
    if tag == "array":
        return arrays[inside].tolist()
    if tag == "pairs":
        return [tuple(_plain(item, arrays) for item in pair) for pair in inside]
    if tag == "dict":
        return {name: _plain(item, arrays) for name, item in inside.items()}
    return tuple(_plain(item, arrays) for item in inside) if tag == "tuple" else inside
