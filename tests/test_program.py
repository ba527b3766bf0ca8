"""What programs consist of: the order of calls, who writes where, and who may not."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path
from textwrap import dedent

import numpy as np
from helpers import assert_same_bits, kept_job, lanes, make_net, normal, run_job, small
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp as fm
from fastmlp import program as program_file
from fastmlp.kernels.blocks.clip import Clip
from fastmlp.kernels.blocks.cross_entropy import CrossEntropy
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss
from fastmlp.kernels.blocks.gradients import Gradients
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.op import (
    BACKWARD,
    FORWARD,
    FORWARD_FEATURE_MAJOR,
    PREPARE,
    ROWS,
    UNIT,
    UNITS,
    UPDATE,
)
from fastmlp.kernels.products.panels import PANEL_BYTES
from fastmlp.program import (
    ALL_POOL,
    BLOCK_BYTES,
    BLOCK_ROWS,
    COLUMN_ROWS,
    COLUMN_UNIT,
    COLUMNS_ROWS,
    POOL,
    WIDE_BLOCK_ROWS,
    Program,
    fused,
    shares_panels,
)

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def linears(*widths, dtype=F32, bias=True):
    """Linear ops in a row, with the places that a Sequential gives their parameters."""
    ops, at = [], 0
    for width_in, width_out in pairwise(widths):
        stride = row_stride(width_out, dtype)
        ops.append(Linear(width_in, width_out, at, at + width_in * stride if bias else -1))
        at += (width_in + bias) * stride
    return ops


def relu(width):
    return fm.ReLU()._ops(width)[0]


def tanh(width):
    return fm.Tanh()._ops(width)[0]


def same(x):
    return x


def reads_x(width):
    """An activation whose slope reads the input."""
    return Elementwise(width, "readsx", half_square, same, "x")


def half_square(x):
    return 0.5 * x * x


def squared(out, y):
    return (out - y) * (out - y)


def straight(x, a, b):
    return a * x + b


def straight_slope(x, a, b):
    return a


def times(out, y, a):
    return a * (out - y)


def times_slope(out, y, a):
    return a


def step(p, g, lr):
    return p - lr * g


def mse(width):
    return ElementwiseLoss(width, "mse", squared, None)


def sgd(first_scalar=0, first=0, size=0):
    return Update("sgd", step, 0, 1, first_scalar, first, size)


def disc():
    first, second, third, last = linears(2, 25, 25, 25, 2)
    return [first, relu(25), second, relu(25), third, relu(25), last]


def training(layers, loss=None, *, dtype=F32, batch=8, threads=1, updates=None, group_of=lambda _: 0):
    layers = list(layers)
    loss = loss or mse(layers[-1].width_out)
    return Program.training(layers, loss, updates or [sgd()], group_of, dtype, batch=batch, threads=threads)


# What is printed.


def test_the_step_of_the_disc_is_printed_as_it_is_run():
    """And as the page about the design quotes it."""
    model = fm.Sequential(
        fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 25), fm.ReLU(), fm.Linear(25, 25), fm.ReLU(), fm.Linear(25, 2)
    )
    layers, width = [], 2
    for module in model:
        layers += module._ops(width)
        width = layers[-1].width_out
    updates = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)._updates()
    program = training(layers, fm.CrossEntropyLoss()._op(2), batch=100, updates=updates)
    assert str(program) == dedent(
        """\
        units once: P linear+relu x2, P linear
        rows: F input, F linear+relu x3, F linear, F cross_entropy, B cross_entropy, B linear, B linear+relu x3
        units: U linear+relu x3, U linear"""
    )
    page = Path(__file__).parents[1].joinpath("docs", "design.md").read_text(encoding="utf-8")
    assert str(program) in page
    assert program.flops_per_row == 2 * (2 * 25 + 2 * 25 * 25 + 25 * 2)


def test_other_programs_are_printed_with_their_passes():
    assert str(Program.both_ways(disc(), F32, batch=8)) == dedent(
        """\
        pass 0
        rows: F input, F linear+relu x3, F linear, F output
        pass 1
        units once: P linear+relu x3, P linear
        rows: B output, B linear, B linear+relu x3, B input
        units: A linear+relu x3, A linear"""
    )
    between = [Gradients(1024), *Clip.of([(0, 1024)], 1.0, by_value=False)]
    how = {"batch": 8, "threads": 1, "between": between}
    assert str(Program.training(disc(), mse(2), [sgd(0, 0, 1024)], lambda _: 0, F32, **how)) == dedent(
        """\
        units once: P linear+relu x2, P linear, P gradients
        rows of each micro-batch: F input, F linear+relu x3, F linear, F mse, B mse, B linear, B linear+relu x3
        units of each micro-batch: A linear+relu x3, A linear
        units: S clip
        units: S clip
        units: S sgd
        units: P linear+relu x2, P linear, P gradients"""
    )
    assert str(Program.predicting(disc(), F32, threads=2)) == "rows: F input, F linear+relu x3, F linear, F output"
    assert str(Program.of_loss(mse(2), F32, batch=8)) == dedent(
        """\
        pass 0
        rows: F input, F mse
        pass 1
        rows: B mse, B input
        pass 2
        rows: B input"""
    )
    assert str(Program.of_updates([sgd(), sgd(1)], F32)) == "units: S sgd x2"
    assert str(Program.jacobian(disc(), F32, threads=1)) == dedent(
        """\
        rows: F input, F linear+relu x3, F linear, F jacobian
        again and again: F linear+relu, B linear+relu, F linear+relu, B linear+relu, F linear+relu, B linear+relu, F linear"""
    )
    assert str(Program.jacobian(disc()[2:], F32, threads=1)) == dedent(
        """\
        units: P linear+relu x2, P linear
        rows: F input, F linear+relu x2, F linear, F jacobian
        again and again: B linear, B linear+relu x2"""
    )
    names = [repr(op) for op in Program.predicting(disc(), F32, threads=1).ops]
    assert names == ["input", *["linear+relu"] * 3, "linear", "output"]


# Fusing.


def test_a_linear_layer_absorbs_the_relu_behind_it_and_nothing_else():
    def names(*ops):
        return [op.name for op in fused(ops)]

    (one,) = linears(3, 4)
    assert names(one, relu(4)) == ["linear+relu"]
    (one,) = linears(3, 4)
    assert names(relu(3), one, relu(4), relu(4), tanh(4)) == ["relu", "linear+relu", "relu", "tanh"]
    (one,) = linears(3, 4)
    assert names(one, tanh(4), relu(4)) == ["linear", "tanh", "relu"]
    first, second = linears(3, 4, 4)
    assert names(first, second, relu(4)) == ["linear", "linear+relu"]
    (one,) = linears(3, 4)
    assert names(one, Elementwise(4, "floor", same, same, "y", (), -1.0)) == ["linear", "floor"]
    assert names() == []


# Where things lie.


def of(program, name):
    """The records of the ops of a name."""
    found = [record for op, record in zip(program.ops, program.records) if op.name == name]
    assert found, name
    return found


def in_place(program):
    """For each op between input and output whether its output lies over its input."""
    return {op.name: int(record.x) == int(record.y) for op, record in zip(program.ops, program.records)}


def test_ops_read_what_the_one_before_wrote(dtype):
    (first, second) = linears(3, 17, 2, dtype=dtype)
    program = training([first, tanh(17), second, tanh(2)], dtype=dtype)
    for one, other in pairwise(program.records[:-1]):  # the last is the optimizer
        assert (other.x, other.x_stride, other.dx) == (one.y, one.y_stride, one.dy)
        assert (one.width_out, one.y_stride) == (other.width_in, row_stride(int(one.width_out), dtype))


def test_an_activation_overwrites_its_input_unless_somebody_reads_it_back():
    (one,) = linears(3, 5)
    assert in_place(training([one, tanh(5)]))["tanh"], "nobody reads the output of a Linear"
    (one,) = linears(3, 5)
    assert not in_place(training([one, relu(5), tanh(5)]))["tanh"], "the slope of the fused ReLU reads it"
    (one,) = linears(3, 5)
    assert not in_place(training([one, reads_x(5)]))["readsx"], "it reads its own input"
    (one,) = linears(3, 5)
    found = in_place(training([one, tanh(5), fm.Sigmoid()._ops(5)[0]]))
    assert found["tanh"]
    assert not found["sigmoid"], "the slope of the tanh reads it"
    (one,) = linears(3, 5)
    found = in_place(training([one, reads_x(5), tanh(5)]))
    assert found["tanh"], "the op before reads its input, not its output"
    assert not found["readsx"]
    (one,) = linears(3, 5)
    found = in_place(training([tanh(3), one]))
    assert found["tanh"], "the input is a copy"
    assert not found["linear"]


def test_a_prediction_overwrites_whatever_it_may():
    (one,) = linears(3, 5)
    found = in_place(Program.predicting([one, relu(5), tanh(5), reads_x(5)], F32, threads=1))
    assert found == {"input": False, "linear+relu": False, "tanh": True, "readsx": True, "output": True}


def test_a_delta_lies_only_where_it_is_wanted(dtype):
    """From the first op with parameters on; of the input, where somebody asks."""
    (first, second) = linears(3, 17, 2, dtype=dtype)
    layers = [tanh(3), first, tanh(17), second]
    program = training(layers, dtype=dtype)
    wanted = {op.name: (record.dx >= 0, record.dy >= 0) for op, record in list(zip(program.ops, program.records))[:3]}
    assert wanted == {"input": (False, False), "tanh": (False, False), "linear": (False, True)}
    assert all(record.dx >= 0 for record in program.records[3:-1])
    (first, second) = linears(3, 17, 2, dtype=dtype)
    program = Program.both_ways([tanh(3), first, tanh(17), second], dtype, batch=4)
    assert all(record.dx >= 0 for record in program.records[1:])
    assert program.records[0].dy >= 0
    (first, second) = linears(3, 17, 2, dtype=dtype)
    program = Program.predicting([tanh(3), first, tanh(17), second], dtype, threads=1)
    assert all(record.dx == record.dy == -1 for record in program.records)


def test_a_delta_of_an_activation_lies_over_that_of_its_output():
    (one,) = linears(3, 5)
    program = training([one, relu(5), tanh(5), reads_x(5)])
    for name in ("tanh", "readsx"):
        (record,) = of(program, name)
        assert record.dx == record.dy
    (record,) = of(program, "linear+relu")
    assert record.dx != record.dy


def test_a_loss_of_rows_and_its_delta_have_places():
    for loss in (CrossEntropy(2), mse(2)):
        program = training(linears(3, 2), loss, batch=9)
        assert program._plan["losses"] >= 0
        assert program.records[2].dx == program.records[1].dy >= 0
    assert Program.both_ways(linears(3, 2), F32, batch=9)._plan["losses"] == -1


# Passes, phases and blocks of rows.


def calls_of(program, phase, *, other=False):
    first, last = ("other_first", "other_last") if other else ("first", "last")
    return [(program.ops[op].name, task) for op, task in program.calls[phase[first] : phase[last]]]


def test_training_is_a_prologue_and_two_phases_a_step():
    program = training(linears(3, 5, 2), batch=9)
    assert program.passes == [(0, 1, 3, 3)]
    assert [phase["kind"] for phase in program.phases] == [UNITS, ROWS, UNITS]
    assert [phase.get("sums", 0) for phase in program.phases] == [0, 1, 0]
    assert all(phase["pool"] == POOL and phase["unit"] == 16 for phase in program.phases)
    prologue, rows, units = (calls_of(program, phase) for phase in program.phases)
    assert prologue == [("linear", PREPARE)], "the first has no delta to give to"
    assert rows == [
        ("input", FORWARD),
        ("linear", FORWARD),
        ("linear", FORWARD),
        ("mse", FORWARD),
        ("mse", BACKWARD),
        ("linear", BACKWARD),
    ]
    assert units == [("linear", UPDATE)] * 2
    plan = program.job().run
    assert (plan.gathers, plan.kept, plan.scalars) == (1, 1, 1)


def test_parameters_of_groups_go_to_the_optimizer_of_their_group():
    layers = linears(3, 5, 2)
    biases = {op.bias for op in layers}
    program = training(layers, updates=[sgd(0), sgd(1), sgd(2)], group_of=lambda at: 2 if at in biases else at > 0)
    first, second = of(program, "linear")
    assert [program.ops[i].first_scalar for i in (first.optimizer, first.bias_optimizer)] == [0, 2]
    assert [program.ops[i].first_scalar for i in (second.optimizer, second.bias_optimizer)] == [1, 2]
    assert program.job().run.scalars == 3
    (record,) = of(training(linears(3, 2, bias=False)), "linear")
    assert record.optimizer == record.bias_optimizer == 3


def test_a_prediction_takes_rows_as_they_come():
    narrow = Program.predicting(disc(), F32, threads=3)
    wide = Program.predicting(linears(64, 256, 256, 16), F32, threads=3)
    for program in (narrow, wide):
        assert program.passes == [(0, 0, 1, 1)]
        assert program.phases[0]["pool"] == ALL_POOL == 1
        assert program.job().run.kept == 0
    assert wide.phases[0]["block"] == wide.phases[0]["unit"] == BLOCK_ROWS
    assert "lane_cost" not in wide.phases[0]
    assert calls_of(wide, wide.phases[0], other=True) == []
    phase = narrow.phases[0]
    assert 0 < phase["lane_cost"] < phase["row_cost"] * 64
    assert phase["block"] == phase["unit"] <= BLOCK_ROWS
    assert calls_of(narrow, phase, other=True) == [(op.name, FORWARD_FEATURE_MAJOR) for op in narrow.ops]


def test_a_prediction_by_columns_meets_behind_each_product(dtype, rng):
    program = Program.by_columns([tanh(64), *linears(64, 40, 3, dtype=dtype)], dtype, threads=2)
    assert str(program).splitlines() == ["rows: F input, F tanh", "columns: F linear", "columns: F linear", "rows: F output"]
    assert [phase["pool"] for phase in program.phases] == [1, 2**62, 2**62, 1]
    assert [record.units for record in of(program, "linear")] == [40, 3], "columns, of which a thread takes 16 or more"
    for widths in ([7, 49, 33, 3], [3, 1], [2, 100, 17]):
        model = make_net(widths, dtype=dtype)
        for rows in (1, 2, COLUMN_ROWS):
            x, out = normal(rng, (rows, widths[0]), dtype), np.empty((rows, widths[-1]), dtype)
            for threads in (1, 2, 3):
                job = Program.by_columns(model._route_now().ops(widths[0]), dtype, threads=threads).job()
                job.set(params=model.storage.data)
                out[...] = 0
                run_job(job, x, out, threads=threads)
                assert_same_bits(out, model.predict(x))


def test_a_way_back_has_no_rows_along_the_vectors():
    program = Program.both_ways(disc(), F32, batch=8)
    assert not any("lane_cost" in phase for phase in program.phases)
    assert program.job().run.kept == 1


def test_an_op_that_knows_no_rows_along_the_vectors_keeps_a_prediction_from_them():
    class Odd(Elementwise):
        def costs(self, lanes):
            return None

    odd = Odd(2, "odd", same, same, "y")
    program = Program.predicting([*disc(), odd], F32, threads=1)
    assert "lane_cost" not in program.phases[0]


def test_blocks_hold_as_many_rows_as_stay_in_the_cache(dtype, monkeypatch):
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**21)

    def block(*widths):
        return training(linears(*widths, dtype=dtype), dtype=dtype).block

    for widths in ([1, 1], [2, 25, 25, 2], [64, 256, 256, 16], [784, 512, 512, 10]):
        rows = block(*widths)
        assert rows % BLOCK_ROWS == 0
        assert rows >= BLOCK_ROWS
        touched = sum(row_stride(width, dtype) for width in (*widths, widths[-1]))  # the loss has a delta as wide
        assert rows == BLOCK_ROWS or rows * 2 * dtype.itemsize * touched <= BLOCK_BYTES
        assert (rows + BLOCK_ROWS) * 2 * dtype.itemsize * touched > BLOCK_BYTES
    assert block(700, 700) == BLOCK_ROWS < block(1, 1)
    deep = training(linears(*[200] * 70, dtype=dtype), dtype=dtype, batch=512)
    assert deep.block == WIDE_BLOCK_ROWS
    units = {phase["unit"] for phase in deep.phases if phase["kind"] == ROWS}
    assert units == {WIDE_BLOCK_ROWS // 2}


def test_row_blocks_of_a_wide_network_are_shared_by_all_threads(dtype):
    layers = [200] * 70
    for batch, threads, unit in ((512, 2, 64), (128, 2, 64), (64, 2, 32), (64, 3, 16), (7, 2, 16)):
        program = training(linears(*layers, dtype=dtype), dtype=dtype, batch=batch, threads=threads)
        assert {phase["unit"] for phase in program.phases if phase["kind"] == ROWS} == {unit}


def test_few_units_of_an_update_are_for_whoever_comes_first(monkeypatch):
    monkeypatch.setattr(program_file, "RELAY_EACH", 10**9)
    for threads, pools in ((1, [POOL, POOL]), (2, [ALL_POOL, POOL])):
        programs = [training(linears(4, 32, width, 4), threads=threads) for width in (16, 70)]
        assert [[p["pool"] for p in program.phases if p["kind"] == UNITS][-1] for program in programs] == pools


def test_threads_transpose_for_themselves_what_their_caches_have_room_for(dtype, monkeypatch):
    """Each has the copies of all narrower layers, apart from the others'; behind each update, also where gradients are kept."""
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**20)
    program = training(linears(64, 256, 256, 10, dtype=dtype), dtype=dtype, batch=128, threads=3)
    own = "each thread{}: P linear x2"
    assert str(program).splitlines()[::3] == [own.format(" once"), own.format("")]
    apart = [record.weight_t_apart for record in program.records if getattr(record, "weight_t", 0)]
    assert [size >= width * 256 for size, width in zip(apart, (256, 10), strict=True)] == [True, True]
    how = {"batch": 128, "threads": 2, "between": [Gradients(1024)]}
    lines = str(Program.training(linears(64, 256, 256, 10), mse(10), [sgd()], lambda _: 0, F32, **how)).splitlines()
    assert lines[:2] == ["units once: P gradients", own.format(" once")]
    assert lines[-2:] == ["units: P gradients", own.format("")]
    for widths, batch, threads in (((64, 256, 256, 10), 128, 1), ((64, 256, 256, 10), 1, 2), ([3000] * 3, 128, 2)):
        assert "each thread" not in str(training(linears(*widths), batch=batch, threads=threads))


