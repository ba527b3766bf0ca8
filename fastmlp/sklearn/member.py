"""A network of a table: RealMLP-TD-S (arXiv:2407.04491), with its rates by layer and its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp.modules import Embedding, Linear, Module, Scale, Sequential
from fastmlp.optim import Adam, LambdaLR, LRScheduler
from fastmlp.sklearn.columns import ENTRIES, Columns
from fastmlp.sklearn.network import bias_of

__all__ = ["network_of", "optimizer_of", "schedule_of"]


def network_of(columns: Columns, hidden: list[int], outputs: int, kind: type[Module], draws: np.random.Generator) -> Sequential:
    """A network whose weights are drawn from N(0, 1 / in), whose biases from N(0, 1), and whose last layer is zero."""
    row: list[Module] = []
    width = columns.width
    if columns.embeddings:
        vectors = Embedding(columns.embeddings, dict.fromkeys(columns.embeddings, ENTRIES), in_features=width, rng=draws)
        for column in columns.embeddings:
            getattr(vectors, f"weight_{column}").data[0] = 0  # what has never been seen
        row.append(vectors)
        width = vectors.out_features
    row.append(Scale(width))
    for size in hidden:
        layer = Linear(width, size, rng=0)
        layer.weight.data = draws.standard_normal(layer.weight.shape) / math.sqrt(width)
        bias_of(layer).data = draws.standard_normal(size)
        row += [layer, kind()]
        width = size
    last = Linear(width, outputs, rng=0)
    last.weight.data, bias_of(last).data = np.zeros(last.weight.shape), np.zeros(outputs)
    return Sequential(*row, last)


def optimizer_of(model: Sequential, lr: float) -> Adam:
    """Adam with rates by layer: that of a weight over the root of its inputs, as of a weight N(0, 1) over that root."""
    groups: list[Mapping[str, Any]] = []
    for module in model:
        if isinstance(module, Linear):
            groups.append({"params": [module.weight], "lr": lr / math.sqrt(module.in_features)})
            groups.append({"params": [bias_of(module)], "lr": 0.1 * lr})
        elif isinstance(module, Scale):
            groups.append({"params": [module.weight], "lr": 6 * lr})
        elif isinstance(module, Embedding):
            groups.append({"params": list(module.parameters()), "lr": lr})
    return Adam(groups, lr=lr, betas=(0.9, 0.95))  # type: ignore[arg-type]


def schedule_of(optimizer: Adam, steps: int) -> LRScheduler:
    """Four cosines on logarithmic time: ``(1 - cos(2 pi log2(1 + 15 t))) / 2``, t from 0 to 1."""
    schedule = LambdaLR(optimizer, lambda step: 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * step / steps))))
    schedule.interval = "step"
    return schedule
