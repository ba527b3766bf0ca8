"""Training by L-BFGS, which SciPy has."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.training.history import History, NonFiniteLossError, carried_by_failures
from fastmlp.training.loop import alone
from fastmlp.training.objective import Objective

__all__ = ["fit_lbfgs"]


def fit_lbfgs(
    model: Sequential,
    criterion: Criterion,
    X: Any,
    y: Any,
    *,
    max_iter: int = 200,
    tol: float = 1e-5,
    history_size: int = 10,
    sample_weight: Any = None,
    check_finite: bool = True,
) -> History:
    """Train `model` on all rows at once by L-BFGS: a quasi-Newton method, with line searches instead of a learning rate.

    It is for small data and small networks, where it goes far below what stochastic gradients reach. Needs SciPy, the extra
    ``scipy``; :func:`fastmlp.objective` is for SciPy's other optimizers.

    Parameters
    ----------
    model : Sequential
        The network, best one of float64; it is left in training mode.
    criterion : Criterion
        The loss.
    X, y, sample_weight, check_finite
        As :func:`fastmlp.fit` takes them.
    max_iter : int, default 200
        Iterations at most; each evaluates the loss and its gradient, mostly once.
    tol : float, default 1e-5
        The end: where no entry of the gradient is larger. At least 0.
    history_size : int, default 10
        Steps that the curvature is estimated from.

    Returns
    -------
    History
        In `loss`, that after each iteration.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed.
    ImportError
        Where there is no SciPy.
    NonFiniteLossError
        Where the loss is not finite for the parameters that the model has.

    Notes
    -----
    The iterations end early, too, where the loss falls no more in the digits that the dtype has. Ctrl-C, or another exception,
    leaves the parameters of the last iteration. Running statistics move with each iteration, as with a step of
    :func:`fastmlp.fit`.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J. Sci. Comput.
    16 (1995), as in SciPy.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(100, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1), dtype="float64")
    >>> history = fm.fit_lbfgs(model, fm.CrossEntropyLoss(), X, y, max_iter=50)
    >>> history.loss[-1] < 0.2
    True
    """
    max_iter, tol = checks.as_size(max_iter, "max_iter"), checks.as_number(tol, "tol")
    history_size = checks.as_size(history_size, "history_size")
    f = Objective(model, criterion, X, y, sample_weight=sample_weight, check_finite=check_finite)
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError('fit_lbfgs needs SciPy: pip install "fastmlp[scipy]"') from None
    history, start = History(), f.x0
    first = f(start)[0]
    if not np.isfinite(first):
        raise NonFiniteLossError(f"the loss is {first} before training", 0, history)
    model.train()
    running = any(True for _ in model.buffers())
    began = time.perf_counter()

    def after(*, intermediate_result: Any) -> None:
        nonlocal began
        f.put(intermediate_result.x)
        history.loss.append(float(intermediate_result.fun))
        now = time.perf_counter()
        history.seconds.append(now - began)
        began = now
        if running:
            model(f._x)

    # Beyond a rounding or two of the loss, a smaller one is chance.
    least = float(np.finfo(model.dtype).eps)
    options = {"maxiter": max_iter, "maxfun": 20 * max_iter + 20, "maxcor": history_size, "gtol": tol, "ftol": least}
    with carried_by_failures(history), alone(model):
        minimize(f, start, jac=True, method="L-BFGS-B", callback=after, options=options)
    return history
