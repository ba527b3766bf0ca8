"""Training on data that is read in pieces."""

from __future__ import annotations

import copy
import threading
import time
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits, flat, jit_only, make_data, make_net, run_python, small

import fastmlp as fm
from fastmlp.training.callbacks import Callback
from fastmlp.training.chunks import Chunks, opened

ROWS = small(331, 83)


class Same(fm.Module):
    """A module written in Python."""

    def forward(self, x):
        return x.copy()

    def backward(self, dy):
        return dy


class Stop(Callback):
    every = 7

    def on_steps(self, step, history):
        raise KeyError("broken off")


def data_of(dtype=np.float32, rows=ROWS):
    return make_data(rows, 5, 4, dtype=dtype)


def function_of(X, y, weights=None, rows=10):
    """A function that gives chunks, and counts how often it is called."""

    def chunks():
        for first, last in pairwise([*range(0, len(X), rows), len(X)]):
            given = () if weights is None else (weights[first:last],)
            yield X[first:last], y[first:last], *given

    return chunks


def trained(X, y=None, *, dtype=np.float32, criterion=None, python=False, optimizer=None, model=None, **keywords):
    model = model or make_net([5, 7, 4], dtype=dtype)
    if python:
        model = fm.Sequential(*copy.deepcopy(list(model)), Same())
    optimizer = optimizer or fm.Adam(model.parameters(), lr=0.01)
    keywords = {"epochs": 3, "batch_size": 8, "rng": 0} | keywords
    history = fm.fit(model, criterion or fm.CrossEntropyLoss(), optimizer, X, y, **keywords)
    return flat(model), history


