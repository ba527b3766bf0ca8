"""The engine by itself: it knows no layer, loss or optimizer, and takes every row and unit once, on any number of threads."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    JIT,
    assert_same_bits,
    in_threads,
    jit,
    jit_only,
    kept_job,
    linear_op,
    make_data,
    make_net,
    normal,
    run_job,
    small,
    wait_until_called_off,
)

import fastmlp as fm
from fastmlp import program as program_file
from fastmlp import registry
from fastmlp.kernels import blocks, engine
from fastmlp.kernels.block import block
from fastmlp.kernels.blocks.cross_entropy import CrossEntropy
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.compiler.intrinsics import flush_subnormals, restore_rounding
from fastmlp.kernels.compiler.processor import FLUSHES
from fastmlp.kernels.op import ACCUMULATE, FORWARD, PREPARE, ROWS, TASKS, UNITS, UPDATE, Memory, Op
from fastmlp.program import APART, Program


def words(name):
    """The parts of a name: of CrossEntropyLoss cross, entropy, loss."""
    spaced = "".join(f"_{c.lower()}" if c.isupper() and i and name[i - 1].islower() else c.lower() for i, c in enumerate(name))
    return spaced.strip("_")


def test_the_engine_names_no_layer_loss_or_optimizer():
    tree = ast.parse(Path(engine.__file__).read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
    used |= {part for name in imported for part in name.split(".")}
    files = {path.stem for path in Path(blocks.__file__).parent.glob("*.py")} - {"__init__"}
    kinds = {*registry.entries(), *(kind.__name__ for kind in (fm.Linear, fm.Identity, fm.Sequential, fm.Module))}
    tasks = set(TASKS)
    assert not used & tasks, "what an op is asked for is the program's to say"
    forbidden = files | {words(name) for name in kinds} | {name.lower() for name in kinds}
    assert {"linear", "cross_entropy", "optimizers", "relu", "sgd", "mseloss"} <= forbidden
    assert not {name.lower() for name in used} & forbidden
    assert not any(name.startswith("fastmlp.kernels.blocks") for name in imported)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Module))}
    assert strings <= docs | {"run", "runner"}, "no kind is told apart by a text"


# Shares.


@jit
def call_share(size, unit, pool, thread, threads):
    return engine.share(size, unit, pool, thread, threads)


def test_shares_are_whole_units_and_leave_nothing():
    for size, unit, pool, threads in itertools.product(
        [0, 1, 7, 8, 9, 16, 17, 100], [1, 8, 16], [1, 2, 4], small([1, 2, 3, 7], [1, 3])
    ):
        covered = []
        for thread in range(threads):
            first, last, start = (int(x) for x in call_share(*map(np.int64, (size, unit, pool, thread, threads))))
            assert first % unit == 0 or first == size
            assert last % unit == 0 or last == size
            covered += range(first, last)
        assert covered == list(range(start)), "in order, up to the pool"
        assert start % unit == 0 or start == size
        units, pooled = -(-size // unit), -(-(size - start) // unit)
        assert pooled == (0 if threads == 1 else units // pool)


# Runs of a block that counts.


@block("counting", counts=np.int64, calls=np.int64)
def _counting(task, op, job, row, rows, at):
    for n in range(rows):
        job.integers[op.counts + task * 400 + row + n] += 1
    job.integers[op.calls + job.thread * 16 + task] += 1


class Counting(Op):
    """Counts for each task how often a row or a unit was taken, and for each thread the calls."""

    block = _counting
    name = "counting"
    gives_losses = True

    def __init__(self, width, units):
        super().__init__(width, width)
        self.units = units

    def tasks(self, record):
        return {FORWARD, UPDATE, PREPARE, ACCUMULATE}

    def lay_out(self, record, memory: Memory):
        record.units = self.units
        record.counts, record.calls = memory.take_integers(400 * 7), memory.take_integers(16 * 8)


def counted(rows, units, *, threads, steps=1, unit=16, pool=4, batch=None, block_rows=64, microbatch=0):
    """What the ops of a program count: for each op an array of (task, row or unit), and the job."""
    ops = [Counting(1, n) for n in units]
    memory = Memory(np.dtype(np.float32), batch or rows, threads, backward=True)
    program = Program(ops, np.dtype(np.float32), memory)
    program._phase(UNITS, program._forward(PREPARE), pool=pool, unit=unit)
    program._phase(ROWS, program._forward(FORWARD), pool=pool, unit=unit, block=block_rows, sums=1)
    if microbatch:
        program._phase(UNITS, program._forward(ACCUMULATE), pool=pool, unit=unit)
    program._phase(UNITS, program._forward(UPDATE), pool=pool, unit=unit)
    program._pass(once=1, step=3 if microbatch else None)
    job = kept_job(program, np.dtype(np.float32), order=np.arange(rows))
    plan = job.run
    plan.steps, plan.rows, plan.batch = steps, rows, batch or rows
    plan.batches, plan.microbatch = -(-rows // (batch or rows)), microbatch
    job.set(sums=np.zeros(steps // plan.batches + 1))
    x = np.zeros((rows, 1), np.float32)
    run_job(job, x, x, threads=threads)
    starts = [record.counts for record in program.records]
    return [job.integers[start : start + 2800].reshape(7, 400) for start in starts], job


def test_every_row_and_unit_is_taken_once_a_step_and_the_prologue_once_a_call():
    for rows, unit, pool, threads, block_rows in itertools.product(
        small([1, 7, 16, 17, 100, 129], [1, 17]), [1, 16], [1, 4], small([1, 2, 3, 5], [1, 3]), [5, 64]
    ):
        units = (rows, 1, 0, 33)
        counts, job = counted(rows, units, threads=threads, steps=3, unit=unit, pool=pool, block_rows=block_rows)
        assert job.run.steps_done == 3
        for of_op, count in zip(counts, units):
            expected = np.zeros((7, 400), np.int64)
            expected[FORWARD, :rows], expected[UPDATE, :count], expected[PREPARE, :count] = 3, 3, 1
            np.testing.assert_array_equal(of_op, expected)


@block("placing", rows_at=np.int64)
def _placing(task, op, job, row, rows, at):
    for n in range(rows):
        job.integers[op.rows_at + row + n] = 1000 * job.thread + at + n


class Placing(Op):
    """Notes for each row by which thread it was taken, and where it lay in the workspace."""

    block = _placing

    def lay_out(self, record, memory):
        record.rows_at = memory.take_integers(400)


def test_rows_have_places_of_their_own_where_they_are_kept_and_each_thread_has_some_where_not():
    dtype, rows = np.dtype(np.float32), small(300, 100)
    x, row = np.zeros((rows, 1), dtype), np.arange(rows)
    kept = Program.both_ways([Placing(1, 1)], dtype, batch=rows)
    job, record = kept_job(kept, dtype), kept.records[1]
    run_job(job, x, x)
    assert job.integers[record.rows_at : record.rows_at + rows].tolist() == row.tolist()
    passing = Program.predicting([Placing(1, 1)], dtype, threads=3)
    job, record, size = kept_job(passing, dtype), passing.records[1], passing.phases[0]["block"]
    for thread in range(3):  # while the others do not come, one takes all: at no meeting it waits for them
        job.control[:] = 0
        engine.run(job.handle, 0, x, x, thread, 3)
        found = job.integers[record.rows_at : record.rows_at + rows]
        np.testing.assert_array_equal(found, 1000 * thread + thread * APART + row % size)


def test_rows_go_through_a_block_at_a_time():
    for block_rows, rows in ((16, 50), (64, 50), (64, 65)):
        _, job = counted(rows, (1,), threads=1, block_rows=block_rows)
        record = job.program.records[0]
        assert job.integers[record.calls + FORWARD] == -(-rows // block_rows)


def test_the_last_batch_is_what_is_left_and_epochs_follow_each_other():
    counts, job = counted(10, (1,), threads=1, steps=7, batch=4)  # 4, 4, 2, 4, 4, 2, 4
    assert job.run.steps_done == 7
    assert counts[0][FORWARD, :5].tolist() == [7, 7, 5, 5, 0]


def test_a_step_takes_its_rows_in_microbatches_and_ends_once():
    """Steps of 10, 10 and 3 rows by 4: of an epoch seven passes forward, whose gradients are added up."""
    for threads in small([1, 2, 3], [1, 2]):
        counts, job = counted(23, (33, 0), threads=threads, steps=6, batch=10, microbatch=4, unit=2, pool=2)
        assert (job.run.steps_done, job.run.microbatches_done) == (6, 14)
        for of_op, units in zip(counts, (33, 0)):
            assert of_op[FORWARD, :5].tolist() == [14, 14, 10, 8, 0], "rows of a micro-batch, from 0"
            assert set(of_op[ACCUMULATE, :units]) <= {14}
            assert set(of_op[UPDATE, :units]) <= {6}
            assert set(of_op[PREPARE, :units]) <= {1}


# Runs of a network.


def network(rng, dtype, widths=(3, 17, 4)):
    """The ops of a small network and its parameters."""
    ops, params, end = [], [], 0
    for width_in, width_out in itertools.pairwise(widths):
        op, flat = linear_op(normal(rng, (width_in, width_out), dtype), normal(rng, width_out, dtype))
        ops.append(type(op)(width_in, width_out, op.weight + end, op.bias + end))
        params.append(flat)
        end += flat.size
    return ops, np.concatenate(params)


def descent(p, g, minus_lr):
    return p + minus_lr * g


def training(rng, dtype, *, rows=23, batch=8, steps=7, threads=1, shuffle=1, seed=5):
    layers, params = network(rng, dtype)
    X, labels = make_data(rows, 3, 4, dtype=dtype)
    update = Update("descent", descent, 0, 1, 0)
    program = Program.training(layers, CrossEntropy(4), [update], lambda _: 0, dtype, batch=batch, threads=threads)
    batches = -(-rows // batch)
    job = kept_job(
        program,
        dtype,
        params=params,
        order=np.arange(rows),
        labels=labels,
        scalars=(-0.1 - 0.01 * np.arange(steps)).astype(dtype),  # of each step its own
        sums=np.zeros(-(-steps // batches)),
    )
    plan = job.run
    plan.steps, plan.rows, plan.batch, plan.batches, plan.shuffle, plan.seed = steps, rows, batch, batches, shuffle, seed
    return job, X


@pytest.mark.parametrize("rows_each", [1, 10**9], ids=["relay", "units"])
def test_threads_run_to_the_same_bits(rows_each, dtype, monkeypatch):
    """And cover the shuffles and the smaller last batch; more threads than rows, too."""
    monkeypatch.setattr(program_file, "RELAY_EACH", rows_each)
    for rows, batch in ((23, 8), small((150, 64), (5, 2)), (2, 2)):
        results = []
        for threads in (1, 2, 3, 5):
            job, X = training(np.random.default_rng(1), dtype, rows=rows, batch=batch, threads=threads)
            before = job.params.copy()
            run_job(job, X, X, threads=threads)
            assert job.run.steps_done == 7
            assert not np.array_equal(before, job.params)
            results.append((job.params, job.sums, job.order))
        for other in results[1:]:
            for one, another in zip(results[0], other):
                assert_same_bits(one, another)


def test_steps_of_one_call_are_those_of_several(dtype, rng):
    """From where the run is: epoch, batch, and the sum of the losses so far."""
    whole, X = training(np.random.default_rng(1), dtype)
    run_job(whole, X, X)
    parts, X = training(np.random.default_rng(1), dtype)
    plan, sums = parts.run, np.zeros(3)
    for first, steps in ((0, 2), (2, 3), (5, 2)):
        plan.first_epoch, plan.first_batch, plan.steps = first // 3, first % 3, steps
        now = sums[first // 3 :].copy()
        parts.set(sums=now, scalars=whole.scalars[first : first + steps].copy())
        run_job(parts, X, X)
        sums[first // 3 :] = now
    assert plan.steps_done == 7
    assert_same_bits(parts.params, whole.params)
    assert_same_bits(sums, whole.sums)


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(dtype):
    for threads in (1, 2):
        job, X = training(np.random.default_rng(1), dtype, steps=3, shuffle=0, threads=threads)
        X[17] = np.nan  # in the third batch of eight rows
        run_job(job, X, X, threads=threads)
        assert (job.run.steps_done, job.run.not_finite) == (2, 1)
        clean, X = training(np.random.default_rng(1), dtype, steps=2, shuffle=0)
        run_job(clean, X, X)
        assert (clean.run.steps_done, clean.run.not_finite) == (2, 0)
        assert_same_bits(job.params, clean.params)
        assert job.sums.tolist() == clean.sums.tolist()


def test_no_step_is_no_change(dtype, rng):
    job, X = training(rng, dtype, steps=0)
    before = job.params.copy()
    run_job(job, X, X)
    assert job.run.steps_done == 0
    assert_same_bits(job.params, before)


def test_a_thread_that_waits_leaves_when_the_run_is_called_off(dtype, rng):
    job, X = training(rng, dtype, threads=2)
    warm, _ = training(rng, dtype)
    run_job(warm, X, X)  # compiled before anybody waits
    wait_until_called_off(job, X, 0)
    assert job.run.steps_done == 0


def test_runs_of_two_jobs_at_the_same_time_do_not_disturb_each_other(dtype):
    jobs = [training(np.random.default_rng(i), dtype, seed=i) for i in range(3)]
    expected = [training(np.random.default_rng(i), dtype, seed=i) for i in range(3)]
    for job, X in expected:
        run_job(job, X, X)
    in_threads(lambda i: run_job(*jobs[i], jobs[i][1]), 3)
    for (job, _), (other, _) in zip(jobs, expected):
        assert_same_bits(job.params, other.params)


@jit_only
def test_one_compiled_engine_serves_every_network(dtype):
    def train(widths, loss):
        X, y = make_data(9, widths[0], widths[-1], "mse" if loss is fm.MSELoss else "cross_entropy", dtype=dtype)
        model = make_net(widths, dtype=dtype)
        for options in ({}, {"momentum": 0.9}):
            fm.fit(model, loss(), fm.SGD(model.parameters(), lr=0.1, **options), X, y, epochs=1, threads=2, progress=False)
        model.predict(X, threads=2)
        model.backward(model(X))

    train([2, 3, 2], fm.CrossEntropyLoss)
    before = len(engine.run.signatures)
    train([5, 17, 4, 3], fm.CrossEntropyLoss)
    train([5, 1], fm.MSELoss)
    assert len(engine.run.signatures) == before


def test_a_pass_has_phases_of_its_own(dtype):
    layers, params = network(np.random.default_rng(1), dtype)
    program = Program.both_ways(layers, dtype, batch=4)
    job = kept_job(program, dtype, params=params, grads=np.zeros_like(params))
    x, y = np.ones((4, 3), dtype), np.full((4, 4), np.nan, dtype)
    run_job(job, x, y)
    assert np.isfinite(y).all()
    assert not job.grads.any()
    run_job(job, x, np.ones_like(y), number=1)
    assert job.grads.any()


# Subnormal results.


@jit
def control_register():
    """What flushing found, which is put back."""
    before = flush_subnormals()
    inside = flush_subnormals()
    restore_rounding(inside)
    restore_rounding(before)
    return before, inside


def modes():
    """How this thread rounds, without the flags of what has happened, which NumPy raises."""
    return control_register()[0] & ~0x3F


@jit_only
@pytest.mark.skipif(not FLUSHES, reason="the engine rounds to subnormal numbers on this processor")
def test_subnormal_results_are_zero(dtype):
    """A momentum that dies away; activations, gradients."""
    tiny = float(np.finfo(dtype).tiny)
    layer = fm.Linear(1, 1, dtype=dtype)
    optimizer = fm.SGD(layer.parameters(), lr=0.1, momentum=0.5)
    momenta = []
    for step in range(4):
        layer.weight.grad, layer.bias.grad = [[2 * tiny * (step == 0)]], [0]
        optimizer.step()
        momenta.append(optimizer.state_dict()["state"][0]["velocity"].item())
    assert momenta == [2 * tiny, tiny, 0, 0]
    layer.weight.data, layer.bias.data = [[0.25]], [0]
    x = np.array([[2 * tiny], [8 * tiny]], dtype)
    assert layer(x).tolist() == fm.Sequential(layer).predict(x).tolist() == [[0], [2 * tiny]]
    layer(x)
    assert layer.backward(x).tolist() == [[0], [2 * tiny]]
    assert fm.ReLU()(x / 16).tolist() == [[tiny / 8], [tiny / 2]], "what is read and not computed stays"


def test_threads_round_as_before_a_run(dtype):
    """Whatever a run does, and however it ends; on threads of Python, too."""
    X, y = make_data(40, 3, 2, "mse", dtype=dtype)
    half = np.array([np.finfo(dtype).tiny], dtype) / 2
    assert half.any()

    def whole(model):
        fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters()), X, y, epochs=2, batch_size=7, threads=2)

    def not_finite(model):
        model[2].weight.data = np.full((2, 5), np.finfo(dtype).max / 100)
        with pytest.raises(FloatingPointError):
            whole(model)

    def trial(thread):
        before, inside = control_register()
        assert inside == before | (FLUSHES and JIT) << 15
        for action in (whole, not_finite, lambda model: model.predict(X, threads=2), lambda model: model(X)):
            modes_before = modes()
            action(make_net([3, 5, 2], dtype=dtype))
            assert modes() == modes_before
            assert np.array_equal(np.array([np.finfo(dtype).tiny], dtype) / 2, half)
        done.append(True)

    done = []
    in_threads(trial, 2)
    trial(0)
    assert len(done) == 3
