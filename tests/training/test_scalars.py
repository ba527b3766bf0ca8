"""Scalars are computed ahead, for many calls of the engine, and count as if each step had asked for them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net, small

import fastmlp as fm
from fastmlp import registry

ROWS, BATCH = small(40, 12), 4


class Scaled(fm.Optimizer):
    """Gradient descent whose step depends on an attribute that is no hyperparameter, too."""

    def __init__(self, params, lr=0.1, decay=0.0):
        super().__init__(params, lr=lr, decay=decay)
        self.scale = 1.0
        self.__dict__["asked"] = 0

    def scalars(self, group, t, lr):
        self.__dict__["asked"] += 1
        return lr * self.scale, group["decay"] + 0.001 * t

    @staticmethod
    def update(p, g, lr, decay):
        return p - lr * (g + decay * p)


class EveryStep(fm.Callback):
    """Has training come back to Python after each step."""

    every = 1


def trained(make, calls, *, dtype=np.float32, schedule_of=None, **options):
    """Parameters after calls of `fit`; each is a number of epochs, or a function of the optimizer that makes callbacks."""
    X, y = make_data(ROWS, 3, 4, dtype=dtype)
    model = make_net([3, 7, 4], dtype=dtype)
    optimizer = make(model.parameters())
    schedule = schedule_of(optimizer) if schedule_of else None
    for epochs, callbacks in calls:
        how = {"epochs": epochs, "batch_size": BATCH, "rng": 0, "schedule": schedule} | options
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, callbacks=callbacks(optimizer) if callbacks else (), **how)
    return model, optimizer


def rate(optimizer, epoch):
    optimizer.param_groups[0]["lr"] = 0.1 / (2 + epoch)


def decay(optimizer, epoch):
    optimizer.param_groups[0]["weight_decay"] = 0.01 * epoch


def momentum(optimizer, epoch):
    optimizer.momentum = 0.5 + 0.1 * epoch


def betas(optimizer, epoch):
    optimizer.param_groups[0]["betas"] = 0.8, 0.9 + 0.01 * epoch


def attribute(optimizer, epoch):
    optimizer.scale = 1.0 / (1 + epoch)


CHANGES = [
    (lambda p: fm.SGD(p, lr=0.1, momentum=0.5), rate),
    (lambda p: fm.SGD(p, lr=0.1), decay),
    (lambda p: fm.SGD(p, lr=0.1, momentum=0.5), momentum),
    (lambda p: fm.Adam(p, lr=0.01), betas),
    (Scaled, attribute),
]


def test_what_a_callback_assigns_counts_from_the_next_step(dtype):
    """As if each epoch were a call of its own; in between, epochs in which nothing is assigned."""
    for make, change in CHANGES:

        def callback(optimizer, change=change):
            return lambda epoch, history: change(optimizer, epoch // 3) if epoch % 3 == 2 else None

        one, _ = trained(make, [(9, callback)], dtype=dtype)
        model, optimizer = trained(make, [(3, None)], dtype=dtype)
        X, y = make_data(ROWS, 3, 4, dtype=dtype)
        for part in range(2):
            change(optimizer, part)
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=BATCH)
        assert_same_bits(flat(one), flat(model))
        other, _ = trained(make, [(9, None)], dtype=dtype)
        assert not np.array_equal(flat(one), flat(other)), change.__name__


@pytest.mark.parametrize("callback", [lambda _: lambda epoch, history: None, lambda _: EveryStep()], ids=["epochs", "steps"])
def test_coming_back_to_python_changes_no_bit(callback, dtype):
    """With every schedule and every optimizer."""
    trials = [(lambda p, kind=kind: kind(p, lr=0.01), None) for kind in registry.optimizers().values()]
    for kind in registry.schedules().values():
        for case in kind.cases[:1]:
            trials.append((lambda p: fm.SGD(p, lr=0.1, momentum=0.5), lambda o, kind=kind, case=case: kind(o, **case)))
    trials.append((lambda p: fm.Adam(p, lr=0.01), lambda o: fm.OneCycleLR(o, max_lr=0.02, total_steps=8 * -(-ROWS // BATCH))))
    trials.append((lambda p: fm.SGD(p, lr=0.1, momentum=0.5), Halting))
    for make, schedule_of in trials:
        whole, one = trained(make, [(4, None)], dtype=dtype, schedule_of=schedule_of)
        parts, other = trained(make, [(4, callback)], dtype=dtype, schedule_of=schedule_of)
        assert_same_bits(flat(whole), flat(parts))
        assert one.param_groups[0]["lr"] == other.param_groups[0]["lr"]
        assert one.steps == other.steps


class Halting(fm.LRScheduler):
    """A momentum that comes to 0."""

    interval = "step"

    def rate(self, t):
        return self.base_lr

    def momentum(self, t):
        return 0.1 * (5 - t % 6)


def test_scalars_are_asked_for_seldom():
    """Where nothing changes, and where a schedule does."""
    for schedule_of in (None, lambda o: fm.CosineAnnealingLR(o, 100)):
        for callback in (lambda _: lambda epoch, history: None, lambda _: EveryStep()):
            _, optimizer = trained(Scaled, [(small(50, 20), callback)], schedule_of=schedule_of)
            assert optimizer.asked < 10


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (fm.SGD, lambda o: setattr(o, "momentum", 0.9)),
        (fm.SGD, lambda o: o.add_param_group({"params": [fm.Parameter((3,))]})),
        (fm.SGD, lambda o: o.average(0.9)),
        (fm.Adam, lambda o: setattr(o, "amsgrad", True)),
        (fm.RMSprop, lambda o: setattr(o, "momentum", 0.9)),  # as many scalars
        (fm.RMSprop, lambda o: setattr(o, "centered", True)),
    ],
)
def test_another_formula_in_the_middle_of_a_run_is_refused(kind, change):
    X, y = make_data(ROWS, 3, 4)
    for clip_norm in (None, 0.5):
        model = make_net([3, 7, 4])
        optimizer = kind(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=rf"{kind.__name__} has another formula than when fit began"):
            fm.fit(
                model,
                fm.CrossEntropyLoss(),
                optimizer,
                X,
                y,
                epochs=3,
                batch_size=BATCH,
                clip_norm=clip_norm,
                callbacks=lambda epoch, history, optimizer=optimizer: change(optimizer),
            )
        assert optimizer.steps == -(-ROWS // BATCH), "that of the first epoch"


@pytest.mark.parametrize("kind", [fm.Adam, fm.RMSprop, lambda params, lr: fm.SGD(params, lr, momentum=0.9)])
@pytest.mark.parametrize("averages", [False, True])
def test_a_state_that_is_loaded_in_the_middle_of_a_run_counts_from_the_next_step(kind, averages, dtype):
    """As between two runs: the arrays of state are replaced, and the hyperparameters."""
    X, y = make_data(ROWS, 3, 4, dtype)

    def begun(lr):
        model = make_net([3, 7, 4], dtype=dtype)
        optimizer = kind(model.parameters(), lr=lr)
        if averages:
            optimizer.average(0.9)
        return model, optimizer

    def go_on(model, optimizer, epochs, **options):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=epochs, batch_size=BATCH, shuffle=False, **options)

    model, other = begun(0.02)
    go_on(model, other, 2)
    (parts, one), (whole, two) = begun(0.01), begun(0.01)
    go_on(parts, one, 2)
    one.load_state_dict(other.state_dict())
    go_on(parts, one, 2)
    go_on(whole, two, 4, callbacks=lambda epoch, _: epoch == 1 and two.load_state_dict(other.state_dict()))
    assert_same_bits(flat(parts), flat(whole))
    for i, arrays in one.state_dict()["state"].items():
        for name, array in arrays.items():
            assert_same_bits(array, two.state_dict()["state"][i][name])
    assert one.steps == two.steps
    assert one.lr == two.lr == 0.02
