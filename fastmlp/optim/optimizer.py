"""The base of every optimizer."""

from __future__ import annotations

from collections.abc import Iterable

from fastmlp import checks
from fastmlp.parameters import Parameter, Storage

__all__ = ["Optimizer"]


class Optimizer:
    """What turns gradients into new parameters: ``optimizer.zero_grad()``, ..., ``optimizer.step()``.

    Parameters
    ----------
    params : iterable of Parameter
        ``model.parameters()``.
    lr : float
        The learning rate, at least 0. It may be assigned between steps.

    To write one of your own, subclass it and give it ``step()``, which changes ``parameter.data`` for each of
    ``self.params`` by what is in ``parameter.grad``. It works in :func:`fastmlp.fit`, only slower.
    """

    def __init__(self, params: Iterable[Parameter], lr: float):
        if isinstance(params, Parameter):
            params = [params]
        try:
            self.params = list(params)
        except TypeError:
            raise TypeError(f"params must be Parameters, model.parameters(); got a {type(params).__name__}") from None
        if not self.params:
            raise ValueError("params is empty: the model has no parameters, or its iterator has been used up")
        for parameter in self.params:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"params must be Parameters, model.parameters(); got a {type(parameter).__name__}")
        self.lr = lr
        self._spans: list[tuple[Storage, int, int]] = []
        self._storages: list[Storage] = []

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = checks.as_number(value, "lr")

    def step(self) -> None:
        """Change the parameters by what their gradients say."""
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def zero_grad(self) -> None:
        """Set the gradients of the parameters to zero."""
        for storage, first, last in self._parts():
            storage.grad[first:last] = 0

    def _parts(self) -> list[tuple[Storage, int, int]]:
        """Where the parameters lie, neighbours joined: storage, first entry, last entry.

        Looked up anew when the parameters have moved, as they do when a Sequential is built after the optimizer.
        """
        storages = [parameter.storage for parameter in self.params]
        if storages != self._storages:
            self._storages, self._spans = storages, []
            for parameter in self.params:
                storage, start, end = parameter.storage, parameter.offset, parameter.offset + parameter.size
                if self._spans and self._spans[-1][0] is storage and self._spans[-1][2] == start:
                    start = self._spans.pop()[1]
                self._spans.append((storage, start, end))
        return self._spans

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_spans": [], "_storages": []}
