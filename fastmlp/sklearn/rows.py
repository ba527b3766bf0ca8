"""What the estimators train on: the rows of an epoch in scikit-learn's order, dense or sparse."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from fastmlp.modules import Sequential
from fastmlp.sklearn.optimizers import PenalisedOptimizer
from fastmlp.training.data import Data
from fastmlp.training.inputs import Rows
from fastmlp.training.windows import Window

__all__ = ["ShuffledRows", "dense", "predicted"]

#: Bytes of sparse rows that are made dense at a time.
DENSE_BYTES = 2**25


def is_sparse(X: Any) -> bool:
    """Whether `X` is one of SciPy's sparse arrays or matrices."""
    return hasattr(X, "toarray")


def dense(X: Any, dtype: np.dtype) -> np.ndarray:
    """`X`, or some of its rows, as the kernels take it."""
    return np.ascontiguousarray(X.toarray() if is_sparse(X) else X, dtype)


def predicted(model: Sequential, X: Any, threads: int | None) -> np.ndarray:
    """The outputs for all rows of `X`."""
    if not is_sparse(X):
        return model.predict(dense(X, model.dtype), threads=threads)
    X = X.tocsr()
    blocks = gen_batches(X.shape[0], max(1, DENSE_BYTES // (model.dtype.itemsize * X.shape[1])))
    return np.concatenate([model.predict(dense(X[block], model.dtype), threads=threads) for block in blocks])


class ShuffledRows(Data):
    """Rows whose order scikit-learn's generator makes: each epoch shuffles the order of the one before.

    ``sklearn.utils.shuffle(order, random_state)`` draws no numbers but those of ``random_state.shuffle(arange(n))``. Weights
    of rows are scaled so that those of each batch sum to its rows: scikit-learn's loss of an epoch is the mean of the weighted
    means of its batches, each counted as often as it has rows.
    """

    def __init__(
        self,
        rows: Rows,
        X: Any,
        batch_size: int,
        shuffled: np.random.RandomState | None,
        optimizer: PenalisedOptimizer,
        last_epoch: int,
    ):
        """`rows` has targets and weights of all rows, and all inputs where `X` is dense, else one of them."""
        count = len(rows.y)
        super().__init__(
            rows,
            batch_size=batch_size,
            microbatch=batch_size,
            batches=-(-count // batch_size),
            rows=count,
            shuffle=False,  # not by the engine
            seed=0,
            last_epoch=last_epoch,
        )
        self.generator, self.optimizer, self.sparse = shuffled, optimizer, X.tocsr() if is_sparse(X) else None
        #: The epochs that the next window is of, where they need not come one by one.
        self.at_once = 1
        self.order = np.arange(count)
        self.weights = None if rows.weights is None else np.array(rows.weights)
        self.sizes = np.full(self.batches, batch_size)
        self.sizes[-1] = count - batch_size * (self.batches - 1)
        if self.weights is None:  # all epochs are alike
            optimizer.begin_epoch(self.sizes, self.sizes)

    @property
    def one_by_one(self) -> bool:
        """Whether a window is of one epoch."""
        return self.weights is not None or self.sparse is not None

    def windows(self, epoch: int, batch: int) -> Generator[Window, None, None]:
        assert isinstance(self.given, Rows)
        while epoch < self.last_epoch:
            if self.sparse is not None:
                self.shuffle_rows()
                yield from self._dense_windows(epoch)
                epoch += 1
                continue
            epochs = min(self.at_once, self.last_epoch - epoch)
            orders = np.empty((epochs, self.rows), np.int64)
            for order in orders:
                self.shuffle_rows()
                order[:] = self.order
            rows = self.given._replace(weights=self.weights)
            yield Window(rows, orders.reshape(-1), 0, self.batches, self.rows, epoch, epochs)
            epoch += epochs

    def shuffle_rows(self) -> None:
        """Put the order of the next epoch, and the weights that go with it, into their arrays."""
        if self.generator is not None:
            places = np.arange(self.rows)
            self.generator.shuffle(places)
            self.order = self.order[places]
        if self.weights is None:
            return
        ordered = self.given.weights[self.order].astype(np.float64)  # type: ignore[union-attr, index]
        sums = np.add.reduceat(ordered, np.arange(0, self.rows, self.batch_size))
        self.optimizer.begin_epoch(sums, self.sizes)
        self.weights[self.order] = ordered * np.repeat(self.optimizer.shares, self.sizes)

    def _dense_windows(self, epoch: int) -> Generator[Window, None, None]:
        assert self.sparse is not None
        y, dtype = self.given.y, self.given.x.dtype  # type: ignore[union-attr]
        at_once = max(1, DENSE_BYTES // (dtype.itemsize * self.sparse.shape[1] * self.batch_size))
        for first in range(0, self.batches, at_once):
            batches = min(at_once, self.batches - first)
            chosen = self.order[first * self.batch_size : (first + batches) * self.batch_size]
            own = None if self.weights is None else self.weights[chosen]
            rows = Rows(dense(self.sparse[chosen], dtype), y[chosen], own)
            yield Window(rows, np.arange(len(chosen)), first, batches, len(chosen), epoch)
