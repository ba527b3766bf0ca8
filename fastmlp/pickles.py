"""The version of what pickles hold: a newer one is refused, instead of giving an object that lacks something."""

from __future__ import annotations

from typing import Any

from fastmlp import checks
from fastmlp._version import __version__

__all__ = ["closed", "opened"]

#: Raised where what pickles hold changes so that this version could not read it.
VERSION = 1

KEY = "_pickled_by"


def closed(state: dict[str, Any]) -> dict[str, Any]:
    """What a pickle holds, with its version."""
    return state | {KEY: (VERSION, __version__)}


def opened(state: dict[str, Any], owner: Any) -> dict[str, Any]:
    """What a pickle held, without its version; `owner` is what is being made of it.

    Raises
    ------
    ValueError
        If it was written by a version of which this one knows nothing.
    """
    version, writer = state.get(KEY, (VERSION, __version__))
    if version > VERSION:
        kind = checks.messages.a(type(owner).__name__)
        raise ValueError(f"that pickle of {kind} was written by fastmlp {writer}; this is fastmlp {__version__}: update it")
    return {name: value for name, value in state.items() if name != KEY}
