"""Features on one scale."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.standardize import Standardize as StandardizeOp
from fastmlp.kernels.op import Op
from fastmlp.modules.featurewise import Featurewise
from fastmlp.parameters import Buffer

__all__ = ["Standardize"]

METHODS = ("mean", "median")


class Standardize(Featurewise):
    """Each feature less its centre, over its spread, which are those of the training data: ``y = (x - centre) / spread``.

    Parameters
    ----------
    num_features : int
        The width, at least 1.
    method : {"mean", "median"}, default "mean"
        "mean": mean and standard deviation (that of N rows, divided by N), as scikit-learn's StandardScaler. "median": median,
        and the distance of the quartiles over 1.349, which is 1 for a standard normal distribution: outliers hardly matter.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    centre, factor : Buffer
        ``(num_features,)``, with ``factor = 1 / spread``; 0 and 1 before :meth:`fit`. A constant feature has the factor 1.

    Shape: ``(N, num_features)`` to ``(N, num_features)``.

    Raises
    ------
    ValueError, TypeError
        For another method, and for inputs of another width.

    Notes
    -----
    The statistics are computed in float64. They are buffers: in the ``state_dict``, and not trained. In float32, x itself is
    rounded before the centre is taken off: a feature such as 1e9 + noise is best centred before.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> X = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> model = fm.Sequential(fm.Standardize(2).fit(X), fm.Linear(2, 1))
    >>> model[0](X)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"num_features": "width"},)
    _vectors = ("centre", "factor")

    def __init__(self, num_features: int, method: str = "mean", *, dtype=np.float32):
        self._size = checks.as_size(num_features, "num_features")
        self.method = method
        self.centre, self.factor = Buffer((self._size,), dtype), Buffer((self._size,), dtype)
        self.factor.data = np.ones(self._size)

    @property
    def num_features(self) -> int:
        """The width."""
        return self._size

    @property
    def fitted(self) -> bool:
        """Whether it does anything: not before :meth:`fit`, until numbers are assigned or loaded."""
        return bool(self.centre.data.any() or (self.factor.data != 1).any())

    def fit(self, X: Any) -> Standardize:
        """Take the statistics of `X`, (N, num_features); returns the module.

        :func:`fastmlp.fit` does that with its training data, where the network begins with one that is not :attr:`fitted`.

        Raises
        ------
        ValueError, TypeError
            For another width, no rows, what is no real number or not finite.
        """
        x = checks.as_rows(X, self._size, np.dtype(np.float64), self, "X", finite=True)
        if self.method == "mean":
            centre, spread = x.mean(axis=0), x.std(axis=0)
        else:
            low, centre, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
            spread = (high - low) / 1.3489795003921634
        constant = spread <= np.finfo(np.float64).eps * np.abs(centre) * 10  # what is left of roundings
        self.centre.data, self.factor.data = centre, 1 / np.where(constant, 1, spread)
        return self

    def _checked(self, name: str, value: Any) -> Any:
        if name == "method" and value not in METHODS:
            raise ValueError(f'method must be "mean" or "median"; got {value!r}')
        return super()._checked(name, value)

    def _ops(self, width: int) -> list[Op]:
        return [StandardizeOp(width, self._offset("centre"), self._offset("factor"))]

    def __repr__(self) -> str:
        return f"Standardize({self._size}{', method=' + repr(self.method) if self.method != 'mean' else ''})"
