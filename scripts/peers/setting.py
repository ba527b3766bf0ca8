"""What all sections share: who takes part, and how long everything is measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Setting", "note"]


@dataclass(frozen=True)
class Setting:
    """The options, and what the processor can do."""

    peers: list[str]
    workloads: list[str]
    rounds: int
    seconds: float  # of one contender's turn
    pause: float  # between two turns
    cold: int  # runs with an empty kernel cache
    cores: int
    peak: float  # GFLOP/s of fused multiply-adds on all cores at once
    rows: Sequence[int] = ()  # of the sweep
    widths: Sequence[int] = ()
    picture: Path | None = None  # where to draw it

    def among_ourselves(self) -> Setting:
        """Many short turns, for contenders that leave no threads spinning."""
        return replace(self, rounds=5 * self.rounds, seconds=self.seconds / 5, pause=0.0)


def note(text: str) -> None:
    """Say on standard error what is being measured."""
    print(f"compare_peers: {text} ...", file=sys.stderr, flush=True)
