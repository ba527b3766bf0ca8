"""Where things lie."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASV", "BENCHMARKS", "HERE", "HTML", "RESULTS"]

#: ``asv_benchmarks/``, and the results in it, a folder for each machine; those of reference processors are in the repository.
HERE = Path(__file__).parents[1]
BENCHMARKS, RESULTS = HERE / "benchmarks", HERE / "results"

#: What asv and these commands leave beside them, all of which can be made anew.
ASV = HERE / ".asv"
HTML = ASV / "html"
