"""The registry against PyTorch itself, over random shapes: ``make test-torch``. Stored numbers: test_golden.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import DTYPES, assert_within, eager_train, eps, make_net, normal, share_of, small

import fastmlp as fm
from fastmlp import registry

torch = pytest.importorskip("torch", reason="compares with PyTorch; make test-torch brings it")

from golden import inputs, make, record, replay, twins  # noqa: E402  (they import torch)

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:reduction. .mean. divides:UserWarning")]  # KLDivLoss

SHAPES = [(1, 1), (2, 16), (7, 17), (9, 65)]

#: All options of SGD together.
SGD_CASES = [
    {"lr": 0.05, "momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product([0, 0.9], [0, 0.3], [0, 0.02], [False, True])
    if not (nesterov and (not momentum or dampening))
]


def of(entry, **case):
    """What makes the entry; an optimizer of parameters still to come."""
    if issubclass(entry, (fm.Module, fm.Criterion)):
        return lambda width: registry.made(entry, case, width)
    return lambda: (lambda parameters: entry(parameters, **case)) if issubclass(entry, fm.Optimizer) else entry(**case)


def check_training(trials, rng, kind="numbers", outputs="numbers"):
    """Train Linear, activation, Linear of random widths, for trials of (entry, case) of activation, loss and optimizer.

    `kind` is that of the targets, `outputs` that of the outputs.
    """
    widths = rng.integers(1, 20, 3).tolist()
    widths[-1] *= 1 + (outputs == "pairs")
    wide, middle, narrow = widths
    rows, batch_size = rng.integers(2, 20, 2).tolist()
    rows += rows % batch_size == 1  # a batch of one row has no variance
    start = 0.5 * inputs.normal(rng, (wide + 1) * middle + (middle + 1) * (narrow + middle))  # enough for any layer between
    how = {"widths": widths, "epochs": 3, "batch_size": batch_size}
    y = inputs.targets(kind, (rows, narrow), rng, outputs)
    names = [[(entry.__name__, case) for entry, case in trial] for trial in trials]
    theirs = twins.training(start, inputs.normal(rng, rows, wide), y, names, **how)
    made = [[of(entry, **case) for entry, case in trial] for trial in trials]
    for dtype in DTYPES:
        replay.check_training(made, theirs, dtype, **how)


#: Options that are for labels alone, or for some of the targets.
MORE_CASES = {
    "CrossEntropyLoss": [
        {"ignore_index": 0},
        {"weight": "columns", "ignore_index": 0, "label_smoothing": 0.2},
        {"weight": "columns", "ignore_index": 0, "reduction": "sum"},
    ],
    "NLLLoss": [{"ignore_index": 0}, {"weight": "columns", "ignore_index": 0, "reduction": "sum"}],
    "MultiMarginLoss": [{"p": 2, "margin": -0.5}, {"weight": "columns"}],
    "BCEWithLogitsLoss": [{"weight": "columns"}],
    "KLDivLoss": [{"reduction": "sum"}, {"log_target": True, "reduction": "batchmean"}],
}

TANH, MSE, SGD = (fm.Tanh, {}), (fm.MSELoss, {}), (fm.SGD, {"lr": 0.1})


@pytest.mark.parametrize("name", registry.activations())
def test_activation_matches_torch(name, rng):
    entry = registry.activations()[name]
    for dtype, shape in itertools.product(DTYPES, SHAPES):
        for scale in (0.1, 3, 30):
            x, dy = (scale * normal(rng, shape, dtype)).astype(dtype), normal(rng, shape, dtype)
            x[0, 0] = 0  # the rectifier's derivative there is 0
            replay.check_activation(entry, entry.cases, twins.activation(name, entry.cases, x, dy))
    for _ in range(3):
        check_training([[(entry, case), MSE, SGD] for case in entry.cases], rng)


@pytest.mark.parametrize("name", registry.layers())
def test_layer_matches_torch(name, rng):
    entry = registry.layers()[name]
    shapes = [shape for shape in SHAPES if shape[0] >= entry.least_rows]
    for dtype, shape, scale in itertools.product(DTYPES, shapes, (0.3, 4)):
        x = scale * normal(rng, shape, dtype)
        replay.check_layer(entry, entry.cases, twins.layer(name, entry.cases, x.astype(dtype), rng))
    for _ in range(3):
        for case in entry.cases:
            check_training([[(entry, case), MSE, (fm.SGD, {"lr": 0.01})]], rng)


def test_layer_matches_torch_at_extremes(dtype, rng):
    """Variance 0, numbers whose squares overflow or underflow, infinity, NaN.

    Where PyTorch overflows on the way to a number that the formula has, and in the gradient of rows of equal numbers so large
    that its mean is not exact, the formula counts.
    """
    inf, nan = np.inf, np.nan
    rows = [
        [1e30, -1e30, 0, 1],
        [1e30] * 4,
        [0.1] * 4,
        [0] * 4,
        [1e-30, 0, 0, 1e-30],
        [inf, 1, 2, 3],
        [-inf] * 4,
        [nan, 1, 2, 3],
    ]
    rows += [[inf, -inf, 0, 0], [1e4, -1e4, 1e4, 0], [1e20, 1e20, 1e20, 1.001e20], [88, -104, 710, -745]]
    x = np.array(rows, dtype)
    made = [(fm.LayerNorm, {"normalized_shape": 4, "eps": eps}) for eps in (1e-5, 0)]
    made += [(fm.RMSNorm, {"normalized_shape": 4})]
    made += [(fm.Softmax, {"dim": 1}), (fm.LogSoftmax, {"dim": -1}), (fm.PReLU, {}), (fm.Scale, {"features": 4})]
    for kind, case in made:
        record = twins.layer(kind.__name__, [case], x, rng)
        model = fm.Sequential(kind(**case), dtype=dtype)
        model[0].load_state_dict(replay.part_of(record, "0.start."))
        for name, array in (("y", model(x)), ("dx", model.backward(record["0.dy"]))):
            for given, one, other in zip(x, array, record[f"0.{name}"]):
                large = 1e15 < abs(given).max() < inf and "normalized_shape" in case
                if large and (np.isnan(other).any() or (given == given[0]).all()):
                    assert np.isfinite(one).all() or case.get("eps") == 0
                    continue
                np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=f"{kind}, {case}, {name} of {given}")
                finite = np.isfinite(other)
                np.testing.assert_array_equal(one[~finite], other[~finite])
                size = np.abs(other[finite]).max(initial=0) + 4
                assert_within(one[finite], other[finite], 100 * eps(dtype) * size)


@pytest.mark.parametrize("name", registry.criteria())
def test_criterion_matches_torch(name, rng):
    entry = registry.criteria()[name]
    cases = [*entry.cases, *MORE_CASES.get(name, ())]
    for dtype, (rows, width), kind in itertools.product(DTYPES, SHAPES, entry.targets):
        shape = rows, width * (1 + (entry.outputs == "pairs"))
        chosen = [case for case in cases if kind == "labels" or case.get("ignore_index", -1) < 0]
        for scale in (0.1, 5, 100 if entry.outputs != "pairs" else 20):  # PyTorch takes the exponential of a variance
            out, y = drawn(entry, kind, shape, dtype, rng, scale)
            replay.check_criterion(entry, chosen, twins.criterion(name, chosen, out, y))
    for kind in entry.targets:
        for _ in range(3):
            trials = [[TANH, (entry, case), (fm.SGD, {"lr": 1e-3})] for case in entry.cases]
            check_training(trials, rng, kind, entry.outputs)


def drawn(entry, kind, shape, dtype, rng, scale=3):
    """Outputs and targets of a loss."""
    out = inputs.of_kind(entry.outputs, (scale * normal(rng, shape, dtype)).astype(dtype)).astype(dtype)
    y = inputs.targets(kind, shape, rng, entry.outputs)
    return out, y if kind == "labels" else y.astype(dtype)


@pytest.mark.parametrize("name", registry.criteria())
def test_weights_of_rows_match_torch(name, rng):
    """PyTorch's losses of single rows, weighted by hand; the mean over classes with weights is over theirs, too."""
    entry = registry.criteria()[name]
    cases = [*entry.cases, *MORE_CASES.get(name, ())]
    for dtype, kind, case, shape in itertools.product(DTYPES, entry.targets, cases, [(1, 2), (9, 6), (70, 18)]):
        if kind != "labels" and case.get("ignore_index", -1) >= 0:
            continue
        out, y = drawn(entry, kind, shape, dtype, rng)
        weights = rng.uniform(0, 2, shape[0]).astype(dtype) * (rng.random(shape[0]) < 0.7)
        weights[-1] = 1.5
        if kind == "labels":
            y[-1] = 1
        given, w = torch.tensor(out, requires_grad=True), torch.tensor(weights)
        twin = twins.loss_of(name, case, shape[1], given.dtype, reduction="none")
        losses = twin(given, torch.tensor(y)).reshape(len(out), -1)
        reduction = case.get("reduction", "mean")
        per_row = losses.mean(1) if reduction == "mean" else losses.sum(1)
        total = (w * per_row).sum()
        loss = total if reduction == "sum" else total / share_of(twin, y, weights)
        loss.backward()
        criterion = registry.made(entry, case, shape[1])
        bound = 2 * (sum(shape) + 8) * eps(dtype) * (1 if reduction != "sum" else 2 * out.size)
        size = np.abs(out).max() * max(1, np.abs(y).max())
        assert_within(criterion(out, y, weights), loss.item(), bound * (abs(loss.item()) + size))
        gradient = given.grad.numpy()
        ours = criterion.backward()
        assert_within(ours, gradient, bound * (np.abs(gradient) + size))
        assert not ours[weights == 0].any()


