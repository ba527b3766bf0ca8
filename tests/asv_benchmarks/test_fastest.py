from __future__ import annotations

import json

import pytest
from asv.results import Results
from commands import fastest

COLUMNS = ["result", "params", "stats_q_25", "samples"]


def test_result_becomes_the_time_that_a_tenth_stay_below():
    slow_machine = [1.0] * 4 + [1.5] * 20  # others slowed most of it down
    stored = {"result_columns": COLUMNS, "results": {"a": [[1.5, None], [["1", "2"]], [1.4, None], [slow_machine, None]]}}
    assert fastest.settle(stored)
    assert stored["results"]["a"][0] == [1.0, None]
    assert stored["results"]["a"][2] == [1.4, None]
    assert not fastest.settle(stored), "again changes nothing"


def test_what_has_no_samples_stays():
    stored = {"result_columns": COLUMNS, "results": {"memory": [[7], []], "skipped": [None, [], None, None]}}
    assert not fastest.settle(stored)


def test_asv_reads_what_has_been_settled(tmp_path, monkeypatch):
    monkeypatch.setattr(fastest, "RESULTS", tmp_path)
    (tmp_path / "m").mkdir()
    path, samples = tmp_path / "m" / "0123456789-env.json", [3.0, 1.0, 2.0]
    machine = tmp_path / "m" / "machine.json"
    machine.write_text("{}")
    row = [[2.0], [], "1", 0, 1.0, [None], [None], [None], [None], [1], [3], [samples]]
    columns = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
    columns += ["stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples"]
    facts = {"commit_hash": "0123456789", "env_name": "env", "date": 0, "params": {"machine": "m"}, "python": "3", "version": 2}
    facts |= {"requirements": {}, "env_vars": {}, "result_columns": columns, "results": {"a": row}, "durations": {}}
    path.write_text(json.dumps(facts))
    fastest.settle_all("m")
    results = Results.load(str(path), machine_name="m")
    assert results.get_result_value("a", []) == [pytest.approx(1.2)]
    assert results.get_result_samples("a", []) == [samples]
    assert machine.read_text() == "{}"