def assert_same(first, second):
    assert_same_bits(first[0], second[0])
    assert first[1] == second[1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_one_buffer_is_as_in_memory(dtype, shuffle):
    X, y = data_of(dtype)
    expected = trained(X, y, dtype=dtype, shuffle=shuffle)
    for data in (
        fm.Chunks(X, y),
        fm.Chunks(X, y, chunk_rows=10, buffer_rows=ROWS),
        fm.Chunks(function_of(X, y)),
        fm.Chunks(function_of(X, y), rows=ROWS, buffer_rows=ROWS, read_ahead=False),
        function_of(X, y),
    ):
        assert_same(trained(data, dtype=dtype, shuffle=shuffle), expected)


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"drop_last": True, "threads": 2},
        {"class_weight": "balanced"},
        {"class_weight": {1: 3.0}, "metrics": "accuracy"},
        {"validation": 0.3, "metrics": "accuracy"},
        {"sample_weight": np.arange(ROWS) % 4},
        {"criterion": fm.CrossEntropyLoss(ignore_index=2)},
        {"batch_size": 100},
        {"clip_norm": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize(("chunk", "buffer"), [(3, 7), (10, 50), (1, 1)])
def test_in_order_any_buffer_is_as_in_memory(keywords, chunk, buffer):
    X, y = data_of()
    expected = trained(X, y, shuffle=False, **keywords)
    keywords = dict(keywords)
    data = fm.Chunks(X, y, keywords.pop("sample_weight", None), chunk_rows=chunk, buffer_rows=buffer)
    assert_same(trained(data, shuffle=False, **keywords), expected)


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.filterwarnings("ignore:Same")
def test_shuffles_are_functions_of_seed_and_epoch(dtype, python):
    X, y = data_of(dtype)
    weights = np.arange(ROWS) % 3
    array = fm.Chunks(X, y, weights, chunk_rows=10, buffer_rows=40)
    function = fm.Chunks(function_of(X, y, weights), buffer_rows=40)
    for data in (array, function):
        once = trained(data, dtype=dtype)
        assert_same(trained(data, dtype=dtype, threads=2), once)
        if python:
            assert_same(trained(data, dtype=dtype, python=True), once)
        assert (trained(data, dtype=dtype, rng=1)[0] != once[0]).any()
        model = make_net([5, 7, 4], dtype=dtype)
        optimizer = fm.Adam(model.parameters(), lr=0.01)
        for broken in (1, 2):  # in an epoch, twice, and between two
            with pytest.raises(KeyError, match="broken off"):
                trained(data, model=model, optimizer=optimizer, epochs=2, callbacks=Stop())
            assert optimizer.steps == 7 * broken
        trained(data, model=model, optimizer=optimizer, epochs=2 - optimizer.epochs)
        trained(data, model=model, optimizer=optimizer, epochs=1)
        assert_same_bits(flat(model), once[0])


def seen(data, **keywords):
    """Which rows each batch of an epoch has, by a criterion that takes notes: inputs are their numbers."""
    batches = []

    class Notes(fm.Criterion):
        targets = ("numbers",)

        def forward(self, out, y):
            batches.append(y[:, 0].astype(int).tolist())
            self.out = out
            return 1.0

        def backward(self):
            return np.zeros_like(self.out)

    model = make_net([1, 1])
    with pytest.warns(UserWarning, match="Notes"):
        fm.fit(model, Notes(), fm.SGD(model.parameters(), lr=0.1), data, **{"epochs": 1, "rng": 0} | keywords)
    return batches


@pytest.mark.once
def test_each_row_is_seen_once_in_an_epoch():
    numbers = np.arange(103.0)[:, None]
    for data in (
        fm.Chunks(numbers, numbers, chunk_rows=5, buffer_rows=20),
        fm.Chunks(function_of(numbers, numbers, rows=5), buffer_rows=20),
    ):
        batches = seen(data, batch_size=8, epochs=2)
        assert [len(batch) for batch in batches] == 2 * [*12 * [8], 7]
        epochs = [[*chain(*batches[:13])], [*chain(*batches[13:])]]
        assert epochs[0] != epochs[1]
        for epoch in epochs:
            assert sorted(epoch) == list(range(103))
            assert epoch != list(range(103))
    array = seen(fm.Chunks(numbers, numbers, chunk_rows=5, buffer_rows=20), batch_size=20)
    chunks = {row // 5 for row in array[0]}
    assert len(chunks) in (4, 5), "four chunks of 5 rows are in memory together; the last one has 3"
    assert max(chunks) - min(chunks) > 4, "from all over the file"
    dropped = seen(fm.Chunks(numbers, numbers, buffer_rows=20), batch_size=8, drop_last=True)
    assert len([*chain(*dropped)]) == 96


@pytest.mark.once
def test_files_are_what_they_hold(tmp_path):
    X, y = data_of()
    expected = trained(X, y)
    mapped = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
    mapped[:] = X
    assert_same(trained(mapped, y), expected)
    assert_same(trained(mapped, y.tolist(), validation=0.2), trained(X, y, validation=0.2))
    h5py, pandas = pytest.importorskip("h5py"), pytest.importorskip("pandas")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = X, y
        assert_same(trained(file["x"], file["y"]), expected)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(label=np.array(["w", "x", "y", "z"])[y], weight=y + 1)
    model = make_net([5, 7, 4])
    assert_same(trained(frame.drop(columns="weight"), "label", model=model), expected)
    assert model.classes.tolist() == ["w", "x", "y", "z"]
    assert_same(trained(frame, "label", sample_weight="weight"), trained(X, y, sample_weight=y + 1))
    again = fm.Chunks(frame, "label", "weight", columns=list("abcde"), chunk_rows=10, buffer_rows=30)
    model, weighted = make_net([5, 7, 4]), {"sample_weight": y + 1, "shuffle": False}
    assert_same(trained(again, model=model, shuffle=False), trained(X, y, **weighted))
    assert model.classes.tolist() == ["w", "x", "y", "z"]


def test_evaluate_and_validation_read_in_pieces():
    X, y = data_of()
    model = make_net([5, 7, 4])
    criterion, metrics = fm.CrossEntropyLoss(), ["accuracy", "top_2_accuracy"]
    weights = np.arange(ROWS) % 3
    expected = fm.evaluate(model, criterion, X, y, metrics=metrics, sample_weight=weights)
    for data in (fm.Chunks(X, y, weights, buffer_rows=50), fm.Chunks(function_of(X, y, weights), buffer_rows=50)):
        assert fm.evaluate(model, criterion, data, metrics=metrics) == expected
        assert_same(trained(X, y, validation=data), trained(X, y, validation=(X, y, weights)))


@pytest.mark.once
def test_targets_may_be_as_wide_as_inputs(dtype):
    X, _ = data_of(dtype)
    net = {"model": None, "criterion": fm.MSELoss(), "dtype": dtype, "shuffle": False}
    expected = trained(X, X, **net | {"model": make_net([5, 3, 5], dtype=dtype)})
    data = fm.Chunks(X, X, chunk_rows=10, buffer_rows=30)
    assert_same(trained(data, **net | {"model": make_net([5, 3, 5], dtype=dtype)}), expected)
    held = {"validation": 0.2, "metrics": "r2"}
    expected = trained(X, X, **net | held | {"model": make_net([5, 3, 5], dtype=dtype)})
    assert_same(trained(data, **net | held | {"model": make_net([5, 3, 5], dtype=dtype)}), expected)


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:Squares")
def test_criterion_in_python_has_fractions_and_weights_of_classes():
    class Squares(fm.Criterion):
        """Labels against one-hot outputs."""

        targets = ("labels",)

        def forward(self, out, y, weights=None):
            self.delta = (out - np.eye(out.shape[1], dtype=out.dtype)[y]) * (1 if weights is None else weights[:, None])
            return float((self.delta**2).sum(axis=1).mean())

        def backward(self):
            return self.delta / len(self.delta)

    X, y = data_of()
    for keywords in ({}, {"validation": 0.3}, {"class_weight": "balanced"}):
        expected = trained(X, y, criterion=Squares(), shuffle=False, **keywords)
        data = fm.Chunks(X, y, chunk_rows=10, buffer_rows=30)
        assert_same(trained(data, criterion=Squares(), shuffle=False, **keywords), expected)


@pytest.mark.once
def test_a_thread_reads_ahead_and_ends():
    X, y = data_of()
    names = set()

    def chunks(epoch):
        names.add(threading.current_thread().name.split("_")[0])
        yield from function_of(X, y)()

    trained(fm.Chunks(chunks, rows=ROWS, buffer_rows=20))
    assert names == {"MainThread", "fastmlp-reader"}  # the first chunk is looked at before anything else
    names.clear()
    trained(fm.Chunks(chunks, rows=ROWS, buffer_rows=20, read_ahead=False))
    assert names == {"MainThread"}
    with pytest.raises(KeyError):
        trained(fm.Chunks(chunks, buffer_rows=20), callbacks=Stop())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-reader")]


@pytest.mark.once
def test_mistakes_are_found_before_anything_is_trained():
    X, y = data_of()
    wrong, model = X.copy(), make_net([5, 7, 4])
    wrong[3, 2] = np.nan
    bad = y.copy()
    bad[-1] = 4
    before = flat(model)
    small_chunks = {"chunk_rows": 10, "buffer_rows": 20}
    for data, keywords, error, message in (
        (fm.Chunks(X, bad, buffer_rows=20), {}, ValueError, "labels, whole numbers from 0 to 3"),
        (
            fm.Chunks(wrong, y, **small_chunks),
            {},
            ValueError,
            "rows 0 to .* of X must be finite; row 3 holds nan",
        ),
        (fm.Chunks(function_of(wrong, y), rows=ROWS), {}, ValueError, "chunk 0 of X must be finite; row 3 holds nan"),
        (fm.Chunks(X[:, :4], y, buffer_rows=20), {}, ValueError, r"fit expects .*\(N, 5\)"),
        (fm.Chunks(X, y, buffer_rows=20), {"y": y}, TypeError, "y must be None beside Chunks"),
        (fm.Chunks(X, y, np.zeros(ROWS), buffer_rows=20), {}, ValueError, "no row of X counts"),
        (fm.Chunks(function_of(X, y)), {"validation": 0.2}, ValueError, "what comes from a function has no rows to choose"),
        (fm.Chunks(function_of(X, y)), {"class_weight": "balanced"}, ValueError, "for data that is not a function"),
        (lambda: (), {}, ValueError, "the function of chunks gives none"),
        (lambda: 3, {}, TypeError, "a function of chunks must return an iterator over them; got 3"),
        (lambda: [X], {}, TypeError, r"chunk 0 must be a pair \(X, y\), or \(X, y, sample_weight\); got"),
    ):
        with pytest.raises(error, match=message):
            trained(data, model=model, **keywords)
        assert_same_bits(flat(model), before)


@pytest.mark.once
def test_mistakes_in_later_chunks_leave_the_last_finished_step():
    X, y = data_of()
    wrong = X.copy()
    wrong[-1, 2] = np.inf
    model = make_net([5, 7, 4])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=f"{ROWS - 1} of X must be finite") as caught:
        trained(fm.Chunks(wrong, y, chunk_rows=5, buffer_rows=20), model=model, optimizer=optimizer, shuffle=False)
    assert optimizer.steps == (ROWS - ROWS % 20) // 8
    assert caught.value.history.epochs == 0
    ignored = y.copy()
    ignored[-1] = -100
    with pytest.raises(ValueError, match="has rows that are weighted or ignored, but chunk 0 has none"):
        trained(fm.Chunks(function_of(X, ignored), buffer_rows=20))
    with pytest.raises(ValueError, match=rf"gave {ROWS} rows for epoch 0; {ROWS + 1} were expected"):
        trained(fm.Chunks(function_of(X, y), rows=ROWS + 1, buffer_rows=20))


@pytest.mark.once
def test_chunks_reject_what_has_no_rows():
    X, y = data_of()
    for given, keywords, error, message in (
        ((X,), {}, TypeError, "y must be the labels or targets of X, or the name of a column; got None"),
        ((X, y[:-1]), {}, ValueError, "X and y must have as many rows as each other"),
        ((X, y, y[:-1]), {}, ValueError, "X and sample_weight must have as many rows"),
        ((X, "label"), {}, TypeError, "y is 'label', the name of a column; the columns of X have no names"),
        ((X, y), {"columns": ["a"]}, TypeError, "columns are names of columns; those of X have none"),
        ((X, y), {"rows": 3}, ValueError, "rows is 3, but X has"),
        ((X, y), {"chunk_rows": 0}, ValueError, "chunk_rows must be at least 1"),
        ((X, y), {"buffer_rows": 2.5}, TypeError, "buffer_rows must be a whole number"),
        ((X[0], y[:5]), {}, ValueError, r"X must have the shape \(N, I\); got \(5,\)"),
        ((X[:, :0], y), {}, ValueError, rf"X must have the shape \(N, I\); got \({ROWS}, 0\)"),
        ((X[:0], y[:0]), {}, ValueError, "X must have at least one row"),
        ((function_of(X, y), y), {}, TypeError, r"y must be None: chunks of a function are pairs"),
    ):
        with pytest.raises(error, match=message):
            fm.Chunks(*given, **keywords)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="X has no column 'c'; it has a, b"):
        fm.Chunks(pandas.DataFrame(X[:, :2], columns=["a", "b"]), "c")
    assert repr(fm.Chunks(X, y)) == f"Chunks({ROWS} rows)"
    assert repr(fm.Chunks(function_of(X, y))) == "Chunks(rows not counted yet)"