def test_what_is_not_trained_is_transposed_once(monkeypatch):
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**20)
    layers = linears(64, 256, 256, 10)
    trained = {layers[0].weight, layers[0].bias, layers[1].weight, layers[1].bias}
    between = {}, {"between": [Gradients(1024)]}
    for how, (threads, who) in product(between, ((1, "units"), (2, "each thread"))):
        args = [sgd()], lambda place: 0 if place in trained else None, F32
        lines = str(Program.training(layers, mse(10), *args, batch=128, threads=threads, **how)).splitlines()
        gradients = ", P gradients" * (bool(how) and threads == 1)
        assert f"{who} once: P linear x2{gradients}" in lines
        assert all("P linear x2" not in line for line in lines[1 + bool(how) :]), lines


def test_columns_of_predictions_are_shared_where_they_are_nearly_all_of_the_work(dtype, monkeypatch):
    """And where each thread gets some."""
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**17)
    monkeypatch.setattr(program_file, "PREDICTED_FROM", 2)
    enough = 512 // (4 * COLUMN_UNIT)
    for widths, threads, shared in (
        ((784, 512, 512, 10), 2, True),
        ((784, 512, 512, 10), enough, True),
        ((784, 512, 512, 10), enough + 1, False),
        ((3072, 200, 256, 256, 10), 2, False),
        ((30, 512, 10), 1, False),
    ):
        assert shares_panels(linears(*widths, dtype=dtype), dtype, 512, threads) == shared
        program = Program.by_panels(linears(*widths, dtype=dtype), dtype, threads=threads, batch=512)
        assert {phase["unit"] for phase in program.phases} <= {int(UNIT), COLUMN_UNIT}


