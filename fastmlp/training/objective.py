"""The loss of a network as a function of one flat vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.training.inputs import check_data, check_kinds

__all__ = ["Objective", "objective"]


class Objective:
    """What :func:`objective` returns: ``loss, gradient = f(theta)``.

    Attributes
    ----------
    x0 : ndarray, (P,)
        The parameters of the model as they are now, in float64.
    """

    def __init__(
        self, model: Sequential, criterion: Criterion, X: Any, y: Any, *, sample_weight: Any = None, check_finite: bool = True
    ):
        check_kinds((model, Sequential, "model"), (criterion, Criterion, "criterion"))
        check_finite = checks.as_flag(check_finite, "check_finite")
        self.model, self.criterion = model, criterion
        self._x, self._y, _ = check_data(model, criterion, X, y, sample_weight, "", check_finite, classes=model.classes)
        self._weights = () if sample_weight is None else (checks.as_weights(sample_weight, model.dtype, len(self._x)),)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self._parameters:
            raise ValueError("there is nothing to train: no parameter of the model requires a gradient")

    @property
    def x0(self) -> np.ndarray:
        return self._joined([parameter.data for parameter in self._parameters])

    def put(self, theta: Any) -> None:
        """Put a vector into the model, as its parameters.

        Raises
        ------
        ValueError, TypeError
            If it is no vector of as many real numbers.
        """
        size = sum(parameter.size for parameter in self._parameters)
        values = checks.as_like(theta, np.broadcast_to(np.float64(0), (size,)), "theta")
        place = 0
        with np.errstate(all="ignore"):  # what is too large for the dtype becomes infinite, and so does the loss
            for parameter in self._parameters:
                parameter.data = values[place : place + parameter.size].reshape(parameter.shape)
                place += parameter.size

    def __call__(self, theta: Any) -> tuple[float, np.ndarray]:
        """The loss and its gradient, a new array, where the parameters are `theta`; the model's own come back."""
        model, criterion, storage = self.model, self.criterion, self.model.storage
        arrays = storage.data.copy(), storage.grad.copy()
        modes = [(module, "training", module.training) for module in model.modules()]
        counts = [(module, name, getattr(module, name)) for _, module, name in model._named_counts()]
        try:
            self.put(theta)
            model.train()
            out = model(self._x)
            loss = checks.as_loss(criterion(out, self._y, *self._weights), criterion)
            model.zero_grad()
            model.backward(checks.as_returned(criterion.backward(), out.shape, out.dtype, criterion, "backward"))
            return float(loss), self._joined([parameter.grad for parameter in self._parameters])
        finally:
            storage.data, storage.grad = arrays
            for module, name, before in modes + counts:
                if getattr(module, name) is not before:
                    setattr(module, name, before)

    @staticmethod
    def _joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([array.ravel() for array in arrays], dtype=np.float64)

    def __repr__(self) -> str:
        size = sum(parameter.size for parameter in self._parameters)
        return f"Objective({size} parameters, {type(self.criterion).__name__}, {len(self._x)} rows)"


def objective(
    model: Sequential, criterion: Criterion, X: Any, y: Any, *, sample_weight: Any = None, check_finite: bool = True
) -> Objective:
    """The loss over all rows of `X` as a function of one vector, with its gradient: for SciPy's optimizers, and any others.

    ``loss, gradient = f(theta)``, where `theta` holds the numbers of ``model.parameters()``, those of frozen ones left out, one
    parameter behind the other, each in the order of its rows. Both vectors are float64, whatever the dtype of the model.

    Parameters
    ----------
    model : Sequential
        The network. To evaluate leaves its parameters, their gradients and its mode as they are; ``f.put(theta)`` sets the
        parameters.
    criterion : Criterion
        The loss.
    X, y : array_like
        As :func:`fastmlp.fit` takes them; all rows are one batch.
    sample_weight : array_like, (N,), optional
        Weights of the rows, as in :func:`fastmlp.fit`.
    check_finite : bool, default True
        Refuse NaN and infinity in `X` and in floating-point targets.

    Returns
    -------
    Objective
        With ``f.x0``, the parameters of now as such a vector.

    Raises
    ------
    ValueError, TypeError
        For bad input.

    Notes
    -----
    The network computes in training mode, since that is what is trained: batch normalization uses the statistics of the batch,
    here those of all rows. All that it changes in training mode comes back with the parameters: running statistics, and the
    counts that random draws depend on, so that dropout leaves out the same numbers each time, and `f` is a function. A float64
    network lets an optimizer go further than a float32 one, whose losses are rounded to seven digits.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(100, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1), dtype="float64")
    >>> f = fm.objective(model, fm.CrossEntropyLoss(), X, y)
    >>> loss, gradient = f(f.x0)
    >>> f.put(f.x0 - 0.1 * gradient)
    >>> f(f.x0)[0] < loss
    True
    """
    return Objective(model, criterion, X, y, sample_weight=sample_weight, check_finite=check_finite)
