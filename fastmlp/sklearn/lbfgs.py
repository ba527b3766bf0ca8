"""The loss of an estimator over all rows, as SciPy's L-BFGS takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.sklearn.network import Bound, bias_of
from fastmlp.training.inputs import check_data

__all__ = ["Lbfgs"]


class Lbfgs:
    """``loss, gradient = f(theta)``, `theta` being all weights (in, out), then all intercepts, row by row.

    `share` is the factor from the criterion's loss to scikit-learn's; it has none in the gradient, as scikit-learn has it (its
    squared error of several outputs is their mean, the gradient that of their sum).
    """

    def __init__(self, model: Sequential, criterion: Criterion, share: float, alpha: float, rows: tuple[Any, Any, Any]):
        """`rows` are inputs, targets, and weights or None."""
        self.model, self.criterion, self.share, self.alpha = model, criterion, share, float(alpha)
        x, targets, weights = rows
        self.rows = check_data(model, criterion, x, targets, weights, "", finite=False)
        self.total = float(len(x) if weights is None else np.sum(weights, dtype=np.float64))
        self.bound = Bound(model)
        self.grads = [layer.weight.grad.T for layer in self.bound.layers]
        self.grads += [bias_of(layer).grad for layer in self.bound.layers]
        self.views = self.bound.coefs + self.bound.intercepts

    def put(self, theta: np.ndarray) -> None:
        """Have the parameters be `theta`."""
        place = 0
        for view in self.views:
            view[...] = theta[place : place + view.size].reshape(view.shape)
            place += view.size

    @property
    def theta(self) -> np.ndarray:
        """The parameters."""
        return np.concatenate([view.ravel() for view in self.views], dtype=np.float64)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        self.put(theta)
        model, (x, y, weights) = self.model, self.rows
        given = () if weights is None else (weights,)
        loss = float(self.criterion(model(x), y, *given)) * self.share
        model.zero_grad()
        model.backward(self.criterion.backward())
        gradient = np.concatenate([grad.ravel() for grad in self.grads], dtype=np.float64)
        place = 0
        for coef in self.bound.coefs:
            own = coef.ravel().astype(np.float64)
            loss += 0.5 * self.alpha * float(own @ own) / self.total
            gradient[place : place + own.size] += self.alpha / self.total * own
            place += own.size
        return loss, gradient

    def minimized(self, iterations: int, evaluations: int, tol: float) -> Any:
        """SciPy's result; the parameters are the best ones."""
        from scipy.optimize import minimize

        self.model.train()
        options = {"maxfun": evaluations, "maxiter": iterations, "gtol": tol}
        result = minimize(self, self.theta, jac=True, method="L-BFGS-B", options=options)
        self.put(result.x)
        return result
