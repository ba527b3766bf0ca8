from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import struct
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from helpers import make_data, make_net

import fastmlp as fm
from fastmlp.training.progress import Progress, _short


def train(**keywords):
    X, y = make_data(20, 2, 3)
    model = make_net([2, 5, 3])
    return fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=4, **keywords)


@pytest.mark.parametrize("progress", [None, False, 0, np.False_, 0.0])
def test_progress_is_silent_where_nobody_looks_or_wants_it(progress, capsys, monkeypatch):
    train(progress=False)  # which may say that it compiles
    capsys.readouterr()
    if progress is not None:  # not even on a terminal
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(progress=progress)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("progress", [1, np.True_])
def test_progress_is_shown_for_all_that_is_true(progress, capsys):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    train(progress=progress)
    assert "epoch 4/4" in capsys.readouterr().err


class Log:
    """What a program puts in the place of standard error: the least that `print` needs."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


class Refuses(Log):
    def isatty(self):
        raise OSError("no terminal here")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"none": lambda: None, "log": Log, "closed": closed, "refuses": Refuses, "object": object}


@pytest.mark.parametrize("name", STREAMS)
def test_standard_error_may_be_anything(name, monkeypatch):
    """A windowed program has none, a logger has no isatty. Warnings of a module in Python go there as well."""

    class Same(fm.Module):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

    monkeypatch.setattr(sys, "stderr", STREAMS[name]())
    assert len(train().loss) == 4
    assert len(train(validation=make_data(9, 2, 3)).validation_loss) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fm.Sequential(fm.Linear(2, 3), Same())
        fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters()), *make_data(9, 2, 3), epochs=1)


def test_progress_shows_epoch_loss_and_speed(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    train(progress=False)  # which may say that it compiles
    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal, raising=False)
        capsys.readouterr()
        history = train(progress=True, validation=0.3, metrics="accuracy")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "epoch 4/4" in captured.err
        loss, other = history.loss[-1], history.validation_loss[-1]
        shown = f"loss {loss:#.3g}, val {other:#.3g}, " if terminal else f"loss {loss:.4g}, validation loss {other:.4g}, "
        assert shown in captured.err
        assert terminal or "validation accuracy " in captured.err
        assert "samples/s" in captured.err
        assert ("\r" in captured.err) == terminal, "a file that is no terminal gets lines"


def test_progress_as_a_log_is_plain_lines(capsys, monkeypatch):
    """Also on a terminal, and of calls of many epochs; or with some time between two lines."""
    train(progress=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    capsys.readouterr()
    history = train(progress="log")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for i, line in enumerate(lines):
        assert re.fullmatch(rf"epoch {i + 1}/4, loss {history.loss[i]:.4g}, \S+ samples/s", line)
    train(progress=("log", 1000), callbacks=lambda *_: False)
    assert re.fullmatch(r"epoch 4/4, loss \S+, \S+ samples/s\n", capsys.readouterr().err)
    for wrong, error in (("bar", TypeError), (("log", -1), ValueError), (("log", "1"), TypeError), (("x", 1), TypeError)):
        with pytest.raises(error, match="progress"):
            train(progress=wrong)


def test_progress_shows_itself_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train()
    assert "samples/s" in capsys.readouterr().err


def test_progress_without_tqdm_is_silent_or_says_how_to_get_it(monkeypatch, capsys):
    train(progress=False)  # which may say that it compiles
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train()
    assert capsys.readouterr().err == ""
    with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install .*fastmlp\[progress\]"):
        train(progress=True)


def test_progress_of_a_resumed_run_begins_where_it_is(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = Progress(True, 10, 4, fm.History([0.25]))
    bar._began -= 2
    bar.show(5.5, 150, last=True)
    assert bar.bar.n == 5.5
    bar.close()
    assert re.search(r"loss 0.250, 7\d\.\d samples/s", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1234, "1.23k"), (999.7, "1.00k"), (5.67e6, "5.67M"), (8.9e9, "8.90G")]
)
def test_short_number(value, text):
    assert _short(value) == text


def test_progress_that_cannot_be_drawn_ends_no_run(monkeypatch):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")

    class Gone:
        encoding = None

        def __init__(self, writes):
            self.left = writes

        def write(self, text):
            self.left -= 1
            if self.left < 0:
                raise OSError("gone")

        def flush(self):
            self.write("")

        def isatty(self):
            return True

    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, Gone(0), Gone(3)):
        monkeypatch.setattr(sys, "stderr", stream)
        history = train(progress=True)
        gc.collect()
        monkeypatch.undo()
        assert len(history.loss) == 4


@pytest.mark.parametrize("name", ["progress", "shuffle", "drop_last", "check_finite"])
def test_fit_takes_yes_or_no_for_its_options(name):
    for wrong in ("no", "False", 2, [True], np.zeros(2)):
        with pytest.raises(TypeError, match=f"{name} must be True or False; got"):
            train(**{name: wrong})
    for false in (0, np.False_, False):
        assert len(train(**{name: false}).loss) == 4


def test_progress_shows_itself_in_a_notebook(capsys, monkeypatch):
    """Whose standard error is no terminal: as an output that changes, in a text where there are no widgets."""
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    train(progress=False)
    shown = []

    class Output:
        def update(self, data, raw):
            assert raw
            shown.append(data["text/plain"])

    def display(data, raw, display_id):
        assert raw and display_id  # noqa: PT018
        shown.append(data["text/plain"])
        return Output()

    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    for shell, notebook in ((types.SimpleNamespace(kernel=None), True), (object(), False), (None, False)):
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        for progress, end in ((None, ""), (True, r"epoch 4/4, loss \d\.\d+, \S+ samples/s")):
            shown.clear()
            capsys.readouterr()
            train(progress=progress)
            assert bool(shown) == notebook
            if notebook:
                first, *_, last, final = shown
                assert re.fullmatch(r"epoch 0/4 \| +\| 00:00<\?", first)
                assert re.fullmatch(r"epoch 4/4 \|█+\| 00:00<00:00, loss \d\.\d+, \S+ samples/s", last)
                assert len(last) == 100
                assert re.fullmatch(end, final)
                assert capsys.readouterr() == ("", "")
            train(progress="log")
            captured = capsys.readouterr()
            assert ("epoch 4/4, loss " in captured.out, "epoch 4/4, loss " in captured.err) == (notebook, not notebook)


def test_progress_keeps_to_its_line(capsys, monkeypatch):
    """What a line has no room for is left out; the bar does not change its length with the width of numbers."""
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for columns, behind in ((100, "loss 0.0123, val 0.00123, 3.00k samples/s"), (60, "loss 0.0123, val 0.00123"), (44, "")):
        history = fm.History([0.5], [0.25])
        bar = Progress(True, 100, 0, history)
        bar.bar.ncols, bar.bar.dynamic_ncols = columns, lambda _, columns=columns: (columns, 24)
        capsys.readouterr()
        for loss, other in ((0.5, 0.25), (0.0123, 0.00123), (0.1, 0.2)):
            history.loss.append(loss)
            history.validation_loss.append(other)
            bar._began = bar._drawn - 1
            bar.show(50, 3000, last=True)
        bar.close()
        lines = [line.rstrip("\n") for line in capsys.readouterr().err.split("\r") if "loss" in line or columns < 60]
        assert all(len(line) <= columns for line in lines)
        assert any(line.rstrip().endswith(behind) for line in lines)
        assert len({line.rindex("|") for line in lines[-3:]}) == 1


ON_A_TERMINAL = """
import fastmlp as fm
X, y = fm.datasets.make_disc(5000, rng=0)
model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.ReLU(), fm.Linear(9, 2, rng=1))
for progress in (None, True):
    print("before")
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters()), X, y, epochs=60, validation=0.1, progress=progress)
    print("after")
