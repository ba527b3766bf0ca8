"""Many networks, each trained as if it were alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.modules.labels import labels_of
from fastmlp.optim import Optimizer
from fastmlp.team import cores
from fastmlp.training.fit import fit
from fastmlp.training.history import History
from fastmlp.training.interrupts import let_call_off

__all__ = ["Ensemble", "fit_many"]

#: Options of which each network may have its own, in a list.
EACH = ("X", "y", "rng", "schedule", "sample_weight", "validation", "checkpoint")


def fit_many(
    models: Iterable[Sequential],
    criterion: Criterion,
    optimizers: Iterable[Optimizer],
    X: Any,
    y: Any,
    *,
    rng: Any = None,
    threads: int | None = None,
    **options: Any,
) -> list[History]:
    """Train several networks at the same time, each on one thread, as :func:`fastmlp.fit` would train it alone, bit for bit.

    Threads take whole networks, so they never wait for each other: on many small networks that is as many times as fast as
    there are cores, where the threads of one small network would only get in each other's way.

    Parameters
    ----------
    models, optimizers : iterable of Sequential, of Optimizer
        One optimizer for each network, of its parameters.
    criterion : Criterion
        The loss of all.
    X, y : array_like
        Data for all, converted once; or lists of as many arrays as there are networks, one for each.
    rng : None, int, Generator, or a list
        For the shuffles: a number for each network is drawn from it, or a list has one for each.
    threads : int, optional
        How many networks are trained at the same time; by default as many as there are cores.
    **options
        Those of :func:`fastmlp.fit`. ``schedule``, ``sample_weight``, ``validation`` may be lists, one for each network;
        ``progress`` is off. ``checkpoint`` is a list of folders, or one folder, in which each network has its own, called by
        its number: 0, 1, ...; with ``resume=True`` each goes on from where it was.

    Returns
    -------
    list of History
        In the order of the networks.

    Raises
    ------
    ValueError, TypeError
        As :func:`fastmlp.fit`; where lists have other lengths; where a network or an optimizer comes twice.
    NonFiniteLossError
        Of the first network whose loss becomes NaN or infinite; `index` is its number. The others are as after their last
        finished step, as they are after Ctrl-C.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(200, rng=0)
    >>> models = [fm.Sequential(fm.Linear(2, 8, rng=i), fm.ReLU(), fm.Linear(8, 2, rng=i)) for i in range(3)]
    >>> optimizers = [fm.Adam(model.parameters()) for model in models]
    >>> histories = fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, epochs=5, rng=0)
    >>> [len(history.loss) for history in histories]
    [5, 5, 5]
    """
    models, optimizers = list(models), list(optimizers)
    count = len(models)
    if count == 0:
        raise ValueError("models is empty")
    if len(optimizers) != count:
        raise ValueError(f"there must be one optimizer for each network; got {count} networks and {len(optimizers)} optimizers")
    for things, name in ((models, "network"), (optimizers, "optimizer")):
        if len(set(map(id, things))) < count:
            raise ValueError(f"{checks.messages.a(name)} comes twice: each is trained by itself")
    if options.get("progress"):
        raise ValueError("there is no progress of many networks at the same time: leave progress out")
    given = {"X": X, "y": y, "rng": _seeds(rng, count)} | {name: options.pop(name) for name in EACH if name in options}
    if given.get("checkpoint") is not None:
        given["checkpoint"] = _folders(given["checkpoint"], count)
    each = {name: _one_each(value, count, name) for name, value in given.items()}
    workers = min(count, cores() if threads is None else checks.as_size(threads, "threads"))
    stop = threading.Event()

    def train(number: int) -> History | None:
        if stop.is_set():
            return None
        let_call_off(stop)
        own = {name: values[number] for name, values in each.items()}
        how = options | {"progress": False, "threads": 1}
        return fit(models[number], criterion, optimizers[number], own.pop("X"), own.pop("y"), **own, **how)

    with ThreadPoolExecutor(workers, thread_name_prefix="fastmlp-many") as pool:
        futures = [pool.submit(train, number) for number in range(count)]
        try:
            done = wait(futures, return_when=FIRST_EXCEPTION).done
            failed = [future for future in done if future.exception() is not None]
        except BaseException:  # Ctrl-C: who is at work ends with its next step
            stop.set()
            raise
        if failed:
            stop.set()
    for number, future in enumerate(futures):
        failure = future.exception()
        if failure is not None:
            failure.index = number  # type: ignore[attr-defined]
            raise failure
    return [future.result() for future in futures]  # type: ignore[misc]


def _one_each(value: Any, count: int, name: str) -> list[Any]:
    """What each network gets: its own entry of a list, or what all get."""
    if not isinstance(value, list) or (name in ("X", "y", "sample_weight") and not _is_list_of_data(value)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} is a list of {len(value)}, one for each network; there are {count} networks")
    return value


def _is_list_of_data(value: list) -> bool:
    """Whether a list holds arrays, one for each network, and is not data itself."""
    return bool(value) and all(isinstance(item, np.ndarray) and item.ndim for item in value)


def _folders(checkpoint: Any, count: int) -> list[Any]:
    """A folder for each network."""
    if isinstance(checkpoint, (str, os.PathLike)):
        return [os.path.join(checkpoint, str(number)) for number in range(count)]
    folders = list(checkpoint) if isinstance(checkpoint, tuple) else checkpoint
    if isinstance(folders, list) and len({os.path.abspath(folder) for folder in folders}) < len(folders):
        raise ValueError("a folder of checkpoints comes twice: each network has its own")
    return folders


def _seeds(rng: Any, count: int) -> list[Any]:
    """A seed for each network; None where it may have one already, in its optimizer or its checkpoint."""
    if isinstance(rng, (list, tuple)):
        return list(rng)
    if rng is None:
        return [None] * count
    return checks.as_generator(rng).integers(2**62, size=count).tolist()


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
        self, criterion: Criterion, optimizer: Callable[..., Optimizer], X: Any, y: Any, *, rng: Any = None, **options: Any
    ) -> list[History]:
        """Train all members at the same time, as :func:`fit_many` does.

        `optimizer` makes the optimizer of a member from its parameters: ``fm.Adam``, or
        ``lambda parameters: fm.SGD(parameters, lr=0.1)``.
        """
        optimizers = [optimizer(model.parameters()) for model in self.models]
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
