"""Embeddings of categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.embedding import Embedding as EmbeddingOp
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module
from fastmlp.parameters import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A vector, which is learned, for each category: of columns of whole numbers, which may stand beside columns of numbers.

    The output has the other columns as they are, in their order, and behind them the vectors, in the order of their columns.

    Parameters
    ----------
    num_embeddings : int, or dict of int to int
        How many categories there are: of the one column of X, as in PyTorch; or, by the number of the column, of some of its
        `in_features` columns. The column holds whole numbers, from 0 to one below.
    embedding_dim : int, or dict of int to int, optional
        Entries of a vector: for all columns, or by column. By default fastai's, ``min(600, round(1.6 * categories**0.56))``.
    in_features : int, optional
        Columns of X; needed where `num_embeddings` is a dictionary.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.
    rng : None, int or Generator
        For the first vectors; see :meth:`reset_parameters`.

    Attributes
    ----------
    weight : Parameter
        ``(num_embeddings, embedding_dim)``; with a dictionary ``weight_3`` for column 3, and so on.

    Shape: ``(N, in_features)`` to ``(N, out_features)``, ``out_features = in_features - columns + sum of their embedding_dim``.

    Raises
    ------
    ValueError, TypeError
        For sizes that are not whole numbers of at least 1, columns that X does not have, when a network that begins with it
        is called on what is no category, and when a network is made in which it comes behind a layer that computes.

    Notes
    -----
    It comes first in a network, where the columns are those of X. The gradient of a column of categories is 0.

    References
    ----------
    C. Guo, F. Berkhahn, "Entity embeddings of categorical variables", arXiv:1604.06737, 2016.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Embedding({1: 7, 3: 12}, {1: 3, 3: 4}, in_features=4), fm.Linear(2 + 3 + 4, 1))
    >>> model
    Sequential(
      (0): Embedding({1: 7, 3: 12}, {1: 3, 3: 4}, in_features=4)     69 parameters
      (1): Linear(9, 1)                                              10 parameters
    )  79 parameters, float32
    >>> model([[0.5, 6, -0.1, 11]]).shape
    (1, 1)
    """

    def __init__(
        self,
        num_embeddings: int | Mapping[int, int],
        embedding_dim: int | Mapping[int, int] | None = None,
        *,
        in_features: int | None = None,
        dtype=np.float32,
        rng=None,
    ):
        self._alone = not isinstance(num_embeddings, Mapping)
        given = {0: num_embeddings} if not isinstance(num_embeddings, Mapping) else dict(num_embeddings)
        if in_features is None:
            if not self._alone:
                raise TypeError("in_features is needed: how many columns X has, those of numbers too")
            in_features = 1
        self._width = checks.as_size(in_features, "in_features")
        if self._alone and self._width != 1:
            raise ValueError(f"in_features is {self._width}: say which columns hold categories, {{0: {num_embeddings}}}")
        if not given:
            raise ValueError("num_embeddings names no column")
        columns = sorted(checks.as_size(column, "a column of num_embeddings", least=0) for column in given)
        if columns[-1] >= self._width:
            raise ValueError(f"num_embeddings names column {columns[-1]}, but X has {self._width}, from 0 on")
        names = {column: "num_embeddings" + f"[{column}]" * (not self._alone) for column in columns}
        self._categories = tuple((column, checks.as_size(given[column], names[column])) for column in columns)
        self._entries = _as_entries(embedding_dim, dict(self._categories))
        for (column, categories), entries in zip(self._categories, self._entries):
            setattr(self, self._name(column), Parameter((categories, entries), dtype))
        self.reset_parameters(rng)

    def _name(self, column: int) -> str:
        return "weight" if self._alone else f"weight_{column}"

    @property
    def _vectors(self) -> list[str]:  # type: ignore[override]
        return [self._name(column) for column, _ in self._categories]

    @property
    def num_embeddings(self) -> int | dict[int, int]:
        """How many categories there are: of the one column, or by the number of the column."""
        return self._categories[0][1] if self._alone else dict(self._categories)

    @property
    def embedding_dim(self) -> int | dict[int, int]:
        """Entries of a vector: of the one column, or by the number of the column."""
        if self._alone:
            return self._entries[0]
        return {column: entries for (column, _), entries in zip(self._categories, self._entries)}

    @property
    def in_features(self) -> int:
        """The width of the input."""
        return self._width

    @property
    def out_features(self) -> int:
        """The width of the output."""
        return self._width - len(self._categories) + sum(self._entries)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw the vectors from the standard normal distribution, as PyTorch does."""
        generator = checks.as_generator(rng)
        for column, _ in self._categories:
            weight = getattr(self, self._name(column))
            weight.data = generator.standard_normal(weight.shape)

    def _check_input(self, x: np.ndarray, name: str = "x") -> None:  # type: ignore[override]
        """Refuse what is no category."""
        for column, categories in self._categories:
            values = x[:, column]
            with np.errstate(invalid="ignore"):
                wrong = np.flatnonzero(~((values >= 0) & (values < categories) & (np.floor(values) == values)))
            if wrong.size:
                raise ValueError(
                    f"column {column} of {name} must hold categories, whole numbers from 0 to {categories - 1}; row {wrong[0]} "
                    f"holds {values[wrong[0]]}"
                )

    def _checked(self, name: str, value: Any) -> Any:
        for (column, categories), entries in zip(self.__dict__.get("_categories", ()), self.__dict__.get("_entries", ())):
            if name == self._name(column):
                if not isinstance(value, Parameter):
                    raise TypeError(f"{name} of an Embedding must be a Parameter; got {value!r}")
                if value.shape != (categories, entries):
                    raise ValueError(f"{name} of {self!r} must have the shape {(categories, entries)}; got {value.shape}")
        return value

    def _width_in(self) -> int:
        return self._width

    def _width_out(self, width: int | None) -> int:
        return self.out_features

    def _ops(self, width: int) -> list[Op]:
        ops: list[Op] = []
        for gone, ((column, categories), entries) in enumerate(zip(self._categories, self._entries)):
            # The columns before it that had categories are gone.
            ops.append(EmbeddingOp(width, column - gone, categories, entries, getattr(self, self._name(column)).offset))
            width = ops[-1].width_out
        return ops

    def __repr__(self) -> str:
        if self._alone:
            return f"Embedding({self._categories[0][1]}, {self._entries[0]})"
        entries = {column: entries for (column, _), entries in zip(self._categories, self._entries)}
        return f"Embedding({dict(self._categories)}, {entries}, in_features={self._width})"


def _as_entries(given: Any, categories: dict[int, int]) -> tuple[int, ...]:
    """Entries of the vectors of each column."""
    if given is None:
        return tuple(min(600, round(1.6 * count**0.56)) for count in categories.values())
    if not isinstance(given, Mapping):
        return (checks.as_size(given, "embedding_dim"),) * len(categories)
    if given.keys() != categories.keys():
        raise ValueError(f"embedding_dim must have the columns of num_embeddings, {sorted(categories)}; got {sorted(given)}")
    return tuple(checks.as_size(given[column], f"embedding_dim[{column}]") for column in categories)
