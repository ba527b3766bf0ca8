"""The package's answers, held against a record of PyTorch's: golden (test_golden.py) or live (test_torch.py).

A bound is a number of roundings times the size of what is rounded. Where PyTorch's formula cancels (GELU far below 0), its own
error is eps times the input, so sizes count the input too. Elementary functions to a unit in the last place: see
tests/kernels/test_elementary.py.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from helpers import assert_within, eager_train, eps

import fastmlp as fm
from fastmlp import registry

__all__ = [
    "check_activation",
    "check_criterion",
    "check_layer",
    "check_linear",
    "check_network",
    "check_optimizer",
    "check_schedule",
    "check_training",
]

#: Beyond it every formula has become a constant or a line.
SATURATED = 32


#: PyTorch's slope of it is float32's 1/6, in float64 too.
ROUNDED = (fm.Hardsigmoid,)


def assert_agrees(actual, expected, bound):
    """Within the bound where PyTorch has a finite number, the same infinity where it has one."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    assert_within(actual[finite], expected[finite], np.broadcast_to(bound, actual.shape)[finite])
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(actual[infinite], expected[infinite])


def check_activation(entry, cases, record):
    """Outputs and input gradients.

    NaN stays NaN. What is left open: its gradient, and what comes of a number of which PyTorch makes NaN.
    """
    x, dy = record["x"], record["dy"]
    back = eps(np.float32 if entry in ROUNDED else x.dtype)
    for case, y, dx in zip(cases, record["y"], record["dx"]):
        module = entry(**case)
        ours = module(x)
        assert ours.dtype == x.dtype
        assert np.isnan(ours[np.isnan(x)]).all()
        number = ~np.isnan(x)
        size = np.minimum(np.abs(x), SATURATED, where=number, out=np.zeros_like(x))
        with np.errstate(invalid="ignore"):
            assert_agrees(ours, y, 8 * eps(x.dtype) * np.maximum(np.abs(y), size) + tiny(x.dtype))
            bound = 8 * back * np.maximum(np.abs(dx), np.abs(dy) * np.maximum(1, size)) + tiny(x.dtype)
        assert_agrees(module.backward(dy)[number], dx[number], bound[number])


def tiny(dtype):
    """The smallest normal number: smaller results are flushed to zero by the engine, and not by PyTorch."""
    return float(np.finfo(dtype).tiny)


def check_criterion(entry, cases, record):
    """Losses, and gradients by the outputs."""
    out, y = record["out"], record["y"]
    rows, width = out.shape
    # Logarithms of what is large, and products with targets, may cancel; a mean of distances does not.
    largest = 1 if y.ndim == 1 else max(1, np.abs(y).max())
    cancels = np.abs(out).max() * largest * (entry.targets != ("numbers",) or entry.outputs == "pairs")
    for case, loss, dout in zip(cases, record["loss"], record["dout"]):
        criterion = registry.made(entry, case, width)
        terms = (rows + width + 8) * eps(out.dtype)
        of_sum = 1 if criterion.reduction == "mean" else out.size
        assert_agrees(criterion(out, y), loss, terms * (np.abs(loss) + cancels * of_sum))
        ours = criterion.backward()
        assert ours.dtype == out.dtype
        assert_agrees(ours, dout, terms * (np.abs(dout) + largest * of_sum / (rows if y.ndim == 1 else out.size)))


