from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_are_found(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.once
def test_table_of_errors_has_a_line_for_each_set(capsys):
    names = runpy.run_path(str(SCRIPTS / "compare_tables.py"))
    names["main"](["--sets", "wine", "diabetes", "--seeds", "1", "--splits", "2", "--rows", "120"])
    first, *others = capsys.readouterr().out.split("\n\n")
    head, rule, *lines = first.splitlines()
    assert head == "| data | MLP | HistGradientBoosting | Tabular | seconds: MLP | HistGradientBoosting | Tabular |"
    assert rule.count("|") == head.count("|")
    assert [line.split("|")[1].strip() for line in lines] == ["wine", "diabetes"]
    for line in lines:
        errors = [float(cell.strip(" *").split(" ± ")[0]) for cell in line.split("|")[2:5]]
        assert all(0 <= error < 3 for error in errors)
        assert line.count("**") == 2 * errors.count(min(errors))
    for table, number in zip(others, ("log loss", "calibration error")):  # of classes
        head, _, line = table.splitlines()
        assert head == f"| {number} | MLP | HistGradientBoosting | Tabular |"
        assert line.startswith("| wine |")
        assert all(0 <= float(cell.strip(" *").split(" ± ")[0]) < 2 for cell in line.strip(" |").split("|")[1:])


@pytest.mark.once
def test_what_is_stored_is_not_done_again(capsys, tmp_path):
    names = runpy.run_path(str(SCRIPTS / "compare_tables.py"))
    stored = tmp_path / "measured.jsonl"
    stored.write_text('["wine", "MLP", 7, 5, 1000, {"error": 0.5, "seconds": 3, "log loss": 1, "calibration error": 0.25}]\n')
    how = ["--sets", "wine", "--contenders", "MLP", "--first-seed", "7", "--store", str(stored)]
    names["main"]([*how, "--seeds", "1"])
    assert "| wine | **0.5000 ± 0.0000** | 3.00 |" in capsys.readouterr().out
    names["main"]([*how, "--seeds", "2"])
    assert len(stored.read_text().splitlines()) == 2
    assert "± 0.0000" not in capsys.readouterr().out.splitlines()[2]


@pytest.mark.once
def test_calibration_error_is_the_distance_of_confidence_and_accuracy():
    names = runpy.run_path(str(SCRIPTS / "compare_tables.py"))
    sure = np.repeat([0.95, 0.65], [8, 4])  # right 3 of 4 times, and always
    right = np.array([1, 1, 1, 0] * 2 + [1] * 4, bool)
    error = names["calibration_error"](np.column_stack([1 - sure, sure]), right)
    assert error == pytest.approx((8 * (0.95 - 0.75) + 4 * 0.35) / 12)


@pytest.mark.once
def test_sets_are_read_from_files_of_packages(monkeypatch, tmp_path):
    names = runpy.run_path(str(SCRIPTS / "compare_tables.py"))
    with pytest.raises(SystemExit, match="nowhere_at_all is not installed: pip install"):
        names["read"]("nowhere_at_all", "x.csv")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "shop/t.csv").write_text("a,b,Unnamed: 0,y\n1,x,0,2\n2,y,1,\n3,x,2,5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    X, y = names["from_file"]("shop", "t.csv", "y", change=lambda y: y * 2)()
    assert list(X.columns) == ["a", "b"]
    assert y.tolist() == [4, 10]
    assert names["text_columns"](X) == ["b"]


@pytest.mark.once
def test_seconds_are_of_the_same_networks(capsys):
    names = runpy.run_path(str(SCRIPTS / "compare_estimators.py"))
    names["main"](["--only", "wine", "--rounds", "1"])
    *_, head, _, line = capsys.readouterr().out.splitlines()
    assert line.count("|") == head.count("|")
    name, hidden, epochs, their, our, ratio, their32, our32, ratio32, bound = (x.strip() for x in line.strip("| ").split("|"))
    assert (name, hidden, epochs) == ("wine, 178 x 13", "(100,)", "200")
    assert float(ratio) == pytest.approx(float(their) / float(our), rel=0.1)
    assert float(ratio32) == pytest.approx(float(their32) / float(our32), rel=0.1)
    assert 0 < float(bound.split(" (")[0]) < float(our)


@pytest.mark.once
def test_flops_of_a_row_are_those_of_its_products():
    names = runpy.run_path(str(SCRIPTS / "compare_estimators.py"))
    forward, weights, deltas = 13 * 100 + 100 * 3, 13 * 100 + 100 * 3, 100 * 3
    assert names["flops_of"]([13, 100, 3]) == 2 * (forward + weights + deltas)
