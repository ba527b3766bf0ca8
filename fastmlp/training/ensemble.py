"""Networks whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.modules.labels import labels_of
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.training.history import History
from fastmlp.training.many import fit_many

__all__ = ["Ensemble"]


class Ensemble:
    """Networks of one kind that differ in their first values and their shuffles, and whose outputs are averaged.

    Parameters
    ----------
    build : callable
        ``build(rng)`` makes a network, its first values from a Generator.
    n : int
        How many, at least 1.
    rng : None, int or Generator
        For the first values of all.

    Attributes
    ----------
    models : list of Sequential
        The members.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(200, rng=0)
    >>> def build(rng):
    ...     return fm.Sequential(fm.Linear(2, 8, rng=rng), fm.ReLU(), fm.Linear(8, 2, rng=rng))
    >>> ensemble = fm.Ensemble(build, 4, rng=0)
    >>> histories = ensemble.fit(fm.CrossEntropyLoss(), fm.Adam, X, y, epochs=5, rng=0)
    >>> mean, spread = ensemble.predict(X, spread=True)
    >>> mean.shape, spread.shape, ensemble.predict_labels(X).shape
    ((200, 2), (200, 2), (200,))
    """

    def __init__(self, build: Callable[[np.random.Generator], Sequential], n: int, *, rng: Any = None):
        n, generators = checks.as_size(n, "n"), checks.as_generator(rng)
        self.models = [build(generator) for generator in generators.spawn(n)]
        for model in self.models:
            if not isinstance(model, Sequential):
                raise TypeError(f"build must return a Sequential of fastmlp; got {checks.full_name(model)}")

    def fit(
        self,
        criterion: Criterion,
        optimizer: Callable[..., Optimizer],
        X: Any,
        y: Any = None,
        *,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        rng: Any = None,
        **options: Any,
    ) -> list[History]:
        """Train all members at the same time, as :func:`fit_many` does.

        `optimizer` makes the optimizer of a member from its parameters: ``fm.Adam``, or
        ``lambda parameters: fm.SGD(parameters, lr=0.1)``; `schedule` its schedule from that optimizer.
        """
        optimizers = [optimizer(model.parameters()) for model in self.models]
        if schedule is not None:
            if not callable(schedule):
                came = checks.full_name(schedule)
                raise TypeError(
                    f"schedule must make a schedule from an optimizer: lambda optimizer: StepLR(optimizer, 10); got {came}"
                )
            options["schedule"] = [schedule(own) for own in optimizers]
        return fit_many(self.models, criterion, optimizers, X, y, rng=rng, **options)

    def predict(self, X: Any, *, spread: bool = False, threads: int | None = None) -> Any:
        """The mean of the members' outputs, (N, O); with `spread`, their standard deviation too."""
        return _mean_of([model.predict(X, threads=threads) for model in self.models], spread)

    def predict_proba(self, X: Any, *, spread: bool = False, threads: int | None = None) -> Any:
        """The mean of the members' probabilities, (N, classes); with `spread`, their standard deviation too."""
        return _mean_of([model.predict_proba(X, threads=threads) for model in self.models], spread)

    def predict_labels(self, X: Any, *, threads: int | None = None) -> np.ndarray:
        """The class of each row whose mean probability is largest, (N,)."""
        return labels_of(self.predict_proba(X, threads=threads), self.models[0].classes)

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.models)}: {self.models[0]!r}"


def _mean_of(outputs: list[np.ndarray], spread: bool) -> Any:
    stacked = np.stack(outputs)
    mean = stacked.mean(axis=0)
    return (mean, stacked.std(axis=0)) if spread else mean
