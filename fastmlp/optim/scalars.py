"""Scalars of formulas that several optimizers have."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["decays", "sign"]


def sign(group: dict[str, Any]) -> float:
    """What the gradient is multiplied by: -1 where a group is to climb."""
    return -1.0 if group["maximize"] else 1.0


def decays(group: dict[str, Any], lr: np.ndarray) -> tuple[Any, Any]:
    """The weight decay that is added to the gradient, and what the parameter is multiplied by: one of them does nothing."""
    decay = group["weight_decay"]
    return (0.0, 1 - lr * decay) if group["decoupled_weight_decay"] else (decay, 1.0)
