"""What works alone works together: layers, losses, weights of rows, optimizers, freezing and averages in one network."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
from helpers import assert_same_bits, eager_train, eps, flat, normal, small
from test_promises import assert_same_training, cases

import fastmlp as fm
from fastmlp import registry

ROWS, BATCH = small(53, 11), small(20, 4)


def everything(dtype, *more):
    """A network with what keeps or draws something in training, in a residual connection and outside."""
    model = fm.Sequential(
        fm.Linear(3, 6),
        fm.BatchNorm1d(6),
        fm.PReLU(6),
        fm.Residual(fm.LayerNorm(6), fm.Linear(6, 6), fm.BatchNorm1d(6, momentum=None), fm.Tanh(), fm.Dropout(0.4, rng=1)),
        fm.Dropout(0.3, rng=2),
        fm.Linear(6, 4),
        *more,
        dtype=dtype,
    )
    model.reset_parameters(rng=0)
    return model


def data(dtype, kind="labels", rows=ROWS):
    rng = np.random.default_rng(1)
    X = normal(rng, (rows, 3), dtype)
    return X, rng.integers(4, size=rows) if kind == "labels" else normal(rng, (rows, 4), dtype)


def both(make, X, y, threads=(1, 2, 3), epochs=2, **keywords):
    """A training by hand and in `fit`, on several numbers of threads: all the same; returns the last one."""
    by_hand, weights = make(), {name: keywords[name] for name in ("sample_weight",) if name in keywords}
    model, criterion, optimizer, schedule = by_hand
    losses = eager_train(*by_hand[:3], X, y, epochs=epochs, batch_size=BATCH, rng=5, schedule=schedule, **weights)
    for count in threads:
        fitted = model, criterion, optimizer, schedule = make()
        how = {"epochs": epochs, "batch_size": BATCH, "rng": 5, "schedule": schedule, "threads": count, "progress": False}
        history = fm.fit(model, criterion, optimizer, X, y, **how, **keywords)
        assert_same_training(by_hand, fitted)
        for one, other in zip(by_hand[0].state_dict().values(), model.state_dict().values()):
            assert_same_bits(one, other)
        np.testing.assert_allclose(history.loss, losses, rtol=1e3 * eps(np.float64))
    return fitted


def of(dtype, criterion=fm.CrossEntropyLoss, change=lambda model: None, optimizer=fm.SGD, average=None, **options):
    """What `both` makes anew."""

    def make():
        model = everything(dtype)
        change(model)
        made = optimizer(model.parameters(), **({"lr": 0.02} | options))
        if average is not None:
            made.average(average)
        return model, criterion(), made, None

    return make


def test_weights_of_rows_with_what_counts_rows_otherwise(dtype):
    """Statistics of a batch are of all its rows, whatever they weigh in the loss."""
    weights = np.where(np.arange(ROWS) % 3, 1.5, 0).astype(dtype)
    both(of(dtype), *data(dtype), sample_weight=weights)
    both(of(dtype, fm.MSELoss), *data(dtype, "numbers"), sample_weight=weights)
    both(of(dtype, lambda: fm.CrossEntropyLoss(weight=[1, 2, 0.5, 1], ignore_index=2)), *data(dtype), sample_weight=weights)


def frozen(names):
    def freeze(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not any(part in name for part in names)

    return freeze


@pytest.mark.parametrize("average", [None, 0.9])
def test_frozen_parameters_stay_whatever_trains_the_others(average, dtype):
    X, y = data(dtype)
    places = (["0."], ["1.weight", "3.0.bias", "5.weight"], ["1.", "2.", "3."], ["5."])
    for number, (kind, case) in enumerate(cases(registry.optimizers)):
        names = places[number % len(places)]
        make = of(dtype, change=frozen(names), optimizer=kind, average=average, **case)
        start = make()[0].state_dict()
        model, _, optimizer, _ = both(make, X, y, threads=(1 + number % 2,))
        moved = {name for name, array in model.state_dict().items() if not np.array_equal(array, start[name])}
        still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        assert not moved & still
        assert {name for name, _ in model.named_buffers()} <= moved
        assert {"0.weight", "5.weight"} - still <= moved
        if average is not None:
            with optimizer.averaged():
                averaged = model.state_dict()
            for name in still:
                assert_same_bits(averaged[name], start[name])
            assert not np.array_equal(averaged["5.weight"], model.state_dict()["5.weight"]) or "5.weight" in still


def test_schedules_of_momentum_go_by_the_groups(dtype):
    def make():
        model = everything(dtype)
        parameters = dict(model.named_parameters())
        of_weights = [parameter for parameter in parameters.values() if len(parameter.shape) == 2]
        others = [parameter for parameter in parameters.values() if len(parameter.shape) == 1]
        model[0].bias.requires_grad = False
        optimizer = fm.Adam([{"params": of_weights}, {"params": others, "betas": (0.8, 0.9)}], lr=0.01, amsgrad=True)
        optimizer.average(0.8)
        momenta = {"base_momentum": [0.5, 0.6], "max_momentum": [0.8, 0.9]}
        schedule = fm.OneCycleLR(optimizer, [0.02, 0.05], 2 * -(-ROWS // BATCH), **momenta)
        return model, fm.CrossEntropyLoss(), optimizer, schedule

    X, y = data(dtype)
    model, criterion, optimizer, schedule = by_hand = make()

    class Steps:
        zero_grad = optimizer.zero_grad

        def step(self):
            optimizer.step()
            schedule.step()

    eager_train(model, criterion, Steps(), X, y, epochs=2, batch_size=BATCH, rng=5)
    for threads in (1, 2):
        fitted = make()
        fm.fit(*fitted[:3], X, y, epochs=2, batch_size=BATCH, rng=5, schedule=fitted[3], threads=threads)
        assert_same_training(by_hand, fitted)
    assert [group["betas"][0] for group in optimizer.param_groups] == pytest.approx([0.8, 0.9])


def test_batch_that_is_ignored_as_a_whole_has_no_gradient(dtype):
    """It counts as a step, in which statistics and momenta go on."""
    X, y = data(dtype)
    y[np.random.default_rng(0).random(ROWS) < 0.8] = -100
    for ignored in (slice(0, 0), slice(BATCH, 2 * BATCH)):
        y[ignored] = -100
        model = both(of(dtype, momentum=0.9), X, y)[0]
        assert np.isfinite(flat(model)).all()
    # In order, so that one batch is all ignored.
    results = []
    for threads in (1, 2):
        model, criterion, optimizer, _ = of(dtype, momentum=0.9)()
        history = fm.fit(model, criterion, optimizer, X, y, epochs=2, batch_size=BATCH, shuffle=False, threads=threads)
        assert np.isfinite(history.loss).all()
        results.append(flat(model))
    assert_same_bits(*results)


def squash(x, a):
    return x / (1 + a * abs(x))


def test_copies_go_on_as_the_original_does(dtype):
    """With a formula of one's own, an average, a generator's place and statistics: pickled, copied, loaded."""
    X, y = data(dtype)

    def make():
        model = everything(dtype, fm.Activation(squash, constants={"a": 0.5}))
        optimizer = fm.RMSprop(model.parameters(), lr=0.01, centered=True, momentum=0.5)
        optimizer.average(0.9)
        return model, fm.CrossEntropyLoss(label_smoothing=0.1), optimizer

    def loaded(made):
        fresh = make()
        for part, other in ((0, 0), (2, 2)):
            fresh[part].load_state_dict(pickle.loads(pickle.dumps(made[other].state_dict())))
        return fresh

    def fit(made, epochs, first=0):
        fm.fit(*made, X, y, epochs=epochs, initial_epoch=first, batch_size=BATCH, rng=5)

    live = make()
    fit(live, 4)
    for way in (copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made)), loaded):
        made = make()
        fit(made, 2)
        again = way(made)
        fit(again, 4, 2)
        assert_same_training((*live, None), (*again, None))
        fit(made, 4, 2)  # the one that was copied goes on alone
        assert_same_training((*live, None), (*made, None))
        with live[2].averaged(), again[2].averaged():
            assert_same_bits(live[0].predict(X), again[0].predict(X))


def test_slices_train_and_count_for_the_network(dtype):
    """A slice has the network's own modules: their statistics, their numbers, their place in the row."""
    X, _ = data(dtype)
    model, twin = everything(dtype), everything(dtype)
    part, out = model[:3], twin[2](twin[1](twin[0](X)))
    assert_same_bits(part(X), out)
    assert_same_bits(part.backward(np.ones_like(out)), twin[0].backward(twin[1].backward(twin[2].backward(np.ones_like(out)))))
    assert model[1].num_batches_tracked == twin[1].num_batches_tracked == 1
    for name, array in model.state_dict().items():
        assert_same_bits(array, twin.state_dict()[name])
    part.eval()
    assert not model[1].training
    assert_same_bits(part(X), model[:3].predict(X))
    head = model[3:]
    model.eval()
    assert_same_bits(model(X), head(part(X)))


