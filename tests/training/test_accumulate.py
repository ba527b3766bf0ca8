"""Gradient accumulation, ``fit(..., accumulate=n)``; that it changes no bit of any entry is in tests/test_promises.py."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, flat, jit_only, make_data, make_net, small

import fastmlp as fm
from fastmlp.kernels.shuffle import epoch_order

ROWS = small(98, 23)


class Halve(fm.Module):
    """A module in Python."""

    def forward(self, x):
        return x / 2

    def backward(self, dy):
        return dy / 2


class InPython(fm.Criterion):
    """The mean squared error, weighted."""

    def forward(self, out, y, sample_weight=None):
        weights = np.ones(len(out)) if sample_weight is None else sample_weight
        self.delta = 2 * (out - y) * weights[:, None] / (weights.sum() * out.shape[1])
        return ((out - y) ** 2 * weights[:, None]).sum() / (weights.sum() * out.shape[1])

    def backward(self):
        return self.delta.astype(np.float64)


def start(modules, dtype, optimizer=fm.SGD, **options):
    """A network and its optimizer."""
    model = fm.Sequential(*modules(), dtype=dtype)
    model.reset_parameters(rng=0)
    for module in model.modules():
        if isinstance(module, fm.BatchNorm1d):
            module.running_mean.data = np.linspace(-1, 1, module.num_features)
            module.running_var.data = np.linspace(0.5, 2, module.num_features)
    return model, optimizer(model.parameters(), **({"lr": 0.05} | options))


def with_all_kinds():
    """Layers whose gradients are sums of their own, which go on; batch normalisation in evaluation mode among them."""
    inside = fm.Residual(fm.LayerNorm(16), fm.Linear(16, 16), fm.PReLU(16))
    return [
        fm.Embedding({1: 7}, {1: 3}, in_features=3),
        fm.Linear(5, 16),
        fm.BatchNorm1d(16).eval(),
        fm.PReLU(),
        inside,
        fm.Scale(16),
        fm.Linear(16, 4),
    ]


def counting():
    """Layers of which each pass forward changes something, or draws."""
    norms = fm.BatchNorm1d(9), fm.BatchNorm1d(9, momentum=None)
    return [
        fm.Linear(3, 9),
        norms[0],
        fm.PReLU(9),
        fm.Dropout(0.2, rng=1),
        fm.Linear(9, 9),
        norms[1],
        fm.AlphaDropout(0.1, rng=2),
        fm.Linear(9, 4),
    ]


def of_all_kinds(dtype):
    """Data for the first of these."""
    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    X[:, 1] = np.random.default_rng(1).integers(7, size=ROWS)
    return X, y


@pytest.mark.parametrize("threads", [1, 2])
def test_step_in_parts_is_a_whole_step(threads, dtype):
    """With clipping, frozen parameters, weights, data in pieces; the last step smaller, and one for all rows."""
    X, y = of_all_kinds(dtype)
    weights = np.random.default_rng(2).uniform(0, 2, ROWS) * (np.arange(ROWS) % 3 > 0)
    chunks = [(X[first : first + 10], y[first : first + 10]) for first in range(0, ROWS, 10)]
    options = (
        {"clip_norm": 0.1},
        {"clip_value": 0.01},
        {"sample_weight": weights, "class_weight": "balanced"},
        {"drop_last": True},
        {"shuffle": False},
        {"chunks": fm.Chunks(lambda epoch: iter(chunks), buffer_rows=40)},
    )
    for frozen in ((), (0, 2), (3, 4, 5)):
        for option in options if not frozen else options[:1]:
            given = dict(option)
            data = (given.pop("chunks"),) if "chunks" in given else (X, y)
            for parts, whole in (((4, 3), 12), ((5, 100), 500)):
                if given.get("drop_last") and whole > ROWS:
                    continue
                left = []
                for batch_size, accumulate in (parts, (whole, 1)):
                    model, optimizer = start(with_all_kinds, dtype, fm.Adam, lr=0.01)
                    params = list(model.parameters())
                    for place in frozen:
                        params[place].requires_grad = False
                    before = [p.data.copy() for p in params]
                    how = {"batch_size": batch_size, "accumulate": accumulate, "threads": threads, "epochs": 2, "rng": 3}
                    history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, *data, **how, **given)
                    changed = [not np.array_equal(p.data, old) for p, old in zip(params, before)]
                    assert changed == [i not in frozen for i in range(len(params))]
                    left.append((model, optimizer, history))
                (first, one, losses), (second, other, expected) = left
                assert_same_bits(flat(first), flat(second))
                assert one.steps == other.steps
                assert_within(losses.loss, expected.loss, ROWS * eps(np.float64))


def by_hand(model, optimizer, X, y, size, accumulate, epochs):
    """Sums of losses, as `fit` with ``rng=3`` takes the rows."""
    criterion = fm.CrossEntropyLoss(reduction="sum")
    seed, order = int(np.random.default_rng(3).integers(2**62)), np.arange(len(X))
    for epoch in range(epochs):
        epoch_order(order, seed, epoch)
        for first in range(0, len(X), size * accumulate):
            optimizer.zero_grad()
            for start in range(first, min(first + size * accumulate, len(X)), size):
                rows = order[start : min(start + size, first + size * accumulate)]
                criterion(model(X[rows]), y[rows])
                model.backward(criterion.backward())
            optimizer.step()


@pytest.mark.filterwarnings("ignore:.* runs in Python")
def test_fit_is_the_loop_by_hand_over_batches_of_a_step(dtype):
    """With statistics of batches, their averages and their counts, and dropout: numbers of each pass forward; to the bit."""
    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    for modules in (counting, lambda: [Halve(), *counting()]):
        left = []
        for threads in (0, 1, 2):
            model, optimizer = start(modules, dtype, lr=0.01, momentum=0.9)
            if threads:
                how = {"epochs": 2, "batch_size": 5, "accumulate": 3, "threads": threads, "rng": 3}
                fm.fit(model, fm.CrossEntropyLoss(reduction="sum"), optimizer, X, y, **how)
            else:
                by_hand(model, optimizer, X, y, 5, 3, 2)
            counts = [getattr(module, name) for _, module, name in model._named_counts() if name != "seed"]
            left.append((flat(model), counts, optimizer.steps))
        for other in left[1:]:
            assert_same_bits(other[0], left[0][0])
            assert other[1:] == left[0][1:]
        assert set(left[0][1]) == {2 * -(-ROWS // 5)}


def test_two_calls_are_one(dtype):
    """Where a run is broken off in the middle of an epoch, too: masks and counts go on."""
    X, y = make_data(ROWS, 3, 4, dtype=dtype)

    class Stop(fm.Callback):
        every = 1

        def on_steps(self, step, history):
            return True

    left = []
    for calls in (
        ({"epochs": 4},),
        ({"epochs": 1}, {"epochs": 3}),
        ({"epochs": 1, "callbacks": Stop()}, {"epochs": 1}, {"epochs": 3}),
    ):
        model, optimizer = start(counting, dtype)
        schedule = fm.OneCycleLR(optimizer, max_lr=0.1, epochs=4, steps_per_epoch=-(-ROWS // 15))
        for call in calls:
            how = {"batch_size": 5, "accumulate": 3, "rng": 3, "schedule": schedule}
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **how, **call)
        left.append(flat(model))
        assert optimizer.steps == schedule.last_epoch == 4 * -(-ROWS // 15), "steps are counted, not batches"
    for other in left[1:]:
        assert_same_bits(left[0], other)


@jit_only
def test_memory_does_not_grow_with_the_batches_of_a_step(dtype):
    """Thirty-two batches of 64 rows take what one does: that is what they are for."""
    X, y = make_data(2048, 3, 4, dtype=dtype)
    peaks = []
    for batch_size, accumulate in ((64, 1), (64, 32), (2048, 1)):
        model, optimizer = make_net([3, 200, 200, 4], dtype=dtype), None
        optimizer = fm.SGD(model.parameters(), lr=0.01)
        tracemalloc.start()
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, batch_size=batch_size, accumulate=accumulate)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    gradients = model.storage.data.nbytes
    assert peaks[1] < peaks[0] + 1.1 * gradients + 50_000
    assert peaks[2] > 5 * peaks[1]


def test_loss_that_is_not_finite_ends_the_run_before_its_step(dtype):
    """In whichever of its batches; counts are those of the steps that were taken."""
    X, y = make_data(24, 3, 4, dtype=dtype)
    model, optimizer = start(counting, dtype)
    how = {"epochs": 1, "batch_size": 4, "accumulate": 2, "shuffle": False}
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X[:16], y[:16], **how)
    other, descent = start(counting, dtype)
    X[21] = np.finfo(dtype).max  # in the second batch of the third step
    with pytest.raises(fm.NonFiniteLossError, match=r"step 3 of 3"):
        fm.fit(other, fm.CrossEntropyLoss(), descent, X, y, **how)
    assert_same_bits(flat(model), flat(other))
    assert model.state_dict().keys() == other.state_dict().keys()
    for name, values in model.state_dict().items():
        assert_same_bits(values, other.state_dict()[name])
    assert descent.steps == 2


@pytest.mark.filterwarnings("ignore:.* runs in Python")
def test_what_is_in_python_takes_whole_steps_too():
    """A module, a criterion, an optimizer; weights of rows and of classes, batches in which no row counts; in float64."""
    dtype, rows = np.dtype(np.float64), 23
    X, labels = make_data(rows, 3, 4, dtype=dtype)
    _, numbers = make_data(rows, 3, 4, "mse", dtype=dtype)
    weights = np.random.default_rng(2).uniform(0.5, 2, rows)
    weights[4:8] = 0  # a batch

    class Descent(fm.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)

        def step(self):
            for parameter in self.params:
                parameter.data -= self.lr * parameter.grad
            self.steps += 1

    def plain():
        return [fm.Linear(3, 9), fm.Tanh(), fm.Linear(9, 4)]

    def halved():
        return [fm.Linear(3, 9), fm.Tanh(), Halve(), fm.Linear(9, 4)]

    ours = fm.CrossEntropyLoss, fm.MSELoss
    trials = [
        (halved, ours[0](), labels, {}, fm.SGD),
        (halved, ours[0](weight=[1, 2, 3, 4]), labels, {"sample_weight": weights}, fm.SGD),
        (halved, ours[0](reduction="sum"), labels, {"clip_norm": 0.1}, fm.SGD),
        (halved, ours[1](), numbers, {"sample_weight": weights, "clip_value": 0.01}, fm.SGD),
        (plain, InPython(), numbers, {}, fm.SGD),
        (plain, ours[0](), labels, {"sample_weight": weights}, Descent),
    ]
    for modules, criterion, y, options, kind in trials:
        left = []
        for batch_size, accumulate in ((4, 3), (12, 1)):
            model, optimizer = start(modules, dtype, kind)
            how = {"epochs": 2, "batch_size": batch_size, "accumulate": accumulate, "shuffle": False} | options
            history = fm.fit(model, criterion, optimizer, X, y, **how)
            left.append((flat(model), history.loss, optimizer.steps))
        (whole, losses, steps), (parts, others, same) = left
        assert steps == same == 4
        assert_within(whole, parts, 1e-13)
        assert_within(losses, others, 1e-13 * np.abs(losses))


def test_networks_of_many_accumulate_as_one_alone():
    X, y = make_data(ROWS, 3, 4)
    how = {"epochs": 2, "batch_size": 4, "accumulate": 3}
    models = [make_net([3, 9, 4], rng=i) for i in range(2)]
    optimizers = [fm.SGD(model.parameters(), lr=0.1) for model in models]
    fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, rng=[5, 6], **how)
    for i, model in enumerate(models):
        alone = make_net([3, 9, 4], rng=i)
        fm.fit(alone, fm.CrossEntropyLoss(), fm.SGD(alone.parameters(), lr=0.1), X, y, rng=5 + i, threads=1, **how)
        assert_same_bits(flat(model), flat(alone))


def test_bad_input_is_refused_before_anything_is_changed():
    X, y = make_data(13, 3, 4)
    model, optimizer = start(counting, np.float32)
    before = flat(model)
    for accumulate, message in (
        (0, "accumulate must be at least 1; got 0"),
        (1.5, "accumulate must be a whole number; got 1.5"),
        (True, "accumulate must be a whole number; got True"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, accumulate=accumulate)
    with pytest.raises(ValueError, match=r"drop_last leaves nothing: accumulate \* batch_size is 16, X has 13 rows"):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, batch_size=4, accumulate=4, drop_last=True)
    # Steps of 8 and 5 rows: the last batch has one.
    how = {"epochs": 1, "batch_size": 4, "accumulate": 2}
    with pytest.raises(ValueError, match=r"got a batch of 1: drop_last=True leaves out a last step that is smaller"):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **how)
    assert_same_bits(flat(model), before)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, drop_last=True, **how)
    assert optimizer.steps == 1
