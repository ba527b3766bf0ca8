"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastmlp import checks
from fastmlp.kernels import updates
from fastmlp.kernels.layout import zeros
from fastmlp.optim.optimizer import Optimizer
from fastmlp.parameters import Parameter, Storage

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        velocity = momentum * velocity + (1 - dampening) * g      (the first step: velocity = g)
        param = param - lr * velocity                             (nesterov: param - lr * (g + momentum * velocity))

    Parameters
    ----------
    params : iterable of Parameter
        ``model.parameters()``.
    lr : float, default 0.001
        Learning rate, at least 0.
    momentum : float, default 0
        At least 0 and below 1.
    dampening : float, default 0
        At most 1.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    nesterov : bool, default False
        Nesterov's momentum; needs a momentum and no dampening.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML
    2013, section 2, in the form PyTorch gives it.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> criterion, optimizer = fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> x = np.array([[1.0, 2.0]])
    >>> before = criterion(model(x), [[1.0]])
    >>> optimizer.zero_grad()
    >>> _ = model.backward(criterion.backward())
    >>> optimizer.step()
    >>> criterion(model(x), [[1.0]]) < before
    True
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr)
        self.momentum = checks.as_number(momentum, "momentum", below=1.0)
        self.dampening = checks.as_number(dampening, "dampening", below=1.0 + 1e-12)
        self.weight_decay = checks.as_number(weight_decay, "weight_decay")
        self.nesterov = bool(nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")
        self.steps = 0
        self._velocities: dict[Storage, np.ndarray] = {}
        self._settings: tuple | None = None  # of the last step, whose hyperparameters are in `_row`
        self._row = np.empty(0)

    def step(self) -> None:
        """Change the parameters by what their gradients say."""
        parts = self._parts()
        dtype = parts[0][0].data.dtype
        settings = dtype, self.lr, self.momentum, self.dampening, self.weight_decay, self.nesterov, self.steps == 0
        if settings != self._settings:
            self._settings, self._row = settings, self._hyper(dtype, [self.lr], first=self.steps == 0)[0]
        hyper = self._row
        for storage, first, last in parts:
            velocity = self._velocity(storage)
            span = velocity if velocity.size == 0 else velocity[first:last]
            updates.sgd_step(storage.data[first:last], span, storage.grad[first:last], hyper)
        self.steps += 1

    def _hyper(self, dtype: np.dtype, rates: Iterable[float], *, first: bool) -> np.ndarray:
        """A row of hyperparameters for each learning rate. The first step of all is not dampened."""
        rates = list(rates)
        hyper = np.zeros((len(rates), updates.HYPER_SIZE), dtype)
        with np.errstate(over="ignore"):  # a rate beyond float32 becomes inf, and the step's result says so
            hyper[:, updates.LR] = rates
            hyper[:, updates.MOMENTUM] = self.momentum
            hyper[:, updates.KEEP] = 1 if first else 1 - self.dampening
            hyper[:, updates.WEIGHT_DECAY] = self.weight_decay
            hyper[:, updates.NESTEROV] = self.nesterov
        return hyper

    def _velocity(self, storage: Storage) -> np.ndarray:
        """The velocity, laid out as `storage`; empty where there is no momentum."""
        if self.momentum == 0:
            return np.empty(0, storage.data.dtype)
        if storage not in self._velocities:
            if self._velocities and self.steps:
                raise RuntimeError(
                    "the parameters have moved since the last step, as they do when a Sequential is built around them, and "
                    "their velocities have not: make the optimizer after the network"
                )
            self._velocities[storage] = zeros(storage.data.size, storage.data.dtype)
        return self._velocities[storage]

    def state_dict(self) -> dict:
        """The hyperparameters, the steps done, and a copy of each parameter's velocity in order (none before the first)."""
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
            "steps": self.steps,
            "velocity": [
                np.array(parameter.view_of(self._velocity(parameter.storage)), order="C")
                for parameter in self.params
                if self.momentum and self.steps
            ],
        }

    def load_state_dict(self, state: dict) -> None:
        """Take over what ``state_dict`` gave, from an optimizer of parameters of the same shapes.

        Raises
        ------
        KeyError
            If an entry is missing.
        ValueError
            If the shapes of the velocities differ.
        """
        fresh = SGD(self.params, *(state[name] for name in ("lr", "momentum", "dampening", "weight_decay", "nesterov")))
        steps = checks.as_size(state["steps"], "steps", least=0)
        velocities = state["velocity"]
        if len(velocities) != (len(self.params) if fresh.momentum and steps else 0):
            raise ValueError(f"velocity must hold one array for each of {len(self.params)} parameters; got {len(velocities)}")
        for parameter, values in zip(self.params, velocities):
            view = parameter.view_of(fresh._velocity(parameter.storage))
            view[...] = checks.as_like(values, view, "velocity")
        fresh.steps = steps
        self.__dict__.update(fresh.__dict__)

    def __repr__(self) -> str:
        names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
        return f"SGD({', '.join(f'{name}={getattr(self, name)}' for name in names)})"