def test_threads_predict_alike(dtype):
    """Every case of every layer and activation, after training: a row's output is the same in any company."""
    X = normal(np.random.default_rng(3), (small(150, 9), 3), dtype)
    for kind, case in cases(registry.activations) + cases(registry.layers):
        inside = [registry.made(kind, case, 5)] if registry.made(kind, case, 5)._width_out(5) == 5 else []
        layers = [fm.Linear(3, 5), registry.made(kind, case, 5)]
        width = layers[-1]._width_out(5)
        model = fm.Sequential(*layers, fm.Linear(width, 5), fm.Residual(*inside, fm.Linear(5, 5)), dtype=dtype)
        model.reset_parameters(rng=0)
        model(X)
        alone = model.predict(X, threads=1)
        assert_same_bits(model.predict(X, threads=2), alone)
        assert_same_bits(np.concatenate([model.predict(X[:1]), model.predict(X[1:4]), model.predict(X[4:])]), alone)
        assert_same_bits(model.eval()(X), alone)


def test_run_that_fails_leaves_what_was_before_the_failing_step(dtype):
    """Statistics of batches and counts of steps, too; in the engine, and in Python."""

    class Plain(fm.Module):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

    X, y = data(dtype, "numbers")
    for more in ((), (Plain(),)):
        model = everything(dtype, *more)
        optimizer = fm.SGD(model.parameters(), lr=1e30)
        warns = pytest.warns(UserWarning, match="Plain runs in Python") if more else nullcontext()
        with pytest.raises(fm.NonFiniteLossError), warns:
            fm.fit(model, fm.MSELoss(), optimizer, X, y, epochs=20, batch_size=BATCH)
        assert all(np.isfinite(array).all() for array in model.state_dict().values()), more
        assert model[1].num_batches_tracked == optimizer.steps, more
        assert model[4].calls == optimizer.steps, more