def test_wide_layers_of_a_training_have_their_columns_shared(dtype, monkeypatch):
    """Those of a network that is far larger than the second-level cache; not with one row, nor in passes by hand."""
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**20)
    monkeypatch.setattr(program_file, "TRAINED_FROM", 2)
    widths = (784, 1500, 256, 255, 10)
    first, second, third, last = linears(*widths, dtype=dtype)
    program = training([first, relu(1500), second, third, last], CrossEntropy(10), dtype=dtype)
    assert str(program).splitlines() == [
        "units once: P linear x2",
        "rows: F input",
        "columns: F linear+relu",
        "columns: F linear",
        "rows: F linear x2, F cross_entropy, B cross_entropy, B linear x3",
        "columns: B linear",
        "rows: B linear+relu",
        "units: U linear+relu, U linear x3",
    ]
    shared = [phase for phase in program.phases if phase["unit"] == COLUMN_UNIT]
    units = [program.records[program.calls[phase["first"]][0]].units for phase in shared]
    assert units == [1500, 256, 1500]
    assert COLUMN_UNIT * dtype.itemsize % PANEL_BYTES == 0
    assert {phase["unit"] for phase in program.phases if phase["kind"] == ROWS} == {UNIT}
    assert program.flops_per_row == 2 * sum(a * b for a, b in pairwise(widths))
    for other in (
        training(linears(*widths, dtype=dtype), CrossEntropy(10), dtype=dtype, batch=1),
        training(linears(*widths, dtype=dtype), CrossEntropy(10), dtype=dtype, batch=COLUMNS_ROWS + 1),
        training(linears(*widths, dtype=dtype), CrossEntropy(10), dtype=dtype, threads=16),
        training(linears(784, 500, 10, dtype=dtype), CrossEntropy(10), dtype=dtype),
        Program.both_ways(linears(*widths, dtype=dtype), dtype, batch=8),
        Program.predicting(linears(*widths, dtype=dtype), dtype, threads=2),
    ):
        assert "columns" not in str(other)


