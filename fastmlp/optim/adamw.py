"""AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from fastmlp.optim.adam import Adam
from fastmlp.parameters import Parameter

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam with decoupled weight decay, with PyTorch's arithmetic.

    ::

        param = (1 - lr * weight_decay) * param, then Adam's step without weight decay

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own: biases without decay, say.
    lr, betas, eps, amsgrad, maximize
        As of :class:`Adam`.
    weight_decay : float, default 0.01
        At least 0.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.AdamW(model.parameters(), lr=0.01).weight_decay
    0.01
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def check(self, group: dict[str, Any]) -> dict[str, Any]:
        checked = super().check(group)
        if not checked["decoupled_weight_decay"]:
            raise ValueError("AdamW has decoupled_weight_decay always; the other weight decay is Adam's")
        return checked
