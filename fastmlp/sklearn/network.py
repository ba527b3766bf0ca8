"""The network of an estimator, and `coefs_` and `intercepts_`, which are its state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastmlp import registry
from fastmlp.modules import Dropout, Identity, Linear, Module, Sequential, Sigmoid
from fastmlp.parameters import Parameter

__all__ = ["ACTIVATIONS", "Bound", "as_activations", "as_dropouts", "bias_of", "built", "linears"]


def _named_activations() -> dict[str, type]:
    """The elementwise activations under their names in ``torch.nn.functional``, and scikit-learn's "logistic"."""
    aliases = {"LeakyReLU": "leaky_relu"}
    found = {aliases.get(name, name.lower()): kind for name, kind in registry.activations().items()}
    return found | {"logistic": Sigmoid, "identity": Identity}


#: What `activation` may name.
ACTIVATIONS = _named_activations()


def as_activations(given: Any, hidden: int) -> list[tuple[str, Module]]:
    """The activation of each hidden layer, with the name by which its first weights go: new modules."""
    if isinstance(given, (list, tuple)):
        if len(given) != hidden:
            raise ValueError(f"activation must have an entry for each hidden layer, {hidden}; got {len(given)}")
        return [_as_activation(entry) for entry in given]
    return [_as_activation(given) for _ in range(hidden)]


def _as_activation(given: Any) -> tuple[str, Module]:
    if isinstance(given, str):
        if given not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(sorted(ACTIVATIONS))}, or a module; got {given!r}")
        return given, ACTIVATIONS[given]()
    if isinstance(given, type) and issubclass(given, Module):
        given = given()
    if not isinstance(given, Module):
        raise TypeError(f"each activation must be a name or a module of fastmlp; got {given!r}")
    return type(given).__name__.lower(), copy.deepcopy(given)


def as_dropouts(given: Any, hidden: int) -> list[float]:
    """How much of each hidden layer is left out."""
    if isinstance(given, (list, tuple)):
        if len(given) != hidden:
            raise ValueError(f"dropout must have an entry for each hidden layer, {hidden}; got {len(given)}")
        return [float(rate) for rate in given]
    return [float(given)] * hidden


def built(units: Sequence[int], activations: Iterable[Module], dropouts: Iterable[float], dtype: np.dtype) -> Sequential:
    """A network of these widths."""
    row: list[Module] = []
    for fan_in, fan_out, activation, dropout in zip(units, units[1:-1], activations, dropouts):
        row += [Linear(fan_in, fan_out, dtype=dtype, rng=0), activation]
        if dropout:
            row.append(Dropout(dropout))
    return Sequential(*row, Linear(units[-2], units[-1], dtype=dtype, rng=0), dtype=dtype)


def linears(model: Sequential) -> list[Linear]:
    """The layers that `coefs_` and `intercepts_` are of: those in the row itself."""
    return [module for module in model if isinstance(module, Linear)]


def bias_of(layer: Linear) -> Parameter:
    """The bias of a layer, which all layers here have."""
    assert layer.bias is not None
    return layer.bias


class Bound:
    """Views of a network's parameters: ``coefs[i]`` is ``weight.data.T`` of layer i, ``intercepts[i]`` its ``bias.data``."""

    def __init__(self, model: Sequential):
        self.layers = linears(model)
        biases = [bias_of(layer) for layer in self.layers]
        self.parameters = [layer.weight for layer in self.layers] + biases
        self.data = [parameter.data for parameter in self.parameters]
        self.coefs = [layer.weight.data.T for layer in self.layers]
        self.intercepts = [bias.data for bias in biases]

    def holds(self, coefs: Any, intercepts: Any) -> bool:
        """Whether these are the very views, and the parameters still lie there."""
        views = self.coefs + self.intercepts
        given = [*coefs, *intercepts]
        return (
            len(given) == len(views)
            and all(one is other for one, other in zip(given, views))
            and all(parameter.data is data for parameter, data in zip(self.parameters, self.data))
        )