def test_steps_of_optimizers_have_their_spans():
    program = Program.of_updates([sgd(0, 32, 48), sgd(1, 96, 16)], F32)
    assert [(record.first, record.units, record.scalars) for record in program.records] == [(32, 48, 0), (96, 16, 1)]
    assert program.job().run.scalars == 2
    assert program.passes == [(0, 0, 1, 1)]


def test_the_table_holds_what_the_program_says():
    program = training(disc(), CrossEntropy(2), batch=9)
    job = program.job()
    assert [tuple(one) for one in job.passes.tolist()] == program.passes
    assert [tuple(one) for one in job.calls.tolist()] == program.calls
    for record, phase in zip(job.phases, program.phases):
        assert {name: int(record[name]) for name in phase} == phase
    for row, op, record in zip(job.ops, program.ops, program.records):
        assert row.block == op.block.address(F32)
        assert [int(row[name]) for name in ("x", "y", "dx", "dy", "units")] == [
            getattr(record, name) for name in ("x", "y", "dx", "dy", "units")
        ]
    assert job.program is program


# Memory.


def parts_of(program):
    """Every part of the workspace that is written, and from where to where. Shared where it is meant to be."""
    rows = max(1, program.memory.batch)
    found = {}
    for op, record in zip(program.ops, program.records):
        size = rows * int(record.y_stride)
        if op.width_out and op.name != "output":
            found["y", int(record.y)] = size
        if record.dy >= 0 and op.width_out and not op.gives_losses:
            found["dy", int(record.dy)] = size
        if op.gives_losses:
            found["delta of the loss", int(record.dx)] = rows * int(record.x_stride)
            found.pop(("dy", int(record.dx)), None)
        names = vars(record)
        for thread in range(program.memory.threads) if "weight_t" in names and record.dx >= 0 else ():
            copy = int(record.weight_t) + thread * int(record.weight_t_apart)
            found["transposed", copy] = int(op.width_out) * int(record.x_stride)
        if "targets" in names:
            found["targets", int(record.targets)] = rows * int(record.x_stride)
    plan = program._plan
    found["zero", plan["zero"]], found["one", plan["one"]] = plan["zero_stride"], 1
    if plan["losses"] >= 0:
        found["losses", plan["losses"]] = rows
    if plan["scratch_size"]:
        found["scratch", plan["scratch"]] = program.memory.threads * plan["scratch_size"]
    for start, values in program.memory.values:
        if values:
            found["constants", start] = len(values)
    return found


