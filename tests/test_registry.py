from __future__ import annotations

import inspect

import pytest

import fastmlp as fm
from fastmlp import registry

FAMILIES = {
    registry.activations: (fm.Activation, "activation"),
    registry.layers: (fm.Module, "layer"),
    registry.criteria: (fm.Criterion, "loss"),
    registry.optimizers: (fm.Optimizer, "optimizer"),
    registry.schedules: (fm.LRScheduler, "schedule"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_what_the_package_exports(family, monkeypatch):
    base, _ = FAMILIES[family]
    found = family()
    assert found
    assert list(found) == sorted(found)
    for name, entry in found.items():
        assert getattr(fm, name) is entry
        assert issubclass(entry, base)
        assert entry.__name__ == name
        assert inspect.getdoc(entry)
    assert base not in found.values()
    # A class that is exported is an entry; a user's own class is none.
    for module, expected in (("fastmlp.modules.new", True), ("fastmlp_of_mine", False)):
        new = type("New", (base,), {"__module__": module})
        monkeypatch.setattr(fm, "New", new, raising=False)
        monkeypatch.setattr(fm, "__all__", ["New", *found])
        assert ("New" in family()) == expected
    monkeypatch.setattr(fm, "__all__", [])
    assert family() == {}


def test_entries_are_those_of_all_families():
    assert set(registry.entries()) == {name for family in FAMILIES for name in family()}
    assert {"ReLU", "Linear", "CrossEntropyLoss", "SGD", "CosineAnnealingLR"} <= set(registry.entries())
    assert not {"Activation", "Criterion", "ElementwiseLoss", "Optimizer", "LRScheduler", "Module"} & set(registry.entries())


@pytest.mark.parametrize("name", registry.entries())
def test_cases_are_arguments_of_the_entry(name):
    entry = registry.entries()[name]
    assert entry.cases
    known = inspect.signature(entry).parameters
    for case in entry.cases:
        assert case.keys() <= set(known)
    needed = {
        key for key, parameter in known.items() if parameter.default is parameter.empty and key not in ("params", "optimizer")
    }
    assert all(needed <= case.keys() for case in entry.cases)
    assert len({repr(sorted(case.items())) for case in entry.cases}) == len(entry.cases)


def test_table_has_a_row_for_each_entry():
    rows = registry.table()
    others = {("layer", name) for name in ("Embedding", "Residual", "Sequential")}  # tested by themselves
    known = others | {(kind, name) for family, (_, kind) in FAMILIES.items() for name in family()}
    assert {(row.family, row.name) for row in rows} == known
    assert len(rows) == len(known)
    for row in rows:
        assert row.summary.endswith(".")
        assert "\n" not in row.summary
    arguments = {row.name: row.arguments for row in rows}
    assert arguments["CosineAnnealingLR"] == "(optimizer, T_max, eta_min=0.0)"
    assert arguments["ReLU"] == "()"
    assert arguments["Scale"] == "(features, init=1.0, *, dtype=float32)"
