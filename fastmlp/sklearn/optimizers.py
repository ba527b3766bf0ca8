"""scikit-learn's two stochastic optimizers, with its arithmetic and its L2 penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.squares import Squares
from fastmlp.kernels.compiler.expression import muladd
from fastmlp.kernels.elementary import sqrt
from fastmlp.kernels.op import Op
from fastmlp.modules import Linear, Sequential
from fastmlp.optim import Optimizer
from fastmlp.optim.rules import number

__all__ = ["PenalisedAdam", "PenalisedOptimizer", "PenalisedSGD"]


class PenalisedOptimizer(Optimizer):
    """The base: the loss of a batch is its mean plus ``alpha / (2 W) * sum of the squared weights``, W the weights of its rows.

    Without weights of rows W is their number, so the last, smaller batch of an epoch has a larger penalty. Intercepts have
    none. The penalty is a part of scikit-learn's loss, by which training stops: the engine sums the squares of the weights in
    each step, before the update.
    """

    rules: ClassVar = {"alpha": number}

    def __init__(self, params: Iterable[Any], lr: float, **options: Any):
        # Of the batches of the epoch that begins after step `begin`: 1 / W, and rows / W.
        self.inverses, self.shares, self.begin = np.ones(1), np.ones(1), 0
        super().__init__(params, lr=lr, **options)

    @classmethod
    def groups(cls, model: Sequential, alpha: float) -> list[dict[str, Any]]:
        """The parameters of a network as groups: weights of Linear, which have the penalty, and all others."""
        weights = [layer.weight for layer in model.modules() if isinstance(layer, Linear)]
        penalised = set(map(id, weights))
        others = [parameter for parameter in model.parameters() if id(parameter) not in penalised]
        return [{"params": weights, "alpha": alpha}, {"params": others, "alpha": 0.0}]

    @property
    def penalised(self) -> bool:
        """Whether there is a penalty at all."""
        return any(group["alpha"] for group in self.param_groups)

    def _updates(self) -> list[Op]:  # type: ignore[override]
        spans = [(first, last) for _, first, last, group in self._spans() if self.param_groups[group]["alpha"]]
        return [*super()._updates(), *(Squares(first, last - first) for first, last in spans)]

    def begin_epoch(self, sums: np.ndarray, sizes: np.ndarray) -> None:
        """Say what the rows of each batch of the epoch that begins weigh, and how many they are."""
        inverses = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums != 0)
        self.inverses, self.shares, self.begin = inverses, sizes * inverses, self.steps

    def squares(self) -> float:
        """The sum of the squares of what has the penalty, as it is."""
        penalised = [p for group in self.param_groups if group["alpha"] for p in group["params"]]
        return sum(float((p.data.astype(np.float64) ** 2).sum()) for p in penalised)

    def _penalty(self, group: dict[str, Any], t: np.ndarray) -> tuple[Any, ...]:
        """The factor of p in its gradient."""
        if not self.penalised:
            return ()
        if not group["alpha"]:
            return (0.0,)
        return (group["alpha"] * self.inverses[(t - 1 - self.begin) % len(self.inverses)],)

    @property
    def learning_rate(self) -> float:
        """That of the last step, as scikit-learn has it."""
        return self.lr


class PenalisedSGD(PenalisedOptimizer):
    """``velocity = momentum * velocity - lr * g``, and the parameter follows; with Nesterov's momentum by one step more.

    Unlike PyTorch's, the velocity has the learning rate in it: where the rate falls, what has been gathered before does not.
    """

    rules: ClassVar = {
        **PenalisedOptimizer.rules,
        "momentum": lambda value, name: checks.as_number(value, name, most=1.0),
        "nesterov": checks.as_flag,
    }
    state = ("velocity",)

    def __init__(self, params: Iterable[Any], lr: float, momentum: float, nesterov: bool, schedule: str, power_t: float):
        self.schedule, self.power_t = schedule, power_t
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov, alpha=0.0)
        self.initial = float(lr)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        # The step is `ahead * velocity - now * g`: with Nesterov's momentum velocity and gradient are taken once more.
        momentum, nesterov = group["momentum"], group["nesterov"]
        ahead, now = (momentum, lr) if nesterov else (1.0, 0 * lr)
        return -lr, momentum, ahead, -now, *self._penalty(group, t)

    @property
    def update(self) -> Callable[..., Any]:  # type: ignore[override]
        return sgd_penalised if self.penalised else sgd

    def epoch_ends(self, t: int) -> None:
        """Set the rate of the next epoch; `t` rows have been trained on in all."""
        if self.schedule == "invscaling":
            self.lr = self.initial / (t + 1) ** self.power_t

    def slow_down(self) -> bool:
        """Whether the rate, which gets no better, can still be divided by 5; then it is."""
        if self.schedule != "adaptive" or self.learning_rate <= 1e-6:
            return False
        self.lr = self.learning_rate / 5.0
        return True


class PenalisedAdam(PenalisedOptimizer):
    """``param - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)``: eps beside the root as it stands."""

    rules: ClassVar = {
        **PenalisedOptimizer.rules,
        "beta_1": lambda value, name: checks.as_number(value, name, below=1.0),
        "beta_2": lambda value, name: checks.as_number(value, name, below=1.0),
        "epsilon": number,
    }
    state = ("m", "v")
    schedule = "constant"

    def __init__(self, params: Iterable[Any], lr: float, beta_1: float, beta_2: float, epsilon: float):
        super().__init__(params, lr=lr, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, alpha=0.0)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["beta_1"], group["beta_2"]
        rate = -lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        return rate, beta1, 1 - beta1, beta2, 1 - beta2, group["epsilon"], *self._penalty(group, t)

    @property
    def update(self) -> Callable[..., Any]:  # type: ignore[override]
        return adam_penalised if self.penalised else adam

    def epoch_ends(self, t: int) -> None:
        """Nothing: its rate is constant."""

    @property
    def learning_rate(self) -> float:
        group, t = self.param_groups[0], self.steps
        if not t:
            return group["lr"]
        return float(group["lr"] * np.sqrt(1 - group["beta_2"] ** t) / (1 - group["beta_1"] ** t))

    def slow_down(self) -> bool:
        """Adam has one rate."""
        return False


def sgd(p, g, velocity, minus_lr, momentum, ahead, now):
    """A step of SGD."""
    velocity = muladd(minus_lr, g, momentum * velocity)
    return p + muladd(now, g, ahead * velocity), velocity


def sgd_penalised(p, g, velocity, minus_lr, momentum, ahead, now, decay):
    """The same with the penalty."""
    return sgd(p, muladd(decay, p, g), velocity, minus_lr, momentum, ahead, now)


def adam(p, g, m, v, rate, beta1, new1, beta2, new2, epsilon):
    """A step of Adam."""
    m = muladd(beta1, m, new1 * g)
    v = muladd(beta2, v, new2 * g * g)
    return muladd(rate, m / (sqrt(v) + epsilon), p), m, v


def adam_penalised(p, g, m, v, rate, beta1, new1, beta2, new2, epsilon, decay):
    """The same with the penalty."""
    return adam(p, muladd(decay, p, g), m, v, rate, beta1, new1, beta2, new2, epsilon)
