"""Where things lie."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASV", "BENCHMARKS", "HERE", "HTML", "RESULTS"]

#: ``asv_benchmarks/``, and what asv and these commands leave in it.
HERE = Path(__file__).parents[1]
BENCHMARKS = HERE / "benchmarks"
ASV = HERE / ".asv"
RESULTS, HTML = ASV / "results", ASV / "html"