def check_layer(entry, cases, record):
    """Outputs, gradients of the input and of the parameters.

    A number may be off by the roundings of a sum, along a row or over the batch, of numbers as large as the largest that may
    stand there: of an output, the largest beside it; of a gradient, an upstream gradient times a slope as well, since that may
    cancel. Where a row is normalized, the slope is of the order of the largest output by the largest input, or up to
    1 / sqrt(eps) where its numbers are equal.
    """
    x = record["x"]
    dtype, (rows, width) = x.dtype, x.shape
    equal = (x == x[:, :1]).all(axis=1, keepdims=True)
    roundings = 4 * (rows + width + 8) * eps(dtype)

    def largest(array, axis=1):
        return np.abs(array).max(axis=axis, keepdims=True, initial=0)

    for number, case in enumerate(cases if rows >= entry.least_rows else ()):
        given = part_of(record, f"{number}.")
        module = registry.made(entry, case, width)
        model = fm.Sequential(module, dtype=dtype)
        module.load_state_dict(part_of(given, "start."))
        dy, y, dx = (given[name] for name in ("dy", "y", "dx"))
        ours = model(x), model.backward(dy)
        assert [array.dtype for array in ours] == [dtype, dtype]
        assert_agrees(ours[0], y, roundings * largest(y))
        slope = np.where(equal, 320, np.maximum(1, largest(y) / np.maximum(largest(x), 1e-8)))
        assert_agrees(ours[1], dx, roundings * (largest(dx) + largest(dy) * slope))
        gradients = part_of(given, "grad.")
        assert gradients.keys() == dict(module.named_parameters()).keys()
        for name, parameter in module.named_parameters():
            factor = np.maximum(largest(y, None), largest(np.where(equal, 320 * x, 0), None))
            size = largest(gradients[name], None) + largest(dy, None) * factor
            assert_agrees(parameter.grad, gradients[name], roundings * size.item())
        for name, after in part_of(given, "after.").items():
            assert_agrees(module.state_dict()[name], after, roundings * largest(np.atleast_1d(after), None).item())
        if "evaluated" in given:
            for ours in (model.predict(x), model.eval()(x)):
                assert_agrees(ours, given["evaluated"], roundings * largest(given["evaluated"]))


def split(vector, parameters):
    """The parts of a vector, which may be longer, in the parameters' shapes."""
    ends = np.cumsum([parameter.size for parameter in parameters])
    return [part.reshape(parameter.shape) for part, parameter in zip(np.split(vector, ends), parameters)]


