"""The linear block through a program of one op, against NumPy in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import (
    COLUMNS,
    DIFFERENCE_BOUND,
    ROWS,
    assert_same_bits,
    assert_within,
    central_differences,
    eps,
    kept_job,
    lanes,
    linear_op,
    linear_parts,
    normal,
    ran_both_ways,
    ran_predicting,
    run_job,
    small,
)

from fastmlp.kernels.blocks import linear
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.layout import row_stride
from fastmlp.program import Program

#: Widths of the input against widths of the output, with every edge on either side once, and one line more than needed.
SHAPES = [*zip(COLUMNS, COLUMNS[::-1]), *small([(40, 256), (130, 2), (300, 1)], [(20, 1)])]
#: The bias right behind the weight, elsewhere, nowhere.
BIASES = {"together": 0, "apart": 2, "none": None}


def relu(width, floor=0.0):
    """A ReLU that a Linear absorbs, or with floor=None one that it does not."""
    return Elementwise(width, "testrelu", relu_value, relu_slope, "y", (), floor)


def relu_value(x):
    return select(x < 0, 0, x)


def relu_slope(y):
    return select(y > 0, 1, 0)


def layer(rng, width_in, width_out, dtype, bias="together"):
    weight, values = normal(rng, (width_in, width_out), dtype), normal(rng, width_out, dtype)
    op, params = linear_op(weight, None if bias == "none" else values, gap=BIASES[bias])
    return op, params, weight.astype(np.float64), 0.0 if bias == "none" else values.astype(np.float64)


def assert_gradient(op, start, grads, x, dy):
    """`grads` are `start` and the gradient of these rows; the padding is zero."""
    rows = len(x)
    (weight, bias), (weight_before, bias_before) = linear_parts(op, grads), linear_parts(op, start)
    x, dy, O = x.astype(np.float64), dy.astype(np.float64), op.width_out
    bound = (rows + 1) * eps(grads.dtype) * (np.abs(weight_before[:, :O]) + np.abs(x.T) @ np.abs(dy))
    assert_within(weight[:, :O], weight_before[:, :O] + x.T @ dy, bound)
    assert not weight[:, O:].any()
    if bias is not None:
        bound = (rows + 1) * eps(grads.dtype) * (np.abs(bias_before[:O]) + np.abs(dy).sum(0))
        assert_within(bias[:O], bias_before[:O] + dy.sum(0), bound)
        assert not bias[O:].any()


@pytest.mark.parametrize("bias", BIASES)
def test_both_ways_match_reference(bias, dtype, rng):
    """For all shapes around the edges of tiles and lines: y and dx are overwritten, gradients are added to."""
    for rows in ROWS:
        for width_in, width_out in SHAPES:
            op, params, weight, b = layer(rng, width_in, width_out, dtype, bias)
            x, dy = normal(rng, (rows, width_in), dtype), normal(rng, (rows, width_out), dtype)
            _, start = linear_op(
                normal(rng, weight.shape, dtype), None if bias == "none" else normal(rng, width_out, dtype), gap=BIASES[bias]
            )
            before = params.copy()
            ran = ran_both_ways([op], x, dy, params, start.copy())
            size = np.abs(x.astype(np.float64)) @ np.abs(weight) + np.abs(b)
            assert_within(ran.y, x.astype(np.float64) @ weight + b, (width_in + 1) * eps(dtype) * size)
            size = np.abs(dy.astype(np.float64)) @ np.abs(weight.T)
            assert_within(ran.dx, dy.astype(np.float64) @ weight.T, width_out * eps(dtype) * size)
            assert_gradient(op, start, ran.grads, x, dy)
            assert_same_bits(params, before)
            record = ran.program.records[1]
            assert not ran.rows_at(record.y, width_out, rows)[:, width_out:].any(), "padding of the output"


def test_the_bias_is_one_more_row_of_the_weight_where_there_is_room(dtype, rng):
    line = lanes(dtype)
    for width_in, bias, apart in ((line - 1, "together", 0), (line, "together", 1), (line - 1, "apart", 1), (3, "none", 0)):
        op, params, *_ = layer(rng, width_in, 5, dtype, bias)
        ran = ran_both_ways([op], np.ones((2, width_in), dtype), np.ones((2, 5), dtype), params)
        record = ran.program.records[1]
        assert record.bias_apart == apart
        assert record.units == width_in + (bias == "together" and not apart)


def test_backward_matches_finite_difference(rng):
    dtype = np.dtype(np.float64)
    for bias in BIASES:
        op, params, *_ = layer(rng, 5, 3, dtype, bias)
        x, dy = normal(rng, (4, 5), dtype), normal(rng, (4, 3), dtype)
        ran = ran_both_ways([op, relu(3)], x, dy, params)

        def loss():
            y = ran_both_ways([relu_free(op), relu(3, None)], x, dy, params).y  # noqa: B023
            return (y * dy).sum()  # noqa: B023

        assert_within(ran.dx, central_differences(loss, x), DIFFERENCE_BOUND)
        used = [part[..., :3] for part in linear_parts(op, params) if part is not None]
        got = [part[..., :3] for part in linear_parts(op, ran.grads) if part is not None]
        for values, gradient in zip(used, got):
            assert_within(gradient, central_differences(loss, values), DIFFERENCE_BOUND)


def relu_free(op):
    return type(op)(op.width_in, op.width_out, op.weight, op.bias)


def test_a_fused_relu_is_the_relu_apart_to_the_bit(dtype, rng):
    for rows, width_in, width_out in small([(1, 5, 3), (9, 17, 33), (70, 16, 49)], [(3, 5, 17)]):
        op, params, *_ = layer(rng, width_in, width_out, dtype)
        x, dy = normal(rng, (rows, width_in), dtype), normal(rng, (rows, width_out), dtype)
        x[0, 0] = np.inf
        x[-1] = 0
        apart = ran_both_ways([relu_free(op), relu(width_out, None)], x, dy, params)
        fused = ran_both_ways([op, relu(width_out)], x, dy, params)
        assert [type(one).__name__ for one in fused.program.ops] == ["Input", "Linear", "Output"]
        assert (fused.y >= 0).all()
        assert (fused.y == 0).any()
        for name in ("y", "dx", "grads"):
            assert_same_bits(getattr(fused, name), getattr(apart, name))


def test_nan_passes_a_fused_relu(dtype, rng):
    op, params, *_ = layer(rng, 3, 5, dtype)
    x = normal(rng, (2, 3), dtype)
    x[1, 2] = np.nan
    y = ran_both_ways([op, relu(5)], x, np.ones((2, 5), dtype), params).y
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()


def test_a_row_does_not_depend_on_the_others(dtype, rng):
    """So neither on the tile that it falls into, nor on the block or the thread; and twice gives the same."""
    op, params, *_ = layer(rng, 19, 33, dtype)
    rows = small(2 * 64 + 7, 11)
    x, dy = normal(rng, (rows, 19), dtype), normal(rng, (rows, 33), dtype)
    together, again = (ran_both_ways([op], x, dy, params) for _ in range(2))
    for name in ("y", "dx", "grads"):
        assert_same_bits(getattr(together, name), getattr(again, name))
    assert_same_bits(ran_predicting([op], x, 33, params).y, together.y)
    for row in range(0, rows, small(1, 5)):
        alone = ran_both_ways([op], x[row : row + 1], dy[row : row + 1], params)
        assert_same_bits(alone.y[0], together.y[row])
        assert_same_bits(alone.dx[0], together.dx[row])


def test_rows_along_the_vectors_agree_to_the_bit(dtype, rng):
    """Narrow layers, one after another, for every number of rows of a block."""
    for widths in ([3, 1, 5], [3, 9, 9, 1], [1, 3]):
        layers, params, end = [], [], 0
        for i, (width_in, width_out) in enumerate(pairwise(widths)):
            op, flat, *_ = layer(rng, width_in, width_out, dtype, "none" if i == 1 else "together")
            layers.append((op, end))
            params.append(flat)
            end += flat.size
        params = np.concatenate(params)

        def ops():
            for op, start in layers:  # noqa: B023
                bias = op.bias + start if op.bias >= 0 else -1
                yield type(op)(op.width_in, op.width_out, op.weight + start, bias)
                yield relu(op.width_out, 0.0 if op.width_out % 2 else None)

        for rows in small([*range(1, 50), 100, 131], [1, 5, 25]):
            x = normal(rng, (rows, widths[0]), dtype)
            narrow, wide = (ran_predicting(ops(), x, widths[-1], params, narrow=narrow).y for narrow in (True, False))
            assert_same_bits(narrow, wide)


# The gradient as an update sees it: optimizers that add or subtract it, and a loss whose gradient is its target.


def added(p, g):
    return p + g


def subtracted(p, g):
    return p - g


def times_target(out, y):
    return out * y


def target(out, y):
    return y


def updated(op, params, x, dy, *, groups, threads):
    """The parameters after a step that adds the gradient; in two groups, it is subtracted from the bias. And the record."""
    updates = [Update("added", added, 0, 0, 0), Update("subtracted", subtracted, 0, 0, 0)][:groups]
    loss = ElementwiseLoss(op.width_out, "given", times_target, target)
    program = Program.training(
        [op],
        loss,
        updates,
        lambda offset: int(groups > 1 and offset == op.bias),
        x.dtype,
        batch=len(x),
        threads=threads,
    )
    job = kept_job(program, x.dtype, params=params.copy(), order=np.arange(len(x)))
    run_job(job, x, dy * dy.dtype.type(dy.size), threads=threads)
    assert job.run.steps_done == 1
    return job.params, program.records[1]


@pytest.mark.parametrize("bias", BIASES)
def test_gradient_in_an_update_is_the_accumulated_one_to_the_bit(bias, dtype, rng):
    """Straight or transposed, in one chunk of rows or several, on one thread or more, bias together, apart or in a group of its
    own: each entry is the same chain of multiply-adds over the batch.
    """
    forms = set()
    shapes = small([*SHAPES[::2], (70, 300), (513, 17), (130, 2), (16, 3)], [(1, 1), (17, 3), (9, 17)])
    for width_in, width_out in shapes:
        for rows in small([1, 9, 64], [1, 8]):
            op, params, *_ = layer(rng, width_in, width_out, dtype, bias)
            x, dy = normal(rng, (rows, width_in), dtype), normal(rng, (rows, width_out), dtype)
            # The loss divides by a number that is multiplied in before: the way back sees what an update sees.
            seen = dtype.type(1) / dtype.type(dy.size) * (dy * dtype.type(dy.size))
            grads = ran_both_ways([op], x, seen, params).grads
            for groups, threads in ((1, 1), (2, 1), (1, 3)):
                found, record = updated(relu_free(op), params, x, dy, groups=groups, threads=threads)
                forms.add((bool(record.transposed_gradient), bool(record.units > record.gradient_rows)))
                expected = params + grads
                if groups > 1 and bias != "none":
                    expected[op.bias :] = (params - grads)[op.bias :]
                assert_same_bits(found, expected)
    assert forms >= small({(False, False), (True, False), (False, True)}, {(False, False)})


@pytest.mark.skipif(not linear.PACKS, reason="only where registers are few")
@pytest.mark.parametrize("rows", small([1, 128, 300], [1, 130]))
def test_a_gradient_of_rows_that_were_copied_side_by_side_is_the_same(rows, dtype, rng, monkeypatch):
    """In an update and added up, of whole chunks of the weight and of a last one that is smaller."""
    op, params, *_ = layer(rng, *small((70, 90), (17, 33)), dtype)
    x, dy = normal(rng, (rows, op.width_in), dtype), normal(rng, (rows, op.width_out), dtype)
    results = []
    for least in (0, 2**62):
        monkeypatch.setattr(linear, "PACKED_FROM_BYTES", least)
        found, record = updated(relu_free(op), params, x, dy, groups=1, threads=1)
        assert record.packed_rows == (record.gradient_rows if least == 0 else 0)
        results.append((found, ran_both_ways([relu_free(op)], x, dy, params).grads))
    for packed, plain in zip(*results):
        assert_same_bits(packed, plain)


@pytest.mark.parametrize("bias", BIASES)
def test_a_gradient_of_some_rows_after_others_is_the_same(bias, dtype, rng, monkeypatch):
    """Applied and added up; of an even number of rows, of an odd one, and of all at once."""
    op, params, *_ = layer(rng, 20, 17, dtype, bias)
    x, dy = normal(rng, (small(400, 9), 20), dtype), normal(rng, (small(400, 9), 17), dtype)
    monkeypatch.setattr(linear, "TURNS", 1)
    results = []
    for depth in (small(128, 4), 3, 2**40):
        monkeypatch.setattr(linear, "PACKED_DEPTH", 0)
        monkeypatch.setattr(linear, "DEPTH_BYTES", depth * (row_stride(20, dtype) + row_stride(17, dtype)) * dtype.itemsize)
        found, record = updated(relu_free(op), params, x, dy, groups=1, threads=1)
        assert (record.gradient_depth, record.transposed_gradient) == (depth, False)
        results.append((found, ran_both_ways([relu_free(op)], x, dy, params).grads))
    for some in results[:2]:
        for part, whole in zip(some, results[2]):
            assert_same_bits(part, whole)


def descent(p, g):
    return p - 0.5 * g


def test_a_step_of_training_goes_back_through_the_weights_of_that_step(dtype, rng):
    """The transposed copy follows the weight: two steps in one call are two calls of one step, which transpose it anew."""
    ops = [layer(rng, 5, 19, dtype), layer(rng, 19, 3, dtype)]
    split = ops[0][1].size
    start = np.concatenate([params for _, params, *_ in ops])
    x, y = normal(rng, (9, 5), dtype), normal(rng, (9, 3), dtype)

    def layers():
        first, second = (op for op, *_ in ops)
        return [type(first)(5, 19, first.weight, first.bias), type(second)(19, 3, second.weight + split, second.bias + split)]

    results = []
    for calls, steps in ((1, 3), (3, 1)):
        loss = ElementwiseLoss(3, "given", times_target, target)
        update = Update("descent", descent, 0, 0, 0)
        program = Program.training(layers(), loss, [update], lambda _: 0, dtype, batch=9, threads=1)
        job = kept_job(program, dtype, params=start.copy(), order=np.arange(9))
        job.run.steps, job.run.batches = steps, 1
        job.set(sums=np.zeros(3))
        for _ in range(calls):
            run_job(job, x, y)
        results.append(job.params)
    assert_same_bits(*results)
    assert not np.array_equal(results[0], start)


def pole(x):
    return 1 / x


def slope_of_pole(y):
    return -y * y


def test_padding_stays_zero_behind_a_formula_that_is_not_finite_at_zero(dtype, rng):
    """Beyond its width an activation computes with zeros; what comes out there must not reach gradients or parameters."""
    op, params, *_ = layer(rng, 4, 3, dtype)
    params[:] = np.abs(params)
    x, dy = np.abs(normal(rng, (9, 4), dtype)) + 1, normal(rng, (9, 3), dtype)
    ops = [op, Elementwise(3, "pole", pole, slope_of_pole, "y")]
    ran = ran_both_ways(ops, x, dy, params)
    assert np.isfinite(ran.grads).all()
    weight, bias = linear_parts(op, ran.grads)
    assert not weight[:, 3:].any()
    assert not bias[3:].any()
