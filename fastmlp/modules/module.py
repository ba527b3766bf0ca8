"""The base of every module: what is called on a network and propagates through its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.kernels.layout import row_stride, zeros
from fastmlp.parameters import Parameter
from fastmlp.program import Program

__all__ = ["Module", "padded_arithmetic"]

#: Attributes that belong to a moment, not to the module: left behind by pickle and copy.
TRANSIENT = ("_saved", "_keeper", "_passes", "_spare", "_owned", "_buffers", "_calls", "_backward_calls")


class Module:
    """A part of a network, or a network: ``y = module(x)``, then ``dx = module.backward(dy)``.

    To write one of your own, subclass it and give it two methods on NumPy arrays: ``forward(x)``, which keeps what
    ``backward(dy)`` will need, and ``backward(dy)``, which adds to the gradients of the module's parameters and returns the
    gradient with respect to ``x``. Attributes that are Parameters or Modules are found by name. Such a module works
    everywhere, :func:`fastmlp.fit` included, only slower: each step then comes back to Python.

    Shape: ``(N, I)`` to ``(N, O)``.

    Notes
    -----
    Gradients accumulate until :meth:`zero_grad`, as in PyTorch. A module keeps its last input or output until the next
    call, so it can stand only once in a network.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> class Double(fm.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return 2 * dy
    >>> model = fm.Sequential(fm.Linear(2, 3), Double())
    >>> model(np.zeros((5, 2))).shape
    (5, 3)
    """

    training = True
    _saved: Any = None
    _keeper: Any = None  # a weak reference to the Passes of a network, which have what this module would have saved
    _owned = False

    # What a subclass gives. Built-in modules give `_forward` and `_backward` on padded matrices instead, so that a network
    # pads its input once and not at every layer.

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The output for `x`, (N, I) to (N, O)."""
        if type(self)._forward is Module._forward:
            raise NotImplementedError(f"{type(self).__name__} has no forward(x)")
        x = checks.as_matrix(x, self._width_in(), self.dtype or checks.as_float_dtype_of(x), self)
        padded, width = self._forward(self._pad("input", x), x.shape[1])
        return padded[:, :width].copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """The gradient with respect to the last input, given the one with respect to the last output.

        Adds to the gradients of the parameters.

        Raises
        ------
        RuntimeError
            Before the first ``forward``.
        ValueError
            If `dy` does not have the shape of the last output.
        """
        if type(self)._backward is Module._backward:
            raise NotImplementedError(f"{type(self).__name__} has no backward(dy)")
        dy = self._checked_delta(dy, self._saved_shape())
        padded, width = self._backward(self._pad("output delta", dy), dy.shape[1])
        return padded[:, :width].copy()

    def _checked_delta(self, dy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The gradient with respect to the last output, which had this shape, laid out for the kernels."""
        dy = checks.as_rows(dy, shape[1], self.dtype or checks.as_float_dtype_of(dy), self, "dy")
        if dy.shape[0] != shape[0]:
            raise ValueError(
                f"backward of {checks.describe(self)} expects the shape of the last output, {shape}; got {dy.shape}"
            )
        return dy

    def _forward(self, x: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        """As `forward`, on a padded matrix and its width."""
        y = np.asarray(self.forward(x[:, :width]))
        if y.ndim != 2 or y.shape[0] != x.shape[0]:
            raise ValueError(f"{type(self).__name__}.forward must return ({x.shape[0]}, O); got {y.shape}")
        return checks.as_padded(y.astype(x.dtype, copy=False)), y.shape[1]

    def _backward(self, dy: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        """As `backward`, on a padded matrix and its width."""
        dx = np.asarray(self.backward(dy[:, :width]))
        if dx.ndim != 2 or dx.shape[0] != dy.shape[0]:
            raise ValueError(f"{type(self).__name__}.backward must return ({dy.shape[0]}, I); got {dx.shape}")
        return checks.as_padded(dx.astype(dy.dtype, copy=False)), dx.shape[1]

    def _buffer(self, role: str, rows: int, width: int, dtype: np.dtype) -> np.ndarray:
        """A matrix of the module's own, with whatever the last call left in it, zero in the padding.

        Kept from call to call: fresh memory for every intermediate result costs a third of a step of a small network, most of
        it page faults.
        """
        buffers = self.__dict__.setdefault("_buffers", {})
        key = role, width  # a narrower one would find numbers in its padding
        buffer = buffers.get(key)
        if buffer is None or len(buffer) != rows or buffer.dtype != dtype:
            stride = row_stride(width, dtype)
            buffer = buffers[key] = zeros(rows * stride, dtype).reshape(rows, stride)
        return buffer

    def _pad(self, role: str, array: np.ndarray) -> np.ndarray:
        """A copy of an array in a buffer."""
        rows, width = array.shape
        padded = self._buffer(role, rows, width, array.dtype)
        padded[:, :width] = array
        return padded

    def _saved_shape(self) -> tuple[int, int]:
        """The shape of the last output."""
        keeper = self._keeper() if self._saved is None and self._keeper is not None else None
        if keeper is not None:
            keeper.hand_out()
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward: call the module on an input first")
        return self._saved[-1]

    def _width_in(self) -> int | None:
        """The width of the input, None where any will do."""
        return None

    def _width_out(self, width: int | None) -> int | None:
        """The width of the output for an input of this width, None where unknown."""
        return None

    def _lower(self, program: Program) -> None:
        """Add the module to a program."""
        raise NotImplementedError

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x)

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype of the module's numbers; None where it has no parameters and takes its input's."""
        for parameter in self._stored_parameters():
            return parameter.dtype
        return None

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The parts of this module, with their names."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module) and name not in TRANSIENT:
                yield name, value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and of all its parts, with their names."""
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter) and not name.startswith("_"):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> Iterator[Parameter]:
        """The parameters of this module and of all its parts."""
        for _, parameter in self.named_parameters():
            yield parameter

    def _stored_parameters(self) -> Iterator[Parameter]:
        """The parameters and whatever else lies in the flat vector, private ones included, each once."""
        seen = set()
        for value in self.__dict__.values():
            if isinstance(value, Parameter) and value not in seen:
                seen.add(value)
                yield value
        for _, child in self.named_children():
            yield from child._stored_parameters()

    def modules(self) -> Iterator[Module]:
        """The module itself and all its parts, depth first."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for parameter in self.parameters():
            parameter.grad_matrix[...] = 0

    def train(self, mode: bool = True) -> Module:
        """Switch to training mode (or, with False, to evaluation mode), with all parts."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode, with all parts."""
        return self.train(False)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw the parameters anew, those of all parts too. `rng` is None, an int or a Generator."""
        generator = checks.as_generator(rng)
        for _, child in self.named_children():
            child.reset_parameters(generator)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters, by name; weights have the shape (out_features, in_features), as in PyTorch."""
        return {name: np.array(parameter.data, order="C") for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over the parameters of a ``state_dict``. All are checked before any is changed.

        Raises
        ------
        KeyError
            If a name is missing or not known.
        ValueError
            If a shape differs.
        """
        parameters = dict(self.named_parameters())
        missing, unknown = parameters.keys() - state.keys(), state.keys() - parameters.keys()
        if missing or unknown:
            raise KeyError(f"the state_dict does not fit: missing {sorted(missing)}, not known {sorted(unknown)}")
        values = {name: checks.as_like(state[name], parameter.data, name) for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.data = values[name]

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in TRANSIENT}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@cache
def _brings_its_own(kind: type[Module], name: str) -> bool:
    for base in kind.__mro__:
        if f"_{name}" in vars(base):
            return False
        if name in vars(base):
            return True
    return False


def padded_arithmetic(module: Module, name: str) -> Callable[[np.ndarray, int], tuple[np.ndarray, int]]:
    """``module._forward`` or ``module._backward``, unless a subclass brings a ``forward`` or ``backward``: then that one."""
    kind: Any = type(module)
    return getattr(Module if _brings_its_own(kind, name) else kind, f"_{name}").__get__(module)
