"""The comparison with other libraries: its tables, what it checks before it times, and what it says about bad options."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
QUICK = ["--rounds", "1", "--seconds", "0.001", "--pause", "0.001", "--cold", "0"]
COLUMNS = {"torch": "torch", "jax": "JAX", "scikit-learn": "scikit-learn", "onnxruntime": "onnxruntime"}


@pytest.fixture
def compare_peers(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_peers

    return compare_peers


@pytest.fixture
def rounds(compare_peers):
    from peers import rounds

    return rounds


def setting(compare_peers, **changes):
    usual = {"peers": [], "workloads": ["disc-b100"], "rounds": 1, "seconds": 0.001, "pause": 0.0, "cold": 0, "cores": 1}
    return compare_peers.Setting(**{**usual, "peak": 100.0, **changes})


@pytest.fixture
def sweep(compare_peers):
    from peers import sweep

    return sweep


def run(*options):
    command = [sys.executable, SCRIPTS / "compare_peers.py", *QUICK, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=250)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(("compare_peers: ", "fastmlp: ")) for line in done.stderr.splitlines())
    return done.stdout


def tables(printed):
    """The tables by their titles: lists of rows, the header first, without the rule."""
    found = {}
    for part in printed.split("\n### ")[1:]:
        title, *lines = part.splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        assert {len(line) for line in lines if line.startswith("|")} == {len(next(x for x in lines if x.startswith("|")))}
        assert len({len(row) for row in rows}) == 1
        assert set("".join(rows[1])) == set("-:")
        found[title] = [rows[0], *rows[2:]]
    return found


def number(cell):
    return float(cell.split()[0].rstrip("×%").replace(",", ""))


def installed(compare_peers):
    return [peer for peer, packages in compare_peers.PEERS.items() if None not in compare_peers.versions(packages).values()]


def test_compare_peers_measures_everybody(compare_peers):
    sections = ["functions", "matrix", "threads", "sweep", "predict", "many", "train"]
    swept = ["--rows", "64", "1", "--widths", "8"]
    printed = run("--only", *sections, "--workloads", "disc-b100", *swept)
    found, peers = tables(printed), installed(compare_peers)
    assert list(found) == [
        *("Training", "Many networks", "Prediction", "Prediction by rows and width"),
        *("Threads", "Matrix kernel", "Elementary functions"),
    ]
    for peer in compare_peers.PEERS:
        if peer in peers:
            assert f"{peer} {importlib.metadata.version(peer)}" in printed
        for title in ("Training", "Prediction"):
            there = any(cell.startswith(COLUMNS[peer]) for cell in found[title][0])
            assert there == (peer in peers and (title, peer) != ("Training", "onnxruntime"))

    ((name, ours, rate, _, *others),) = found["Training"][1:]
    assert name == "disc-b100"
    assert number(rate) == pytest.approx(0.79e6 / number(ours) / 1e3, rel=0.1, abs=1)  # 0.79 MFLOP a step
    for cell in others:
        assert number(cell.split("(")[1].strip(")")) == pytest.approx(number(cell) / number(ours), rel=0.02)

    predicted = found["Prediction"][1:]
    assert [row[:2] for row in predicted] == [["2-25-25-25-2", "1"], ["2-25-25-25-2", "32"], ["2-25-25-25-2", "100,000"]]
    assert all(number(cell) > 0 for row in predicted for cell in row[2:] if cell != "–")

    header, *swept = found["Prediction by rows and width"]
    assert header == ["rows", "width 8"]
    assert [size for size, _ in swept] == ["1", "64"]
    for _, cell in swept:
        assert number(cell) > 0
        assert bool(set(peers) - {"scikit-learn"}) == ("," in cell)

    many = ["one after the other", *["JAX vmap"] * ("jax" in peers)]
    header, (name, epochs, ours, *others) = found["Many networks"]
    assert header == ["workload", "epochs", "fastmlp", *many]
    assert (name, epochs) == ("disc-b100", "2")
    for cell in others:
        assert number(cell.split("(")[1].strip(")")) == pytest.approx(number(cell) / number(ours), rel=0.02)

    assert [row[0] for row in found["Threads"][1:]] == ["disc-b100"]
    assert [row[0] for row in found["Matrix kernel"]] == ["size", "512×512×784", "64×512×784", "32×32×32"]
    assert all(0 < number(row[2]) < 130 for row in found["Matrix kernel"][1:])
    assert [row[0] for row in found["Elementary functions"][1:]] == ["exp", "tanh"]


def test_compare_peers_measures_fresh_processes():
    found = tables(run("--only", "start", "memory", "--peers"))
    assert list(found) == ["Start-up", "Memory"]
    header, *rows = found["Start-up"]
    assert header == ["library", "import", "import and 250 epochs", "nothing compiled"]
    times = {row[0]: row[1:] for row in rows}
    assert list(times) == ["Python alone", "NumPy", "numba", "fastmlp"]
    # Neighbours in time differ by less than what else may run beside a test.
    assert all(float(times[name][0]) > 0 for name in times)
    assert float(times["Python alone"][0]) < float(times["fastmlp"][1])
    assert times["fastmlp"][2] == times["numba"][1] == "–"
    memory = dict(found["Memory"][1:])
    assert float(memory["the data"]) == 16  # 5120 rows of 784 float32 and one label
    assert float(memory["the parameters"]) == 7
    assert sys.platform == "win32" or float(memory["fastmlp"]) > 16 + 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nonesuch"], "argument --only: invalid choice: 'nonesuch' (choose from "),
        (["--workloads", "disc"], "argument --workloads: invalid choice: 'disc' (choose from "),
        (["--peers", "keras"], "argument --peers: invalid choice: 'keras' (choose from "),
        (["--rounds", "0"], "argument --rounds: must be a whole number from 1 to 1000; got '0'"),
        (["--rounds", "many"], "argument --rounds: must be a whole number from 1 to 1000; got 'many'"),
        (["--cold", "-1"], "argument --cold: must be a whole number from 0 to 1000; got '-1'"),
        (["--seconds", "nan"], "argument --seconds: must be a number of seconds from 0.001 to 60; got 'nan'"),
        (["--pause", "a"], "argument --pause: must be a number of seconds from 0.001 to 60; got 'a'"),
        (["--round", "3"], "unrecognized arguments: --round 3"),
        (["--rows", "0"], "argument --rows: must be a whole number from 1 to 10000000; got '0'"),
        (["--widths", "8", "1e3"], "argument --widths: must be a whole number from 1 to 10000; got '1e3'"),
        (["--picture", "sweep.jpg"], "argument --picture: must end in .png, .pdf or .svg; got 'sweep.jpg'"),
        (["--picture", "no/such/sweep.png"], "argument --picture: there is no folder "),
        (["--only", "predict", "--picture", "sweep.png"], "--picture draws the section sweep, which --only leaves out"),
    ],
)
def test_compare_peers_rejects_bad_options(compare_peers, capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        compare_peers.main(options)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"compare_peers: {message}")
    assert printed.err.count("\n") == 1


@pytest.fixture
def without_torch(monkeypatch):
    def version(package):
        if package == "torch":
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.usefixtures("without_torch")
def test_compare_peers_names_what_is_not_installed(compare_peers, capsys):
    compare_peers.main([*QUICK, "--only", "functions"])
    printed = capsys.readouterr().out
    assert "jax 1.2.3" in printed
    assert "\nNot installed, and left out: torch.\n" in printed


@pytest.mark.usefixtures("without_torch")
def test_compare_peers_rejects_a_peer_that_is_not_installed(compare_peers, capsys):
    with pytest.raises(SystemExit):
        compare_peers.main(["--peers", "torch", "jax"])
    assert capsys.readouterr().err == 'compare_peers: not installed: torch; pip install "fastmlp[peers]" brings all\n'


class Twin:
    """A contender that trains as fastmlp does, and may then be spoilt."""

    name = "twin"
    same_network = True

    def __init__(self, problem, spoil):
        from peers.with_fastmlp import FastmlpFit

        self.fit, self.spoil = FastmlpFit(problem), spoil
        self.reset, self.epochs = self.fit.reset, self.fit.epochs

    def weights(self):
        weights = [weight.copy() for weight in self.fit.weights()]
        self.spoil(self.fit.problem, weights)
        return weights


def undo(problem, weights):
    weights[:] = problem.flat_parameters


def undo_one_bias(problem, weights):
    weights[3] = problem.flat_parameters[3]


def go_further(problem, weights):
    for weight, start in zip(weights, problem.flat_parameters):
        weight[...] += 0.1 * (weight - start)


@pytest.mark.parametrize("workload", ["disc-b10", "disc-tanh-b100", "tabular", "tabular-adam", "tabular-batchnorm"])
def test_check_agreement_refuses_who_trains_otherwise(compare_peers, workload):
    from peers import train
    from peers.with_fastmlp import FastmlpEager, FastmlpFit

    problem = compare_peers.WORKLOADS[workload]
    problem = train.Problem(problem)
    train.check_agreement(problem, [FastmlpFit(problem), FastmlpEager(problem), Twin(problem, lambda *_: None)])
    for spoil in (undo, undo_one_bias, go_further):
        with pytest.raises(SystemExit, match="twin"):
            train.check_agreement(problem, [FastmlpFit(problem), Twin(problem, spoil)])


def test_check_agreement_refuses_who_trains_one_of_many_otherwise(compare_peers):
    from peers import many
    from peers.with_fastmlp import FastmlpMany, FastmlpOneByOne

    class Spoilt(FastmlpOneByOne):
        name = "spoilt"

        def weights(self):
            weights = super().weights()
            weights[2] = self.fits[2].problem.flat_parameters
            return weights

    problems = [many.Problem(compare_peers.WORKLOADS["disc-b100"], number) for number in range(4)]
    assert not np.array_equal(problems[0].flat_parameters[0], problems[1].flat_parameters[0])
    many.check_agreement(problems, [FastmlpMany(problems), FastmlpOneByOne(problems)])
    with pytest.raises(SystemExit, match="spoilt trains network 2 otherwise"):
        many.check_agreement(problems, [FastmlpMany(problems), Spoilt(problems)])


def test_check_agreement_refuses_wrong_predictions(compare_peers):
    from peers import predict, with_fastmlp
    from peers.predictor import Predictor

    problem = predict.Problem(compare_peers.WORKLOADS["disc-b100"])
    predict.check_agreement(problem, problem.x, with_fastmlp.predictors(problem, problem.x))
    wrong = Predictor("wrong", lambda: problem.scores(problem.x) + 0.001)
    with pytest.raises(SystemExit, match="wrong predicts something else"):
        predict.check_agreement(problem, problem.x, [wrong])


def test_problem_loss_is_that_of_the_criterion(compare_peers):
    from peers.with_fastmlp import network
    from peers.workloads import Problem

    import fastmlp as fm

    for name, criterion in (
        ("disc-b100", fm.CrossEntropyLoss()),
        ("disc-tanh-b100", fm.MSELoss()),
        ("tabular-batchnorm", fm.CrossEntropyLoss()),
    ):
        problem = Problem(compare_peers.WORKLOADS[name])
        assert problem.loss(problem.flat_parameters) == pytest.approx(
            criterion(network(problem)(problem.x), problem.y), rel=1e-5
        )


def test_train_leaves_out_who_lacks_a_layer(compare_peers, monkeypatch):
    from peers import train

    checked = []
    monkeypatch.setattr(train, "check_agreement", lambda problem, everybody: checked.append(problem.workload))
    monkeypatch.setattr(train, "take_turns", lambda turns, setting: dict.fromkeys((turn.name for turn in turns), 200.0))
    peers = [peer for peer in ("torch", "scikit-learn") if peer in installed(compare_peers)]
    names = ["tabular-dropout", "tabular-batchnorm", "tabular"]
    head, *rows = train.rows(setting(compare_peers, peers=peers, workloads=names))
    assert [row[0] for row in rows] == names
    assert head[:4] == ["workload", "fastmlp", "GFLOP/s", "of the peak"]
    assert ("scikit-learn" in head) == ("scikit-learn" in peers)
    for row in rows:
        assert row[1] == "10.0"  # of 20 steps
        for peer, cell in zip(head[4:], row[4:], strict=True):
            assert cell == ("–" if peer == "scikit-learn" and row[0] != "tabular" else "10.0 (1×)")
    assert [workload.dropout for workload in checked] == [0, 0, 0], "who drops at random is compared with nothing dropped"


def test_reset_goes_back_to_the_beginning(compare_peers):
    from peers.with_fastmlp import FastmlpEager, FastmlpFit
    from peers.workloads import Problem

    kinds = [FastmlpFit, FastmlpEager]
    if "torch" in installed(compare_peers):
        from peers.with_torch import Torch

        kinds.append(Torch)
    if "jax" in installed(compare_peers):
        from peers.with_jax import Jax

        kinds.append(Jax)
    for name in ("tabular-adam", "tabular-dropout", "tabular-batchnorm"):
        problem = Problem(compare_peers.WORKLOADS[name])
        for kind in kinds:
            contender, ends = kind(problem), []
            for _ in range(2):
                contender.reset()
                begin = [np.array(weight) for weight in contender.weights()]
                assert all(np.array_equal(ours, theirs) for ours, theirs in zip(begin, problem.flat_parameters, strict=True))
                contender.epochs(1)
                ends.append([np.array(weight) for weight in contender.weights()])
            assert not np.array_equal(ends[0][0], begin[0])
            if kind.__name__ != "Torch" or not problem.workload.dropout:  # whose generator goes on
                assert all(np.array_equal(one, two) for one, two in zip(*ends))


def test_take_turns_gives_the_median_of_the_fastest_way(compare_peers, rounds, monkeypatch):
    clock = [0.0]
    turns = []
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(rounds.time, "sleep", lambda _: turns.append("pause"))

    def contender(name, *speeds):
        left = [speeds[0], speeds[0], speeds[0], *speeds]  # three to calibrate

        def run(count):
            turns.append(name)
            clock[0] += count * left.pop(0)

        return rounds.Contender(name, run, lambda: turns.append("prepare"))

    contenders = [contender("a", 0.5, 0.1, 0.2), contender("b", 0.3, 0.3, 0.3), contender("b", 0.4, 0.1, 0.2)]
    times = rounds.take_turns(contenders, setting(compare_peers, rounds=3, seconds=1.0))
    assert times == pytest.approx({"a": 0.2e6, "b": 0.2e6})
    assert turns[-9:] == ["prepare", "pause", "a", "prepare", "pause", "b", "prepare", "pause", "b"]


def test_calibrate_fills_a_turn(rounds, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def run(count):
        clock[0] += count * 0.003

    assert rounds._calibrate(rounds.Contender("", run), 0.3) == 100
    assert rounds._calibrate(rounds.Contender("", run), 0.001) == 1


@pytest.mark.parametrize("compiles", [1, 2, 3, 7])
def test_calibrate_takes_no_compilation_for_a_turn(compiles, rounds, monkeypatch):
    """In the first call, or in the third, where predictions that follow each other get other kernels."""
    clock, calls = [0.0], [0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def run(count):
        calls[0] += count
        clock[0] += count * 0.003 + 2.0 * (calls[0] - count < compiles <= calls[0])

    assert rounds._calibrate(rounds.Contender("", run), 0.3) == 100


def test_peak_memory_is_that_of_the_process_alone(compare_peers):
    if sys.platform == "win32":
        pytest.skip("the system keeps no record")
    from peers.children import run_child

    own = np.ones(50_000_000)  # a child would begin with these 400 MB
    printing = "from peers.children import peak_memory; print(peak_memory())"
    small = int(run_child(printing))
    large = int(run_child(f"held = b'x' * {10**8}; {printing}"))
    assert 1e6 < small < own.nbytes / 2
    assert large - small == pytest.approx(1e8, rel=0.1)


def test_run_child_names_the_program_that_failed(compare_peers):
    from peers.children import run_child

    with pytest.raises(SystemExit, match=r"failed at '1 / 0':\n(.|\n)*ZeroDivisionError"):
        run_child("1 / 0")


def test_microseconds_have_three_figures(compare_peers):
    from peers.tables import microseconds

    values = {2.8: "2.80", 28.74: "28.7", 99.96: "100", 287.4: "287", 28_740.0: "28,700", 0.5: "0.500"}
    assert {value: microseconds(value) for value in values} == values


def test_markdown_pads_its_columns(compare_peers):
    from peers.tables import markdown

    table = markdown([["name", "µs"], ["a", "1,000"]])
    assert table == "| name |    µs |\n| ---- | ----: |\n| a    | 1,000 |"


def test_burn_computes_every_chain_it_counts(compare_peers):
    from peers import machine

    machine.burn(1)
    (code,) = machine.burn.inspect_llvm().values()
    called = sum("call" in line and "@llvm.fmuladd" in line for line in code.splitlines())
    assert called >= machine.CHAINS
    assert called % machine.CHAINS == 0  # LLVM unrolls the loop


def test_picture_needs_matplotlib(compare_peers, capsys, monkeypatch):
    monkeypatch.setattr(compare_peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        compare_peers.main(["--picture", "sweep.png"])
    assert capsys.readouterr().err == 'compare_peers: --picture needs matplotlib; pip install "fastmlp[plot]" brings it\n'


def test_sweep_names_the_fastest_peer_and_leaves_out_what_takes_too_long(compare_peers, sweep, monkeypatch):
    from peers.predictor import Predictor

    def predictors(problem, x, setting):
        right = problem.scores(x)
        assert "scikit-learn" not in setting.peers
        return [Predictor(name, lambda: right) for name in ("fastmlp", "fastmlp, out=", "slow", "quick")]

    times = {"fastmlp": 3.0, "slow": 12.0, "quick": 6.0}
    monkeypatch.setattr(sweep, "predictors", predictors)
    monkeypatch.setattr(sweep, "take_turns", lambda turns, _: {turn.name: times[turn.name] for turn in turns})
    monkeypatch.setattr(sweep, "MOST_FLOPS", 2 * 64 * (16 * 64 + 64 * 64 + 64 * 8))
    asked = setting(compare_peers, peers=["scikit-learn"], rows=[1, 64, 65], widths=[8, 64])
    head, *rows = sweep.rows(asked)
    assert head == ["rows", "width 8", "width 64"]
    cell = "3.00 (0.50, quick)"
    assert rows == [["1", cell, cell], ["64", cell, cell], ["65", cell, "–"]]
    monkeypatch.delitem(times, "slow")
    monkeypatch.delitem(times, "quick")
    monkeypatch.setattr(sweep, "predictors", lambda *options: predictors(*options)[:1])
    assert list(sweep.rows(asked))[1] == ["1", "3.00", "3.00"]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_picture_shows_every_cell(compare_peers, sweep, tmp_path, ending):
    pytest.importorskip("matplotlib")
    from peers.picture import draw_sweep

    found = {
        (1, 8): sweep.Cell(1.2, 7.2, "onnxruntime"),
        (1000, 8): sweep.Cell(3456.7, 1000.0, "torch"),
        (1, 64): sweep.Cell(2.0),
    }
    path = tmp_path / f"sweep.{ending}"
    draw_sweep(path, found)
    assert path.stat().st_size > 5000
    again = tmp_path / f"again.{ending}"
    draw_sweep(again, dict(reversed(found.items())))
    if ending == "png":
        assert again.read_bytes() == path.read_bytes(), "the order in which cells were measured does not matter"
    if ending == "svg":
        text = path.read_text(encoding="utf-8")
        for shown in ("0.17", "3.46", "1.2 µs · onnxruntime", "3.5 ms · torch", "2.0 µs", "1,000", "hatched"):
            assert f"<!-- {shown}" in text or shown in text, shown


def test_colours_of_the_picture_are_symmetrical_and_text_can_be_read(compare_peers):
    pytest.importorskip("matplotlib")
    from peers import picture

    def luminance(colour):
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    shades = [picture.COLOURS(place) for place in np.linspace(0, 1, 101)]
    for below, above in zip(shades[:45], reversed(shades[56:])):
        assert below[2] > above[2], "blue on one side"
        assert below[0] < above[0], "red on the other"
    for shade in shades:
        ink = 1.0 if picture._is_dark(shade) else luminance((0x22 / 255,) * 3)
        high, low = sorted((ink, luminance(shade)), reverse=True)
        assert (high + 0.05) / (low + 0.05) > 3, shade  # WCAG 2 for large text
