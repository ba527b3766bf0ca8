"""Batch normalisation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks, structure
from fastmlp.kernels.blocks.batch_norm import BatchNorm
from fastmlp.kernels.op import Op
from fastmlp.modules.featurewise import Featurewise
from fastmlp.parameters import Buffer, Parameter

__all__ = ["BatchNorm1d"]


class BatchNorm1d(Featurewise):
    """Batch normalisation: ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, for each feature.

    In training mode mean and variance (that of the N rows, divided by N) are those of the batch; the running ones move towards
    them, ``running = (1 - momentum) * running + momentum * new``, with the variance divided by N - 1. In evaluation mode the
    running ones are taken.

    Parameters
    ----------
    num_features : int
        The width, at least 1.
    eps : float, default 1e-5
        Added to the variance, above 0.
    momentum : float or None, default 0.1
        How far the running statistics move with each batch, from 0 to 1. None: they are the mean over all batches so far.
    affine : bool, default True
        Whether there are a weight and a bias.
    track_running_stats : bool, default True
        PyTorch's; only True is possible, since without running statistics a prediction for a row would depend on which other
        rows come with it.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    weight, bias : Parameter or None
        ``(num_features,)``; ones and zeros at first.
    running_mean, running_var : Buffer
        ``(num_features,)``; zeros and ones at first.
    num_batches_tracked : int
        How many batches they are made of.

    Shape: ``(N, num_features)`` to ``(N, num_features)``, with N at least 2 in training mode.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, inputs of another width, and a batch of one row in training mode (in
        :func:`fastmlp.fit`, before anything is trained; ``drop_last=True`` leaves out a last batch of one row).

    Notes
    -----
    Keeps its input for backward. Sums over the batch are in the order of the rows, whatever the number of threads.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    ICML 2015.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.BatchNorm1d(1, momentum=None)
    >>> layer([[1.0], [3.0]]).round(4)
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> layer.running_mean.data, layer.running_var.data
    (array([2.], dtype=float32), array([2.], dtype=float32))
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"num_features": "width"},
        {"num_features": "width", "eps": 0.1, "momentum": None},
        {"num_features": "width", "momentum": 0.3, "affine": False},
    )
    counts = ("num_batches_tracked",)
    least_rows = 2
    _optional = ("weight", "bias")
    _vectors = ("weight", "bias", "running_mean", "running_var")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype=np.float32,
    ):
        self._size = checks.as_size(num_features, "num_features")
        self.eps, self.momentum = eps, momentum
        if not checks.as_flag(track_running_stats, "track_running_stats"):
            raise ValueError(
                "track_running_stats must be True: without running statistics the prediction for a row would depend on the "
                "rows that come with it"
            )
        affine = checks.as_flag(affine, "affine")
        shape = (self._size,)
        self.weight = Parameter(shape, dtype) if affine else None
        self.bias = Parameter(shape, dtype) if affine else None
        self.running_mean, self.running_var = Buffer(shape, dtype), Buffer(shape, dtype)
        self.num_batches_tracked = 0
        self.reset_parameters()

    track_running_stats = True

    @property
    def num_features(self) -> int:
        """The width."""
        return self._size

    @property
    def affine(self) -> bool:
        """Whether there is a weight or a bias."""
        return self.weight is not None or self.bias is not None

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Weights 1, biases 0, and the running statistics as at first; nothing is drawn."""
        if self.weight is not None:
            self.weight.data = np.ones(self._size)
        if self.bias is not None:
            self.bias.data = np.zeros(self._size)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """The running statistics as at first: mean 0, variance 1, of no batch."""
        self.running_mean.data, self.running_var.data = np.zeros(self._size), np.ones(self._size)
        self.num_batches_tracked = 0

    def _checked(self, name: str, value: Any) -> Any:
        if name == "eps":
            return checks.as_number(value, name, above=0)
        if name == "momentum":
            return None if value is None else checks.as_number(value, name, most=1)
        if name == "num_batches_tracked":
            return checks.as_size(value, name, least=0)
        return super()._checked(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("eps", "momentum", "training"):
            structure.changed()

    def _options(self) -> tuple[Any, ...]:
        return self.eps, self.momentum, self.training

    def _ops(self, width: int) -> list[Op]:
        weight, bias = self._offset("weight"), self._offset("bias")
        mean, variance = self._offset("running_mean"), self._offset("running_var")
        counter = (self, "num_batches_tracked") if self.training else None
        return [BatchNorm(width, weight, bias, mean, variance, self.eps, self.momentum, counter)]

    def __repr__(self) -> str:
        affine = "" if self.affine else ", affine=False"
        return f"BatchNorm1d({self._size}, eps={self.eps:g}, momentum={self.momentum}{affine})"
