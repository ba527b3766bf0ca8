"""What a layer, an optimizer, clipping, a schedule or a callback adds to ``fit``: the same network with it and without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import fastmlp as fm

from . import entries
from .networks import data
from .setting import Timed, pin
from .workloads import WORKLOADS, Workload

#: After each hidden linear layer, or, the last, round those that are as wide as their input.
LAYERS = ["nothing", "LayerNorm", "BatchNorm1d", "Dropout", "Residual"]

OPTIMIZERS = ["SGD()", "SGD(momentum=0.9)", "Adam()", "AdamW()", "RMSprop()"]

CLIPPING = ["clip_norm", "clip_value"]

#: Batches of a step, which has 128 rows in all.
BATCHES = [1, 2, 4]

#: What does nothing, and when it is called: never, after each epoch, after each step.
CALLBACKS = ["Callback()", "function", "every=1"]

SCHEDULES = ["nothing", "CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau"]

#: So small a rate that whatever is trained for whatever time, the numbers, and so their cost, stay what they are.
RATE = 1e-9


def hidden(layer: str, width_in: int, width: int) -> list[fm.Module]:
    """A hidden layer of the network."""
    linear = fm.Linear(width_in, width, rng=0)
    if layer == "Residual":
        if not hasattr(fm, "Residual"):
            raise NotImplementedError("there is no Residual at this commit")
        return [fm.Residual(linear, fm.ReLU())] if width_in == width else [linear, fm.ReLU()]
    named = {"LayerNorm": "normalized_shape=256", "BatchNorm1d": "num_features=256", "Dropout": "rng=0"}
    return [linear, *([entries.make(f"{layer}({named[layer]})")] if layer in named else []), fm.ReLU()]


def built(workload: Workload, layer: str = "nothing") -> fm.Sequential:
    """The network of a workload, with a layer added."""
    *widths, last = workload.widths
    modules = [module for pair in pairwise(widths) for module in hidden(layer, *pair)]
    model = fm.Sequential(*modules, fm.Linear(widths[-1], last, rng=0))
    model.reset_parameters(rng=0)
    return model


def trainer(
    name: str, model: fm.Sequential, optimizer: fm.Optimizer, schedule: str = "nothing", **more: Any
) -> Callable[[], None]:
    """A function that trains a workload for some epochs on one thread; compiled and run once."""
    workload, (x, y) = WORKLOADS[name], data(name)
    options: dict[str, Any] = {"epochs": workload.epochs, "batch_size": workload.batch, "shuffle": False, "threads": 1}
    options |= {"progress": False} | more

    def train() -> None:
        named = {"CosineAnnealingLR": {"T_max": workload.epochs}, "OneCycleLR": {"max_lr": RATE, "total_steps": workload.steps}}
        made = None if schedule == "nothing" else getattr(fm, schedule)(optimizer, **named.get(schedule, {}))
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, x, y, schedule=made, **options)

    train()
    return train


@cache
def with_layer(layer: str) -> Callable[[], None]:
    """Training of tabular with a layer added."""
    model = built(WORKLOADS["tabular"], layer)
    return trainer("tabular", model, fm.SGD(model.parameters(), lr=RATE))


@cache
def with_optimizer(entry: str) -> Callable[[], None]:
    """Training of tabular with an optimizer."""
    model = built(WORKLOADS["tabular"])
    return trainer("tabular", model, entries.make(entry, model.parameters(), lr=RATE))


@cache
def with_clipping(option: str) -> Callable[[], None]:
    """Training of tabular with gradients clipped."""
    if option not in inspect.signature(fm.fit).parameters:
        raise NotImplementedError(f"fit has no {option} at this commit")
    model = built(WORKLOADS["tabular"])
    return trainer("tabular", model, fm.SGD(model.parameters(), lr=RATE), **{option: 0.01})


@cache
def with_batches(count: int) -> Callable[[], None]:
    """Training of tabular, the rows of a step in so many batches."""
    if "accumulate" not in inspect.signature(fm.fit).parameters:
        raise NotImplementedError("fit has no accumulate at this commit")
    model = built(WORKLOADS["tabular"])
    batch = WORKLOADS["tabular"].batch // count
    return trainer("tabular", model, fm.SGD(model.parameters(), lr=RATE), batch_size=batch, accumulate=count)


def nothing(epoch: int, history: fm.History) -> None:
    """A callback that is called after each epoch."""


@cache
def with_callback(kind: str) -> Callable[[], None]:
    """Training of disc-b100 with a callback that does nothing."""
    if not hasattr(fm, "Callback"):
        raise NotImplementedError("there are no callbacks at this commit")
    model = built(WORKLOADS["disc-b100"])
    callback: Any = nothing if kind == "function" else fm.Callback()
    if kind == "every=1":
        callback.every = 1
    return trainer("disc-b100", model, fm.SGD(model.parameters(), lr=RATE), callbacks=callback)


@cache
def with_schedule(schedule: str) -> Callable[[], None]:
    """Training of disc-b100 with a schedule."""
    if schedule != "nothing" and not hasattr(fm, schedule):
        raise NotImplementedError(f"there is no {schedule} at this commit")
    model = built(WORKLOADS["disc-b100"])
    return trainer("disc-b100", model, fm.SGD(model.parameters(), lr=RATE, momentum=0.9), schedule)


@cache
def with_squares(wanted: bool) -> Callable[[], None]:
    """Training of tabular, with the squares of all parameters summed in each step, as an L2 penalty in a loss needs them."""
    try:
        from fastmlp.kernels.blocks.squares import Squares
    except ImportError:
        raise NotImplementedError("there are no sums of squares at this commit") from None

    class Summing(fm.SGD):
        def _updates(self):
            return [*super()._updates(), Squares(0, model.storage.data.size)]

    model = built(WORKLOADS["tabular"])
    return trainer("tabular", model, (Summing if wanted else fm.SGD)(model.parameters(), lr=RATE))


class Layers(Timed):
    """Three epochs of tabular on one thread, with a layer between each hidden linear layer and its ReLU, or round the two."""

    params = (LAYERS,)
    param_names = ("layer",)
    covers = ("blocks.batch_norm", "blocks.dropout", "blocks.norms", "blocks.residual")

    def setup(self, layer):
        pin(1)
        self.train = with_layer(layer)

    def time_three_epochs_of_tabular(self, layer):
        self.train()


class Optimizers(Timed):
    """Three epochs of tabular on one thread: the update is in the phase that forms the gradients, while they are hot."""

    params = (OPTIMIZERS,)
    param_names = ("optimizer",)
    covers = ("blocks.optimizers",)

    def setup(self, entry):
        pin(1)
        self.train = with_optimizer(entry)

    def time_three_epochs_of_tabular(self, entry):
        self.train()


class Clipping(Timed):
    """Three epochs of tabular on one thread, gradients clipped by their norm, or number by number."""

    params = (CLIPPING,)
    param_names = ("option",)
    covers = ("blocks.clip",)

    def setup(self, option):
        pin(1)
        self.train = with_clipping(option)

    def time_three_epochs_of_tabular(self, option):
        self.train()


class Squares(Timed):
    """Three epochs of tabular on one thread, with the squares of the parameters summed in each step and without."""

    params = ([False, True],)
    param_names = ("sums",)
    covers = ("blocks.squares",)

    def setup(self, wanted):
        pin(1)
        self.train = with_squares(wanted)

    def time_three_epochs_of_tabular(self, wanted):
        self.train()


class Accumulation(Timed):
    """Three epochs of tabular on one thread, the rows of a step in one batch, two or four."""

    params = (BATCHES,)
    param_names = ("batches",)
    covers = ("blocks.gradients",)

    def setup(self, count):
        pin(1)
        self.train = with_batches(count)

    def time_three_epochs_of_tabular(self, count):
        self.train()


class Callbacks(Timed):
    """Fifty epochs of disc-b100 on one thread, with a callback that does nothing: what it costs to come back to Python."""

    params = (CALLBACKS,)
    param_names = ("callback",)

    def setup(self, kind):
        pin(1)
        self.train = with_callback(kind)

    def time_fifty_epochs_of_disc_b100(self, kind):
        self.train()


class Schedules(Timed):
    """Fifty epochs of disc-b100 on one thread, with a schedule that says a rate for each epoch or each step."""

    params = (SCHEDULES,)
    param_names = ("schedule",)

    def setup(self, schedule):
        pin(1)
        self.train = with_schedule(schedule)

    def time_fifty_epochs_of_disc_b100(self, schedule):
        self.train()
