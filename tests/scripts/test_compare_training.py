"""The comparison with scikit-learn on real data: its table, its verdicts, and that both train the same thing."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm

pytest.importorskip("sklearn", reason="what is compared with, and the data")
pytestmark = pytest.mark.once

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def compare_training(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_training

    return compare_training


def test_compare_training_prints_a_line_for_every_data_set(compare_training, capsys):
    compare_training.main(["--seeds", "2", "--epochs", "1"])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert rows[0] == compare_training.HEADER
    assert [row[0] for row in rows[2:]] == list(compare_training.DATA)
    assert len({len(line) for line in table}) == 1
    for row in rows[2:]:
        assert float(row[7]) == pytest.approx(float(row[6]) / float(row[5]), rel=0.6)  # seconds have three decimals
        assert row[8] == ("yes" if float(row[7]) >= 10 else "NO")


def test_verdicts(compare_training):
    def compared(gains, seconds=((0.1, 1.0),)):
        return compare_training.Comparison("", [(0.5 + gain, 0.5) for gain in gains], list(seconds))

    assert compared([0.01, 0.0]).not_worse
    assert compared([-0.01, 0.005, 0.0]).not_worse  # -0.0017 ± 0.0044
    assert not compared([-0.01, -0.009, -0.011]).not_worse
    assert not compared([-0.01]).not_worse
    assert compared([0], [(0.1, 1.0), (0.2, 9.0), (0.1, 1.2)]).times == pytest.approx(12)
    assert compared([0.0, 0.0], [(0.1, 0.9)] * 2).row[-2:] == ["9.0", "NO"]


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "diabetes"])
def test_both_train_the_same_objective(compare_training, monkeypatch, name):
    """From the same first values, in the same order of rows, to the same parameters; weight decay matters to them."""
    split = compare_training.Split.of(name, 0)
    rows = len(split.X) // compare_training.BATCH * compare_training.BATCH  # of a smaller batch its decay differs
    split.X, split.y = split.X[:rows], split.y[:rows]
    monkeypatch.setattr(compare_training, "ALPHA", 1.0)
    theirs = compare_training.with_scikit_learn(split, 1, shuffle=False, warm_start=True, random_state=0)
    model, criterion, optimizer = compare_training.with_fastmlp(split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather converge
        theirs.fit(split.X, split.y)
        linears = [module for module in model if isinstance(module, fm.Linear)]
        for linear, weight, bias in zip(linears, theirs.coefs_, theirs.intercepts_, strict=True):
            linear.weight.data, linear.bias.data = weight.T, bias
        begin = [weight.copy() for weight in theirs.coefs_]
        theirs.set_params(max_iter=3).fit(split.X, split.y)
    fm.fit(model, criterion, optimizer, split.X, split.y, epochs=3, batch_size=compare_training.BATCH, shuffle=False)
    for linear, weight, start in zip(linears, theirs.coefs_, begin):
        moved = np.linalg.norm(weight - start)
        assert np.linalg.norm(linear.weight.data.T - weight) < 0.001 * moved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "argument --seeds: must be a whole number from 1 to 10000; got '0'"),
        (["--data", "iris"], "argument --data: invalid choice: 'iris'"),
    ],
)
def test_compare_training_rejects_bad_options(compare_training, capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        compare_training.main(options)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"compare_training: {message}")
