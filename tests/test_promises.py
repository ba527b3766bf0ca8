"""The four promises: eager equals fused, threads don't matter, saved equals live, compiled equals readable."""

from __future__ import annotations

import io
import pickle
from itertools import pairwise

import numpy as np
import pytest
from helpers import (
    ACTIVATIONS,
    JIT,
    LOSSES,
    assert_padding_is_zero,
    assert_same_bits,
    assert_within,
    eager_train,
    eps,
    flat,
    jit_only,
    make_data,
    make_net,
    run_python,
    small,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp as fm

WIDTHS = [[2, 5, 3], [1, 1], [3, 17, 2]]
if JIT:
    WIDTHS += [[2, 25, 25, 2], [3, 1, 5], [16, 17, 15, 4], [65, 48, 49, 10], [7, 130, 3], [3, 257, 2]]

SGD_OPTIONS = {
    "plain": {},
    "weight_decay": {"weight_decay": 0.01},
    "momentum": {"momentum": 0.9},
    "dampening": {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.001},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
}

ROWS = small(101, 7)  # a last batch that is smaller, by an odd number
BATCH = small(16, 3)


def trained_twice(widths, loss, options, dtype, *, activation="tanh", bias=True, epochs=3, threads=1, batch=BATCH, **more):
    """The same training through modules and through `fit`: two models, two histories, two optimizers."""
    X, y = make_data(ROWS, widths[0], widths[-1], loss, dtype=dtype)
    eager, fused = (make_net(widths, activation, dtype=dtype, bias=bias) for _ in range(2))
    by_hand, optimizer = fm.SGD(eager.parameters(), lr=0.05, **options), fm.SGD(fused.parameters(), lr=0.05, **options)
    start = flat(fused)
    losses = eager_train(eager, LOSSES[loss](), by_hand, X, y, epochs=epochs, batch_size=batch, rng=5, **more)
    history = fm.fit(
        fused, LOSSES[loss](), optimizer, X, y, epochs=epochs, batch_size=batch, rng=5, threads=threads, progress=False, **more
    )
    assert not np.array_equal(start, flat(fused)), "nothing was learnt"
    assert np.isfinite(flat(fused)).all()
    return eager, fused, losses, history.loss, by_hand, optimizer


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_eager_equals_fused_for_architectures(widths, loss, dtype):
    if widths[-1] == 1 and loss == "cross_entropy":
        loss = "mse"  # one class has nothing to learn
    eager, fused, losses, fused_losses, *_ = trained_twice(widths, loss, {"momentum": 0.9}, dtype)
    assert_same_bits(flat(eager), flat(fused))
    assert_padding_is_zero(fused)
    # The losses are summed in another order: in float64.
    assert_within(fused_losses, losses, ROWS * eps(np.float64) * np.array(losses))


@jit_only
@pytest.mark.parametrize("width", [128, 256])  # the narrowest rows with a line more than they need, float64 and float32
def test_eager_equals_fused_where_rows_have_an_odd_line_more(width, dtype):
    options = {"momentum": 0.9}
    eager, fused, *_ = trained_twice([40, width, 300, 3], "cross_entropy", options, dtype, epochs=2, threads=2)
    assert_same_bits(flat(eager), flat(fused))
    assert_padding_is_zero(fused)


@pytest.mark.parametrize("options", SGD_OPTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_eager_equals_fused_for_sgd_options(options, loss, dtype):
    eager, fused, _, _, by_hand, optimizer = trained_twice([3, 17, 4], loss, SGD_OPTIONS[options], dtype)
    assert_same_bits(flat(eager), flat(fused))
    first, second = by_hand.state_dict(), optimizer.state_dict()
    assert first["steps"] == second["steps"] == 3 * -(-ROWS // BATCH)
    assert len(first["velocity"]) == len(second["velocity"]) == (4 if "momentum" in SGD_OPTIONS[options] else 0)
    for one, other in zip(first["velocity"], second["velocity"]):
        assert_same_bits(one, other)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_eager_equals_fused_for_activations(activation, bias, dtype):
    eager, fused, *_ = trained_twice([5, 9, 8, 3], "cross_entropy", {}, dtype, activation=activation, bias=bias)
    assert_same_bits(flat(eager), flat(fused))
    assert_padding_is_zero(fused)


@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 64, 65, ROWS, ROWS + 1, 10**9] if JIT else [1, 2, ROWS, 10**9])
def test_eager_equals_fused_for_batch_sizes(batch, dtype):
    eager, fused, *_ = trained_twice([3, 9, 2], "cross_entropy", {"momentum": 0.5}, dtype, epochs=2, batch=batch)
    assert_same_bits(flat(eager), flat(fused))


def test_eager_equals_fused_without_shuffle(dtype):
    eager, fused, *_ = trained_twice([3, 9, 2], "cross_entropy", {}, dtype, shuffle=False)
    assert_same_bits(flat(eager), flat(fused))
    shuffled = trained_twice([3, 9, 2], "cross_entropy", {}, dtype)[1]
    assert not np.array_equal(flat(shuffled), flat(fused))


def test_eager_equals_fused_with_a_schedule(dtype):
    X, y = make_data(ROWS, 2, 3, dtype=dtype)
    models = [make_net([2, 9, 3], dtype=dtype) for _ in range(2)]
    optimizers = [fm.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    schedules = [fm.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.01) for optimizer in optimizers]
    eager_train(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, epochs=3, batch_size=BATCH, rng=1, schedule=schedules[0])
    fm.fit(
        models[1],
        fm.CrossEntropyLoss(),
        optimizers[1],
        X,
        y,
        epochs=3,
        batch_size=BATCH,
        rng=1,
        schedule=schedules[1],
        threads=1,
    )
    assert_same_bits(flat(models[0]), flat(models[1]))
    assert optimizers[0].lr == optimizers[1].lr == pytest.approx(0.01 + 0.09 * (1 + np.cos(0.75 * np.pi)) / 2)
    assert schedules[0].state_dict() == schedules[1].state_dict()


def test_eager_equals_fused_for_modules_in_odd_places(dtype):
    """An activation first, two in a row, one last, networks in networks, an Identity, a Linear after a Linear."""

    def build():
        model = fm.Sequential(
            fm.Tanh(),
            fm.Sequential(fm.Linear(3, 9), fm.ReLU(), fm.Sigmoid()),
            fm.Identity(),
            fm.Sequential(fm.Linear(9, 7, bias=False), fm.Sequential(fm.Linear(7, 4))),
            fm.Tanh(),
            fm.Sigmoid(),
            dtype=dtype,
        )
        model.reset_parameters(rng=3)
        return model

    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    eager, fused = build(), build()
    eager_train(
        eager, fm.CrossEntropyLoss(), fm.SGD(eager.parameters(), lr=0.5, momentum=0.9), X, y, epochs=3, batch_size=BATCH
    )
    start = flat(fused)
    fm.fit(
        fused,
        fm.CrossEntropyLoss(),
        fm.SGD(fused.parameters(), lr=0.5, momentum=0.9),
        X,
        y,
        epochs=3,
        batch_size=BATCH,
        rng=0,
        threads=1,
    )
    assert_same_bits(flat(eager), flat(fused))
    assert not np.array_equal(start, flat(fused))


def test_eager_and_fused_steps_mix(dtype):
    """Half of the epochs by hand and half through `fit`, momentum carried over both ways."""
    X, y = make_data(ROWS, 2, 3, dtype=dtype)
    fused, mixed = make_net([2, 9, 3], dtype=dtype), make_net([2, 9, 3], dtype=dtype)
    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    fm.fit(fused, fm.CrossEntropyLoss(), fm.SGD(fused.parameters(), **options), X, y, epochs=3, batch_size=BATCH, rng=1)
    criterion, optimizer = fm.CrossEntropyLoss(), fm.SGD(mixed.parameters(), **options)
    eager_train(mixed, criterion, optimizer, X, y, epochs=1, batch_size=BATCH, rng=1)
    fm.fit(mixed, criterion, optimizer, X, y, epochs=2, initial_epoch=1, batch_size=BATCH, rng=1)
    eager_train(mixed, criterion, optimizer, X, y, epochs=3, batch_size=BATCH, rng=1, first_epoch=2)
    assert_same_bits(flat(fused), flat(mixed))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("widths", [[2, 25, 25, 2], [1, 3], [33, 65, 4]] if JIT else [[2, 17, 2]], ids=str)
def test_threads_do_not_matter(widths, loss, dtype):
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    results = [trained_twice(widths, loss, options, dtype, threads=threads, epochs=2) for threads in (1, 2, 3)]
    for _, fused, _, losses, _, optimizer in results[1:]:
        assert_same_bits(flat(fused), flat(results[0][1]))
        assert losses == results[0][3]
        for one, other in zip(optimizer.state_dict()["velocity"], results[0][5].state_dict()["velocity"]):
            assert_same_bits(one, other)


def test_more_threads_than_rows_do_not_matter():
    X, y = make_data(3, 2, 2)
    results = []
    for threads in (1, 5):
        model = make_net([2, 3, 2])
        fm.fit(
            model,
            fm.MSELoss(),
            fm.SGD(model.parameters(), lr=0.1),
            X,
            np.eye(2)[y],
            epochs=2,
            batch_size=2,
            rng=0,
            threads=threads,
        )
        results.append(flat(model))
    assert_same_bits(*results)


def _run(tmp_path, dtype, epochs, *, saved=None, initial_epoch=0, rng=11):
    """A run from the beginning, or in fresh objects from what was saved."""
    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    model = make_net([3, 9, 4], dtype=dtype, rng=0 if saved is None else 99)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.01)
    schedule = fm.CosineAnnealingLR(optimizer, T_max=10)
    if saved is not None:
        model_state, optimizer_state, schedule_state = saved
        model.load_state_dict(model_state)
        optimizer.load_state_dict(optimizer_state)
        schedule.load_state_dict(schedule_state)
    history = fm.fit(
        model,
        fm.CrossEntropyLoss(),
        optimizer,
        X,
        y,
        epochs=epochs,
        batch_size=BATCH,
        rng=rng,
        schedule=schedule,
        initial_epoch=initial_epoch,
    )
    return model, optimizer, schedule, history


