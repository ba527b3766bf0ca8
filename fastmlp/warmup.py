"""Everything that training and prediction need, called once on next to nothing, so that it is compiled."""

from __future__ import annotations

import numpy as np

from fastmlp.criterion import CrossEntropyLoss, MSELoss
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.modules import Linear, ReLU, Sequential, Sigmoid, Tanh
from fastmlp.optim import SGD
from fastmlp.training import fit

__all__ = ["STEPS", "warm_up"]


def warm_up(step: str, dtype: np.dtype) -> None:
    """Do one of the STEPS, for one dtype. One engine serves all widths, losses and options."""
    X = np.ones((2, 2), dtype)
    model = Sequential(Linear(2, 2), ReLU(), Linear(2, 2), Tanh(), Linear(2, 2), Sigmoid(), dtype=dtype)
    optimizer = SGD(model.parameters(), lr=0.1)
    if step == "fit":
        fit(model, CrossEntropyLoss(), optimizer, X, [0, 1], epochs=1, progress=False)
        epoch_order(np.arange(2), 0, 0)  # what fit does after a loss that is not finite
    elif step == "predict":
        model.predict(X)
    elif step == "module by module":
        out = X
        for module in model:
            out = module(out)
        for module in reversed(list(model)):
            out = module.backward(out)
    else:
        for criterion, target in ((CrossEntropyLoss(), [0, 1]), (MSELoss(), X)):
            criterion(model(X), target)
            model.backward(criterion.backward())
            optimizer.step()


#: Between two of them the caller may say what has been compiled.
STEPS = ("fit", "predict", "step by step", "module by module")