kinds = st.lists(st.sampled_from(["linear", "bare", "relu", "tanh", "reads x", "constants"]), min_size=1, max_size=7)


def built(kinds, widths, dtype):
    """Ops of these kinds; a Linear goes to the next width."""
    ops, width, at = [], widths[0], 0
    for i, kind in enumerate(kinds):
        if kind in ("linear", "bare"):
            out = widths[i + 1]
            stride, bias = row_stride(out, dtype), kind == "linear"
            ops.append(Linear(width, out, at, at + width * stride if bias else -1))
            at += (width + bias) * stride
            width = out
        else:
            made = {"relu": relu, "tanh": tanh, "reads x": reads_x}
            if kind == "constants":
                ops.append(Elementwise(width, "two", straight, straight_slope, "x", (2.0, 3.0)))
            else:
                ops.append(made[kind](width))
    return ops, width


@settings(max_examples=small(150, 60))
@given(
    kinds,
    st.lists(st.integers(1, 40), min_size=8, max_size=8),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["cross entropy", "mse", "both ways", "predicting"]),
    st.integers(1, 9),
    st.integers(1, 3),
)
def test_parts_of_the_workspace_lie_on_lines_and_do_not_overlap(kinds, widths, dtype, how, batch, threads):
    dtype = np.dtype(dtype)
    layers, width = built(kinds, widths, dtype)
    if how == "both ways":
        program = Program.both_ways(layers, dtype, batch=batch)
    elif how == "predicting":
        program = Program.predicting(layers, dtype, threads=threads)
    else:
        if not any(op.has_parameters for op in layers):
            return  # an optimizer has nothing to do
        loss = mse(width) if how == "mse" else CrossEntropy(width)
        program = training(layers, loss, dtype=dtype, batch=batch, threads=threads)
    extents = sorted((start, start + size, kind) for (kind, start), size in parts_of(program).items())
    for (_, end, one), (start, _, other) in pairwise(extents):
        assert end <= start, (one, other)
    assert extents[-1][1] <= program.memory.size
    assert all(start % lanes(dtype) == 0 for start, _, _ in extents)
    # An op whose slope reads an output finds it as it was: nobody behind writes there.
    if how != "predicting":
        for i, (op, record) in enumerate(zip(program.ops, program.records)):
            behind = [other for other in program.records[i + 1 :] if other.width_out]
            if op.reads_y_backward:
                assert all(other.y != record.y for other in behind if other is not program.records[-1] or how != "both ways")
            if op.reads_x_backward:
                assert all(other.y != record.x for other in [record, *behind])