def _through_pickle(tmp_path, states):
    return pickle.loads(pickle.dumps(states))


def _through_npz(tmp_path, states):
    model, optimizer, schedule = states
    velocity = {f"velocity.{i}": array for i, array in enumerate(optimizer["velocity"])}
    numbers = {f"optimizer.{name}": value for name, value in optimizer.items() if name != "velocity"}
    path = tmp_path / "run.npz"
    np.savez(path, **model, **velocity, **numbers, **{f"schedule.{name}": value for name, value in schedule.items()})
    with np.load(path) as file:
        loaded = dict(file)

    def part(prefix):
        return {name[len(prefix) :]: value[()] for name, value in loaded.items() if name.startswith(prefix)}

    back = part("optimizer.") | {"velocity": [loaded[f"velocity.{i}"] for i in range(len(velocity))]}
    return {name: loaded[name] for name in model}, back, part("schedule.")


@pytest.mark.parametrize("store", [_through_pickle, _through_npz], ids=["pickle", "npz"])
def test_saved_equals_live(store, tmp_path, dtype):
    live, live_optimizer, live_schedule, live_history = _run(tmp_path, dtype, 10)
    first, optimizer, schedule, first_history = _run(tmp_path, dtype, 5)
    states = store(tmp_path, (first.state_dict(), optimizer.state_dict(), schedule.state_dict()))
    resumed, optimizer, schedule, history = _run(tmp_path, dtype, 10, saved=states, initial_epoch=5)
    assert len(live_history.loss) == 10
    assert first_history.loss + history.loss == live_history.loss
    assert_same_bits(flat(resumed), flat(live))
    assert not np.array_equal(flat(first), flat(live))
    assert schedule.state_dict() == live_schedule.state_dict()
    assert optimizer.lr == live_optimizer.lr
    for one, other in zip(optimizer.state_dict()["velocity"], live_optimizer.state_dict()["velocity"]):
        assert_same_bits(one, other)


