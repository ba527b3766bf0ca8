from __future__ import annotations

import json

import pytest
from commands import machine


@pytest.fixture
def known(tmp_path, monkeypatch):
    """What asv has been told, by name."""
    saved = {}
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(machine.MachineCollection, "save", lambda name, facts: saved.update({name: facts}))
    return saved


def test_machine_is_described(known, capsys):
    machine.describe("m")
    assert known["m"]["machine"] == "m"
    assert {"os", "arch", "cpu", "num_cpu", "ram"} <= known["m"].keys()
    assert int(known["m"]["num_cpu"]) >= 1
    assert "machine 'm'" in capsys.readouterr().out
    assert json.loads((machine.RESULTS / "m" / "machine.json").read_text()) == known["m"] | {"version": 1}


@pytest.mark.parametrize(("changed", "refused"), [({}, False), ({"cpu": "another"}, True), ({"ram": "1"}, False)])
def test_results_of_another_processor_are_kept_apart(known, tmp_path, changed, refused):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "machine.json").write_text(json.dumps(machine.Machine.get_defaults() | changed))
    if refused:
        with pytest.raises(SystemExit, match="MACHINE="):
            machine.describe("m")
    else:
        machine.describe("m")
    assert bool(known) is not refused
