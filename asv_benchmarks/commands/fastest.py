"""Let asv's results be the fast samples, not the median ones, and let them be small.

Others on the same processor only ever add to a time, and they do so for seconds on end: on a virtual machine the median of the
same code has come out 1.4 times as long, while the fastest of each of four processes agreed within 3 %. So where samples have
been kept, the result becomes the time that a tenth of them stay below. Then samples, statistics and dates go, and four digits
of each number stay: 3 KB for each commit with the 35 numbers of a history, so results may be in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .paths import RESULTS

__all__ = ["fast", "settle", "settle_all", "store"]

PART = 0.1

#: What is kept of each benchmark.
COLUMNS = ["result", "params", "version"]


def fast(samples: Sequence[float]) -> float:
    """The time that a tenth of the samples stay below."""
    return float(np.quantile(samples, PART))


def settle(stored: dict) -> bool:
    """Change a file's results in place; whether there was anything to change."""
    columns = stored["result_columns"]
    if columns == COLUMNS:
        return False
    for name, row in stored["results"].items():
        kept = dict(zip(columns, row))  # asv cuts off what is empty at the end
        result = list(kept.get("result") or ())
        for place, samples in enumerate(kept.get("samples") or ()):
            if samples:
                result[place] = fast(samples)
        result = [float(f"{value:.4g}") if isinstance(value, float) else value for value in result]
        stored["results"][name] = [result or None, kept["params"], kept["version"]]
    stored["result_columns"], stored["durations"] = COLUMNS, {}
    return True


def store(path: Path, stored: dict) -> None:
    """Write a file of results, with a line for each benchmark."""
    facts = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items() if name != "results"]
    rows = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in stored["results"].items()]
    path.write_text(",\n".join(["{\n" + facts[0], *facts[1:], ' "results": {\n' + ",\n".join(rows) + "\n }\n}\n"]))


def settle_all(machine: str) -> None:
    """Settle all results of a machine; those that are settled stay as they are."""
    for path in sorted(Path(RESULTS, machine).glob("*.json")):
        if path.name != "machine.json":
            stored = json.loads(path.read_text())
            if settle(stored):
                store(path, stored)
