"""Steps of narrow networks on several threads, of which each keeps its rows: the bits of one thread, whatever goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, kept_job, lanes, linear_op, make_data, normal, run_job, small, wait_until_called_off

import fastmlp as fm
from fastmlp import program as program_file
from fastmlp.kernels.blocks.cross_entropy import CrossEntropy
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.op import ALL
from fastmlp.kernels.threads import CONTROL_SIZE
from fastmlp.program import RELAY_ROWS, Program


@pytest.fixture(autouse=True)
def few_rows_are_enough(monkeypatch):
    monkeypatch.setattr(program_file, "RELAY_EACH", 1)


def relays(model, X, criterion, threads, **options):
    """What is left of a run: parameters, state and losses; and whether its steps were relays."""
    optimizer = fm.Adam(model.parameters(), lr=0.01)
    y = np.random.default_rng(1).integers(0, 3, len(X))
    y = y if criterion.targets[0] == "labels" else np.eye(3, dtype=X.dtype)[y]
    options = {"epochs": 2, "batch_size": 11, "rng": 3, "progress": False} | options
    losses = fm.fit(model, criterion, optimizer, X, y, threads=threads, **options).loss
    kinds = {phase["kind"] for program in model._route_now()._training.values() for phase in program.phases}
    return (model.storage.data, optimizer._state_of(model.storage), np.array(losses)), ALL in kinds


def plain(dtype):
    """Biases as one more row of the weight, and apart where rows are full; a last layer whose gradient is formed transposed."""
    wide = lanes(dtype)
    parts = (
        fm.Linear(40, wide),
        fm.ReLU(),
        fm.Linear(wide, 2 * wide),
        fm.Tanh(),
        fm.Linear(2 * wide, 17),
        fm.GELU(),
        fm.Linear(17, 3),
    )
    return fm.Sequential(*parts, dtype=dtype)


def without_biases(dtype):
    return fm.Sequential(fm.Linear(40, 9, bias=False), fm.ReLU(), fm.Linear(9, 3, bias=False), dtype=dtype)


def with_all_that_goes_by_rows(dtype):
    within = fm.Sequential(fm.Linear(9, 9), fm.SiLU(), dtype=dtype)
    parts = fm.Linear(40, 9), fm.Residual(within), fm.Dropout(0.3, rng=1), fm.Softmax(), fm.Linear(9, 3)
    return fm.Sequential(*parts, dtype=dtype)


def half_frozen(dtype):
    model = fm.Sequential(fm.Linear(40, 9), fm.ReLU(), fm.Linear(9, 8), fm.ReLU(), fm.Linear(8, 3), dtype=dtype)
    model[2].weight.requires_grad = model[4].bias.requires_grad = False
    return model


LOSSES = {
    "mse": fm.MSELoss(),
    "smoothed": fm.CrossEntropyLoss(label_smoothing=0.1),
    "nll": fm.NLLLoss(),
    "margin": fm.MultiMarginLoss(),
    "sum": fm.L1Loss(reduction="sum"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_those_of_one_thread(loss, dtype):
    X = normal(np.random.default_rng(0), (37, 40), dtype)
    results = []
    for threads in (1, 2, 3):
        last = [fm.LogSoftmax()] * (loss == "nll")
        model = fm.Sequential(fm.Linear(40, 9), fm.Tanh(), fm.Linear(9, 3), *last, dtype=dtype)
        model.reset_parameters(rng=0)
        found, relayed = relays(model, X, LOSSES[loss], threads)
        assert relayed == (threads > 1)
        results.append(found)
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            assert_same_bits(one, another)


@pytest.mark.parametrize(("width_in", "width_out"), [(27, 144), (24, 160), (22, 176)])
def test_a_gradient_has_room_for_all_its_rows(width_in, width_out, dtype):
    """Where 16 KiB are less than 32 rows, these are formed all the same: nothing behind the workspace is written."""
    itemsize = np.dtype(dtype).itemsize
    op = linear_op(normal(np.random.default_rng(0), (width_in, width_out * 4 // itemsize), dtype))[0]
    assert op.relays(np.dtype(dtype))
    loss = fm.MSELoss()._op(op.width_out)
    program = Program.training(
        [op], loss, [Update("descent", descent, 0, 1, 0)], lambda _: 0, np.dtype(dtype), batch=100, threads=2
    )
    (record,) = (record for op, record in zip(program.ops, program.records) if op.name == "linear")
    assert program._plan["scratch_size"] >= record.units * record.y_stride
    assert program._plan["scratch"] + 2 * program._plan["scratch_size"] <= program.memory.size


def test_a_program_for_three_threads_serves_fewer(dtype):
    """As where a run takes fewer while it goes on."""
    found = []
    for laid_out, threads in ((1, 1), (3, 1), (3, 2), (3, 3)):
        _, job, X = job_of(dtype, threads=laid_out, shuffle=1)
        run_job(job, X, X, threads=threads)
        found.append((job.params, job.sums, job.order))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            assert_same_bits(one, another)


@pytest.mark.parametrize("make", [plain, without_biases, with_all_that_goes_by_rows, half_frozen])
def test_the_bits_are_those_of_one_thread(make, dtype):
    """Rows without which a thread has none, steps smaller than others, more rows than a block has."""
    for rows, batch in ((23, 11), (3, 3), *small([(300, 300)], [])):
        X = normal(np.random.default_rng(rows), (rows, 40), dtype)
        results = []
        for threads in (1, 2, 3):
            model = make(dtype)
            model.reset_parameters(rng=0)
            found, relayed = relays(model, X, fm.CrossEntropyLoss(), threads, batch_size=batch)
            assert relayed == (threads > 1)
            results.append(found)
        for other in results[1:]:
            for one, another in zip(results[0], other, strict=True):
                assert_same_bits(one, another)


def test_networks_that_are_no_relay(dtype):
    """With wide weights, statistics of the batch, other parameters than weights, weights of rows, or a norm to clip."""
    X = normal(np.random.default_rng(0), (22, 40), dtype)
    weights = {"sample_weight": np.ones(22, dtype)}
    for middle, options in (
        ([fm.Linear(9, 500), fm.ReLU(), fm.Linear(500, 9)], {}),
        ([fm.BatchNorm1d(9)], {}),
        ([fm.LayerNorm(9)], {}),
        ([fm.PReLU()], {}),
        ([fm.Tanh()], weights),
        ([fm.Tanh()], {"clip_norm": 1.0}),
        ([fm.Tanh()], {"accumulate": 2}),
    ):
        model = fm.Sequential(fm.Linear(40, 9), *middle, fm.Linear(9, 3), dtype=dtype)
        assert not relays(model, X, fm.MSELoss(), 2, **options)[1]
    assert relays(fm.Sequential(fm.Linear(40, 9), fm.Tanh(), fm.Linear(9, 3), dtype=dtype), X, fm.MSELoss(), 2)[1]


@pytest.mark.parametrize("shuffle", [0, 1])
def test_a_loss_that_is_not_finite_ends_all_threads_before_the_update(shuffle, dtype):
    """In any step, at the end of an epoch, too, where threads meet before the rows are shuffled."""
    for wrong in range(0, 23, small(2, 9)):
        found = []
        for threads in (1, 2, 3):
            _, job, X = job_of(dtype, threads=threads, shuffle=shuffle)
            X[wrong] = np.nan
            run_job(job, X, X, threads=threads)
            assert job.run.not_finite == 1
            found.append((job.run.steps_done, job.params, job.sums))
        for steps, params, sums in found[1:]:
            assert steps == found[0][0] < 3
            assert_same_bits(params, found[0][1])
            assert_same_bits(sums, found[0][2])


def test_whoever_waits_leaves_when_the_run_is_called_off(dtype):
    """The last thread, which waits for what the first one hands on; and the first one, for what the last one hands on."""
    for alone in (0, 1):
        _, job, X = job_of(dtype, threads=2)
        run_job(job, X, X, threads=2)  # compiled before anybody waits
        wait_until_called_off(job, X, alone)


def job_of(dtype, *, threads, rows=23, batch=8, steps=3, shuffle=0):
    """A program of steps of a network of two layers, its job, and the input."""
    X, labels = make_data(rows, 5, 4, dtype=dtype)
    first = linear_op(*(normal(np.random.default_rng(i), shape, dtype) for i, shape in enumerate(((5, 7), 7))))
    second = linear_op(*(normal(np.random.default_rng(i), shape, dtype) for i, shape in enumerate(((7, 4), 4))))
    ops = [first[0], type(second[0])(7, 4, first[1].size, first[1].size + second[0].bias)]
    update = Update("descent", descent, 0, 1, 0)
    program = Program.training(ops, CrossEntropy(4), [update], lambda _: 0, dtype, batch=batch, threads=threads)
    job = kept_job(
        program,
        dtype,
        params=np.concatenate([first[1], second[1]]),
        order=np.arange(rows),
        labels=labels,
        scalars=np.full(steps, -0.1, dtype),
        sums=np.zeros(1),
    )
    plan = job.run
    plan.steps, plan.rows, plan.batch, plan.batches, plan.shuffle, plan.seed = steps, rows, batch, 3, shuffle, 5
    return program, job, X


def descent(p, g, minus_lr):
    return p + minus_lr * g


def test_a_step_is_one_phase_and_threads_have_places_of_their_own(dtype):
    for threads in (2, 3):
        program, job, _ = job_of(dtype, threads=threads)
        (phase,) = program.phases
        assert phase["kind"] == ALL
        assert str(program).splitlines()[0] == "all threads: S relay"
        assert str(program).splitlines()[1].startswith("relay: F input, F linear")
        assert program.memory.batch == 8 + (threads - 1) * RELAY_ROWS
        assert job.control.size == CONTROL_SIZE + 8 * threads
