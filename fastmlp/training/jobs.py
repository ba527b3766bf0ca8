"""Networks that are trained elsewhere, by joblib: what is sent, and what comes back."""

from __future__ import annotations

import pickle
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.optim import Optimizer
from fastmlp.training.callbacks import Callback
from fastmlp.training.fit import fit
from fastmlp.training.history import History
from fastmlp.training.progress import Progress

__all__ = ["Member", "asked_of_joblib", "train_by_joblib"]


@dataclass
class Member:
    """One network of many, and all that it is trained with.

    It is sent as one object: the parameters of the optimizer stay those of the network.
    """

    model: Sequential
    criterion: Criterion
    optimizer: Optimizer
    X: Any
    y: Any
    options: dict[str, Any]

    @property
    def callbacks(self) -> list[Any]:
        """What listens to this network alone."""
        return list(self.options["callbacks"])


class Finished:
    """Networks that are trained, as progress shows them: their last losses and metrics are the columns of a history."""

    def __init__(self, wanted: bool | float | None, count: int):
        self._columns = History()
        self._progress = Progress(wanted, count, 0, self._columns, "network")
        self._lock = threading.Lock()

    def note(self, history: History) -> None:
        """One more."""
        with self._lock:
            for name in history:
                if history[name].size:
                    self._columns._append(name, history.last(name))

    def show(self, *, last: bool = False) -> None:
        """Show them; from the thread that has called `fit_many`."""
        self._progress.show(self._columns.epochs, None, last=last)
        if last:
            self._progress.close()


class Outcome(NamedTuple):
    """What comes back."""

    history: History | None
    failure: BaseException | None
    trace: str  # of the failure
    model: dict[str, np.ndarray]
    classes: np.ndarray | None
    modes: list[bool]
    optimizer: dict[str, Any]
    schedule: dict[str, Any] | None
    callbacks: list[dict[str, Any]]


def asked_of_joblib(backend: str | None, threads: int | None) -> tuple[bool, int | None]:
    """Whether joblib is to train, and how many networks at the same time; None: as there are cores."""
    if backend not in (None, "threads", "joblib"):
        raise ValueError(
            f'backend must be "threads" or "joblib"; got {backend!r}: '
            'which backend joblib takes, with joblib.parallel_config(backend="loky"): says'
        )
    if backend == "joblib":
        try:
            import joblib
        except ImportError:
            raise ImportError('backend="joblib" needs joblib: pip install joblib') from None
    else:
        joblib = sys.modules.get("joblib")  # who is within a parallel_config has imported it
    if backend == "threads" or joblib is None:
        return False, threads
    jobs = joblib.parallel.get_active_backend()[1]  # with a hint, 1 where none are configured
    active, _ = joblib.parallel.get_active_backend(prefer="processes" if backend else "threads")
    sequential = isinstance(active, joblib.parallel.SequentialBackend)
    workers = threads or (1 if sequential else None if jobs is None else active.effective_n_jobs(jobs))
    return backend == "joblib" or not getattr(active, "uses_threads", False), workers


def train_by_joblib(members: list[Member], workers: int | None, finished: Finished) -> list[History]:
    """Train each network where joblib says; what comes back is put into the objects that are here."""
    import joblib

    # Data is an argument of its own: joblib shares large arrays between the processes of a machine, Dask sends them once.
    data = [(member.X, member.y) for member in members]
    bare = [replace(member, X=None, y=None) for member in members]
    calls = (joblib.delayed(_train)(member, *own, _is_mapped(own[0])) for member, own in zip(bare, data))
    parallel = joblib.Parallel(n_jobs=-1 if workers is None else workers, return_as="generator")
    histories, failures = [], []
    for number, (member, outcome) in enumerate(zip(members, parallel(calls))):
        _put_back(member, outcome)
        if outcome.failure is not None:
            failures.append((number, outcome.failure, outcome.trace))  # and no more: outcomes are as large as networks
        else:
            histories.append(outcome.history)
            finished.note(outcome.history)
            finished.show()
    for number, failure, trace in failures:
        failure.index = number
        raise failure from RuntimeError(f"in the process that trained network {number}:\n{trace}")
    return histories


def _is_mapped(X: Any) -> bool:
    return isinstance(X, np.memmap)


def _train(member: Member, X: Any, y: Any, mapped: bool) -> Outcome:
    """Train, in the process that the network has been sent to."""
    if not mapped and _is_mapped(X):  # by joblib, which shares it so: it is in memory
        X = np.asarray(X)
    history, failure, trace = None, None, ""
    try:
        history = fit(member.model, member.criterion, member.optimizer, X, y, **member.options)
    except Exception as error:
        trace, failure = traceback.format_exc(), _sendable(error)
    schedule = member.options.get("schedule")
    return Outcome(
        history,
        failure,
        trace,
        member.model.state_dict(),
        member.model.classes,
        [module.training for module in member.model.modules()],
        member.optimizer.state_dict(),
        None if schedule is None else schedule.state_dict(),
        [_state_of(callback) for callback in member.callbacks],
    )


def _sendable(error: Exception) -> Exception:
    """The error, or, where it cannot be pickled, one that says as much."""
    error.__traceback__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _state_of(callback: Any) -> dict[str, Any]:
    """What a callback has noted."""
    if not isinstance(callback, Callback):
        return {}
    return {name: value for name, value in vars(callback).items() if name != "training"}


def _put_back(member: Member, outcome: Outcome) -> None:
    """Make a network, and what it was trained with, what came back."""
    model = member.model
    model.load_state_dict(outcome.model)
    model.classes = outcome.classes
    for module, mode in zip(model.modules(), outcome.modes):
        module.training = mode
    member.optimizer.load_state_dict(outcome.optimizer)
    if outcome.schedule is not None:
        member.options["schedule"].load_state_dict(outcome.schedule)
    for callback, state in zip(member.callbacks, outcome.callbacks):
        if isinstance(callback, Callback):
            vars(callback).update(state)