def joined(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def check_optimizer(entry, cases, record, dtype, shapes):
    """Trajectories for given gradients, with a learning rate that changes, and the state at the end."""
    start, gradients, kept = record["start"], record["gradients"], record["kept"]
    for number, (case, expected) in enumerate(zip(cases, record["params"])):
        layer = fm.Linear(shapes[0][1], shapes[0][0], dtype=dtype)
        parameters = list(layer.parameters())
        for parameter, part in zip(parameters, split(start, parameters)):
            parameter.data = part
        optimizer, trajectory, states = entry(parameters, **case), [], []
        for gradient, factor in zip(gradients, record["factors"]):
            optimizer.lr = optimizer.lr * factor
            for parameter, part in zip(parameters, split(gradient, parameters)):
                parameter.grad = part
            optimizer.step()
            trajectory.append(joined(parameter.data for parameter in parameters))
            arrays = optimizer.state_dict()["state"].values()
            states.append([joined(parts) for parts in zip(*(array.values() for array in arrays))])
        # A few roundings a step, of numbers that may have been larger on the way.
        roundings = 4 * len(gradients) * eps(dtype)
        size = np.maximum(np.abs(start), np.abs(trajectory).max(0))
        assert_agrees(np.array(trajectory)[kept - 1], expected, roundings * size)
        theirs = record[f"state.{number}"]
        states = np.reshape(states, (len(states), *theirs.shape))
        assert_agrees(states[-1], theirs, roundings * np.abs(states).max(0))


def check_schedule(entry, cases, record):
    """The rates and momenta of all epochs, by hand, and as `fit` leaves them where it needs no metric."""
    lr, X = record["lr"].item(), np.ones((1, 1), np.float32)
    for case, rates, momenta in zip(cases, record["rates"], record["momenta"]):
        model = fm.Sequential(fm.Linear(1, 1))
        optimizer = fm.SGD(model.parameters(), lr=lr, momentum=0.9)
        by_hand = entry(optimizer, **case)
        ours = [(optimizer.lr, optimizer.momentum)]
        for metric in record["metrics"]:
            by_hand.step(*[metric] * entry.takes_metric)
            ours.append((optimizer.lr, optimizer.momentum))
        # PyTorch gets a rate from the one before it, so its roundings add up.
        expected = np.stack([rates, momenta], 1)
        bound = 4 * len(rates) * eps(np.float64) * np.maximum(lr, expected.max(0))
        assert_agrees(ours, expected, bound)
        if not entry.takes_metric:
            optimizer.lr, optimizer.momentum = lr, 0.9
            fitted = entry(optimizer, **case)
            fm.fit(model, fm.MSELoss(), optimizer, X, X, epochs=len(rates) - 1, schedule=fitted)
            assert_agrees((optimizer.lr, optimizer.momentum), expected[-1], bound)


def check_training(trials, record, dtype, *, widths, epochs, batch_size):
    """The parameters and losses of `fit`, and of the loop by hand.

    A trial is three functions: two make the activation or layer, and the loss, of a width, one what makes the optimizer of
    given parameters.
    """
    x, y = record["x"].astype(dtype), record["y"]
    keywords = {"epochs": epochs, "batch_size": batch_size, "shuffle": False}
    for trial, trained, losses in zip(trials, record["trained"], record["losses"], strict=True):
        for train in (lambda *given, **how: fm.fit(*given, **how).loss, eager_train):
            (wide, middle), (_, narrow) = pairwise(widths)
            activation, criterion, optimizer_of = trial[0](middle), trial[1](narrow), trial[2]()
            last = [fm.Sigmoid()] if criterion.outputs in ("probabilities", "positive") else []
            model = fm.Sequential(fm.Linear(wide, middle), activation, fm.Linear(middle, narrow), *last, dtype=dtype)
            for parameter, part in zip(model.parameters(), split(record["start"], list(model.parameters()))):
                parameter.data = part
            ours = train(model, criterion, optimizer_of(model.parameters()), x, y, **keywords)
            # Each step adds the roundings of a pass forth and back.
            terms = 4 * epochs * -(-len(x) // batch_size) * (sum(widths) + batch_size)
            terms *= eps(np.float32 if type(activation) in ROUNDED else dtype)
            assert_agrees(joined(p.data for p in model.parameters()), trained, terms * np.maximum(1, np.abs(trained)))
            assert_agrees(ours, losses, terms * (1 + np.abs(losses)))


def check_linear(record, dtype):
    """Output and gradients of a linear layer, with or without a bias."""
    x, dy, weight = (record[name].astype(dtype) for name in ("x", "dy", "weight"))
    layer = fm.Linear(weight.shape[1], weight.shape[0], bias="bias" in record, dtype=dtype)
    layer.load_state_dict({name: record[name] for name in ("weight", "bias") if name in record})
    rows, sizes = len(x), [np.abs(array) for array in (x, dy, weight)]
    bias = np.abs(record.get("bias", np.zeros(len(weight))))
    ours = layer(x), layer.backward(dy)
    assert_within(ours[0], record["y"], 2 * (x.shape[1] + 1) * eps(dtype) * (sizes[0] @ sizes[2].T + bias))
    assert_within(ours[1], record["dx"], 2 * dy.shape[1] * eps(dtype) * (sizes[1] @ sizes[2]))
    assert_within(layer.weight.grad, record["dweight"], 2 * rows * eps(dtype) * (sizes[1].T @ sizes[0]))
    if "bias" in record:
        assert_within(layer.bias.grad, record["dbias"], 2 * rows * eps(dtype) * sizes[1].sum(0))


def part_of(record, prefix):
    """The entries behind a prefix."""
    return {name.removeprefix(prefix): array for name, array in record.items() if name.startswith(prefix)}


def check_network(layers, loss, record):
    """One pass, then steps over the whole data, in the dtype of the record; by hand and with `fit`."""
    x, y, lr = record["x"], record["y"], record["lr"].item()
    steps, trained = len(record["losses"]), part_of(record, "trained.")
    terms = sum(sum(arguments[:2]) for _, arguments in layers) * eps(x.dtype)
    for train in (lambda *given, **how: fm.fit(*given, **how).loss, eager_train):
        model = fm.Sequential(*[getattr(fm, name)(*arguments) for name, arguments in layers], dtype=x.dtype)
        model.load_state_dict(part_of(record, "start."))
        criterion, optimizer = getattr(fm, loss)(), fm.SGD(model.parameters(), lr=lr)
        assert_within(model(x), record["out"], 2 * terms)
        assert_within(criterion(model(x), y), record["losses"][0], 4 * terms)
        assert_within(model.backward(criterion.backward()), record["dx"], 4 * terms)
        for name, parameter in model.named_parameters():
            assert_within(parameter.grad, record[f"grad.{name}"], 4 * terms)
        losses = train(model, criterion, optimizer, x, y, epochs=steps, batch_size=len(x), shuffle=False)
        assert_within(losses, record["losses"], 4 * steps * terms)
        state = model.state_dict()
        assert state.keys() == trained.keys()
        for name, array in state.items():
            assert_within(array, trained[name], 4 * steps * terms)