@pytest.mark.parametrize("name", registry.optimizers())
def test_optimizer_matches_torch(name, rng):
    entry = registry.optimizers()[name]
    cases = [*entry.cases, *(SGD_CASES if entry is fm.SGD else [])]
    for wide, narrow in [(1, 1), (3, 17), (17, 2)]:
        shapes, size, steps = ((narrow, wide), (narrow,)), narrow * (wide + 1), 40
        given = {"start": inputs.normal(rng, size), "gradients": inputs.normal(rng, steps, size)}
        factors = np.where(rng.random(steps) < 0.2, rng.uniform(0.5, 1.5, steps), 1)
        theirs = twins.optimizer(name, cases, shapes, **given, factors=factors, kept=np.arange(1, steps + 1))
        for dtype in DTYPES:
            replay.check_optimizer(entry, cases, theirs, dtype, shapes)
    for _ in range(3):
        check_training([[TANH, MSE, (entry, case)] for case in cases], rng)


@pytest.mark.parametrize("name", registry.optimizers())
def test_200_steps_of_groups_match_torch(name, rng):
    """Weights and biases with rates, and decays where there are any, of their own, on a schedule; in `fit` and by hand."""
    entry = registry.optimizers()[name]
    X, y = inputs.normal(rng, 40, 3), inputs.normal(rng, 40, 2)
    start = 0.5 * inputs.normal(rng, 3 * 9 + 9 + 9 * 2 + 2)
    for case in entry.cases:
        options = [{"lr": 0.01}, {"lr": 0.003}]
        if "weight_decay" in case:
            options[1]["weight_decay"] = 0.0
        theirs = twins.grouped(name, case, options, start, X, y, steps=200, T_max=150)
        for train in (lambda *given, **how: fm.fit(*given, **how).loss, eager_train):
            model = fm.Sequential(fm.Linear(3, 9), fm.Tanh(), fm.Linear(9, 2), dtype=np.float64)
            params = list(model.parameters())
            for parameter, part in zip(params, replay.split(start, params)):
                parameter.data = part
            groups = [{"params": params[i::2]} | options[i] for i in range(2)]
            optimizer = entry(groups, **case)
            schedule = fm.CosineAnnealingLR(optimizer, T_max=150)
            train(model, fm.MSELoss(), optimizer, X, y, epochs=200, batch_size=40, shuffle=False, schedule=schedule)
            assert_within(replay.joined(p.data for p in params), theirs, 1e-9 * np.maximum(1, np.abs(theirs)))


