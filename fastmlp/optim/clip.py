"""Gradients made smaller by hand, before a step of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.clip import TINY, Clip
from fastmlp.kernels.engine import run
from fastmlp.kernels.job import Job
from fastmlp.kernels.layout import zeros
from fastmlp.parameters import Parameter, Storage, spans_of
from fastmlp.program import Program

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

#: What sums the squares of the gradients in a storage and scales them, by the spans that count.
_jobs: WeakKeyDictionary[Storage, tuple[list[tuple[int, int]], Job]] = WeakKeyDictionary()


def clip_grad_norm_(parameters: Parameter | Iterable[Parameter], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients by one factor where their norm is above `max_norm`, in place; PyTorch's of the same name.

    ``grad = grad * min(1, max_norm / (norm + 1e-6))``, with the norm of all gradients as one vector.

    Parameters
    ----------
    parameters : iterable of Parameter, or one
        Those that are frozen are left out.
    max_norm : float
        Above 0.
    norm_type : float, default 2
        2; other norms are refused.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    ValueError, TypeError
        For a `max_norm` that is not a number above 0, another norm, and things that are not Parameters.

    Notes
    -----
    In :func:`fastmlp.fit`, ``clip_norm=`` does the same in the compiled epoch, bit for bit.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    Examples
    --------
    >>> import fastmlp as fm
    >>> weight = fm.Parameter((2,))
    >>> weight.grad = [3.0, 4.0]
    >>> fm.clip_grad_norm_([weight], max_norm=1.0)
    5.0
    >>> weight.grad.round(4)
    array([0.6, 0.8], dtype=float32)
    """
    most = checks.as_number(max_norm, "max_norm", above=0)
    if not isinstance(norm_type, (int, float, np.number)) or norm_type != 2:
        raise ValueError(f"norm_type must be 2, the norm of all gradients as one vector; got {checks.shown(norm_type)}")
    jobs = [_job_of(storage, places) for storage, places in _spans_of(parameters).items()]
    total = 0.0
    for job in jobs:
        _run(job, 0)
        record = job.program.records[0]
        for value in job.work[record.sums : record.sums + record.chunks].tolist():
            total += value
    norm = math.sqrt(total) if total == total else math.nan
    if not most / (norm + TINY) >= 1:
        for job in jobs:  # in the engine, which rounds as in `fit`
            job.totals[:] = norm, most
            _run(job, 1)
    return norm


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Limit each number of the gradients to ``-clip_value .. clip_value``, in place; PyTorch's of the same name.

    Parameters
    ----------
    parameters : iterable of Parameter, or one
        Those that are frozen are left out.
    clip_value : float
        Above 0.

    Raises
    ------
    ValueError, TypeError
        For a `clip_value` that is not a number above 0, and things that are not Parameters.

    Notes
    -----
    In :func:`fastmlp.fit`, ``clip_value=`` does the same in the compiled epoch, bit for bit.

    Examples
    --------
    >>> import fastmlp as fm
    >>> weight = fm.Parameter((2,))
    >>> weight.grad = [3.0, -0.5]
    >>> fm.clip_grad_value_([weight], 1.0)
    >>> weight.grad
    array([ 1. , -0.5], dtype=float32)
    """
    most = checks.as_number(clip_value, "clip_value", above=0)
    for storage, places in _spans_of(parameters).items():
        for first, last in places:
            np.clip(storage.grad[first:last], -most, most, out=storage.grad[first:last])


def _spans_of(parameters: Parameter | Iterable[Parameter]) -> dict[Storage, list[tuple[int, int]]]:
    """Where the gradients of the parameters that are trained lie, by storage."""
    found: dict[Storage, list[tuple[int, int]]] = {}
    given = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    for parameter in given:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be Parameters, model.parameters(); got {checks.shown(parameter)}")
    for storage, first, last in spans_of(parameter for parameter in given if parameter.requires_grad):
        found.setdefault(storage, []).append((first, last))
    return found


def _job_of(storage: Storage, spans: list[tuple[int, int]]) -> Job:
    """What sums the squares of the gradients in these spans, and scales them."""
    known = _jobs.get(storage)
    if known is None or known[0] != spans:
        dtype = storage.grad.dtype
        job = Program.of_norm(Clip.of(spans, 1.0, by_value=False), dtype).job()
        job.set(grads=storage.grad, params=zeros(0, dtype))
        known = _jobs[storage] = spans, job
    return known[1]


def _run(job: Job, number: int) -> None:
    """Go through a pass of it."""
    nothing = np.zeros((1, 1), job.grads.dtype)
    run(job.handle, number, nothing, nothing, 0, 1)
