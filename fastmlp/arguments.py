"""What a constructor was given, told by the thing that it made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

__all__ = ["arguments_of"]

#: ``*modules`` and ``**options``.
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_of(thing: Any, *, skip: int = 0, starred: bool = False, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments that make a thing like this one: of each the attribute of the same name, as it is now.

    Parameters
    ----------
    thing : object
        Made by the constructor of its class.
    skip : int
        How many arguments are left out at the front.
    starred : bool
        Whether ``*arguments`` are somebody else's affair; else they are refused.
    given : mapping
        Arguments that are known already.

    Raises
    ------
    TypeError
        Where an argument has no attribute of its name.
    """
    kind = type(thing)
    result: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(kind).parameters.items())[skip:]:
        if parameter.kind in STARRED:
            if starred and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                continue
            raise TypeError(f"{kind.__name__} cannot be saved: its constructor takes *{name}, so it needs a get_config()")
        if name == "rng" and parameter.default is not inspect.Parameter.empty:
            continue  # for first values: those of now are saved
        try:
            result[name] = given[name] if given and name in given else getattr(thing, name)
        except AttributeError:
            raise TypeError(
                f"{kind.__name__} cannot be saved: its constructor takes {name}, but it has no attribute of that name. "
                f"Keep it, self.{name} = {name}, or write a get_config() that returns the arguments as a dictionary"
            ) from None
        if isinstance(parameter.default, bool) and (result[name] is None or hasattr(result[name], "requires_grad")):
            result[name] = result[name] is not None  # the flag says whether there is a parameter
    return result