@pytest.mark.parametrize("name", registry.schedules())
def test_schedule_matches_torch(name, rng):
    entry = registry.schedules()[name]
    for lr in rng.uniform(1e-4, 1, 3).tolist():
        replay.check_schedule(entry, entry.cases, twins.schedule(name, entry.cases, lr, inputs.metrics(100)))


def test_schedules_of_groups_match_torch():
    """Options of their own for each group; rates and momenta of both."""
    trials = [
        ("OneCycleLR", {"max_lr": [0.1, 0.2], "total_steps": 50, "base_momentum": [0.5, 0.6], "max_momentum": [0.8, 0.9]}),
        ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.2], "step_size_up": 4, "base_momentum": [0.5, 0.6]}),
        ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: 1 / (1 + t)]}),
        ("MultiplicativeLR", {"lr_lambda": [lambda _: 0.9, lambda t: 1 - 1 / (1 + t)]}),
        ("ReduceLROnPlateau", {"patience": 0, "factor": 0.5, "min_lr": [0.01, 0.04]}),
        ("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.05}),
    ]
    for name, case in trials:
        for kind, momentum in (("SGD", {"momentum": 0.9}), ("Adam", {"betas": (0.7, 0.99)})):
            theirs = getattr(torch.optim, kind)(
                [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.3, 0.1)], **momentum
            )
            ours = getattr(fm, kind)([{"params": fm.Parameter((1,)), "lr": lr} for lr in (0.3, 0.1)], **momentum)
            twin, schedule = getattr(torch.optim.lr_scheduler, name)(theirs, **case), getattr(fm, name)(ours, **case)
            for metric in inputs.metrics(40).tolist():
                for one, other in zip(ours.param_groups, theirs.param_groups):
                    for key in ("lr", *momentum):
                        np.testing.assert_allclose(one[key], other[key], rtol=1e-12, atol=1e-15, err_msg=f"{name}: {key}")
                theirs.step()
                for made in (twin, schedule):
                    made.step(*[metric] * schedule.takes_metric)


