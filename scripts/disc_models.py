"""The models that train_disc.py compares, and how each one sees the points.

To try a model of your own, add a line to `MODELS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import fastmlp as fm

__all__ = ["MODELS", "DiscModel", "centre_and_scale"]

#: Widths of the network of the report: two coordinates, three hidden layers of 25, a score for each of the two labels.
REPORT = (2, 25, 25, 25, 2)

ACTIVATIONS = {"ReLU": fm.ReLU, "tanh": fm.Tanh, "sigmoid": fm.Sigmoid}


@dataclass(frozen=True)
class DiscModel:
    """A network and how it is trained.

    Attributes
    ----------
    name : str
        What `--model` calls it.
    widths : tuple of int
        From the input, 2, to the output, 2.
    activation : str
        ``"ReLU"``, ``"tanh"`` or ``"sigmoid"``, after every layer but the last.
    lr : float
        Learning rate of SGD.
    momentum : float
        Momentum of SGD.
    nesterov : bool
        Whether it is Nesterov's.
    cosine : bool
        Whether the learning rate falls to zero over the epochs, along half a cosine.
    loss : str
        ``"CE"``, cross-entropy against the labels, or ``"MSE"``, mean squared error against one-hot targets.
    batch_size : int
        Points of a step.
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    cosine: bool = False
    loss: str = "CE"
    batch_size: int = 100

    def build(self) -> fm.Sequential:
        """Make the network, its parameters not yet drawn."""
        modules: list[fm.Module] = []
        for width_in, width_out in zip(self.widths, self.widths[1:]):
            modules += [fm.Linear(width_in, width_out), ACTIVATIONS[self.activation]()]
        return fm.Sequential(*modules[:-1])

    def optimizer(self, network: fm.Sequential) -> fm.SGD:
        """SGD on the parameters of `network`."""
        return fm.SGD(network.parameters(), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)

    def schedule(self, optimizer: fm.SGD, epochs: int) -> fm.LRScheduler | None:
        """The schedule of the learning rate, if there is one."""
        return fm.CosineAnnealingLR(optimizer, epochs) if self.cosine else None

    def criterion(self) -> fm.Criterion:
        """The loss."""
        return fm.CrossEntropyLoss() if self.loss == "CE" else fm.MSELoss()

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """What the loss compares the scores with."""
        return labels if self.loss == "CE" else np.eye(2, dtype=np.float32)[labels]

    @property
    def network_text(self) -> str:
        """The network in words."""
        return f"{'-'.join(map(str, self.widths))} {self.activation}"

    @property
    def rate_text(self) -> str:
        """The optimizer in words."""
        momentum = f", {'Nesterov' if self.nesterov else 'momentum'} {self.momentum:g}" if self.momentum else ""
        return f"{self.lr:g}{' cosine' if self.cosine else ''}{momentum}"


def centre_and_scale(points: np.ndarray) -> np.ndarray:
    """Points of the unit square with mean 0 and variance 1 in each coordinate, as all models see them.

    A coordinate is uniform on [0, 1): its mean is 1/2 and its variance 1/12, so nothing is estimated from data. Without this,
    the first layer sees inputs that are all positive and small. Mean test errors then rise from 2.1 to 4.2 % for `report`,
    from 1.5 to 2.3 % for `tiny`, from 0.8 to 0.9 % for `tanh`, and `sigmoid` learns next to nothing in 250 epochs (47 %).
    """
    return (points - np.float32(0.5)) * np.float32(math.sqrt(12))


# Chosen on the seeds 1000 to 1019 and 2000 to 2039, none of which a plain run uses; the percentages are mean test errors on
# all of these. The learning rates are round numbers that need not be exact: at half and at twice of each, the mean stays
# within 0.4 percentage points.
MODELS = (
    # Plain SGD. Its boundary still moves with every step at the end: 2.1 %.
    DiscModel("report", REPORT, "ReLU", lr=0.2),
    # The same network with momentum and a learning rate that falls to zero: 1.1 %.
    DiscModel("relu", REPORT, "ReLU", lr=0.1, momentum=0.9, cosine=True),
    # A smooth activation for a smooth boundary: 0.8 %. Without the schedule, 1.8 %.
    DiscModel("tanh", REPORT, "tanh", lr=0.05, momentum=0.9, cosine=True),
    # Regression to one-hot targets, whose gradient is flatter: 1.3 %. A learning rate of 0.2 gives 1.1 %, but diverges at 0.4.
    DiscModel("mse", REPORT, "tanh", lr=0.1, momentum=0.9, cosine=True, loss="MSE"),
    # A sigmoid passes on a quarter of a gradient at most, so two hidden layers and smaller batches: 0.9 %. With three hidden
    # layers most seeds never leave the plateau of the beginning (40 %); with a learning rate of 1, some don't.
    DiscModel("sigmoid", (2, 25, 25, 2), "sigmoid", lr=0.1, momentum=0.9, cosine=True, batch_size=50),
    # One wide hidden layer instead of three: 1.1 %.
    DiscModel("wide", (2, 64, 2), "ReLU", lr=0.05, momentum=0.9, nesterov=True, cosine=True, batch_size=50),
    # 52 parameters, and small batches for more steps: 1.5 %.
    DiscModel("tiny", (2, 10, 2), "tanh", lr=0.05, momentum=0.9, cosine=True, batch_size=20),
)
