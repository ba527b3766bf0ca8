from __future__ import annotations

import math

import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, make_net

import fastmlp as fm


def optimizer_of(lr=0.1):
    return fm.SGD(make_net([2, 2]).parameters(), lr=lr)


def test_cosine_annealing_matches_reference():
    schedule = fm.CosineAnnealingLR(optimizer_of(0.3), T_max=10, eta_min=0.1)
    for epoch in range(25):
        expected = 0.1 + 0.1 * (1 + math.cos(math.pi * epoch / 10))
        assert schedule.optimizer.lr == pytest.approx(expected, rel=1e-14)
        assert schedule.rate(epoch) == schedule.optimizer.lr
        assert schedule.get_last_lr() == [schedule.optimizer.lr]
        schedule.step()


def test_several_steps_at_once_are_the_steps():
    one, many = (fm.CosineAnnealingLR(optimizer_of(), T_max=10) for _ in range(2))
    for _ in range(7):
        one.step()
    many.step(7)
    assert one.state_dict() == many.state_dict()
    assert one.optimizer.lr == many.optimizer.lr


def test_state_dict_round_trips():
    schedule = fm.CosineAnnealingLR(optimizer_of(0.3), T_max=10, eta_min=0.1)
    schedule.step(4)
    other = fm.CosineAnnealingLR(optimizer_of(0.7), T_max=3)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict()
    assert other.optimizer.lr == schedule.optimizer.lr
    schedule.step()
    other.step()
    assert other.optimizer.lr == schedule.optimizer.lr


def test_load_state_dict_rejects_what_does_not_fit():
    schedule = fm.CosineAnnealingLR(optimizer_of(), T_max=10)
    state = schedule.state_dict()
    state.pop("T_max")
    with pytest.raises(KeyError, match=r"does not fit CosineAnnealingLR.*T_max"):
        schedule.load_state_dict(state)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"T_max": 0}, ValueError, "T_max must be at least 1; got 0"),
        ({"T_max": 2.5}, TypeError, "T_max must be a whole number"),
        ({"T_max": 5, "eta_min": -1}, ValueError, "eta_min must be at least 0"),
    ],
)
def test_cosine_annealing_rejects_bad_options(keywords, error, message):
    with pytest.raises(error, match=message):
        fm.CosineAnnealingLR(optimizer_of(), **keywords)


def test_schedule_rejects_what_is_not_an_optimizer():
    with pytest.raises(TypeError, match="optimizer must be an Optimizer of fastmlp; got a fastmlp.*Sequential"):
        fm.CosineAnnealingLR(make_net([2, 2]), T_max=3)


class Warmup(fm.LRScheduler):
    """Begins below the optimizer's own learning rate."""

    def __init__(self, optimizer, epochs):
        self.epochs = epochs
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.base_lr * min(1, (epoch + 1) / self.epochs)


def test_written_schedule_works_eagerly_and_in_fit(dtype):
    X, y = make_data(8, 2, 2, dtype=dtype)
    models = [make_net([2, 3, 2], dtype=dtype) for _ in range(3)]
    optimizers = [fm.SGD(model.parameters(), lr=0.8) for model in models]
    schedules = [Warmup(optimizers[0], 4), Warmup(optimizers[1], 4)]
    assert optimizers[0].lr == 0.2
    keywords = {"batch_size": 3, "rng": 0}
    fm.fit(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, epochs=6, schedule=schedules[0], **keywords)
    eager_train(models[1], fm.CrossEntropyLoss(), optimizers[1], X, y, epochs=6, schedule=schedules[1], **keywords)
    for epoch, rate in enumerate([0.2, 0.4, 0.8 * 0.75, 0.8, 0.8, 0.8]):
        optimizers[2].lr = rate
        fm.fit(models[2], fm.CrossEntropyLoss(), optimizers[2], X, y, epochs=epoch + 1, initial_epoch=epoch, **keywords)
    assert_same_bits(flat(models[0]), flat(models[1]))
    assert_same_bits(flat(models[0]), flat(models[2]))
    assert optimizers[0].lr == optimizers[1].lr == 0.8


def test_schedule_without_a_rate_says_so():
    with pytest.raises(NotImplementedError, match=r"LRScheduler has no rate\(epoch\)"):
        fm.LRScheduler(optimizer_of())