def test_embedding_matches_torch(rng):
    """Vectors, and their gradients, where categories come several times."""
    layer, twin = fm.Embedding(7, 5, dtype=np.float64), torch.nn.Embedding(7, 5, dtype=torch.double)
    layer.load_state_dict(twin.state_dict())
    codes, dy = rng.integers(7, size=20), normal(rng, (20, 5), np.float64)
    out = twin(torch.from_numpy(codes))
    out.backward(torch.from_numpy(dy))
    np.testing.assert_array_equal(layer(codes[:, None].astype(float)), out.detach().numpy())
    layer.backward(dy)
    assert_within(layer.weight.grad, twin.weight.grad.numpy(), 20 * eps(np.float64) * np.abs(dy).max())


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_linear_matches_torch(bias, rng):
    for _ in range(small(20, 5)):
        rows, wide, narrow = rng.integers(1, 70, 3).tolist()
        given = inputs.normal(rng, narrow, wide), inputs.normal(rng, narrow) if bias else None
        theirs = twins.linear(*given, inputs.normal(rng, rows, wide), inputs.normal(rng, rows, narrow))
        for dtype in DTYPES:
            replay.check_linear(theirs, dtype)


@pytest.mark.parametrize("loss", registry.criteria())
def test_network_matches_torch(loss, dtype, rng):
    entry = registry.criteria()[loss]
    for seed in range(3):
        rows, wide, *middle, narrow = rng.integers(1, 20, 5).tolist()
        layers = [("Linear", (wide, middle[0])), ("Sigmoid", ()), ("Identity", ()), ("Linear", (*middle, False)), ("Tanh", ())]
        narrow *= 1 + (entry.outputs == "pairs")
        layers += [("Linear", (middle[1], narrow))]
        layers += [("Sigmoid", ())] if entry.outputs in ("probabilities", "positive") else []
        x, y = normal(rng, (rows, wide), dtype), inputs.targets(entry.targets[0], (rows, narrow), rng, entry.outputs)
        y = y if y.ndim == 1 else y.astype(dtype)
        replay.check_network(layers, loss, twins.network(layers, loss, x, y, lr=0.1, steps=5, seed=seed))


