"""Tell asv what machine this is, under a fixed name: results are kept, and curves drawn, by machine."""

from __future__ import annotations

import json
import platform
import sys

from asv.machine import Machine, MachineCollection
from asv.util import write_json

from .paths import RESULTS

__all__ = ["describe"]


def describe(name: str) -> None:
    """Describe this machine as `name`; refuse where there are results under that name of another processor."""
    facts = Machine.get_defaults() | {"machine": name, "os": platform.system()}  # asv says the kernel's version, too
    known = RESULTS / name / "machine.json"
    if known.exists():
        before = json.loads(known.read_text())
        same = ("cpu", "num_cpu", "arch")
        changed = [f"{key}: {before[key]}, now {facts[key]}" for key in same if before.get(key, facts[key]) != facts[key]]
        if changed:
            sys.exit(f"the results of machine {name!r} are another's ({'; '.join(changed)}); name this one: MACHINE=<name>")
    MachineCollection.save(name, facts)  # where asv looks when it measures
    known.parent.mkdir(parents=True, exist_ok=True)
    write_json(str(known), facts, Machine.api_version)  # and when it publishes
    print(f"machine {name!r}: {facts['cpu']}, {facts['num_cpu']} cores, {int(facts['ram']) / 2**30:.0f} GiB, {facts['os']}")
