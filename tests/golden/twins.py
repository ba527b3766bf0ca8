"""What PyTorch answers: for inputs in NumPy's arrays, a record of inputs and outputs. The other side is replay.py.

A twin is PyTorch's class of the same name, made with the same arguments; the few that PyTorch has not stand in `OWN`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from helpers import share_of

from fastmlp import registry

__all__ = ["activation", "criterion", "grouped", "layer", "linear", "loss_of", "network", "optimizer", "schedule", "training"]

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class Scale(torch.nn.Module):
    """A factor for each feature, which PyTorch has no layer for."""

    def __init__(self, features: int, init: float = 1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((features,), init))

    def forward(self, x):
        return x * self.weight


MASK = 0xFFFFFFFFFFFFFFFF


def _mixed(key: int, counter: int) -> int:
    """SplitMix64, the `counter`-th number of stream `key`."""
    z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def _scrambled(x: np.ndarray) -> np.ndarray:
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0xD35A2D97) & 0xFFFFFFFF
    return x ^ (x >> 15)


class _Draws(torch.nn.Module):
    """Dropout with the masks of the package; PyTorch's own formula for what is done with them."""

    def __init__(self, p: float = 0.5, *, rng: int):
        super().__init__()
        self.p, self.calls, self.seed = p, 0, int(np.random.default_rng(rng).integers(2**62))

    def mask(self, x: torch.Tensor) -> torch.Tensor:
        key = _mixed(_mixed(self.seed, 1), self.calls) >> 1
        self.calls += 1
        rows, columns = (np.arange(extent, dtype=np.uint64) for extent in x.shape)
        number = (rows[:, None] * 0x9E3779B1 + columns) & 0xFFFFFFFF
        bits = _scrambled(_scrambled(number ^ (key >> 32)) ^ (key & 0xFFFFFFFF))
        return torch.from_numpy((bits < round((1 - self.p) * 2**32)).astype(np.float64)).to(x.dtype)


class Dropout(_Draws):
    def forward(self, x):
        return x * self.mask(x) / (1 - self.p)


class AlphaDropout(_Draws):
    def forward(self, x):
        alpha, mask = 1.7580993408473766, self.mask(x)
        a = 1 / ((alpha**2 * self.p + 1) * (1 - self.p)) ** 0.5
        return x * mask * a + (mask - 1) * alpha * a + alpha * a * self.p


class Standardize(torch.nn.Module):
    """Statistics of data, which PyTorch has no layer for."""

    def __init__(self, num_features: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(num_features))
        self.register_buffer("factor", torch.ones(num_features))

    def forward(self, x):
        return (x - self.centre) * self.factor


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of arXiv:2302.06675; PyTorch has no such optimizer."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, (beta1, beta2) = group["lr"], group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                g = -p.grad if group["maximize"] else p.grad
                update = (beta1 * m + (1 - beta1) * g).sign()
                p.sub_(lr * (update + group["weight_decay"] * p))
                m.mul_(beta2).add_((1 - beta2) * g)


class GaussianNLLLoss(torch.nn.GaussianNLLLoss):
    """Of outputs that are means, then logarithms of variances."""

    def forward(self, out, y):
        width = out.shape[1] // 2
        return super().forward(out[:, :width], y, out[:, width:].exp())


class _Reduced(torch.nn.Module):
    """A loss that PyTorch does not have."""

    def __init__(self, *, reduction="mean", **options):
        super().__init__()
        self.reduction = reduction
        self.options = options

    def forward(self, out, y):
        losses = self.losses(out, y, **self.options)
        return {"mean": losses.mean, "sum": losses.sum, "none": lambda: losses}[self.reduction]()


class HingeLoss(_Reduced):
    """By autograd."""

    def losses(self, out, y, squared=False):
        below = torch.relu(1 - y * out)
        return below**2 if squared else below


