"""What PyTorch answers: for inputs in NumPy's arrays, a record of inputs and outputs. The other side is replay.py.

Nothing here knows an entry of the registry by name: a twin is PyTorch's class of the same name, made with the same arguments.
"""

from __future__ import annotations

import numpy as np
import torch

from fastmlp import registry

__all__ = ["activation", "criterion", "layer", "linear", "network", "optimizer", "schedule", "training"]

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


#: Twins that are not in torch.nn.
OWN = {"AlphaDropout": AlphaDropout, "Dropout": Dropout, "Scale": Scale}


def _module(name: str, case: dict, width: int) -> torch.nn.Module:
    """The twin of an activation or a layer, for inputs of this width."""
    return (OWN.get(name) or getattr(torch.nn, name))(**registry.filled(case, width))


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
        loss = getattr(torch.nn, name)(**case)(given, _tensor(y))
        loss.backward()
        record["loss"].append(loss.item())
        record["dout"].append(given.grad.numpy())
    return record | {"loss": np.array(record["loss"]), "dout": np.stack(record["dout"])}


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
        steps, trajectory = getattr(torch.optim, name)(twins, **case), []
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


def schedule(name: str, cases, lr: float, steps: int) -> dict[str, np.ndarray]:
    """The learning rates of epochs 0 .. steps, for each case."""
    rates = []
    for case in cases:
        sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        twin = getattr(torch.optim.lr_scheduler, name)(sgd, **case)
        rates.append([lr_now := sgd.param_groups[0]["lr"]])
        for _ in range(steps):
            sgd.step()
            twin.step()
            lr_now = sgd.param_groups[0]["lr"]
            rates[-1].append(float(lr_now))
    return {"lr": np.array(lr), "rates": np.array(rates)}


def _steps(model, loss, sgd, x, y, *, epochs: int, batch_size: int) -> list[float]:
    """Train on batches in the order of the rows; the loss of each epoch, a mean over its rows."""
    x, y, losses = _tensor(x), _tensor(y), []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.arange(len(x)).split(batch_size):
            value = loss(model(x[rows]), y[rows])
            total += value.item() * len(rows)
            sgd.zero_grad()
            value.backward()
            sgd.step()
        losses.append(total / len(x))
    return losses


def training(start: np.ndarray, x: np.ndarray, y: np.ndarray, trials, *, widths, epochs: int, batch_size: int) -> dict:
    """Parameters and losses of Linear, activation, Linear, for each trial: (name, case) of activation, loss, optimizer."""
    record = {"start": start, "x": x, "y": y, "trained": [], "losses": []}
    wide, middle, narrow = widths
    for (act, act_case), (loss, loss_case), (opt, opt_case) in trials:
        nn = torch.nn
        model = nn.Sequential(nn.Linear(wide, middle), _module(act, act_case, middle), nn.Linear(middle, narrow)).double()
        _load(model, start)
        steps = getattr(torch.optim, opt)(model.parameters(), **opt_case)
        record["losses"].append(
            _steps(model, getattr(nn, loss)(**loss_case), steps, x, y, epochs=epochs, batch_size=batch_size)
        )
        record["trained"].append(_vector(model.parameters()))
    return record | {"trained": np.stack(record["trained"]), "losses": np.array(record["losses"])}


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
    criterion, sgd = getattr(torch.nn, loss)(), torch.optim.SGD(model.parameters(), lr=lr)
    given = _tensor(x).requires_grad_()
    out = model(given)
    criterion(out, _tensor(y)).backward()
    record |= {"out": out.detach().numpy(), "dx": given.grad.numpy()}
    record |= {f"grad.{name}": parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
    record["losses"] = np.array(_steps(model, criterion, sgd, x, y, epochs=steps, batch_size=len(x)))
    return record | {f"trained.{name}": array.numpy().copy() for name, array in model.state_dict().items()}
