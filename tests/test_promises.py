"""The four promises: eager equals fused, threads don't matter, saved equals live, compiled equals readable.

Each by loops over the entries of the catalogue (fastmlp/registry.py) and what else a training consists of.
"""

from __future__ import annotations

import copy
import io
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from inspect import signature
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from golden.inputs import targets
from helpers import (
    JIT,
    assert_padding_is_zero,
    assert_same_bits,
    assert_within,
    eager_train,
    eps,
    flat,
    jit_only,
    make_net,
    normal,
    run_python,
    small,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastmlp as fm
from fastmlp import registry

ROWS = small(101, 8)  # a last batch that is smaller, and of more rows than one
BATCH = small(16, 3)

WIDTHS = [[2, 5, 3], [1, 1], [3, 17, 2]]
if JIT:
    WIDTHS += [[2, 25, 25, 2], [3, 1, 5], [16, 17, 15, 4], [65, 48, 49, 10], [7, 130, 3], [3, 257, 2]]
    WIDTHS += [[40, 128, 30, 3], [4, 256, 40, 3]]  # the narrowest rows with a line more than they need, float64 and float32


def cases(family):
    """Each entry of a family with each of its cases."""
    return [(entry, case) for entry in family().values() for case in entry.cases]


@dataclass
class Training:
    """A training, as data: everything in it is made anew each time."""

    dtype: Any = np.float32
    widths: list[int] = field(default_factory=lambda: [3, 17, 4])
    activations: list[tuple[type, dict]] = field(default_factory=lambda: [(fm.Tanh, {})])
    bias: bool = True
    criterion: tuple[type, dict] = (fm.CrossEntropyLoss, {})
    optimizer: tuple[type, dict] = (fm.SGD, {"lr": 0.05, "momentum": 0.9})
    groups: list[dict] | None = None  # hyperparameters of weights, and of biases
    schedule: tuple[type, dict] | None = None
    interval: str = "epoch"
    rows: int = ROWS
    batch: int = BATCH
    shuffle: bool = True
    modules: Any = None
    targets: str = ""  # of the kinds that the loss takes; else the first
    weighted: bool = False  # whether rows have weights, of which some are 0
    accumulate: int = 1  # batches of a step

    def width_out(self):
        return self.widths[-1] * (1 + (self.criterion[0].outputs == "pairs"))

    def data(self):
        rng = np.random.default_rng(self.rows)
        X = normal(rng, (self.rows, self.widths[0]), self.dtype)
        kind, outputs = self.targets or self.criterion[0].targets[0], self.criterion[0].outputs
        y = targets(kind, (self.rows, self.width_out()), rng, outputs)
        return X, y if kind == "labels" else y.astype(self.dtype)

    def weights(self):
        """Of the rows, if they have any."""
        if not self.weighted:
            return {}
        rng = np.random.default_rng(1 + self.rows)
        weights = rng.uniform(0, 2, self.rows) * (rng.random(self.rows) < 0.7)
        weights[0] = 1
        return {"sample_weight": weights.astype(self.dtype)}

    def make(self):
        """Model, criterion, optimizer and schedule."""
        modules = []
        for i, (width_in, width_out) in enumerate(pairwise([*self.widths[:-1], self.width_out()])):
            if i:
                kind, arguments = self.activations[i % len(self.activations)]
                modules.append(registry.made(kind, arguments, width_in))
            modules.append(fm.Linear(width_in, width_out, bias=self.bias))
        if self.criterion[0].outputs in ("probabilities", "positive"):
            modules.append(fm.Sigmoid())
        model = fm.Sequential(*(self.modules() if self.modules else modules), dtype=self.dtype)
        model.reset_parameters(rng=0)
        kind, arguments = self.optimizer
        params = list(model.parameters())
        if self.groups:
            parts = [[p for p in params if len(p.shape) == axes] for axes in (2, 1)]
            params = [{"params": part} | options for part, options in zip(parts, self.groups)]
        optimizer = kind(params, **arguments)
        schedule = None
        if self.schedule:
            schedule = self.schedule[0](optimizer, **self.schedule[1])
            schedule.interval = self.interval
        criterion = registry.made(*self.criterion, self.width_out())
        if criterion.reduction == "sum":  # the rates are those of means
            for group in optimizer.param_groups:
                group["lr"] /= self.batch * self.width_out()
        return model, criterion, optimizer, schedule

    def fit(self, made=None, *, epochs=3, initial_epoch=0, threads=1):
        """What is left of a run through `fit`: the objects and the losses."""
        model, criterion, optimizer, schedule = made = made or self.make()
        keywords = {"epochs": epochs, "initial_epoch": initial_epoch, "schedule": schedule, "threads": threads}
        keywords |= {"batch_size": self.batch, "accumulate": self.accumulate, "shuffle": self.shuffle}
        keywords |= {"rng": 5, "progress": False} | self.weights()
        return (*made, fm.fit(model, criterion, optimizer, *self.data(), **keywords).loss)

    def by_hand(self, made=None, *, epochs=3, initial_epoch=0):
        """The same in a loop that a user would write."""
        model, criterion, optimizer, schedule = made = made or self.make()
        X, y = self.data()
        keywords = {"epochs": epochs, "first_epoch": initial_epoch, "batch_size": self.batch, "shuffle": self.shuffle, "rng": 5}
        keywords |= self.weights()
        if schedule is None or self.interval == "epoch":
            return (*made, eager_train(model, criterion, optimizer, X, y, schedule=schedule, **keywords))
        stepping = _Stepping(optimizer, schedule)
        return (*made, eager_train(model, criterion, stepping, X, y, **keywords))


class _Stepping:
    """An optimizer and a schedule that goes on with each of its steps."""

    def __init__(self, optimizer, schedule):
        self.zero_grad, self._optimizer, self._schedule = optimizer.zero_grad, optimizer, schedule

    def step(self):
        self._optimizer.step()
        self._schedule.step()


def assert_same_training(first, second):
    """Parameters, state, rates and the place of the schedule, bit for bit."""
    assert np.isfinite(flat(first[0])).all()
    assert_same_bits(flat(first[0]), flat(second[0]))
    one, other = first[2].state_dict(), second[2].state_dict()
    assert one["steps"] == other["steps"] > 0
    assert one["param_groups"] == other["param_groups"]
    assert one["state"].keys() == other["state"].keys()
    for i, arrays in one["state"].items():
        assert arrays.keys() == other["state"][i].keys()
        for name, array in arrays.items():
            assert_same_bits(array, other["state"][i][name])
    if first[3] is not None:
        one, other = (made[3].state_dict() for made in (first, second))
        assert one == (pytest.approx(other) if first[3].takes_metric else other)  # losses are summed in another order
    assert_padding_is_zero(second[0])


def odd_places():
    """An activation first, two in a row, one last, networks in networks, an Identity, a Linear after a Linear."""
    inner = fm.Sequential(fm.Linear(3, 9), fm.ReLU(), fm.Sigmoid())
    deep = fm.Sequential(fm.Linear(9, 7, bias=False), fm.Sequential(fm.Linear(7, 4)))
    return fm.Tanh(), inner, fm.Identity(), deep, fm.Tanh(), fm.Sigmoid()


def scheduled():
    """The schedules with what they can count."""
    schedules = cases(registry.schedules)
    return [(one, count) for one in schedules for count in ("epoch", "step") if count == "epoch" or not one[0].takes_metric]


def with_momentum():
    """The optimizers whose momentum a schedule may cycle."""
    optimizers = [(kind, {"lr": 0.01} | case) for kind, case in cases(registry.optimizers) if not kind.constant_momentum]
    return [(kind, case) for kind, case in optimizers if {"momentum", "betas"} & {*signature(kind).parameters}]


#: The momentum changes at each step.
ONE_CYCLE = fm.OneCycleLR, {"max_lr": 0.05, "total_steps": 50}


def surrounded(kind, case):
    """What makes a network with a layer first, two in a row between activations, and one last."""
    return lambda: (
        registry.made(kind, case, 3),
        fm.ReLU(),
        *(registry.made(kind, case, 3) for _ in range(2)),
        fm.Tanh(),
        fm.Linear(3, 4),
        registry.made(kind, case, 4),
    )


#: Different rates; and biases without decay, as is usual.
GROUPS = [[{"lr": 0.1}, {"lr": 0.01}], [{"weight_decay": 0.1}, {"weight_decay": 0}]]

#: What may differ between two trainings, each with all that it may be.
ASPECTS: dict[str, list[dict[str, Any]]] = {
    "architectures": [{"widths": w, "criterion": (fm.MSELoss, {})} for w in WIDTHS]
    + [{"widths": w} for w in WIDTHS if w[-1] > 1]
    + [{"widths": w, "bias": False} for w in WIDTHS[:4]],
    "activations": [
        {"widths": [5, 9, 8, 3], "activations": [(kind, case)], "bias": bias}
        for kind, case in cases(registry.activations)
        for bias in (True, False)
    ],
    "layers": [
        {"widths": widths, "activations": [layer]}
        for layer in cases(registry.layers)
        for widths in ([5, 9, 3, 3], [2, 1, 17, 2])
    ]
    + [{"modules": surrounded(*layer)} for layer in cases(registry.layers)],
    "losses": [
        {"criterion": loss, "widths": widths, "targets": kind}
        for loss in cases(registry.criteria)
        for kind in loss[0].targets
        for widths in ([3, 17, 4], [2, 3, 1])
    ],
    "weights of rows": [
        {"criterion": loss, "targets": kind, "weighted": True} for loss in cases(registry.criteria) for kind in loss[0].targets
    ]
    # Batches in which no row counts, too.
    + [{"criterion": (kind, {}), "weighted": True, "batch": 2} for kind in (fm.CrossEntropyLoss, fm.MSELoss, fm.NLLLoss)],
    "optimizers": [
        {"optimizer": (kind, {"lr": 0.01} | case), "criterion": loss}
        for kind, case in cases(registry.optimizers)
        for loss in ((fm.CrossEntropyLoss, {}), (fm.MSELoss, {}))
    ],
    "groups": [
        {"optimizer": (kind, {"lr": 0.05} | kind.cases[-1]), "groups": groups, "widths": widths, "schedule": schedule}
        for kind in registry.optimizers().values()
        for groups in GROUPS
        if groups[0].keys() <= signature(kind).parameters.keys()
        for widths in ([3, 17, 4], [16, 33, 16, 3])
        for schedule in (None, (fm.CosineAnnealingLR, {"T_max": 4}))
    ],
    "schedules": [{"schedule": schedule, "interval": interval} for schedule, interval in scheduled()]
    + [{"schedule": ONE_CYCLE, "interval": "step", "optimizer": optimizer} for optimizer in with_momentum()],
    "batches": [
        {"batch": size, "widths": [3, 9, 2]} for size in small([1, 2, 7, 8, 9, 64, 65, 101, 102, 10**9], [1, 2, 7, 10**9])
    ],
    "the rest": [{"shuffle": False}, {"modules": odd_places}, {"rows": 1, "batch": 1}, {"rows": 3, "batch": 2}],
}


@pytest.mark.parametrize("aspect", ASPECTS)
def test_eager_equals_fused(aspect, dtype):
    for options in ASPECTS[aspect]:
        training = Training(dtype=dtype, **options)
        start, epochs = flat(training.make()[0]), small(3, 2)
        eager, fused = training.by_hand(epochs=epochs), training.fit(epochs=epochs)
        assert_same_training(eager, fused)
        assert not np.array_equal(start, flat(fused[0])) or training.widths[-1] == 1, "nothing was learnt"
        # The losses are summed in another order: in float64.
        assert_within(fused[-1], eager[-1], training.rows * eps(np.float64) * np.abs(eager[-1]))


@pytest.mark.parametrize("aspect", ["architectures", "layers", "losses", "weights of rows", "optimizers", "groups", "the rest"])
def test_threads_do_not_matter(aspect, dtype):
    for options in ASPECTS[aspect][:: small(1, 3)]:
        training = Training(dtype=dtype, **({"batch": small(64, 32), "rows": small(101, 35)} | options))
        alone = training.fit(epochs=2)
        for threads in (2, 3):
            together = training.fit(epochs=2, threads=threads)
            assert_same_training(alone, together)
            assert together[-1] == alone[-1]


@pytest.mark.parametrize("aspect", sorted(ASPECTS.keys() - {"batches", "schedules"}))
def test_batches_of_a_step_are_as_one(aspect, dtype):
    """Three batches of 5 rows and one of 15, the last step of an epoch smaller: but for what belongs to a pass forward."""
    three, one = {"batch": small(5, 2), "accumulate": 3}, {"batch": small(15, 6)}
    for number, options in enumerate(ASPECTS[aspect][:: small(1, 3)]):
        here = {"dtype": dtype, **options, "rows": small(101, 11)}
        whole, in_parts = Training(**here | one), Training(**here | three)
        if any(module.counts for module in whole.make()[0].modules()):  # batch normalisation, dropout
            continue
        first, second = whole.fit(epochs=2), in_parts.fit(_at_rates_of(whole, in_parts), epochs=2, threads=1 + number % 2)
        assert_same_training(first, second)
        assert_within(second[-1], first[-1], whole.rows * eps(np.float64) * np.abs(first[-1]))


def _at_rates_of(one, other):
    """What the other training consists of, with the rates of the first: those of sums are divided by the rows of a batch."""
    made = other.make()
    for group, of_one in zip(made[2].param_groups, one.make()[2].param_groups):
        group["lr"] = of_one["lr"]
    return made


def test_number_of_threads_may_change_while_a_run_goes_on(dtype):
    training = Training(dtype=dtype, rows=small(101, 35), batch=small(64, 32))
    alone, made = training.fit(epochs=4), training.make()
    for epoch, threads in enumerate((2, 1, 3, 2)):
        training.fit(made, epochs=epoch + 1, initial_epoch=epoch, threads=threads)
    assert_same_training(alone, made)


def test_eager_and_fused_steps_mix(dtype):
    """Epochs by hand and through `fit` by turns: state and the number of the step are carried over both ways."""
    for kind, case in cases(registry.optimizers):
        training = Training(dtype=dtype, optimizer=(kind, {"lr": 0.01} | case), schedule=(fm.CosineAnnealingLR, {"T_max": 5}))
        fused, made = training.fit(epochs=4), training.make()
        for epoch, way in enumerate((training.by_hand, training.fit, training.by_hand, training.fit)):
            way(made, epochs=epoch + 1, initial_epoch=epoch)
        assert_same_training(fused, made)


# Saved equals live.

#: Those of the cases, which files name.
FUNCTIONS = [math.tanh, math.erf]


def through_state_dicts(training, made):
    """New objects that take over what `state_dict` gave, through a file of arrays as far as it goes."""
    states = [made[0].state_dict(), *pickle.loads(pickle.dumps([part.state_dict() for part in made[2:]]))]
    file = io.BytesIO()
    np.savez(file, **states[0])
    file.seek(0)
    fresh = training.make()
    fresh[0].reset_parameters(rng=99)
    fresh[0].load_state_dict(dict(np.load(file)))
    for part, state in zip(fresh[2:], states[1:]):
        part.load_state_dict(state)
    return fresh


def through_pickle(training, made):
    return pickle.loads(pickle.dumps(made[:4]))


def through_copy(training, made):
    return copy.deepcopy(made[:4])


def through_file(training, made):
    with TemporaryDirectory() as folder:
        fm.save(f"{folder}/file", made[0], *made[2:4])
        again = fm.load_checkpoint(f"{folder}/file", custom=FUNCTIONS)
    return again.model, made[1], again.optimizer, again.schedule


@pytest.mark.parametrize(
    "saved",
    [through_state_dicts, through_file, *(pytest.param(way, marks=pytest.mark.once) for way in (through_pickle, through_copy))],
)
@pytest.mark.parametrize("by_hand", [False, True], ids=["fit", "by hand"])
def test_saved_equals_live(saved, by_hand, dtype):
    rules, cosine = cases(registry.optimizers), (fm.CosineAnnealingLR, {"T_max": 50})
    trials = [((kind, {"lr": 0.01} | case), cosine, count) for kind, case in rules for count in ("epoch", "step")]
    trials += [(Training.optimizer, *schedule) for schedule in scheduled()]
    for optimizer, schedule, interval in trials[:: small(1, 3)]:
        training = Training(dtype=dtype, optimizer=optimizer, schedule=schedule, interval=interval, groups=GROUPS[0])
        way = training.by_hand if by_hand else training.fit
        live, made = way(epochs=4), training.make()
        first = way(made, epochs=2)[-1]
        again = saved(training, made)
        second = way(again, epochs=4, initial_epoch=2)[-1]
        assert_same_training(live, again)
        assert first + second == live[-1]
        way(made, epochs=4, initial_epoch=2)  # and the one that was copied goes on alone
        assert_same_training(live, made)


def test_saved_file_of_any_module_equals_live(dtype):
    adam = fm.Adam, {"lr": 0.01, "amsgrad": True}
    layers = [options for options in ASPECTS["layers"] if "modules" in options]
    for options in (ASPECTS["activations"][::2] + layers)[:: small(1, 3)] + ASPECTS["the rest"]:
        training = Training(dtype=dtype, **({"optimizer": adam} | options))
        live, made = training.fit(epochs=2), training.make()
        training.fit(made, epochs=1)
        again = through_file(training, made)
        training.fit(again, epochs=2, initial_epoch=1)
        assert_same_training(live, again)
        for found, expected in zip(again[0].modules(), live[0].modules(), strict=True):
            assert type(found) is type(expected)
            assert repr(found) == repr(expected)
            assert [getattr(found, count) for count in found.counts] == [getattr(expected, count) for count in expected.counts]


def test_state_dict_of_an_optimizer_is_plain_numbers():
    """Through JSON, say; its arrays apart."""
    for kind, case in cases(registry.optimizers):
        training = Training(optimizer=(kind, {"lr": 0.01} | case))
        state = training.fit(epochs=1)[2].state_dict()
        assert {type(value) for group in state["param_groups"] for value in group.values()} <= {int, float, bool, tuple, list}
        assert all(array.flags.c_contiguous for arrays in state["state"].values() for array in arrays.values())


# Compiled equals readable.

#: Whose options come in pairs that differ in nothing which rounds: float32 takes the first of a pair, float64 the second.
PAIRS = ("activations", "losses", "optimizers", "groups")

READABLE = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from test_promises import ASPECTS, PAIRS, Training
dtype, record = sys.argv[3], {}
for aspect in ("activations", "layers", "losses", "weights of rows", "optimizers", "groups", "the rest"):
    for number, options in enumerate(ASPECTS[aspect]):
        if aspect in PAIRS and number % 2 != (dtype == "float64"):
            continue
        training = Training(dtype=np.dtype(dtype), **({"rows": 11, "batch": 4} | options))
        way = {"float32": training.by_hand, "float64": lambda **how: training.fit(threads=2, **how)}[dtype]
        model, criterion, optimizer, _, losses = way(epochs=1)
        X, y = training.data()
        arrays = [model.predict(X), model(X), np.array(losses), *model.state_dict().values()]
        arrays += [array for state in optimizer.state_dict()["state"].values() for array in state.values()]
        for i, array in enumerate(arrays):
            record[f"{aspect}/{number}/{i}"] = array
np.savez(sys.argv[1], **record)
"""


@jit_only
def test_compiled_equals_readable(tmp_path):
    """Each training in one way alone: that both ways are the same is tested compiled, and in plain Python."""
    ways = [(jit, dtype) for dtype in ("float32", "float64") for jit in (False, True)]

    def trained(way):
        path = tmp_path / f"{way}.npz"
        run_python(READABLE, path, Path(__file__).parent, way[1], jit=way[0])
        with np.load(path) as file:
            return dict(file)

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(ways, pool.map(trained, ways)))
    steps, terms = 3, 5 + 33 + 16
    for dtype in ("float32", "float64"):
        compiled, readable = results[True, dtype], results[False, dtype]
        assert compiled.keys() == readable.keys()
        for name, values in compiled.items():
            # Every step adds at most the rounding of its sums; all numbers of these networks are of order 1.
            assert_within(values, readable[name], 4 * steps * terms * eps(dtype) * np.maximum(1, np.abs(values)))


# Whole networks.

architectures = st.fixed_dictionaries(
    {
        "widths": st.lists(st.integers(1, small(40, 5)), min_size=2, max_size=small(5, 3)),
        "activations": st.lists(st.sampled_from(cases(registry.activations) + cases(registry.layers)), min_size=1, max_size=4),
        "bias": st.booleans(),
        "dtype": st.sampled_from([np.float32, np.float64]),
        "criterion": st.sampled_from(cases(registry.criteria)),
        "optimizer": st.sampled_from([(kind, {"lr": 0.01} | case) for kind, case in cases(registry.optimizers)]),
        "weighted": st.booleans(),
        "rows": st.integers(1, small(80, 5)),
        "batch": st.integers(1, small(90, 6)),
        "shuffle": st.booleans(),
    }
)


@settings(max_examples=small(50, 8))
@given(architectures)
def test_random_networks_keep_the_promises(case):
    smallest = case["rows"] % min(case["batch"], case["rows"]) or min(case["batch"], case["rows"])
    assume(smallest >= max(kind.least_rows for kind, _ in case["activations"]))
    training = Training(**case)
    eager = training.by_hand(epochs=2)
    for threads in (1, 2):
        assert_same_training(eager, training.fit(epochs=2, threads=threads))
    model, (X, _) = eager[0], training.data()
    model.eval()
    assert_same_bits(model.predict(X), model(X))
    assert_same_bits(model.predict(X, threads=2), np.concatenate([model.predict(row[None]) for row in X]))


def test_network_of_one_class_learns_nothing_and_breaks_nothing(dtype):
    training = Training(dtype=dtype, widths=[3, 1], optimizer=(fm.SGD, {"lr": 0.1}))
    eager, fused = training.by_hand(), training.fit()
    assert_same_bits(flat(eager[0]), flat(fused[0]))
    assert_same_bits(flat(fused[0]), flat(make_net([3, 1], dtype=dtype)))
    assert fused[-1] == [0, 0, 0]
