"""Tell asv what machine this is, under a fixed name: results are kept, and curves drawn, by machine."""

from __future__ import annotations

import json
import sys

from asv.machine import Machine, MachineCollection

from .paths import RESULTS

__all__ = ["describe"]


def describe(name: str) -> None:
    """Describe this machine as `name`; refuse where there are results under that name of another processor."""
    facts = Machine.get_defaults() | {"machine": name}
    known = RESULTS / name / "machine.json"
    if known.exists():
        before = json.loads(known.read_text())
        same = ("cpu", "num_cpu", "arch")
        changed = [f"{key}: {before[key]}, now {facts[key]}" for key in same if before.get(key, facts[key]) != facts[key]]
        if changed:
            sys.exit(f"the results of machine {name!r} are another's ({'; '.join(changed)}); name this one: MACHINE=<name>")
    MachineCollection.save(name, facts)
    print(f"machine {name!r}: {facts['cpu']}, {facts['num_cpu']} cores, {int(facts['ram']) / 2**30:.0f} GiB, {facts['os']}")
