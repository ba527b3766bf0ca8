from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.once
def test_table_of_errors_has_a_line_for_each_set(capsys):
    names = runpy.run_path(str(SCRIPTS / "compare_tables.py"))
    names["main"](["--sets", "wine", "diabetes", "--seeds", "1", "--splits", "2", "--rows", "120"])
    head, rule, *lines = capsys.readouterr().out.splitlines()
    assert head == "| data | MLP | HistGradientBoosting | Tabular | seconds: MLP | HistGradientBoosting | Tabular |"
    assert rule.count("|") == head.count("|")
    assert [line.split("|")[1].strip() for line in lines] == ["wine", "diabetes"]
    for line in lines:
        errors = [float(cell.strip(" *").split(" ± ")[0]) for cell in line.split("|")[2:5]]
        assert all(0 <= error < 3 for error in errors)
        assert line.count("**") == 2 * errors.count(min(errors))


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
    *_, line = capsys.readouterr().out.splitlines()
    name, hidden, epochs, their, our, ratio, single = (cell.strip() for cell in line.strip("| ").split("|"))
    assert (name, hidden, epochs) == ("wine", "(100,)", "200")
    assert float(ratio) == pytest.approx(float(their) / float(our), rel=0.1)
    assert float(single) > 0