@pytest.mark.once
def test_small_data_is_read_once(tmp_path):
    X, y = data_of()
    mapped = np.memmap(tmp_path / "x", X.dtype, "w+", shape=X.shape)
    assert not isinstance(opened(mapped, y, None, X.dtype)[0], Chunks)
    assert isinstance(opened(fm.Chunks(mapped, y, buffer_rows=20), None, None, X.dtype)[0], Chunks)
    assert opened(X, y, None, X.dtype)[0] is X


BIG = """
import sys, resource
import numpy as np
import fastmlp as fm

rows = int(sys.argv[1])
with open(sys.argv[2], "wb") as file:  # of zeros, which take no place on the disk
    file.truncate(rows * 256)

def chunks(epoch):
    for first in range(0, rows, 2**15):
        count = min(2**15, rows - first)
        x = np.fromfile(sys.argv[2], np.float32, 64 * count, offset=256 * first).reshape(-1, 64)
        yield x, np.zeros(count, np.int64)

model = fm.Sequential(fm.Linear(64, 8, rng=0), fm.ReLU(), fm.Linear(8, 2, rng=1))
optimizer = fm.SGD(model.parameters(), lr=0.01)
x, y = next(chunks(0))
fm.fit(model, fm.CrossEntropyLoss(), optimizer, x, y, epochs=1)
resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))
peaks = []

def peak(epoch, history):
    with open("/proc/self/status") as file:
        peaks.append(next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")))

data = np.memmap(sys.argv[2], np.float32, "r", shape=(rows, 64)) if sys.argv[3] == "map" else chunks
y = np.zeros(rows, np.int8) if sys.argv[3] == "map" else None
fm.fit(model, fm.CrossEntropyLoss(), optimizer, data, y, epochs=4, batch_size=256, rng=0, callbacks=peak)
print(*peaks)
"""


