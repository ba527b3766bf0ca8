"""A Predictor in Python: what it computes, how it follows its model, what it refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from helpers import JIT, assert_same_bits, make_net, normal, small
from predictor.nets import ROWS, at_once, by_rows, every_module, inputs_for

import fastmlp as fm
from fastmlp.kernels.plan import STACK_BYTES
from fastmlp.predictor.plans import largest_on_stack


def test_every_module_is_what_predict_gives(dtype):
    """To the bit, from Python and from compiled code, one row at a time and all at once."""
    models = list(every_module(dtype))
    for model in models if JIT else models[::5]:
        p = fm.compiled(model)
        for rows in (*ROWS, 1000) if JIT else (0, 1, 9):
            x = inputs_for(model, rows, dtype)
            results = [np.full((rows, p.outputs), np.nan, dtype) for _ in range(3)]
            expected = model_of(model).predict(x) if rows else results[0].copy()
            assert p(x, results[0]) is results[0]
            at_once(p, x, results[1])
            by_rows(p, x, results[2])
            for result in (*results, p.predict(x)):
                assert_same_bits(result, expected)


def model_of(module):
    """Something with a `predict`."""
    return module if isinstance(module, fm.Sequential) else fm.Sequential(copy.deepcopy(module), dtype=module.dtype)


def test_widths_at_the_edges_of_tiles(dtype):
    """Of the tile of one row, strips of 1 to 8 vectors and more."""
    for width in small((1, 15, 16, 17, 33, 64, 65, 129, 130, 257, 300), (1, 17, 130)):
        model = make_net([5, width, width, 3], "relu", dtype=dtype)
        x = normal(np.random.default_rng(0), (9, 5), dtype)
        out = np.empty((9, 3), dtype)
        by_rows(fm.compiled(model), x, out)
        assert_same_bits(out, model.predict(x))


def test_wide_networks_work_beside_the_stack(dtype):
    """Where eight rows have no room on the stack, and where one has none."""
    for widths in small([[784, 300, 10], [3, 9000, 2]], [[1100, 2], [3, 9000, 2]]):
        model = make_net(widths, dtype=dtype)
        p = fm.compiled(model)
        assert p._header.plans[1].size > STACK_BYTES
        assert (p._header.plans[0].size > STACK_BYTES) == (max(widths) == 9000)
        x = normal(np.random.default_rng(0), (small(70, 9), widths[0]), dtype)
        assert_same_bits(p.predict(x), model.predict(x))
        assert_same_bits(p.predict(x[0]), model.predict(x[:1])[0])


@pytest.mark.once
def test_as_many_rows_together_as_the_stack_has_room_for():
    class Made:
        def __init__(self, fixed, each, rows):
            self.size, self.rows = fixed + each * rows, rows

    for fixed, each, rows in ((0, 512, 64), (192, 512, 56), (0, STACK_BYTES // 8, 8), (1, STACK_BYTES // 8, 64), (0, 1, 64)):
        assert largest_on_stack(lambda batch: Made(fixed, each, batch)).rows == rows  # noqa: B023


def test_attributes(dtype):
    p = fm.compiled(make_net([3, 5, 2], dtype=dtype))
    assert (p.inputs, p.outputs, p.dtype) == (3, 2, dtype)
    assert p.header.dtype == np.int64
    assert p.header[:3].tolist() == [3, 2, dtype.itemsize]
    assert p.header.ctypes.data == p.address
    with pytest.raises(ValueError, match="read-only"):
        p.header[0] = 4
    assert repr(p) == f"<Predictor: 3 to 2, {dtype}>"
    assert repr(fm.compiled(fm.Linear(3, 2), copy=True)) == "<Predictor: 3 to 2, float32, a copy>"


# It follows its model.


def test_training_goes_on_under_it(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    p, frozen = fm.compiled(model), fm.compiled(model, copy=True)
    x = normal(np.random.default_rng(0), (4, 3), dtype)
    before = model.predict(x)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    fm.fit(model, fm.MSELoss(), optimizer, x, np.zeros((4, 2)), epochs=2, progress=False)
    assert_same_bits(p.predict(x), model.predict(x))
    assert_same_bits(frozen.predict(x), before)
    assert not np.array_equal(model.predict(x), before)


def test_evaluation_mode_counts_whatever_the_model_is_in(dtype):
    model = fm.Sequential(fm.Linear(3, 4, rng=0), fm.BatchNorm1d(4), fm.Dropout(), fm.Linear(4, 2, rng=1), dtype=dtype)
    p = fm.compiled(model)
    x = normal(np.random.default_rng(0), (5, 3), dtype)
    for _ in range(2):
        model(x)  # moves the running statistics, which are the Predictor's too
        assert model.training
        assert_same_bits(p.predict(x), model.predict(x))


def test_other_parts_parameters_and_options_are_noticed(dtype):
    model = fm.Sequential(fm.Linear(3, 4, rng=0), fm.LeakyReLU(), fm.Linear(4, 2, rng=1), dtype=dtype)
    p, x, out = fm.compiled(model), normal(np.random.default_rng(0), (5, 3), dtype), np.empty((5, 2), dtype)

    def same():
        at_once(p, x, out)
        assert_same_bits(out, model.predict(x))
        assert_same_bits(p.predict(x), out)
        return out.copy()

    seen = [same()]
    model[1].negative_slope = 0.7
    seen.append(same())
    model[1] = fm.Tanh()
    seen.append(same())
    model[2].bias = None
    seen.append(same())
    model.insert_after = fm.Linear(2, 2, rng=2, dtype=dtype)  # at the end of the row
    seen.append(same())
    outer = fm.Sequential(model, fm.Identity(), dtype=dtype)  # gathers the parameters anew
    model[0].weight.data *= 2
    seen.append(same())
    assert len({result.tobytes() for result in seen}) == len(seen)
    assert outer.dtype == dtype


def test_another_width_or_dtype_is_an_error_then():
    x, out = np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32)
    for change, message in (
        (lambda model: model.append(fm.Linear(2, 7)), "3 to 7, float32 now, but this is <Predictor: 3 to 2, float32>"),
        (lambda model: fm.Sequential(model, dtype=np.float64), "3 to 2, float64 now"),
    ):
        model = make_net([3, 5, 2])
        p = fm.compiled(model)
        kept = change(model)  # noqa: F841
        for use in (lambda p: p(x, out), lambda p: at_once(p, x, out), lambda p: p.address, lambda p: p.header):
            with pytest.raises(ValueError, match=f"{message}.*make another one, fastmlp.compiled"):
                use(p)


def test_a_python_module_that_comes_later_is_an_error_then():
    model = make_net([3, 5, 2])
    p = fm.compiled(model)
    model[1] = Double()
    with pytest.raises(TypeError, match="written in Python: Double"):
        p.predict(np.zeros((2, 3), np.float32))


def test_copies_and_pickles(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    x = normal(np.random.default_rng(0), (4, 3), dtype)
    for copied in (False, True):
        p = fm.compiled(model, copy=copied)
        for twin in (pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p)):
            assert_same_bits(twin.predict(x), p.predict(x))
            assert twin.address != p.address
            assert repr(twin) == repr(p)


def test_it_keeps_what_it_computes_with(dtype):
    """A model that is gone otherwise; its parts may have been replaced, too."""
    model = make_net([3, 5, 2], dtype=dtype)
    p, x = fm.compiled(model), normal(np.random.default_rng(0), (4, 3), dtype)
    expected = model.predict(x)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert_same_bits(p.predict(x), expected)
    del p
    gc.collect()
    assert alive() is None


# What it refuses.


class Double(fm.Module):
    """In Python."""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class Half(fm.Sequential):
    """A Sequential with arithmetic of its own."""

    def forward(self, x):
        return super().forward(x) / 2


@pytest.mark.once
def test_what_has_no_predictor_is_refused():
    for model, error, message in (
        (None, TypeError, "model must be a Module of fastmlp; got None"),
        (fm.Linear, TypeError, "model must be a Module"),
        (Double(), TypeError, "written in Python: Double"),
        (fm.Sequential(fm.Linear(2, 2), Double(), Double()), TypeError, r"in Python: Double \(fastmlp.Activation"),
        (Half(fm.Linear(2, 2)), TypeError, "in Python: Half"),
        (fm.ReLU(), ValueError, r"one width, but ReLU\(\) takes inputs of any"),
        (fm.Sequential(fm.Tanh()), ValueError, "one width"),
    ):
        with pytest.raises(error, match=message):
            fm.compiled(model)
    with pytest.raises(TypeError, match="copy must be"):
        fm.compiled(fm.Linear(2, 2), copy="yes")


def test_arrays_that_do_not_fit_are_refused():
    p = fm.compiled(make_net([3, 5, 2]))
    x, out, jac = np.zeros((4, 3), np.float32), np.full((4, 2), 7, np.float32), np.zeros((4, 2, 3), np.float32)
    locked = out.copy()
    locked.flags.writeable = False
    for call, error, message in (
        (lambda: p(x.tolist(), out), TypeError, "x must be an array of float32, as the Predictor is; got"),
        (lambda: p(x.astype(np.float64), out), TypeError, r"got an array of float64: make it np.asarray\(x, np.float32\)"),
        (lambda: p(x, out.astype(np.float64)), TypeError, "out must be an array of float32"),
        (lambda: p(np.zeros((3, 4), np.float32).T, out), TypeError, r"x must be C-contiguous: np.ascontiguousarray\(x\)"),
        (lambda: p(x, locked), TypeError, r"out must be writable: out.copy\(\)"),
        (lambda: p(x[:, :2].copy(), out), ValueError, r"x must have the shape \(3,\) or \(N, 3\); got \(4, 2\)"),
        (lambda: p(x[None], out), ValueError, r"x must have the shape \(3,\) or \(N, 3\); got \(1, 4, 3\)"),
        (lambda: p(x, out[:3]), ValueError, r"out must have the shape \(4, 2\); got \(3, 2\)"),
        (lambda: p(x[0], out[:1]), ValueError, r"out must have the shape \(2,\); got \(1, 2\)"),
        (lambda: p.predict(np.float32(3)), TypeError, "x must be an array"),
        (lambda: p.jacobian(x, out, jac[0]), ValueError, r"jac must have the shape \(4, 2, 3\); got \(2, 3\)"),
        (lambda: p.vjp(x, out[:, :1].copy(), x), ValueError, r"dy must have the shape \(4, 2\)"),
        (lambda: p.jvp(x, out, out), ValueError, r"v must have the shape \(4, 3\)"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert (out == 7).all()


def test_categories_are_checked_in_python():
    model = fm.Sequential(fm.Embedding(4, 3), fm.Linear(3, 2))
    p = fm.compiled(model)
    with pytest.raises(ValueError, match="categor"):
        p.predict(np.array([[9.0]], np.float32))


# A pointer that comes back.


def test_predictor_at_finds_it_again(dtype):
    p = fm.compiled(make_net([3, 5, 2], dtype=dtype))
    assert fm.predictor_at(p.address, dtype) is p
    assert fm.predictor_at(p.header.ctypes, dtype) is p
    with pytest.raises(ValueError, match="the Predictor there is of"):
        fm.predictor_at(p.address, np.float32 if dtype == np.float64 else np.float64)
    address = p.address
    del p
    gc.collect()
    with pytest.raises(ValueError, match=f"there is no Predictor at {address}"):
        fm.predictor_at(address, dtype)
