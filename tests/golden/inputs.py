"""The inputs of the golden numbers: values at which formulas differ, shapes across the edges of lines, seeded draws.

All are float32 numbers, so that both dtypes compute from the same ones, unless the values are about the dtype itself.
"""

from __future__ import annotations

import numpy as np

__all__ = ["BATCH_SIZE", "EPOCHS", "LAYERS", "RATE", "RATES", "SHAPES", "WIDTHS"]
__all__ += ["layer", "metrics", "normal", "of_kind", "outputs", "steps", "targets", "training", "values"]

#: Kinks of piecewise functions (1/2, 1, 3, 6, 20), where exponentials saturate (20, 88, 105, 750), and what lies between.
BENDS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 50, 88, 105, 750)
EXTREMES = (1e-30, 1e-8, 1e-3, 1e4, 1e30)

#: Of the network that every activation, loss and optimizer is trained in; more rows than whole batches have.
WIDTHS, ROWS, EPOCHS, BATCH_SIZE = (3, 5, 2), 11, 2, 4

#: Of the two parameters of the optimizers' trajectories, and the steps that are kept.
SHAPES, KEPT = ((2, 3), (2,)), np.array([1, 2, 3, 7, 8, 14, 20])

#: Of the schedules: the first rate, and how many epochs.
RATE, RATES = 0.3, 64

#: The whole networks: all modules that are no activation of the registry stand in them.
LAYERS = [("Linear", (3, 9)), ("Tanh", ()), ("Identity", ()), ("Linear", (9, 5, False)), ("ReLU", ()), ("Linear", (5, 4))]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32).astype(np.float64)


def values(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of an elementwise function, (1, W), and upstream gradients.

    Both signs of zero, subnormal and large numbers, infinities; NaN. Not the largest numbers: there PyTorch's GELU overflows.
    """
    info = np.finfo(dtype)
    positive = np.array([0, info.smallest_subnormal, info.tiny, *np.float32(BENDS + EXTREMES), info.max / 8, np.inf], dtype)
    x = np.concatenate([positive, -positive, [dtype(np.nan)]])[None]
    return x, normal(np.random.default_rng(1), *x.shape).astype(dtype)


def layer() -> list[np.ndarray]:
    """Inputs of a layer: four shapes; the last has rows of equal numbers, of zeros, of large and of small numbers."""
    rng = np.random.default_rng(9)
    rows = normal(rng, 6, 9)
    rows[1], rows[2], rows[3], rows[4] = 0.75, 0, np.float32(1e8) * rows[3], np.float32(1e-8) * rows[4]
    return [normal(rng, 1, 1), normal(rng, 4, 7), normal(rng, 3, 17), rows]


def outputs(kind: str) -> list[np.ndarray]:
    """Outputs of networks, which losses are made of: three shapes, then logits of extreme sizes and equal ones.

    `kind` is what the loss says of its outputs; of probabilities, 0 and 1 are the extremes.
    """
    rng = np.random.default_rng(2)
    large = [[1e30, 0, -1e30], [-1e30, -1e30, 1e30], [1e4, -1e4, 1e4], [0, 0, 0], [-0.0, 1e-30, -1e-8], [50, 100, -700]]
    if kind == "pairs":  # of the variances, those whose logarithm is beyond 88 have no float32
        large = [[1e10, 0, -30, 30], [0, 0, 0, -80], [-1e4, 1e-30, 80, 0]]
    drawn = [3 * normal(rng, *shape) for shape in ([1, 1], [5, 3], [3, 17])]
    if kind == "pairs":
        drawn = [np.hstack([array, array / 2]) for array in drawn]
    return [of_kind(kind, array) for array in (*drawn, np.float32(large).astype(np.float64))]


def of_kind(kind: str, out: np.ndarray) -> np.ndarray:
    """Outputs as a loss takes them, made of any numbers."""
    if kind == "positive":
        return np.abs(out)
    if kind == "probabilities":
        return np.where(np.abs(out) > 9, out > 0, np.float32(1 / (1 + np.exp(-np.clip(out, -9, 9))))).astype(np.float64)
    return out


def targets(kind: str, shape: tuple[int, int], rng: np.random.Generator, outputs: str = "numbers") -> np.ndarray:
    """Targets of a kind, for outputs of a shape and kind."""
    if kind == "labels":
        return rng.integers(shape[1], size=shape[0])
    if outputs == "pairs":
        shape = shape[0], shape[1] // 2
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape)
    if kind == "counts":
        return rng.poisson(2, shape).astype(np.float64)
    if kind in ("probabilities", "distributions"):
        drawn = np.float32(np.round(rng.uniform(0, 1, shape), 1))  # with 0 and 1 among them
        drawn[:, 0] += np.float32(1e-3) * (drawn.sum(axis=1) == 0)
        return (drawn if kind == "probabilities" else drawn / drawn.sum(axis=1, keepdims=True)).astype(np.float64)
    return normal(rng, *shape)


def steps() -> dict[str, np.ndarray]:
    """20 steps: a start, gradients from 1e-4 to 1e4 with zeros between, and two changes of the learning rate."""
    rng, size = np.random.default_rng(3), sum(int(np.prod(shape)) for shape in SHAPES)
    gradients = normal(rng, 20, size) * np.float32([1, 1, 1, 1e-4, 1e4, 0, 1, 1])
    gradients[5:9, 1] = 0
    factors = np.ones(20)
    factors[7], factors[13] = 0.125, 2
    return {"start": normal(rng, size), "gradients": gradients, "factors": factors, "kept": KEPT}


def metrics(epochs: int) -> np.ndarray:
    """How well epochs went, for schedules that want to know: better for a while, then not, again and again, either way."""
    rng, t = np.random.default_rng(9), np.arange(epochs)
    return np.round(1 + np.sin(t / 6) * np.exp(-t / 80) + 0.05 * normal(rng, epochs), 2)


def training(kind: str = "numbers", outputs: str = "numbers", between: bool = False) -> dict[str, np.ndarray]:
    """First parameters of the small network, inputs, targets; `between`: with those of any layer in the middle."""
    rng, (wide, middle, narrow) = np.random.default_rng(4), WIDTHS
    start = 0.5 * normal(rng, (wide + 1) * middle + (middle + 1) * narrow)
    data = {"x": normal(rng, ROWS, wide), "y": targets(kind, (ROWS, narrow), rng, outputs)}
    more = 0.5 * normal(rng, (middle + 1) * middle) if between else np.zeros(0)
    return {"start": np.concatenate([start, more])} | data