class QuantileLoss(_Reduced):
    """By autograd."""

    def losses(self, out, y, quantile=0.5):
        d = y - out
        return torch.relu(d) * torch.as_tensor(quantile, dtype=out.dtype) + torch.relu(-d) * (
            1 - torch.as_tensor(quantile, dtype=out.dtype)
        )


#: What stands in for PyTorch's class of the same name.
OWN = {
    kind.__name__: kind for kind in (AlphaDropout, Dropout, GaussianNLLLoss, HingeLoss, Lion, QuantileLoss, Scale, Standardize)
}


def loss_of(name: str, case: dict, width: int, dtype: torch.dtype, **options) -> torch.nn.Module:
    """The twin of a loss, for outputs of this width and dtype."""
    arguments = registry.filled(case, width) | options
    for key in arguments.keys() & {"weight", "pos_weight"}:
        arguments[key] = torch.tensor(arguments[key])
    return (OWN.get(name) or getattr(torch.nn, name))(**arguments).to(dtype)


def _module(name: str, case: dict, width: int) -> torch.nn.Module:
    """The twin of an activation or a layer, for inputs of this width."""
    return (OWN.get(name) or getattr(torch.nn, name))(**registry.filled(case, width))


def _optimizer(name: str) -> type:
    """The twin of an optimizer."""
    return OWN.get(name) or getattr(torch.optim, name)


@contextmanager
def _in_double() -> Iterator[None]:
    """Numbers of PyTorch's own in float64: NAdam keeps a product of factors in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))


def _load(model: torch.nn.Module, values: np.ndarray) -> None:
    """Set the parameters, in order, from a vector, which may be longer."""
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(_tensor(values), model.parameters())


def _vector(parameters) -> np.ndarray:
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in parameters])


def activation(name: str, cases, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs and input gradients for each case."""
    record = {"x": x, "dy": dy, "y": [], "dx": []}
    for case in cases:
        given = _tensor(x).requires_grad_()
        out = _module(name, case, x.shape[1])(given)
        out.backward(_tensor(dy))
        record["y"].append(out.detach().numpy())
        record["dx"].append(given.grad.numpy())
    return record | {key: np.stack(record[key]) for key in ("y", "dx")}


