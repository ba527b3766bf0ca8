"""Many networks, each trained as if it were alone."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.optim import Optimizer
from fastmlp.team import cores, run_together
from fastmlp.training.callbacks import Callback, CSVLogger, LambdaCallback, ModelCheckpoint, TensorBoard, as_callbacks
from fastmlp.training.chunks import Chunks, opened
from fastmlp.training.fit import fit
from fastmlp.training.history import History
from fastmlp.training.inputs import check_kinds
from fastmlp.training.interrupts import let_call_off
from fastmlp.training.jobs import Finished, Member, asked_of_joblib, train_by_joblib
from fastmlp.training.progress import as_progress

__all__ = ["fit_many"]

#: Options of which each network may have its own, in a list.
EACH = ("X", "y", "rng", "schedule", "sample_weight", "validation", "checkpoint")

#: Those of them that are data, which may itself be a list.
DATA = ("X", "y", "sample_weight")

#: Callbacks that write to one place each.
WRITERS = (ModelCheckpoint, CSVLogger, TensorBoard)


def fit_many(
    models: Iterable[Sequential],
    criterion: Criterion,
    optimizers: Iterable[Optimizer],
    X: Any,
    y: Any = None,
    *,
    rng: Any = None,
    threads: int | None = None,
    backend: str | None = None,
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
        For the shuffles: a number for each network is drawn from it, or a list has one for each. None as in `fit`.
    threads : int, optional
        How many networks are trained at the same time; by default as many as joblib has been told, else
        :func:`get_num_threads`.
    backend : {"threads", "joblib"}, optional
        Where they are trained: by threads of this process; or by joblib, in other processes, or on other machines. By default
        by joblib within a ``joblib.parallel_config`` whose backend is not one of threads ("loky", "dask" and so on).
    **options
        Those of :func:`fastmlp.fit`. ``schedule``, ``sample_weight``, ``validation`` may be lists, one for each network, and
        ``callbacks`` a list of lists; else each network gets copies of them. ``progress`` counts networks that are trained.
        ``checkpoint`` is a list of folders, or one folder, in which each network has its own, called by its number: 0, 1, ...;
        with ``resume=True`` each goes on from where it was.

    Returns
    -------
    list of History
        In the order of the networks.

    Raises
    ------
    ValueError, TypeError
        As :func:`fastmlp.fit`; where lists have other lengths; where a network or an optimizer comes twice; where networks
        share a callback that writes to a file.
    NonFiniteLossError
        Of the first network whose loss becomes NaN or infinite; `index` is its number. The others are as after their last
        finished step, as they are after Ctrl-C; by joblib they are trained to their end.
    ImportError
        For ``backend="joblib"`` where there is no joblib.

    Notes
    -----
    By joblib, a network is sent as a pickle, with its optimizer, its schedule, its callbacks and the criterion. What comes back
    is put into the objects that were passed: parameters, counts, the state of the optimizer and of the schedule, the attributes
    of callbacks. The bits are the same where the processors are of one kind. A process takes a second to start, so threads are
    faster, unless each step comes back to Python (modules in Python) or other machines help.

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
    wanted = as_progress(options.pop("progress", None))
    threads = threads if threads is None else checks.as_size(threads, "threads")
    for model, optimizer in zip(models, optimizers):
        check_kinds((model, Sequential, "model"), (criterion, Criterion, "criterion"), (optimizer, Optimizer, "optimizer"))
    by_joblib, workers = asked_of_joblib(backend, threads)
    given = {"X": X, "y": y, "rng": _seeds(rng, count)} | {name: options.pop(name) for name in EACH if name in options}
    if given.get("checkpoint") is not None:
        given["checkpoint"] = _folders(given["checkpoint"], count)
    each = {name: _one_each(value, count, name) for name, value in given.items()}
    _read_once(each, models)
    each["callbacks"] = _callbacks_of_each(options.pop("callbacks", ()), count)
    options |= {"progress": False, "threads": 1}
    members = []
    for number, (model, optimizer) in enumerate(zip(models, optimizers)):
        own = {name: values[number] for name, values in each.items()}
        members.append(Member(model, criterion, optimizer, own.pop("X"), own.pop("y"), options | own))
    finished = Finished(wanted, count)
    try:
        if by_joblib:
            return train_by_joblib(members, workers, finished)
        return _train_by_threads(members, min(count, workers or cores()), finished)
    finally:
        finished.show(last=True)


def _train_by_threads(members: list[Member], workers: int, finished: Finished) -> list[History]:
    """Have threads of this process, this one among them, take a network each until there are none left."""
    stop, lock, numbers = threading.Event(), threading.Lock(), iter(range(len(members)))
    histories: dict[int, History] = {}
    failures: dict[int, BaseException] = {}

    def work(thread: int, _: int) -> None:
        let_call_off(stop)
        try:
            while not stop.is_set():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                member = members[number]
                try:
                    histories[number] = fit(
                        member.model, member.criterion, member.optimizer, member.X, member.y, **member.options
                    )
                except Exception as failure:
                    failures[number] = failure
                    stop.set()
                else:
                    finished.note(histories[number])
                    if thread == 0:
                        finished.show()
        finally:
            let_call_off(None)

    run_together(work, workers, stop.set, all_needed=False)
    for number, failure in sorted(failures.items()):
        failure.index = number  # type: ignore[attr-defined]
        raise failure
    return [histories[number] for number in range(len(members))]


def _one_each(value: Any, count: int, name: str) -> list[Any]:
    """What each network gets: its own entry of a list, or what all get."""
    if not isinstance(value, list) or (name in DATA and not _is_list_of_data(value)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} is a list of {len(value)}, one for each network; there are {count} networks")
    return value


def _is_list_of_data(value: list) -> bool:
    """Whether a list holds data, one for each network, and is not data itself."""
    return bool(value) and all(isinstance(item, Chunks) or (isinstance(item, np.ndarray) and item.ndim) for item in value)


def _read_once(each: dict[str, list[Any]], models: list[Sequential]) -> None:
    """Read, and convert, data that is that of all networks."""
    X, y, weights = (each.get(name, [None])[0] for name in DATA)
    kinds = {(model._width_in(), model.dtype) for model in models}
    alike = all(value is values[0] for name in DATA for values in [each.get(name, [])] for value in values)
    if not alike or len(kinds) > 1:
        return
    width, dtype = kinds.pop()
    X, y, weights = opened(X, y, weights, dtype)
    if not isinstance(X, Chunks):
        X = checks.as_rows(X, width, dtype, "fit_many", module=models[0])
    for name, value in (("X", X), ("y", y), ("sample_weight", weights)):
        each[name] = [value] * len(models)


def _callbacks_of_each(callbacks: Any, count: int) -> list[Any]:
    """Callbacks for each network: its own of a list of lists, or copies of those that are given once."""
    if isinstance(callbacks, list) and callbacks and all(isinstance(own, (list, tuple)) for own in callbacks):
        if len(callbacks) != count:
            raise ValueError(f"callbacks are {len(callbacks)} lists, one for each network; there are {count} networks")
        return callbacks
    listeners = as_callbacks(callbacks)
    for callback in listeners:
        if isinstance(callback, WRITERS):
            kind = type(callback).__name__
            raise ValueError(
                f"all networks would write to the place of one {kind}: give each its own, callbacks=[[{kind}(...)], ...]"
            )
    return [[_copied(callback) for callback in listeners] for _ in range(count)]


def _copied(callback: Callback) -> Callback:
    """A callback of the same kind; functions, and what their owners note, are those of all networks."""
    return copy.copy(callback) if type(callback) is LambdaCallback else copy.deepcopy(callback)


def _folders(checkpoint: Any, count: int) -> list[Any]:
    """A folder for each network."""
    if isinstance(checkpoint, (str, os.PathLike)):
        folder = os.path.abspath(checkpoint)  # another process may be somewhere else
        return [os.path.join(folder, str(number)) for number in range(count)]
    folders = list(checkpoint) if isinstance(checkpoint, tuple) else checkpoint
    if isinstance(folders, list) and all(isinstance(folder, (str, os.PathLike)) for folder in folders):
        folders = [os.path.abspath(folder) for folder in folders]
        if len(set(folders)) < len(folders):
            raise ValueError("a folder of checkpoints comes twice: each network has its own")
    return folders


def _seeds(rng: Any, count: int) -> list[Any]:
    """A seed for each network; None where it may have one already, in its optimizer or its checkpoint."""
    if isinstance(rng, (list, tuple)):
        return list(rng)
    if rng is None:
        return [None] * count
    return checks.as_generator(rng).integers(2**62, size=count).tolist()
