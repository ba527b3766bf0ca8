"""Make golden numbers from PyTorch: ``make golden`` those that are missing or of other cases, ``make golden NAMES=GELU`` anew.

The same PyTorch on the same processor makes the same bytes.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from fastmlp import registry

from . import inputs, twins
from .record import NETWORKS, Record, is_current, save

__all__ = ["golden", "main"]

DTYPES = {"float32": np.float32, "float64": np.float64}

# What stands beside an entry in the small network.
TANH, MSE, SGD = ("Tanh", {}), ("MSELoss", {}), ("SGD", {"lr": 0.1})


def trained(trials: list, kind: str = "numbers", outputs: str = "numbers", between: bool = False) -> Record:
    how = {"widths": inputs.WIDTHS, "epochs": inputs.EPOCHS, "batch_size": inputs.BATCH_SIZE}
    return twins.training(**inputs.training(kind, outputs, between), trials=trials, **how)


def activation(name: str, cases) -> dict[str, Record]:
    records = {kind: twins.activation(name, cases, *inputs.values(dtype)) for kind, dtype in DTYPES.items()}
    return records | {"training": trained([((name, case), MSE, SGD) for case in cases])}


def layer(name: str, cases) -> dict[str, Record]:
    records = {
        f"{kind}.{number}": twins.layer(name, cases, x.astype(dtype), np.random.default_rng(6))
        for number, x in enumerate(inputs.layer())
        if len(x) >= registry.entries()[name].least_rows
        for kind, dtype in DTYPES.items()
        if kind == "float64" or number % 2
    }
    # Cases differ in how many parameters they have, so each has a record.
    return records | {
        f"training.{number}": trained([((name, case), MSE, SGD)], between=True) for number, case in enumerate(cases)
    }


def criterion(name: str, cases) -> dict[str, Record]:
    records, entry = {}, registry.criteria()[name]
    for kind in entry.targets:
        for number, out in enumerate(inputs.outputs(entry.outputs)):
            y = inputs.targets(kind, out.shape, np.random.default_rng(5), entry.outputs)
            for precision, dtype in DTYPES.items():
                target = y if kind == "labels" else y.astype(dtype)
                records[f"{kind}.{precision}.{number}"] = twins.criterion(name, cases, out.astype(dtype), target)
        trials = [(TANH, (name, case), ("SGD", {"lr": 0.02})) for case in cases]
        records[f"training.{kind}"] = trained(trials, kind, entry.outputs)
    return records


def optimizer(name: str, cases) -> dict[str, Record]:
    records = {"steps": twins.optimizer(name, cases, inputs.SHAPES, **inputs.steps())}
    return records | {"training": trained([(TANH, MSE, (name, case)) for case in cases])}


def schedule(name: str, cases) -> dict[str, Record]:
    return {"epochs": twins.schedule(name, cases, inputs.RATE, inputs.metrics(inputs.RATES))}


def network() -> dict[str, Record]:
    records = {}
    for loss in ("MSELoss", "CrossEntropyLoss"):
        rng, labels = np.random.default_rng(7), loss == "CrossEntropyLoss"
        x = inputs.normal(rng, 9, 3)
        y = inputs.targets("labels" if labels else "numbers", (9, 4), rng)
        for kind, dtype in DTYPES.items():
            target = y if labels else y.astype(dtype)
            records[f"{loss}.{kind}"] = twins.network(inputs.LAYERS, loss, x.astype(dtype), target, lr=0.1, steps=5, seed=8)
    return records


def golden(name: str) -> dict[str, Record]:
    """What belongs into a file."""
    if name in NETWORKS:
        return network()
    entry = registry.entries()[name]
    families = {activation: registry.activations, layer: registry.layers, criterion: registry.criteria}
    families[optimizer] = registry.optimizers
    record = next((make for make, family in families.items() if name in family()), schedule)
    return record(name, entry.cases)


def main(names: list[str]) -> None:
    """Make the files of these entries, or all that are missing or of other cases."""
    known = [*NETWORKS, *registry.entries()]
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"make golden: not in the registry: {', '.join(unknown)}. There are {', '.join(known)}")
    for name in names or [name for name in known if not is_current(name)]:
        path = save(name, golden(name), torch.__version__)
        print(f"tests/golden/{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