def layer(name: str, cases, x: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Outputs and gradients for each case; its parameters and the upstream gradient are drawn.

    Those of case 0 are ``0.y``, ``0.dx``, ...; the parameters are ``0.start.weight``, their gradients ``0.grad.weight``. Of a
    layer with buffers there are also ``0.after.running_mean``, and what it gives in evaluation mode, ``0.evaluated``.
    """
    record = {"x": x}
    for number, case in enumerate(cases):
        twin, given = _module(name, case, x.shape[1]).to(_tensor(x).dtype), _tensor(x).requires_grad_()
        sizes = [parameter.numel() for parameter in twin.parameters()]
        _load(twin, rng.standard_normal(sum(sizes), np.float32).astype(x.dtype))
        start = {key: array.detach().clone() for key, array in twin.state_dict().items()}
        out = twin(given)
        dy = rng.standard_normal(out.shape, np.float32).astype(x.dtype)
        arrays = {"dy": dy} | {f"start.{key}": array.numpy() for key, array in start.items()}
        out.backward(_tensor(dy))
        arrays |= {"y": out.detach().numpy(), "dx": given.grad.numpy()}
        arrays |= {f"grad.{key}": parameter.grad.numpy() for key, parameter in twin.named_parameters()}
        if buffers := dict(twin.named_buffers()):
            arrays |= {f"after.{key}": array.numpy() for key, array in buffers.items()}
            arrays["evaluated"] = twin.eval()(given).detach().numpy()
        record |= {f"{number}.{key}": array for key, array in arrays.items()}
    return record


def criterion(name: str, cases, out: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Losses and gradients by the outputs for each case."""
    record = {"out": out, "y": y, "loss": [], "dout": []}
    for case in cases:
        given = _tensor(out).requires_grad_()
        loss = loss_of(name, case, out.shape[1], given.dtype)(given, _tensor(y))
        loss.backward()
        record["loss"].append(loss.item())
        record["dout"].append(given.grad.numpy())
    return record | {"loss": np.array(record["loss"]), "dout": np.stack(record["dout"])}


@_in_double()
def optimizer(
    name: str, cases, shapes, start: np.ndarray, gradients: np.ndarray, factors: np.ndarray, kept: np.ndarray
) -> dict[str, np.ndarray]:
    """Parameters after the steps numbered in `kept`, and the state at the end, for each case.

    `start` and each row of `gradients` hold all parameters, one behind the other; before step t the learning rate is
    multiplied by `factors[t]`.
    """
    record = {"start": start, "gradients": gradients, "factors": factors, "kept": kept, "params": []}
    sizes = [int(np.prod(shape)) for shape in shapes]
    for number, case in enumerate(cases):
        twins = [torch.nn.Parameter(part.reshape(shape)) for part, shape in zip(_tensor(start).split(sizes), shapes)]
        steps, trajectory = _optimizer(name)(twins, **case), []
        for gradient, factor in zip(gradients, factors):
            steps.param_groups[0]["lr"] *= float(factor)
            for twin, part in zip(twins, _tensor(gradient).split(sizes)):
                twin.grad = part.reshape(twin.shape)
            steps.step()
            trajectory.append(_vector(twins))
        record["params"].append(np.stack(trajectory)[kept - 1])
        arrays = [
            [array for array in steps.state[twin].values() if torch.is_tensor(array) and array.shape == twin.shape]
            for twin in twins
        ]
        record[f"state.{number}"] = np.array([_vector(parts) for parts in zip(*arrays)]).reshape(-1, sum(sizes))
    return record | {"params": np.stack(record["params"])}


def schedule(name: str, cases, lr: float, metrics: np.ndarray) -> dict[str, np.ndarray]:
    """Learning rates and momenta of epoch 0 and after each of the `metrics`, which some schedules are told; for each case."""
    record = {"lr": np.array(lr), "metrics": metrics, "rates": [], "momenta": []}
    for case in cases:
        sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
        twin = _schedule(name, sgd, case)
        groups = [dict(sgd.param_groups[0])]
        for metric in metrics.tolist():
            sgd.step()
            twin.step(*[metric] * ("metrics" in inspect.signature(twin.step).parameters))
            groups.append(dict(sgd.param_groups[0]))
        record["rates"].append([float(group["lr"]) for group in groups])
        record["momenta"].append([float(group["momentum"]) for group in groups])
    return record | {key: np.array(record[key]) for key in ("rates", "momenta")}


def _schedule(name: str, sgd: torch.optim.SGD, case):
    """A schedule; where the case lists what makes schedules of an optimizer, their twins."""
    parts = {key: value for key, value in case.items() if isinstance(value, list) and isinstance(value[0], partial)}
    twins = {key: [_schedule(part.func.__name__, sgd, part.keywords) for part in value] for key, value in parts.items()}
    return getattr(torch.optim.lr_scheduler, name)(sgd, **case | twins)


def _steps(model, loss, sgd, x, y, *, epochs: int, batch_size: int) -> list[float]:
    """Train on batches in the order of the rows; the loss of each epoch, a mean over its rows, or a sum."""
    x, y, losses = _tensor(x), _tensor(y), []
    for _ in range(epochs):
        total, counted = 0.0, 0.0
        for rows in torch.arange(len(x)).split(batch_size):
            value = loss(model(x[rows]), y[rows])
            share = share_of(loss, y[rows].numpy())
            total += value.item() * share if share else 0.0
            counted += share
            sgd.zero_grad()
            value.backward()
            sgd.step()
        losses.append(total if loss.reduction == "sum" else total / counted)
    return losses


@_in_double()
def training(start: np.ndarray, x: np.ndarray, y: np.ndarray, trials, *, widths, epochs: int, batch_size: int) -> dict:
    """Parameters and losses of Linear, activation, Linear, for each trial: (name, case) of activation, loss, optimizer."""
    record = {"start": start, "x": x, "y": y, "trained": [], "losses": []}
    wide, middle, narrow = widths
    for (act, act_case), (loss, loss_case), (opt, opt_case) in trials:
        nn = torch.nn
        model = nn.Sequential(nn.Linear(wide, middle), _module(act, act_case, middle), nn.Linear(middle, narrow)).double()
        if registry.criteria()[loss].outputs in ("probabilities", "positive"):
            model.append(nn.Sigmoid())
        _load(model, start)
        steps = _optimizer(opt)(model.parameters(), **opt_case)
        record["losses"].append(
            _steps(model, loss_of(loss, loss_case, narrow, torch.double), steps, x, y, epochs=epochs, batch_size=batch_size)
        )
        record["trained"].append(_vector(model.parameters()))
    return record | {"trained": np.stack(record["trained"]), "losses": np.array(record["losses"])}


@_in_double()
def grouped(name: str, case, options, start: np.ndarray, x: np.ndarray, y: np.ndarray, *, steps: int, T_max: int) -> np.ndarray:
    """Parameters of Linear(3, 9), Tanh, Linear(9, 2) after steps over the whole data; `options` of weights, and of biases."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 2)).double()
    _load(model, start)
    params = list(model.parameters())
    groups = [{"params": params[i::2]} | options[i] for i in range(2)]
    optimizer = _optimizer(name)(groups, **case)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=T_max)
    for _ in range(steps):
        _steps(model, nn.MSELoss(), optimizer, x, y, epochs=1, batch_size=len(x))
        schedule.step()
    return _vector(params)


def linear(weight: np.ndarray, bias: np.ndarray | None, x: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """Output and gradients of a linear layer, whose state_dict is in the record."""
    twin = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=_tensor(weight).dtype)
    twin.load_state_dict({"weight": _tensor(weight)} | ({} if bias is None else {"bias": _tensor(bias)}))
    given = _tensor(x).requires_grad_()
    out = twin(given)
    out.backward(_tensor(dy))
    record = {"x": x, "dy": dy, "y": out.detach().numpy(), "dx": given.grad.numpy()}
    for name, parameter in twin.named_parameters():
        record |= {name: parameter.detach().numpy(), f"d{name}": parameter.grad.numpy()}
    return record


def network(layers, loss: str, x: np.ndarray, y: np.ndarray, *, lr: float, steps: int, seed: int) -> dict[str, np.ndarray]:
    """A network as PyTorch initializes it, the gradients of a first pass, losses and parameters of steps over the whole data.

    `layers` are (name, arguments). The parameters have the keys of the state_dict, behind ``start.``, ``grad.``, ``trained.``.
    """
    torch.manual_seed(seed)
    model = torch.nn.Sequential(*[getattr(torch.nn, name)(*arguments) for name, arguments in layers])
    model = model.to(_tensor(x).dtype)
    record = {"x": x, "y": y, "lr": np.array(lr)}
    record |= {f"start.{name}": array.numpy().copy() for name, array in model.state_dict().items()}
    given = _tensor(x).requires_grad_()
    criterion = loss_of(loss, {}, model(given).shape[1], given.dtype)
    sgd = torch.optim.SGD(model.parameters(), lr=lr)
    out = model(given)
    criterion(out, _tensor(y)).backward()
    record |= {"out": out.detach().numpy(), "dx": given.grad.numpy()}
    record |= {f"grad.{name}": parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
    record["losses"] = np.array(_steps(model, criterion, sgd, x, y, epochs=steps, batch_size=len(x)))
    return record | {f"trained.{name}": array.numpy().copy() for name, array in model.state_dict().items()}
