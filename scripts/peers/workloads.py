"""What is trained: networks, batches, losses, and data to train on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["EPS", "WORKLOADS", "Problem", "Workload"]

#: By optimizer: plain SGD, and Adam with everybody's defaults.
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001}

#: What all add to a variance.
EPS = 1e-5


@dataclass(frozen=True)
class Workload:
    """A network and a batch. Plain SGD unless said otherwise, float32, batches in order; `rows` make an epoch.

    `batch_norm` normalises what comes into each activation, whose linear layer then has no bias, and `dropout` is the
    probability that a number that comes out of one is dropped.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    rows: int
    activation: str = "relu"
    loss: str = "cross-entropy"
    optimizer: str = "sgd"
    batch_norm: bool = False
    dropout: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether those take part who have neither Adam, as it is written, nor such layers."""
        return self.optimizer == "sgd" and not self.batch_norm and not self.dropout

    @property
    def learning_rate(self) -> float:
        """The optimizer's."""
        return LEARNING_RATES[self.optimizer]

    @property
    def flops(self) -> int:
        """Useful flops of a step: three products for each layer, without the input gradient of the first."""
        sizes = [wide * narrow for wide, narrow in pairwise(self.widths)]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.rows // self.batch


DISC, TABULAR = (2, 25, 25, 25, 2), (64, 256, 256, 10)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("disc-b100", DISC, 100, 1000),
        Workload("disc-b10", DISC, 10, 1000),
        Workload("disc-b1", DISC, 1, 1000),
        Workload("disc-tanh-b100", DISC, 100, 1000, "tanh", "mse"),
        Workload("tabular", TABULAR, 128, 128 * 20),
        Workload("tabular-adam", TABULAR, 128, 128 * 20, optimizer="adam"),
        Workload("tabular-dropout", TABULAR, 128, 128 * 20, dropout=0.5),
        Workload("tabular-batchnorm", TABULAR, 128, 128 * 20, batch_norm=True),
        Workload("mnist-512", (784, 512, 512, 10), 128, 128 * 8),
        Workload("mnist-1024", (784, 1024, 1024, 10), 256, 256 * 3),
        Workload("wide-1024", (1024, 1024, 1024, 1024), 512, 512 * 8),
        Workload("wide-2048", (2048, 2048, 2048), 128, 128 * 16),
        Workload("tall", (4, 32, 16, 4), 10_000, 10_000, "tanh", "mse"),
    )
}


class Problem:
    """A workload with its data and the parameters that everybody starts from, others for each `number` on the same data."""

    def __init__(self, workload: Workload, number: int = 0):
        rng = np.random.default_rng(0)
        self.workload = workload
        widths = workload.widths
        self.x = rng.standard_normal((workload.rows, widths[0]), dtype=np.float32)
        self.labels = rng.integers(0, widths[-1], workload.rows)
        if len(np.unique(self.labels)) < widths[-1]:  # scikit-learn knows those that it sees
            self.labels = rng.permutation(np.arange(workload.rows) % widths[-1])
        self.one_hot = np.eye(widths[-1], dtype=np.float32)[self.labels]
        rng = rng if number == 0 else np.random.default_rng(number)
        self.parameters = []  # (weight (O, I), bias (O,)) of each layer, with batch_norm the bias of the normalised numbers
        for wide, narrow in pairwise(widths):
            bound = wide**-0.5
            weight = rng.uniform(-bound, bound, (narrow, wide)).astype(np.float32)
            self.parameters.append((weight, rng.uniform(-bound, bound, narrow).astype(np.float32)))

    @property
    def y(self) -> np.ndarray:
        """Labels, or one-hot targets."""
        return self.one_hot if self.workload.loss == "mse" else self.labels

    @property
    def flat_parameters(self) -> list[np.ndarray]:
        """Weight, bias, weight, bias, ...; with batch_norm the scales too: weight, scale, bias, ..., weight, bias."""
        if not self.workload.batch_norm:
            return [array for pair in self.parameters for array in pair]
        hidden = [array for weight, bias in self.parameters[:-1] for array in (weight, np.ones_like(bias), bias)]
        return [*hidden, *self.parameters[-1]]

    def scores(self, x: np.ndarray, parameters: list[np.ndarray] | None = None) -> np.ndarray:
        """What the network makes of `x`, in float64, nothing dropped, `x` normalised as one batch: the judge of all outputs."""
        arrays = [array.astype(np.float64) for array in (self.flat_parameters if parameters is None else parameters)]
        out = x.astype(np.float64)
        for _ in self.parameters[:-1]:
            out = out @ arrays.pop(0).T
            if self.workload.batch_norm:
                out = (out - out.mean(axis=0)) / np.sqrt(out.var(axis=0) + EPS) * arrays.pop(0)
            out = out + arrays.pop(0)
            out = np.tanh(out) if self.workload.activation == "tanh" else np.maximum(out, 0)
        return out @ arrays[0].T + arrays[1]

    def loss(self, parameters: list[np.ndarray]) -> float:
        """The loss of these parameters over all rows, in float64: the judge of everybody's training."""
        scores = self.scores(self.x, parameters)
        if self.workload.loss == "mse":
            return float(np.mean((scores - self.one_hot) ** 2))
        highest = scores.max(axis=1)
        sums = highest + np.log(np.exp(scores - highest[:, None]).sum(axis=1))
        return float(np.mean(sums - scores[np.arange(len(scores)), self.labels]))
