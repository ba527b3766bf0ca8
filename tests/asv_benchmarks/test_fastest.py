from __future__ import annotations

import json

import pytest
from asv.results import Results
from commands import fastest

COLUMNS = ["result", "params", "version", "stats_q_25", "samples"]


def test_result_becomes_the_time_that_a_tenth_stay_below_and_nothing_else_is_kept():
    slow_machine = [1.00004] * 4 + [1.5] * 20  # others slowed most of it down
    stored = {"result_columns": COLUMNS, "results": {"a": [[1.5, None], [["1", "2"]], "1", [1.4, None], [slow_machine, None]]}}
    assert fastest.settle(stored)
    assert stored["results"] == {"a": [[1.0, None], [["1", "2"]], "1"]}
    assert stored["result_columns"] == ["result", "params", "version"]
    assert not fastest.settle(stored), "again changes nothing"


def test_what_has_no_samples_stays():
    stored = {"result_columns": COLUMNS, "results": {"memory": [[7], [], "1"], "failed": [None, [], "2"]}}
    assert fastest.settle(stored)
    assert stored["results"] == {"memory": [[7], [], "1"], "failed": [None, [], "2"]}


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
    assert results.benchmark_version == {"a": "1"}
    assert machine.read_text() == "{}"


@pytest.mark.once
def test_results_in_the_repository_are_settled_and_small():
    folders = [path.parent for path in fastest.RESULTS.glob("*/machine.json") if path.parent.name != "local"]
    assert folders
    for folder in folders:
        files = [path for path in folder.iterdir() if path.name != "machine.json"]
        assert len(files) >= 8
        assert sum(path.stat().st_size for path in files) < 12_000 * len(files)
        for path in files:
            stored = json.loads(path.read_text())
            assert not fastest.settle(stored), path.name
            assert stored["params"]["machine"] == folder.name
