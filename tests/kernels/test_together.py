"""Work that compiled code hands to a thread that spins, without Python."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest
from helpers import assert_same_bits, jit_only, make_net, normal

from fastmlp import program as program_file
from fastmlp.cores import cores
from fastmlp.kernels.threads import ARRIVED, BOX_GIVEN, BOX_SIZE, BOX_STATE, CONTROL_SIZE, LOOKING, stand_by
from fastmlp.kernels.together import shared_call
from fastmlp.program import Program
from fastmlp.team import _apart

pytestmark = jit_only  # in plain Python nothing is handed over: there are no addresses


@pytest.fixture
def boxes():
    """A function that has threads stand by, and gives their boxes and where these lie."""
    begun = []

    def stand(count):
        stand_by(np.zeros(BOX_SIZE, np.int64), 0, 0)  # compiled before
        boxes = [np.zeros(BOX_SIZE, np.int64) for _ in range(count)]
        for box in boxes:
            thread = threading.Thread(target=stand_by, args=(box, 0, 2**40), daemon=True)
            begun.append((box, thread))
            thread.start()
            _apart(2)(1, thread.ident)  # else it may be on this one's core for as long as both spin
            deadline = time.perf_counter() + 10
            while box[BOX_STATE] != LOOKING:
                assert time.perf_counter() < deadline
        return boxes, np.array([box.ctypes.data for box in boxes], np.int64)

    yield stand
    for box, thread in begun:
        box[BOX_GIVEN] += 1
        thread.join(10)
        assert not thread.is_alive()


def job_of(model, program):
    job = program.job()
    job.set(params=model.storage.data)
    return job


def ops_of(model):
    return model._route_now().ops(model._width_in())


@pytest.mark.parametrize("helpers", [1, 2])
def test_a_pass_forward_is_that_of_one_thread(boxes, helpers, dtype, rng, monkeypatch):
    """By rows, by columns and by panels, time and again; every thread that came has left its box as it was."""
    model = make_net([7, 50, 33, 3], dtype=dtype)
    state, addresses = boxes(helpers)
    for name, value in (("WIDE_FROM", 0), ("COLUMNS_FROM", 1), ("UNITS_EACH", 0), ("PREDICTED_FROM", 2)):
        monkeypatch.setattr(program_file, name, value)
    by_columns, by_panels = Program.by_columns, partial(Program.by_panels, batch=100)
    for rows, make in ((1, by_columns), (15, by_columns), (16, Program.predicting), (100, Program.predicting), (90, by_panels)):
        x, out = normal(rng, (rows, 7), dtype), np.empty((rows, 3), dtype)
        right = model(x)
        program = make(ops_of(model), dtype, threads=helpers + 1)
        assert any(op.wide for op in program.ops) == (make is by_panels)
        job, meets = job_of(model, program), make is not Program.predicting
        came, deadline = 0, time.perf_counter() + 20
        while came < 2:
            assert time.perf_counter() < deadline, f"{rows} rows: they never came"
            if not came:
                time.sleep(0)  # on a busy machine they have no core at times
            out[...] = 0
            done = shared_call(dtype)(job.handle, x, out, addresses, int(meets))
            came += done or helpers >= cores()
            assert done or meets, "who does not come is not waited for, where rows are shared"
            if done:
                assert_same_bits(out, right)
            assert all(box[BOX_STATE] == LOOKING for box in state)


def test_work_that_nobody_takes_is_taken_back(dtype, rng):
    """A thread that seems to look but does not: its core belongs to somebody else just now."""
    model, x = make_net([7, 50, 3], dtype=dtype), normal(rng, (4, 7), dtype)
    box, out = np.zeros(BOX_SIZE, np.int64), np.zeros((4, 3), dtype)
    box[BOX_STATE] = LOOKING
    addresses = np.array([box.ctypes.data], np.int64)
    job = job_of(model, Program.by_columns(ops_of(model), dtype, threads=2))
    assert shared_call(dtype)(job.handle, x, out, addresses, 1) == 0
    assert not out.any()
    assert box[BOX_STATE] == LOOKING
    job = job_of(model, Program.predicting(ops_of(model), dtype, threads=2))
    assert shared_call(dtype)(job.handle, x, out, addresses, 0) == 1
    assert_same_bits(out, model.predict(x))
    assert box[BOX_STATE] == LOOKING


def test_a_thread_that_is_away_gets_nothing(dtype, rng):
    model, x = make_net([7, 50, 3], dtype=dtype), normal(rng, (4, 7), dtype)
    box, out = np.zeros(BOX_SIZE, np.int64), np.zeros((4, 3), dtype)
    job = job_of(model, Program.by_columns(ops_of(model), dtype, threads=2))
    assert shared_call(dtype)(job.handle, x, out, np.array([box.ctypes.data], np.int64), 1) == 0
    assert not box[BOX_STATE]
    assert not out.any()


def test_who_came_leaves_when_another_does_not(boxes, dtype, rng):
    model, x = make_net([7, 50, 3], dtype=dtype), normal(rng, (4, 7), dtype)
    (box,), address = boxes(1)
    absent, out = np.zeros(BOX_SIZE, np.int64), np.zeros((4, 3), dtype)
    absent[BOX_STATE] = LOOKING
    job = job_of(model, Program.by_columns(ops_of(model), dtype, threads=3))
    addresses = np.array([address[0], absent.ctypes.data], np.int64)
    for _ in range(20):
        assert shared_call(dtype)(job.handle, x, out, addresses, 1) == 0
        assert box[BOX_STATE] == absent[BOX_STATE] == LOOKING
    assert not out.any()
    assert job.control.size == CONTROL_SIZE
    assert job.control[ARRIVED] <= 1