"""


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_progress_on_a_terminal_of_80_columns():
    """The bar moves in its line. In the end it is gone; one that was asked for stands between the lines of the program."""
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    import fcntl
    import termios

    mine, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen([sys.executable, "-c", ON_A_TERMINAL], stdin=its, stdout=its, stderr=its)
    os.close(its)
    came = b""
    with contextlib.suppress(OSError):  # its end is gone
        while part := os.read(mine, 2**16):
            came += part
    os.close(mine)
    assert child.wait(60) == 0
    lines = [line for line in came.decode().replace("\r\n", "\n").split("\n") if not line.startswith("fastmlp: ")]
    parts = [line.split("\r") for line in lines]
    assert all(len(part) <= 80 for line in parts for part in line)
    shown = []
    for line in parts:
        text = ""
        for part in line:  # what follows a carriage return is written over what stands before it
            text = part + text[len(part) :]
        shown.append(text.rstrip())
    before, after, again, bar, *end = shown
    assert (before, after, again, end) == ("before", "after", "before", ["after", ""])
    assert re.fullmatch(r"epoch 60/60 \|█+\| 00:0\d<00:00, loss \d\.\d+, val \d\.\d+, \S+ samples/s", bar)
    assert len([part for part in parts[1] if part.startswith("epoch ")]) >= 2