def check_peaks(rows, folder, kind):
    run_python(BIG, 2**15, folder / "x", "function")  # compiles
    peaks = np.array(run_python(BIG, rows, folder / "x", kind).split(), int) / 1024
    assert peaks[-1] < 450, peaks
    assert peaks[-1] < peaks[0] + 40, f"it grows: {peaks}"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's record of a process")
@jit_only
@pytest.mark.parametrize("rows", [2**21, pytest.param(2**24, marks=pytest.mark.slow)], ids=["512 MiB", "4 GiB"])
def test_memory_is_that_of_buffers(tmp_path, rows):
    """Under a limit of 600 MiB of addresses."""
    check_peaks(rows, tmp_path, "function")


@pytest.mark.alone
@pytest.mark.once
def test_reading_ahead_saves_time():
    X, y = data_of()

    def slow():
        for chunk in function_of(X, y, rows=len(X) // 8 + 1)():
            time.sleep(0.02)
            yield chunk

    class Busy(Callback):
        every = 5

        def on_steps(self, step, history):
            time.sleep(0.01)

    def seconds(read_ahead):
        began = time.perf_counter()
        data = fm.Chunks(slow, rows=ROWS, buffer_rows=len(X) // 8 + 1, read_ahead=read_ahead)
        trained(data, callbacks=Busy(), epochs=2)
        return time.perf_counter() - began

    assert min(seconds(True) for _ in range(3)) < 0.9 * min(seconds(False) for _ in range(3))
