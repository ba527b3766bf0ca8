"""The base of every loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks

__all__ = ["Criterion"]


class Criterion:
    """A loss: ``loss = criterion(out, y)``, then ``dout = criterion.backward()``.

    To write one of your own, subclass it and give it ``forward(out, y)``, which returns the mean loss of the batch as a
    float and keeps what ``backward()`` will need, and ``backward()``, which returns the gradient of that mean with respect
    to ``out``. It works in :func:`fastmlp.fit`, only slower: each step then comes back to Python.
    """

    #: Its number in a program (kernels/losses.py); 0 for one that runs in Python only.
    code = 0
    _saved: Any = None

    def forward(self, out: np.ndarray, y: Any) -> float:
        """The mean loss of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(out, y)")

    def backward(self) -> np.ndarray:
        """The gradient of the last loss with respect to the outputs.

        Raises
        ------
        RuntimeError
            Before the first ``forward``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def _compiled_code(self) -> int:
        """`code`, unless a subclass brings arithmetic of its own: then 0."""
        for base in type(self).__mro__:
            if "code" in vars(base):
                return self.code
            if "forward" in vars(base) or "backward" in vars(base):
                return 0
        return 0

    def __call__(self, out: np.ndarray, y: Any) -> float:
        return self.forward(out, y)

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        """`y` as the kernels take it."""
        raise NotImplementedError

    def _outputs(self, out: Any) -> np.ndarray:
        """The outputs of a network, checked and laid out for the kernels."""
        return checks.as_rows(out, None, checks.as_float_dtype_of(out), type(self).__name__, "out")

    def _taken(self) -> Any:
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward: compute a loss first")
        return self._saved

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_saved"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