def test_parts_may_be_in_evaluation_mode_by_themselves(dtype):
    """Statistics that stay as they are while the rest is trained, also in a residual connection, for one row alone."""
    X, _ = data(dtype)
    model = fm.Sequential(fm.Linear(3, 3), fm.Residual(fm.BatchNorm1d(3)), fm.BatchNorm1d(3), dtype=dtype)
    model(X)
    before = model.state_dict()
    for part in (model[1][0], model[2]):
        part.eval()
    for rows in (X, X[:1]):
        out = model(rows)
        model.backward(np.ones_like(out))
        assert_same_bits(out, model.predict(rows))
    for name, array in model.state_dict().items():
        assert_same_bits(array, before[name])
    assert model[0].weight.grad.any()


def test_clipped_as_by_hand(dtype):
    """With an average, frozen parameters, groups, and layers whose gradients are formed in other ways than a Linear's."""
    X, y = data(dtype)

    def make():
        model = everything(dtype)
        frozen(["3.0.", "5.bias"])(model)
        parameters = list(model.parameters())
        groups = [{"params": parameters[::2]}, {"params": parameters[1::2], "weight_decay": 0.1}]
        optimizer = fm.AdamW(groups, lr=0.01)
        optimizer.average(0.9)
        return model, fm.CrossEntropyLoss(), optimizer, None

    for option, clip, most in (("clip_norm", fm.clip_grad_norm_, 0.3), ("clip_value", fm.clip_grad_value_, 0.01)):
        model, criterion, optimizer, _ = by_hand = make()

        class Clipped:
            zero_grad = optimizer.zero_grad

            def step(self):
                clip(model.parameters(), most)  # noqa: B023
                optimizer.step()  # noqa: B023

        eager_train(model, criterion, Clipped(), X, y, epochs=2, batch_size=BATCH, rng=5)
        for threads in (1, 2):
            fitted = make()
            fm.fit(*fitted[:3], X, y, epochs=2, batch_size=BATCH, rng=5, threads=threads, **{option: most})
            assert_same_training(by_hand, fitted)