def test_the_workspace_begins_on_a_line_and_holds_the_constants(dtype):
    two = Elementwise(3, "two", straight, straight_slope, "x", (2.0, 3.0))
    job = Program.both_ways([two], dtype, batch=4).job()
    (record,) = of(job.program, "two")
    assert job.work.ctypes.data % 64 == 0
    assert job.work[record.constants : record.constants + 2].tolist() == [2, 3]
    assert job.work[job.run.one] == 1
    assert not job.work[job.run.zero : job.run.zero + job.run.zero_stride].any()
    assert np.count_nonzero(job.work) == 3


def test_each_thread_has_constants_of_a_loss_and_scratch_of_its_own(dtype):
    loss = ElementwiseLoss(3, "scaled", times, times_slope, (4.0,))
    program = training(linears(3, 3, dtype=dtype), loss, dtype=dtype, threads=3)
    job, record = program.job(), program.records[2]
    for thread in range(3):
        start = record.constants + thread * record.constants_size
        assert job.work[start : start + 2].tolist() == [0, 4]
        assert start % lanes(dtype) == 0
    assert job.run.scratch_size >= 16 * row_stride(3, dtype)


def test_a_row_of_zeros_is_as_wide_as_the_widest_layer(dtype):
    for widths in ([2, 3], [300, 2], [2, 300, 2]):
        program = training(linears(*widths, dtype=dtype), dtype=dtype)
        assert program._plan["zero_stride"] == row_stride(max(widths), dtype)