def test_pickled_objects_go_on_as_the_live_ones(dtype):
    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    live = _run(None, dtype, 2)[:3]
    copies = pickle.loads(pickle.dumps(live))
    for model, optimizer, schedule in (live, copies):
        keywords = {"epochs": 4, "initial_epoch": 2, "batch_size": BATCH, "rng": 11, "schedule": schedule}
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **keywords)
    assert_same_bits(flat(copies[0]), flat(live[0]))


READABLE = """
import io, sys
import numpy as np, fastmlp as fm
dtype, loss = np.dtype(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
X = rng.standard_normal((11, 3)).astype(dtype)
y = rng.integers(4, size=11) if loss == "CrossEntropyLoss" else rng.standard_normal((11, 4)).astype(dtype)
model = fm.Sequential(fm.Linear(3, 17), fm.Tanh(), fm.Linear(17, 5), fm.Sigmoid(), fm.Linear(5, 4), dtype=dtype)
model.reset_parameters(rng=0)
optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
history = fm.fit(model, getattr(fm, loss)(), optimizer, X, y, epochs=3, batch_size=4, rng=0, threads=int(sys.argv[3]))
np.savez(sys.argv[4], predicted=model.predict(X), eager=model(X), loss=history.loss, **model.state_dict())
"""


@jit_only
@pytest.mark.parametrize(("loss", "threads"), [("CrossEntropyLoss", 1), ("MSELoss", 2)])
def test_compiled_equals_readable(loss, threads, dtype, tmp_path):
    results = []
    for jit in (True, False):
        path = tmp_path / f"{jit}.npz"
        run_python(READABLE, dtype.name, loss, threads, path, jit=jit)
        with np.load(path) as file:
            results.append(dict(file))
    compiled, readable = results
    assert compiled.keys() == readable.keys()
    steps, terms = 9, 3 + 17 + 5 + 4
    for name, values in compiled.items():
        # Every step adds at most the rounding of its sums; all numbers of this net are of order 1.
        assert_within(values, readable[name], steps * terms * eps(dtype) * np.maximum(1, np.abs(values)))


