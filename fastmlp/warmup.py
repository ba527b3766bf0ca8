"""Everything that ``fit``, ``predict`` and the modules need for one dtype, made ready block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp import registry
from fastmlp.criterion import CrossEntropyLoss
from fastmlp.kernels.blocks.clip import Clip
from fastmlp.kernels.blocks.gradients import Gradients
from fastmlp.kernels.blocks.jacobian import Jacobian
from fastmlp.kernels.blocks.moves import Input, Output
from fastmlp.kernels.blocks.optimizers import Frozen
from fastmlp.kernels.blocks.relay import Relay
from fastmlp.kernels.blocks.squares import Squares
from fastmlp.kernels.compiler.jit import COMPILING
from fastmlp.kernels.op import Op
from fastmlp.kernels.scan import first_beyond
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.kernels.threads import BOX_SIZE, stand_by
from fastmlp.kernels.together import shared_call
from fastmlp.modules import Embedding, Identity, Linear, Residual, Sequential
from fastmlp.optim import SGD
from fastmlp.predictor import compiled
from fastmlp.training import fit

__all__ = ["warm_up"]


def warm_up(dtype: np.dtype) -> Iterator[None]:
    """Compile, or load from the cache, what one dtype needs; pauses after each block, for the caller to say what it was."""
    for op in _ops(dtype):
        for block in (op.block, op.row_block, op.columns_block, op.wide_block, op.relay_block, op.derivative_block):
            if block is not None:
                block.address(dtype)
        yield
    # What Python calls is compiled when it is called: on next to nothing.
    X, model = np.ones((2, 2), dtype), Sequential(Linear(2, 2), dtype=dtype)
    for rows in (2, 1):  # of one row, the layer and the formula are one block
        fit(model, CrossEntropyLoss(), SGD(model.parameters()), X, [0, 1], epochs=1, batch_size=rows, threads=1, progress=False)
    yield
    model.predict(X, threads=1)
    model.predict(X[:1])
    compiled(model).predict(X)
    first_beyond(X.reshape(-1), 0.0, 1.0, False)  # targets of some losses, and weights of rows
    epoch_order(np.arange(2), 0, 0)  # what fit does after a loss that is not finite
    stand_by(np.zeros(BOX_SIZE, np.int64), 0, 0)  # what threads do between two calls
    if COMPILING:
        shared_call(dtype)  # and what they do for predictions in a row
    yield


def _ops(dtype: np.dtype) -> Iterator[Op]:
    """An op of each block: of all layers, activations, losses and optimizers, in all their forms."""
    layer = Linear(2, 2, dtype=dtype)
    yield from (Input(2), *layer._ops(2), Output(2))
    yield from (Jacobian(2), Relay(), Frozen(), *Residual(Identity())._ops(2), *Embedding(2, 2)._ops(1))
    yield from (Gradients(16), Squares(0, 16), *Clip.of([(0, 16)], 1.0, by_value=False))
    for family in (registry.layers(), registry.activations()):
        for kind in family.values():
            for case in kind.cases:  # type: ignore[attr-defined]
                yield from registry.made(kind, case, 2)._ops(2)
    for kind in registry.criteria().values():
        for case in kind.cases:  # type: ignore[attr-defined]
            criterion = registry.made(kind, case, 2)
            yield criterion._op(2)
        yield registry.made(kind, {}, 2)._op(2, weighted=True)
    for optimizer in _made(registry.optimizers(), list(layer.parameters())):
        yield from optimizer._updates()


def _made(family: dict[str, type], *arguments: Any) -> Iterator[Any]:
    """The entries of a family, each with all of its `cases`: an option may choose another formula."""
    for kind in family.values():
        for case in kind.cases:  # type: ignore[attr-defined]
            yield kind(*arguments, **case)
