from __future__ import annotations

import dataclasses
import datetime
import subprocess
from types import SimpleNamespace

import pytest
from asv.results import Results
from benchmarks.workloads import PEAK_FLOPS, WORKLOADS
from commands import report, throughput
from commands.paths import HERE


def head():
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Results as asv stores them: disc-b1 on one thread at 2 us a step, on two never measured; the peak at 100 GFLOP/s."""
    results = Results({"machine": "m"}, {}, head(), 0, "3", "env", {})
    now = datetime.datetime.now(datetime.timezone.utc)

    def add(name, params, values):
        benchmark = {"name": name, "params": params, "version": "1"}
        nothing = [None] * len(values)
        result = SimpleNamespace(result=values, samples=nothing, number=nothing, errcode=0, stderr="", profile=None)
        results.add_result(benchmark, result, started_at=now, duration=1.0)

    steps = WORKLOADS["disc-b1"].steps
    add(throughput.EPOCHS, [["'disc-b1'", "'tabular'"], ["1", "2"]], [steps * 2e-6, None, float("nan"), 1.0])
    add(throughput.PEAK, [["1", "2"]], [PEAK_FLOPS / 100e9, 2 * PEAK_FLOPS / 100e9])
    results.save(str(tmp_path))
    (tmp_path / "m" / "machine.json").write_text('{"machine": "m", "version": 1}')
    monkeypatch.setattr(throughput, "RESULTS", tmp_path)
    return list(throughput.throughputs("m"))


def test_throughput_is_what_the_times_say(measured):
    assert [(one.workload, one.threads) for one in measured] == [("disc-b1", 1), ("tabular", 2)]
    disc, tabular = measured
    assert disc.samples == pytest.approx(500_000)
    assert disc.gigaflops == pytest.approx(WORKLOADS["disc-b1"].flops / 2e-6 / 1e9)
    assert disc.of_peak == pytest.approx(disc.gigaflops / 100)
    assert tabular.of_peak == pytest.approx(tabular.gigaflops / 100)


def test_flops_of_a_step():
    """Forward, weight gradient and input gradient of each layer, without the first input gradient."""
    assert WORKLOADS["disc-b100"].flops == 2 * 100 * (3 * (2 * 25 + 25 * 25 + 25 * 25 + 25 * 2) - 2 * 25)


def test_markdown_has_a_table_for_each_workload(measured):
    text = report.markdown(measured)
    assert text.count("\n## ") == 2
    assert "| 500,000 |" in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))


def test_what_has_not_been_measured_is_said_in_every_column(measured):
    here, there = dataclasses.replace(measured[0], of_peak=None), dataclasses.replace(measured[0], commit="x", threads=2)
    rows = [line for line in report.markdown([here, there]).splitlines() if line.startswith(("| x", f"| {here.commit}"))]
    cells = [row.strip("| ").split(" | ")[1:] for row in rows]
    assert cells == [
        ["not measured", "not measured", "not measured", "500,000", "4", "4.0%"],
        ["500,000", "4", "not measured", "not measured", "not measured", "not measured"],
    ]


def test_figure_is_written(measured, tmp_path):
    report.figure([dataclasses.replace(measured[0], of_peak=None), measured[1]], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_is_said(monkeypatch, tmp_path, capsys):
    (tmp_path / "m").mkdir()
    monkeypatch.setattr(throughput, "RESULTS", tmp_path)
    assert report.main("m") == 1
    assert "make bench" in capsys.readouterr().err
