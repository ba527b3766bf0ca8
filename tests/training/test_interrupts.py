"""What is done while Ctrl-C is held back, and what happens after."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from fastmlp.training.interrupts import interrupts_held, interrupts_watched

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="raises a POSIX signal")


def test_interrupt_waits_for_the_end_of_the_block():
    done = []

    def work():
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_interrupt_is_not_held():
    def work():
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_raised_where_nothing_came_and_errors_pass():
    with interrupts_held():
        pass
    with pytest.raises(ZeroDivisionError), interrupts_held():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_handler_of_the_program_stays_in_place(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_nothing_to_hold():
    seen = []

    def work():
        with interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("watched", [False, True])
def test_sigterm_with_a_handler_of_the_program_waits_too(watched):
    def leave(*_):
        raise SystemExit(143)

    done, before = [], signal.signal(signal.SIGTERM, leave)

    def work():
        with interrupts_held():
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")

    def work_watched():
        with interrupts_watched():
            work()

    try:
        with pytest.raises(SystemExit, match="143"):
            work_watched() if watched else work()
        assert done == ["all of it"]
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)


def test_interrupts_are_heard_at_once_where_they_are_watched_and_not_held():
    def work():
        with interrupts_watched(), interrupts_watched():
            with interrupts_held():
                pass
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handler_that_is_set_while_interrupts_are_watched_stays():
    own = lambda *_: None  # noqa: E731
    try:
        with interrupts_watched():
            signal.signal(signal.SIGINT, own)
            with interrupts_held():
                pass
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