def test_load_state_dict_of_torch(dtype):
    """Its tensors are taken as they are."""
    twin = torch.nn.Sequential(torch.nn.Linear(3, 17), torch.nn.Tanh(), torch.nn.Linear(17, 2)).to(getattr(torch, dtype.name))
    model = make_net([3, 17, 2], dtype=dtype)
    model.load_state_dict(twin.state_dict())
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    assert_within(model(x), twin(torch.from_numpy(x)).detach().numpy(), 40 * eps(dtype))


def test_networks_with_norms_go_both_ways(dtype, rng):
    """Their state_dicts go into ours and back, statistics and counts of batches included; Dropout's seeds may be missing."""

    def built(nn):
        head = [nn.Linear(5, 7), nn.BatchNorm1d(7), nn.PReLU(7), nn.Dropout(0.5)]
        return nn.Sequential(
            *head, nn.Linear(7, 6), nn.LayerNorm(6), nn.PReLU(), nn.BatchNorm1d(6, momentum=None, affine=False)
        )

    twin, model = built(torch.nn).to(getattr(torch, dtype.name)), fm.Sequential(*built(fm), dtype=dtype)
    x = normal(rng, (20, 5), dtype)
    for _ in range(3):
        twin(torch.from_numpy(x))
    model.load_state_dict(twin.state_dict())
    theirs = twin.eval()(torch.from_numpy(x)).detach().numpy()
    assert_within(model.predict(x), theirs, 200 * eps(dtype) * np.maximum(1, np.abs(theirs)))
    model[3].p = 0.0  # the two draw other numbers
    model(x)
    state = model.state_dict()
    assert state["1.num_batches_tracked"] == state["7.num_batches_tracked"] == 4
    for part in twin.train():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    twin(torch.from_numpy(x))
    for name, tensor in twin.state_dict().items():
        numbers = tensor.numpy()
        assert_within(state[name], numbers, 200 * eps(dtype) * np.maximum(1, np.abs(numbers)))
    ours = {name: torch.from_numpy(np.asarray(array)) for name, array in state.items() if not name.startswith("3.")}
    twin.load_state_dict(ours)
    again = twin.eval()(torch.from_numpy(x)).detach().numpy()
    assert_within(model.predict(x), again, 200 * eps(dtype) * np.maximum(1, np.abs(again)))


@pytest.mark.parametrize("name", [*record.NETWORKS, *registry.entries()])
def test_golden_numbers_are_those_of_torch(name):
    stored, fresh = record.load(name), make.golden(name)
    assert [(part, *arrays) for part, arrays in stored.items()] == [(part, *arrays) for part, arrays in fresh.items()]
    for part, arrays in stored.items():
        for key, array in arrays.items():
            again = np.asarray(fresh[part][key])
            assert (array.dtype, array.shape) == (again.dtype, again.shape), (part, key)
            # Another processor or release may round elementary functions otherwise.
            # A loss is stored as a Python float, whatever it was computed in.
            computed_in = np.float32 if "float32" in part else array.dtype
            bound = 1e4 * eps(computed_in) if array.dtype.kind == "f" else 0
            if part in make.DTYPES and key in ("y", "dx"):  # of an activation
                # PyTorch's GELU of an infinity is NaN with AVX-512, and infinite with AVX2.
                again = np.where(np.isinf(arrays["x"]) & (np.isnan(array) != np.isnan(again)), array, again)
            np.testing.assert_allclose(array, again, rtol=bound, atol=bound, err_msg=f"{part}/{key}")


def test_golden_files_are_the_same_bytes_when_made_again(tmp_path, monkeypatch):
    """With the PyTorch and the processor that are here."""
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    files = []
    for _ in range(2):
        make.main(["ReLU", "SGD"])
        files.append([(tmp_path / f"{name}.npz").read_bytes() for name in ("ReLU", "SGD")])
    assert files[0] == files[1]
    make.main([])
    assert {path.stem for path in tmp_path.iterdir()} == {*record.NETWORKS, *registry.entries()}
    with pytest.raises(SystemExit, match=r"make golden: not in the registry: RELU. There are Network, "):
        make.main(["RELU"])
