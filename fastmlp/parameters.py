"""Parameters: named views of one flat vector of numbers and one flat gradient of the same layout."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastmlp import checks
from fastmlp.kernels.layout import row_stride, zeros

__all__ = ["Parameter", "Storage", "gather"]


class Storage:
    """The flat vector that parameters lie in, and the gradient beside it; both begin on a 64-byte line."""

    def __init__(self, size: int, dtype: np.dtype):
        self.data = zeros(size, dtype)
        self.grad = zeros(size, dtype)

    def __getstate__(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.data), np.array(self.grad)

    def __setstate__(self, state: tuple[np.ndarray, np.ndarray]) -> None:
        # An unpickled or deep-copied array begins anywhere: lay it out anew.
        self.__init__(state[0].size, state[0].dtype)  # type: ignore[misc]
        self.data[:], self.grad[:] = state


class Parameter:
    """A trainable array: a view of its owner's flat vector.

    Parameters
    ----------
    shape : tuple of int
        ``(out_features, in_features)`` for a weight, ``(features,)`` for a bias.
    dtype : dtype, default float32
        float32 or float64.

    Attributes
    ----------
    data, grad : ndarray
        The values and their gradient, of `shape`. Both are views: writing into them changes the parameter. Assigning to
        them copies into the view.
    name : str
        The name in its model's ``state_dict``, ``"0.weight"`` for instance.

    Notes
    -----
    A weight lies in memory as ``(in_features, padded out_features)``, so that the kernels read whole vectors; `data` is
    the transposed view of it that users of PyTorch expect. The padding is zero and stays zero.

    Examples
    --------
    >>> import fastmlp as fm
    >>> scale = fm.Parameter((3,))
    >>> scale.data = [1, 2, 3]
    >>> scale.data
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type = np.float32):
        if not isinstance(shape, (tuple, list)):
            raise TypeError(f"shape must be a tuple, (features,) or (out_features, in_features); got {shape!r}")
        self.shape = tuple(checks.as_size(extent, "each extent of a Parameter's shape") for extent in shape)
        if len(self.shape) not in (1, 2):
            raise ValueError(f"a Parameter has one axis or two; got the shape {self.shape}")
        self.name = ""
        self._place(Storage(self._size(checks.as_float_dtype(dtype)), checks.as_float_dtype(dtype)), 0)

    def _size(self, dtype: np.dtype) -> int:
        rows = self.shape[1] if len(self.shape) == 2 else 1
        return rows * row_stride(self.shape[0], dtype)

    def _place(self, storage: Storage, offset: int) -> None:
        """Be the part of `storage` that begins at `offset`."""
        self.storage, self.offset, self.size = storage, offset, self._size(storage.data.dtype)
        self.matrix, self.grad_matrix = self._matrix_of(storage.data), self._matrix_of(storage.grad)
        self._data, self._grad = self.view_of(storage.data), self.view_of(storage.grad)

    def _matrix_of(self, flat: np.ndarray) -> np.ndarray:
        """The parameter's part of an array laid out as its storage, as the kernels see it: padded, inputs first."""
        stride = row_stride(self.shape[0], flat.dtype)
        return flat[self.offset : self.offset + self.size].reshape(-1, stride)

    def view_of(self, flat: np.ndarray) -> np.ndarray:
        """The parameter's part of an array laid out as its storage, in the parameter's shape."""
        padded = self._matrix_of(flat)[:, : self.shape[0]]
        return padded.T if len(self.shape) == 2 else padded[0]

    def _move(self, storage: Storage, offset: int) -> None:
        """Take the values along to another storage, converting them to its dtype."""
        data, grad = self.data.copy(), self.grad.copy()
        self._place(storage, offset)
        self.data, self.grad = data, grad

    def __getstate__(self) -> dict:
        return {key: self.__dict__[key] for key in ("shape", "name", "storage", "offset")}

    def __setstate__(self, state: dict) -> None:
        self.shape, self.name = state["shape"], state["name"]
        self._place(state["storage"], state["offset"])

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, values) -> None:
        self._data[...] = checks.as_like(values, self._data, f"data of {self.name or 'a Parameter'}")

    @property
    def grad(self) -> np.ndarray:
        return self._grad

    @grad.setter
    def grad(self, values) -> None:
        self._grad[...] = checks.as_like(values, self._grad, f"grad of {self.name or 'a Parameter'}")

    @property
    def dtype(self) -> np.dtype:
        return self.storage.data.dtype

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype})"


def gather(parameters: Iterable[Parameter], dtype: np.dtype) -> Storage:
    """Move parameters, in order, into one new storage of `dtype`."""
    parameters = list(parameters)
    sizes = [parameter._size(dtype) for parameter in parameters]
    storage = Storage(sum(sizes), dtype)
    offset = 0
    for parameter, size in zip(parameters, sizes):
        parameter._move(storage, offset)
        offset += size
    return storage
