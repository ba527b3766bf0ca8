"""How often any network of this process has changed its parts or parameters: what was derived from them is then looked up anew.

One number for all networks, since a look at it is all that a prediction of one row, 1.2 us in all, has time for.
"""

from __future__ import annotations

__all__ = ["changed", "version"]

_changes = [0]


def changed() -> None:
    """Note that a module or a parameter has been assigned, replaced or removed."""
    _changes[0] += 1


def version() -> int:
    """The number of changes so far."""
    return _changes[0]