def test_prediction_needs_no_memory_for_training():
    predicting = Program.predicting(linears(30, 48, 32), F32, threads=1)
    kept = training(linears(30, 48, 32), batch=BLOCK_ROWS)
    assert predicting.memory.size < kept.memory.size / 2
    assert predicting.memory.integers == 0
    assert training(linears(30, 48, 32), CrossEntropy(32), batch=BLOCK_ROWS).memory.integers == BLOCK_ROWS


def test_memory_of_a_prediction_does_not_depend_on_its_rows_but_on_its_threads():
    one, three = (Program.predicting(linears(30, 48), F32, threads=threads).memory.size for threads in (1, 3))
    assert one < three < 7 * one  # the places of threads are two blocks apart


def test_identity_is_no_op():
    assert fm.Identity()._ops(3) == []


# What it computes, all together.


def forward_in_numpy(kinds, layers, params, x):
    """Every output, in float64, and what each slope is."""
    outputs, slopes = [x], []
    for kind, op in zip(kinds, layers):
        x = outputs[-1]
        if kind in ("linear", "bare"):
            stride = row_stride(op.width_out, F64)
            weight = params[op.weight : op.weight + op.width_in * stride].reshape(-1, stride)[:, : op.width_out]
            bias = params[op.bias : op.bias + op.width_out] if op.bias >= 0 else 0.0
            outputs.append(x @ weight + bias)
            slopes.append(weight)
        else:
            y, slope = {
                "relu": lambda x: (np.maximum(x, 0), 1.0 * (x > 0)),
                "tanh": lambda x: (np.tanh(x), 1 - np.tanh(x) ** 2),
                "reads x": lambda x: (x * x / 2, x),
                "constants": lambda x: (2 * x + 3, np.full_like(x, 2)),
            }[kind](x)
            outputs.append(y)
            slopes.append(slope)
    return outputs, slopes


