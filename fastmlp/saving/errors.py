"""What is raised for a file that cannot be loaded."""

from __future__ import annotations

__all__ = ["LoadError"]


class LoadError(ValueError):
    """A file that is none of ours, is damaged, is too new, or needs classes and functions that were not given."""