architectures = st.fixed_dictionaries(
    {
        "widths": st.lists(st.integers(1, small(40, 5)), min_size=2, max_size=small(5, 3)),
        "activations": st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=4, max_size=4),
        "bias": st.lists(st.booleans(), min_size=4, max_size=4),
        "dtype": st.sampled_from([np.float32, np.float64]),
        "loss": st.sampled_from(sorted(LOSSES)),
        "options": st.sampled_from(sorted(SGD_OPTIONS)),
        "rows": st.integers(1, small(80, 5)),
        "batch": st.integers(1, small(90, 6)),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 2**40),
    }
)


def _random_case(case):
    widths = case["widths"]
    modules = []
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        modules += [fm.Linear(width_in, width_out, bias=case["bias"][i]), ACTIVATIONS[case["activations"][i]]()]
    model = fm.Sequential(*modules, dtype=case["dtype"])
    model.reset_parameters(rng=case["seed"])
    X, y = make_data(case["rows"], widths[0], widths[-1], case["loss"], dtype=case["dtype"], rng=case["seed"])
    return model, LOSSES[case["loss"]](), fm.SGD(model.parameters(), lr=0.01, **SGD_OPTIONS[case["options"]]), X, y


@settings(max_examples=small(60, 10))
@given(architectures)
def test_eager_equals_fused_for_random_networks(case):
    eager = _random_case(case)
    keywords = {"batch_size": case["batch"], "shuffle": case["shuffle"], "rng": case["seed"]}
    eager_train(*eager, epochs=2, **keywords)
    for threads in (1, 2):
        fused = _random_case(case)
        fm.fit(*fused, epochs=2, threads=threads, **keywords)
        assert_same_bits(flat(eager[0]), flat(fused[0]))
        assert_padding_is_zero(fused[0])


@settings(max_examples=small(60, 10))
@given(architectures)
def test_predict_equals_eager_forward_for_random_networks(case):
    model, _, _, X, _ = _random_case(case)
    assert_same_bits(model.predict(X), model(X))
    assert_same_bits(model.predict(X), np.concatenate([model.predict(row[None]) for row in X]))


def test_saving_to_memory_keeps_every_bit(dtype):
    model = make_net([3, 9, 4], dtype=dtype)
    file = io.BytesIO()
    np.savez(file, **model.state_dict())
    file.seek(0)
    other = make_net([3, 9, 4], dtype=dtype, rng=1)
    other.load_state_dict(dict(np.load(file)))
    assert_same_bits(flat(model), flat(other))
