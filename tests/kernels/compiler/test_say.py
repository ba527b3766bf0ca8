"""Messages on a standard error that may be anything."""

from __future__ import annotations

import io
import sys

import pytest
from helpers import jit_only, run_python

from fastmlp.kernels.compiler.say import is_terminal, say

pytestmark = pytest.mark.once


class Logger:
    """As logging frameworks put in the place of standard error."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Broken(Logger):
    def write(self, text):
        raise BrokenPipeError

    def isatty(self):
        raise OSError


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def test_message_never_ends_a_program(monkeypatch, capsys):
    for stream in (None, Logger(), Broken(), closed(), 7):
        monkeypatch.setattr(sys, "stderr", stream)
        say("a message")
        assert not is_terminal(), stream
        assert capsys.readouterr().out == "", stream
        if type(stream) is Logger:
            assert stream.text == "a message\n"


def test_message_is_a_line_on_standard_error(capsys):
    say("a message")
    assert capsys.readouterr().err == "a message\n"


def test_terminal_is_recognised(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not is_terminal()
    stream.isatty = lambda: True
    assert is_terminal()


@jit_only
def test_compilation_is_announced_or_not_but_done(tmp_path):
    code = """
import io, os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from fastmlp.kernels.compiler import jit
closed = io.StringIO()
closed.close()
@jit.announced
@jit.kernel
def twice(x):
    return x + x
for sys.stderr, number in (None, 2), (closed, 2.0):
    jit._Announcer.said = False
    assert twice(number) == 4
    assert jit._Announcer.said
"""
    assert run_python(code, tmp_path) == ""


@jit_only
def test_announcement_can_be_silenced(tmp_path):
    code = """
import contextlib, io, os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from fastmlp.kernels.compiler import jit
@jit.announced
@jit.kernel
def twice(x):
    return x + x
for quiet, number in (("1", 2), ("0", 2.0), ("", 2j)):
    os.environ["FASTMLP_QUIET"], jit._Announcer.said = quiet, False
    with contextlib.redirect_stderr(io.StringIO()) as said:
        twice(number)
    print(said.getvalue().count("about 3 seconds"), end=" ")
"""
    assert run_python(code, tmp_path) == "0 1 1 "
