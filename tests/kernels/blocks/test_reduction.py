"""What a batch's loss is divided by, and weights of rows: for every block of a loss, through programs of one op."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, kept_job, normal, ran_loss, run_job, small

from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.blocks.gaussian_nll import GaussianNLL
from fastmlp.kernels.blocks.multi_margin import MultiMargin
from fastmlp.kernels.blocks.nll import NLL
from fastmlp.kernels.blocks.soft_cross_entropy import SoftCrossEntropy
from fastmlp.kernels.op import WEIGH
from fastmlp.program import Program

CLASSES = (0.5, 2.0, 1.0, 0.25)


def squares(out, y):
    d = out - y
    return d * d


#: An op of 4 outputs, of so many terms: with or without weights.
OPS = {
    "elementwise": lambda terms, weighted: ElementwiseLoss(4, "sq", squares, None, terms=terms, weighted=weighted),
    "soft_cross_entropy": lambda terms, weighted: SoftCrossEntropy(CLASSES, 0.25, labels=True, terms=terms, weighted=weighted),
    "probabilities": lambda terms, weighted: SoftCrossEntropy(CLASSES, 0.25, labels=False, terms=terms, weighted=weighted),
    "nll": lambda terms, weighted: NLL(CLASSES, terms=terms, weighted=weighted),
    "multi_margin": lambda terms, weighted: MultiMargin(CLASSES, 1.0, squared=True, terms=terms, weighted=weighted),
    "gaussian_nll": lambda terms, weighted: GaussianNLL(4, -3.0, 0.5, terms=terms, weighted=weighted),
}

#: Those whose mean is over the classes' weights, too.
OVER_CLASSES = ("soft_cross_entropy", "nll")


def data(name, rows, dtype, rng):
    out = normal(rng, (rows, 4), dtype)
    if name in ("soft_cross_entropy", "nll", "multi_margin"):
        return out, rng.integers(4, size=rows)
    return out, normal(rng, (rows, 2 if name == "gaussian_nll" else 4), dtype)


@pytest.mark.parametrize("name", OPS)
def test_weights_scale_losses_and_gradients(name, dtype, rng):
    for rows in (1, 7, small(70, 9)):
        out, y = data(name, rows, dtype, rng)
        weights = rng.uniform(0.5, 2, rows).astype(dtype)
        plain, weighted = ran_loss(OPS[name](0, False), out, y), ran_loss(OPS[name](0, True), out, y, weights)
        assert_within(weighted.losses, weights * plain.losses, 2 * eps(dtype) * np.abs(weights * plain.losses))
        expected = weights[:, None] * plain.dout
        assert_within(weighted.dout, expected, 3 * eps(dtype) * np.abs(expected))
        for terms in (1, 4):
            mean = ran_loss(OPS[name](terms, True), out, y, weights)
            assert_same_bits(mean.losses, weighted.losses)
            counts = weights * (np.array(CLASSES)[y] if name in OVER_CLASSES else 1)
            assert mean.job.totals[0] == pytest.approx(counts.sum(dtype=np.float64), rel=rows * eps(np.float64))
            assert mean.job.totals[1] == mean.job.totals[0]
            scale = counts.sum(dtype=np.float64) * terms
            assert_within(mean.dout, weighted.dout / scale, 4 * eps(dtype) * np.abs(weighted.dout / scale))


@pytest.mark.parametrize("name", OPS)
def test_rows_of_weight_0_count_for_nothing(name, dtype, rng):
    out, y = data(name, 5, dtype, rng)
    weights = np.array([1, 0, 0.5, 0, 2], dtype)
    right = ran_loss(OPS[name](1, True), out, y, weights)
    out[1], out[3] = np.nan, np.inf
    again = ran_loss(OPS[name](1, True), out, y, weights)
    assert_same_bits(again.losses, right.losses)
    assert_same_bits(again.dout, right.dout)
    assert not again.losses[[1, 3]].any()
    assert not again.dout[[1, 3]].any()


@pytest.mark.parametrize("name", OPS)
def test_weights_are_summed_by_one_thread_in_the_order_of_rows(name, dtype, rng):
    rows = small(200, 40)
    out, y = data(name, rows, dtype, rng)
    weights = rng.uniform(0, 2, rows).astype(dtype)
    program, results = Program.of_loss(OPS[name](1, True), dtype, batch=rows), []
    for threads in (1, 2, 3):
        job = kept_job(program, dtype, weights=weights, labels=y if y.ndim == 1 else np.zeros(1, np.int64))
        # WEIGH alone: several threads have scratch memory of their own, which a program for one has not.
        job.passes[0].last = job.passes[0].first + 1
        run_job(job, out, out if y.ndim == 1 else y, threads=threads)
        results.append((job.totals[0], job.work[program.records[1].scale]))
    assert results[0] == results[1] == results[2]


def test_program_weighs_before_the_first_row():
    program = Program.of_loss(OPS["nll"](1, True), np.dtype(np.float32), batch=8)
    assert str(program).splitlines()[:3] == ["pass 0", "units: W nll", "rows: F input, F nll"]
    assert WEIGH not in OPS["nll"](1, False).tasks(program.records[1])
    assert "W" not in str(Program.of_loss(OPS["nll"](1, False), np.dtype(np.float32), batch=8))


def test_loss_without_terms_is_a_sum(dtype, rng):
    for name, make in OPS.items():
        out, y = data(name, 6, dtype, rng)
        total, mean = ran_loss(make(0, False), out, y), ran_loss(make(2, False), out, y)
        assert_same_bits(total.losses, mean.losses)
        assert_within(mean.dout, total.dout / 12, 3 * eps(dtype) * np.abs(total.dout))