def step_in_numpy(kinds, layers, params, x, y, lr):
    """The parameters after a step of gradient descent on the mean squared error, and the loss."""
    outputs, slopes = forward_in_numpy(kinds, layers, params, x)
    delta, new = 2 * (outputs[-1] - y) / y.size, params.copy()
    for kind, op, before, slope in reversed(list(zip(kinds, layers, outputs, slopes))):
        if kind in ("linear", "bare"):
            stride = row_stride(op.width_out, F64)
            weight = new[op.weight : op.weight + op.width_in * stride].reshape(-1, stride)
            weight[:, : op.width_out] -= lr * (before.T @ delta)
            if op.bias >= 0:
                new[op.bias : op.bias + op.width_out] -= lr * delta.sum(0)
            delta = delta @ slope.T
        else:
            delta = delta * slope
    return new, ((outputs[-1] - y) ** 2).sum()


@settings(max_examples=small(100, 30))
@given(
    kinds,
    st.lists(st.integers(1, small(40, 18)), min_size=8, max_size=8),
    st.integers(1, small(70, 9)),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_a_step_of_any_program_is_what_numpy_computes(kinds, widths, batch, threads, seed):
    layers, width = built(kinds, widths, F64)
    with_parameters = [op for op in layers if op.has_parameters]
    if not with_parameters:
        return
    rng = np.random.default_rng(seed)
    last = with_parameters[-1]
    size = last.weight + (last.width_in + (last.bias >= 0)) * row_stride(last.width_out, F64)
    params = np.zeros(size)
    for op in with_parameters:
        stride = row_stride(op.width_out, F64)
        weight = rng.standard_normal((op.width_in, op.width_out)) / np.sqrt(op.width_in)
        params[op.weight : op.weight + op.width_in * stride].reshape(-1, stride)[:, : op.width_out] = weight
        if op.bias >= 0:
            params[op.bias : op.bias + op.width_out] = rng.standard_normal(op.width_out)
    x, y = rng.standard_normal((batch, widths[0])), rng.standard_normal((batch, width))
    expected, loss = step_in_numpy(kinds, layers, params, x, y, 0.125)
    program = training(layers, mse(width), dtype=F64, batch=batch, threads=threads)
    job = kept_job(program, F64, params=params.copy(), order=np.arange(batch), scalars=np.array([0.125]))
    run_job(job, x, y, threads=threads)
    scale = max(1.0, np.abs(expected - params).max() / 0.125, loss)
    np.testing.assert_allclose(job.params, expected, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(job.sums, loss, rtol=1e-11)
