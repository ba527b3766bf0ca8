"""Wide layers, whose columns are shared, against the same layers shared by rows: to the bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import JIT, assert_same_bits, kept_job, linear_op, normal, ran_predicting, run_job, small

import fastmlp as fm
from fastmlp import program as program_file
from fastmlp.kernels.blocks import linear_wide
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.blocks.gradients import Gradients
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.op import UNIT
from fastmlp.program import Program

#: Rows: fewer than are worth a panel, more than a gradient takes at a time, more than go past a panel at a time.
ROWS = small([2, 63, 64, 300, 530], [2, 9])
#: Widths at every edge of a panel and of what is shared out together, and a weight of more rows than a gradient has at a time.
#: Those of a kibibyte have a line more than they need.
WIDTHS = small(
    [(1, 1, 1), (23, 24, 25), (47, 49, 48), (15, 97, 12), (130, 70, 31), (20, 256, 128, 9)], [(5, 25, 49), (15, 13, 1)]
)


@pytest.fixture
def wide(monkeypatch):
    """A function: are networks wide from now on, and each of their layers?"""

    def choose(chosen):
        monkeypatch.setattr(program_file, "WIDE_FROM", 0 if chosen else 2**40)
        monkeypatch.setattr(program_file, "COLUMNS_FROM", 1)
        monkeypatch.setattr(program_file, "UNITS_EACH", 0)
        monkeypatch.setattr(program_file, "TRAINED_FROM", 2)
        monkeypatch.setattr(program_file, "PREDICTED_FROM", 2)

    return choose


def descent(p, g):
    return p - 0.125 * g


def ascent(p, g):
    return p + 0.25 * g


def squared(out, y):
    return (out - y) * (out - y)


def layers_of(rng, widths, dtype, bias):
    """Linear ops, and their parameters. A bias lies behind its weight, elsewhere, nowhere."""
    ops, parts, at = [], [], 0
    for width_in, width_out in pairwise(widths):
        values = normal(rng, width_out, dtype) if bias != "none" else None
        op, params = linear_op(normal(rng, (width_in, width_out), dtype), values, gap=2 * (bias == "apart"))
        ops.append(Linear(width_in, width_out, op.weight + at, op.bias + at if op.bias >= 0 else -1))
        parts.append(params)
        at += params.size
    return ops, np.concatenate(parts)


def with_relus(ops):
    """The same linear ops once more, with ReLUs between them."""
    layers = []
    for number, op in enumerate(ops):
        layers.append(Linear(op.width_in, op.width_out, op.weight, op.bias))
        layers += fm.ReLU()._ops(op.width_out) if number < len(ops) - 1 else []
    return layers


def trained(ops, params, x, y, *, threads=1, groups=1, microbatch=0, steps=2):
    """The parameters after two steps, and the program. In two groups the biases go the other way."""
    dtype, rows, layers = x.dtype, len(x), with_relus(ops)
    biases = {op.bias for op in ops}
    updates = [Update("descent", descent, 0, 0, 0), Update("ascent", ascent, 0, 0, 0)][:groups]
    between = ()
    if microbatch:
        updates, between = [Update("descent", descent, 0, 0, 0, 0, params.size)], [Gradients(params.size)]
    program = Program.training(
        layers,
        ElementwiseLoss(ops[-1].width_out, "squared", squared, None),
        updates,
        lambda offset: int(groups > 1 and offset in biases),
        dtype,
        batch=microbatch or rows,
        threads=threads,
        between=between,
    )
    job = kept_job(program, dtype, params=params.copy(), order=np.arange(rows))
    if microbatch:
        job.set(grads=np.zeros(params.size, dtype))
        job.run.batch, job.run.microbatch = rows, microbatch
    job.run.steps = steps
    job.run.batches = 1
    job.set(sums=np.zeros(steps))
    run_job(job, x, y, threads=threads)
    assert job.run.steps_done == steps
    return job.params, job.sums, program


@pytest.mark.parametrize("bias", ["together", "apart", "none"])
@pytest.mark.parametrize("rows", ROWS)
def test_a_step_of_shared_columns_is_one_of_shared_rows_to_the_bit(rows, bias, dtype, rng, wide):
    for widths in WIDTHS:
        ops, params = layers_of(rng, widths, dtype, bias)
        x, y = normal(rng, (rows, widths[0]), dtype), normal(rng, (rows, widths[-1]), dtype)
        for groups in (1, 2):
            wide(False)
            expected, losses, plain = trained(ops, params, x, y, groups=groups)
            assert not any(op.wide for op in plain.ops)
            assert widths[0] == 1 or (expected != params).any()
            for threads in (1, 2, 3):
                wide(True)
                found, sums, program = trained(ops, params, x, y, groups=groups, threads=threads)
                assert sum(op.wide for op in program.ops) == len(ops)
                assert_same_bits(found, expected)
                assert_same_bits(sums, losses)


@pytest.mark.parametrize("bias", ["together", "apart", "none"])
@pytest.mark.parametrize("rows", ROWS)
def test_a_pass_forward_of_shared_columns_is_one_of_shared_rows_to_the_bit(rows, bias, dtype, rng, wide):
    """A prediction, with room for more rows than come."""
    for widths in WIDTHS:
        ops, params = layers_of(rng, widths, dtype, bias)
        x = normal(rng, (rows, widths[0]), dtype)
        expected = ran_predicting(with_relus(ops), x, widths[-1], params).y
        wide(True)
        for threads in (1, 2, 3):
            program = Program.by_panels(with_relus(ops), dtype, threads=threads, batch=ROWS[-1])
            assert sum(op.wide for op in program.ops) == len(ops)
            found = np.full_like(expected, np.nan)
            run_job(kept_job(program, dtype, params=params), x, found, threads=threads)
            assert_same_bits(found, expected)
        wide(False)


@pytest.mark.parametrize("bias", ["together", "apart", "none"])
def test_gradients_are_added_up_over_micro_batches_to_the_bit(bias, dtype, rng, wide):
    rows, some = small((700, 300), (9, 4))
    for widths in WIDTHS:
        ops, params = layers_of(rng, widths, dtype, bias)
        x, y = normal(rng, (rows, widths[0]), dtype), normal(rng, (rows, widths[-1]), dtype)
        wide(False)
        expected, losses, _ = trained(ops, params, x, y, microbatch=some)
        wide(True)
        for threads in (1, 2):
            found, sums, program = trained(ops, params, x, y, microbatch=some, threads=threads)
            assert any(op.wide for op in program.ops)
            assert_same_bits(found, expected)
            assert_same_bits(sums, losses)


@pytest.mark.skipif(JIT, reason="the choice is compiled in, and the rows above are on either side")
def test_panels_are_taken_where_they_pay_and_give_the_same_numbers(dtype, rng, wide, monkeypatch):
    ops, params = layers_of(rng, (30, 50, 7), dtype, "together")
    x, y = normal(rng, (9, 30), dtype), normal(rng, (9, 7), dtype)
    wide(True)
    results = [trained(ops, params, x, y)[0]]
    monkeypatch.setattr(linear_wide, "PANELS_FROM", 1)
    results.append(trained(ops, params, x, y)[0])
    assert_same_bits(*results)


def test_a_gradient_has_as_many_rows_as_stay_in_the_cache(monkeypatch):
    monkeypatch.setattr(linear_wide, "level_2_bytes", lambda: 2**19)
    rows = [linear_wide.wide_gradient_rows(4 * width) for width in (256, 1040, 2064, 4112, 2**20)]
    assert rows == [64, 64, 48, 16, int(UNIT)]


@pytest.mark.parametrize("threads", [1, 2])
def test_networks_with_everything_between_wide_layers_train_as_narrow_ones(threads, dtype, rng, wide):
    """In fit: functions, norms, dropout, a residual, a frozen layer; clipped, in parts, and with a batch that is cut short.

    And in predict.
    """
    width = small(40, 6)
    X, y = normal(rng, (small(70, 20), width), dtype), rng.integers(0, 3, small(70, 20))

    def model(frozen):
        block = fm.Residual(fm.Linear(width, width, rng=3), fm.Tanh(), fm.Linear(width, width, bias=False, rng=4))
        head = [fm.Linear(width, width, rng=1), fm.ReLU(), fm.Linear(width, width, rng=2), fm.BatchNorm1d(width), fm.SiLU()]
        tail = [fm.Dropout(0.5, rng=5), fm.LayerNorm(width), fm.Linear(width, 3, rng=6)]
        made = fm.Sequential(*head, block, *tail, dtype=dtype)
        for number in frozen:
            made[number].requires_grad_(False)
        return made

    for frozen, options in (((0,), {}), ((2,), {"clip_norm": 0.5}), ((), {"accumulate": 2})):
        left, predicted = [], []
        for chosen in (False, True):
            wide(chosen)
            net = model(frozen)
            options |= {"epochs": 2, "batch_size": 16, "rng": 0, "threads": threads, "progress": False}
            optimizer = fm.Adam(net.parameters(), lr=0.01)
            history = fm.fit(net, fm.CrossEntropyLoss(), optimizer, X, y, **options)
            programs = list(net._route._training.values())
            assert any(op.wide for program in programs for op in program.ops) == chosen
            left.append((net.state_dict(), history.loss))
            predicted.append(net.predict(X, threads=threads))
        assert_same_bits(*predicted)
        assert left[0][1] == left[1][1]
        for name, array in left[0][0].items():
            assert_same_bits(np.asarray(array), np.asarray(left[1][0][name]))