def test_validation_is_in_evaluation_mode_and_disturbs_nothing(dtype):
    X, y = data(dtype)
    made = [of(dtype)() for _ in range(2)]
    for (model, criterion, optimizer, _), held_out in zip(made, (None, (X[:7], y[:7]))):
        history = fm.fit(model, criterion, optimizer, X, y, epochs=3, batch_size=BATCH, rng=5, validation=held_out)
    assert_same_training(*made)
    assert history.validation_loss[-1] == criterion(model.eval()(X[:7]), y[:7])


def test_derivatives_go_through_everything():
    model = everything(np.float64)
    frozen(["1.weight"])(model)
    assert fm.gradcheck(model, entries=10)
    X, _ = data(np.float64)
    model(X)
    x, h = X[:2], 1e-6
    slopes = fm.jacobian(model, x)
    for i in range(3):
        step = h * np.eye(3)[i]
        expected = (model.predict(x + step) - model.predict(x - step)) / (2 * h)
        np.testing.assert_allclose(slopes[:, :, i], expected, atol=1e-7)
    f = fm.objective(model, fm.MSELoss(), *data(np.float64, "numbers"))
    before = model.state_dict()
    loss, gradient = f(f.x0)
    for i in (0, 11, len(f.x0) - 1):
        step = h * np.eye(len(f.x0))[i]
        assert gradient[i] == pytest.approx((f(f.x0 + step)[0] - f(f.x0 - step)[0]) / (2 * h), abs=1e-7)
    assert f(f.x0)[0] == loss
    for name, array in model.state_dict().items():
        assert_same_bits(array, before[name])


def test_optimizer_copied_alone_goes_its_own_way(dtype):
    """Its parameters are copies, too: neither the network nor the optimizer that it is a copy of hears of its steps."""
    X, y = data(dtype)
    model, criterion, optimizer, _ = of(dtype, momentum=0.9, average=0.5)()
    fm.fit(model, criterion, optimizer, X, y, epochs=1, batch_size=BATCH, rng=5)
    before, state = model.state_dict(), optimizer.state_dict()
    twin = copy.deepcopy(optimizer)
    for parameter in twin.params:
        parameter.grad = np.ones(parameter.shape)
    twin.step()
    for name, array in model.state_dict().items():
        assert_same_bits(array, before[name])
    for number, arrays in optimizer.state_dict()["state"].items():
        for name, array in arrays.items():
            assert_same_bits(array, state["state"][number][name])
            assert not np.array_equal(array, twin.state_dict()["state"][number][name])
