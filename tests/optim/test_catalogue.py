"""What the optimizers have in common: arguments that are refused, gradients and hyperparameters at the edges."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import assert_padding_is_zero, assert_same_bits, flat, make_data, make_net, small

import fastmlp as fm
from fastmlp import registry

NUMBERS = ("lr", "eps", "weight_decay", "momentum_decay", "lr_decay", "initial_accumulator_value", "rho", "alpha", "momentum")
FLAGS = ("maximize", "amsgrad", "centered", "nesterov", "decoupled_weight_decay")
PAIRS = ("betas", "etas", "step_sizes")


def made(entry, options, dtype=np.float32, widths=(3, 5, 2)):
    model = make_net(list(widths), dtype=dtype)
    return model, entry(model.parameters(), **options)


@pytest.mark.parametrize("name", registry.optimizers())
def test_optimizer_rejects_bad_arguments(name):
    entry = registry.optimizers()[name]
    given = inspect.signature(entry).parameters.keys() - {"params"}
    assert given <= {*NUMBERS, *FLAGS, *PAIRS, "dampening"}, "each argument is tried here"
    wrong = [(n, v, e) for n in NUMBERS for v, e in ((-1, ValueError), (np.nan, ValueError), ("1", TypeError))]
    wrong += [(n, v, TypeError) for n in FLAGS for v in ("False", None, 2)]
    wrong += [(n, v, TypeError) for n in PAIRS for v in (0.9, None, (0.9,), (0.9, "1"))]
    wrong += [("betas", (1.0, 0.9), ValueError), ("betas", (0.9, -0.1), ValueError), ("rho", 1.1, ValueError)]
    wrong += [("etas", (0.5, 0.9), ValueError), ("etas", (0, 1.2), ValueError), ("step_sizes", (2, 1), ValueError)]
    _, rule = made(entry, {})
    for argument, value, error in wrong:
        if argument in given:
            with pytest.raises(error, match=argument):
                made(entry, {argument: value})
            with pytest.raises(error, match=argument):
                setattr(rule, argument, value)


@pytest.mark.parametrize("name", registry.optimizers())
def test_eps_of_zero_moves_nothing_that_has_no_gradient(name, dtype):
    """PyTorch makes NaN of 0 / 0 there; and padding stays zero, in parameters and gradients."""
    entry = registry.optimizers()[name]
    for case in entry.cases:
        options = case | ({"eps": 0.0} if "eps" in inspect.signature(entry).parameters else {}) | {"lr": 0.01}
        options = {key: 0.0 if key == "weight_decay" else value for key, value in options.items()}
        if name == "AdamW":
            options["weight_decay"] = 0.0
        model, rule = made(entry, options, dtype)
        before = flat(model)
        for _ in range(3):
            rule.step()
        assert_same_bits(flat(model), before)
        for parameter in model.parameters():
            parameter.grad = np.ones(parameter.shape)
        rule.step()
        rule.step()
        assert np.isfinite(flat(model)).all()
        assert_padding_is_zero(model)


def test_adamw_is_adam_with_decoupled_decay(dtype):
    X, y = make_data(20, 3, 2, dtype=dtype)
    options = {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}
    first, second = made(fm.AdamW, options, dtype), made(fm.Adam, options | {"decoupled_weight_decay": True}, dtype)
    for model, rule in (first, second):
        fm.fit(model, fm.CrossEntropyLoss(), rule, X, y, epochs=2, rng=0)
    assert_same_bits(flat(first[0]), flat(second[0]))
    with pytest.raises(ValueError, match="AdamW has decoupled_weight_decay always"):
        first[1].decoupled_weight_decay = False


def test_state_begins_where_it_says(dtype):
    """Of parameters that are there from the start, and of those that are added later; at the rate in force then."""
    for entry, options, name, expected in (
        (fm.Adagrad, {"initial_accumulator_value": 0.5}, "sum", 0.5),
        (fm.Rprop, {"lr": 0.25}, "step_size", 0.25),
        (fm.Rprop, {"lr": 100}, "step_size", 50),
    ):
        model = make_net([3, 5, 2], dtype=dtype)
        rule = entry(model[0].parameters(), **options)
        rule.step()
        rule.add_param_group({"params": model[2].parameters()})
        rule.step()
        for entry_of in rule.state_dict()["state"].values():
            assert (entry_of[name] == expected).all()


def test_rprop_learns_by_whole_batches():
    X, y = fm.datasets.make_disc(200, rng=0)
    model = make_net([2, 12, 2])
    history = fm.fit(
        model, fm.CrossEntropyLoss(), fm.Rprop(model.parameters()), X, y, epochs=small(60, 10), batch_size=200, shuffle=False
    )
    assert history.loss[-1] < history.loss[0] * small(0.5, 1)


def test_centered_rmsprop_stands_gradients_that_are_all_the_same(dtype):
    """The variance is zero then, and by rounding it may be less."""
    model, rule = made(fm.RMSprop, {"centered": True, "alpha": 0.5}, dtype)
    for parameter in model.parameters():
        parameter.grad = np.full(parameter.shape, 1 / 3)
    for _ in range(100):
        rule.step()
    assert np.isfinite(flat(model)).all()
