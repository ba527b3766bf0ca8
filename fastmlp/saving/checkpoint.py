"""One file of a model, its optimizer, its schedule, and values beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp._version import __version__
from fastmlp.modules import Module, Sequential
from fastmlp.optim import Optimizer
from fastmlp.optim.schedules import LRScheduler
from fastmlp.parameters import at_most
from fastmlp.saving.build import Builder, as_custom, entry_of
from fastmlp.saving.describe import Describer, takes_row
from fastmlp.saving.errors import LoadError
from fastmlp.saving.tensors import CHECK_SUM, TEXT, check_sum, pieces_of, read_file, unique
from fastmlp.saving.whole import write_whole

__all__ = ["Description", "Parts", "describe", "errors_of", "read", "read_description", "restore", "values_of", "write"]

#: Numbers, beside twice those of the file, that modules may be made with: some of their vectors may be taken away again.
SLACK = 1000

#: Names of missing classes and functions that a message lists.
MOST_NAMES = 20

#: Raised where the description changes so that this version could not read it.
VERSION = 1


class Description(NamedTuple):
    """What a file says, as JSON; its arrays by name, and the functions and classes that it names."""

    described: dict[str, Any]
    tensors: dict[str, np.ndarray]
    named: Mapping[str, Any]


class Parts(NamedTuple):
    """What a file holds."""

    model: Module
    optimizer: Optimizer | None
    schedule: LRScheduler | None
    values: dict[str, Any]


def describe(
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    *,
    rebuilt: bool = True,
    **values: Any,
) -> Description:
    """What :func:`write` writes; with `rebuilt`, modules of the user's own classes are made anew, to see that they can be."""
    for name, thing, kind in (
        ("model", model, Module),
        ("optimizer", optimizer, Optimizer),
        ("schedule", schedule, LRScheduler),
    ):
        if not isinstance(thing, kind) and (thing is not None or name == "model"):
            raise TypeError(f"{name} must be {checks.messages.a(kind.__name__)} of fastmlp; got {checks.shown(thing)}")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise ValueError("a schedule is saved with its own optimizer: save(path, model, optimizer, schedule)")
    tensors = _tensors_of(model)
    describer = Describer(tensors)
    described: dict[str, Any] = {"version": VERSION, "fastmlp": __version__, "model": describer.module(model, "model")}
    if rebuilt:
        _check_rebuilt(model, described["model"], describer)
    described |= {"needs of model": len(describer.named)}
    described |= {"evaluating": [name for name, part in model.named_modules() if not part.training]}
    described |= {"frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad]}
    described |= {"classes": {name: part.classes.tolist() for name, part in _classifiers(model) if part.classes is not None}}
    described |= {"counts": {name: int(getattr(part, count)) for name, part, count in model._named_counts() if part.draws}}
    if optimizer is not None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        described["optimizer"] = describer.optimizer(optimizer, names)
    if schedule is not None:
        state = describer.value(schedule.state_dict(), "schedule")
        described["schedule"] = describer.schedule(schedule, "schedule") | {"state": state}
    described["values"] = {name: describer.value(value, name) for name, value in values.items() if value is not None}
    described |= {"needs": list(describer.named), "arrays": list(describer.arrays)}
    return Description(described, tensors, describer.named)


def write(path: str | os.PathLike[str], description: Description) -> None:
    """Write a file of a model, what trains it, and plain values: numbers, texts, arrays, and lists and dictionaries of them."""
    text = json.dumps(description.described, separators=(",", ":"), allow_nan=False)
    write_whole(path, pieces_of(description.tensors, text))


def read(path: str | os.PathLike[str], custom: Any = None, *, model_only: bool = False) -> Parts:
    """Make anew what :func:`write` has saved.

    Raises
    ------
    LoadError
        For a file that is damaged, is none of ours, is too new, or needs what `custom` lacks.
    """
    given = as_custom(custom)
    described, tensors, _ = read_description(path)
    with errors_of(path):
        needed = entry_of(described, "needs", list)[: entry_of(described, "needs of model", int) if model_only else None]
        lacking = [checks.shown(word, str) for word in needed if word not in given][:MOST_NAMES]
        if lacking:
            given_by = ", ".join(f'"{word}": {word if word.isidentifier() else "..."}' for word in lacking)
            raise LoadError(
                f"it needs classes and functions that are not in it: {', '.join(lacking)}. "
                f"Give them by name, custom={{{given_by}}}"
            )
        return _built(described, tensors, given, model_only)


def read_description(path: str | os.PathLike[str]) -> Description:
    """What a file says, and its arrays, none of which has changed since it was written; what it names is not known.

    Raises
    ------
    LoadError
        For a file that is damaged, is none of ours, or is too new.
    """
    tensors, metadata = read_file(path)
    with errors_of(path):
        described = _description_in(metadata)
        if metadata.get(CHECK_SUM) != check_sum(tensors, metadata[TEXT]):
            raise LoadError(
                "damaged, or changed by another program: its check sum does not fit (fm.load_arrays reads the numbers alone)"
            )
        return Description(described, tensors, {})


@contextmanager
def errors_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have whatever a file causes be one kind of error, with the name of the file."""
    name = os.fspath(path)
    try:
        with np.errstate(all="ignore"):
            yield
    except LoadError as error:
        raise LoadError(f"{name}: {error}") from error.__cause__
    except RecursionError as error:
        raise LoadError(f"{name}: its description is nested too deeply") from error
    except Exception as error:
        raise LoadError(f"{name}: {type(error).__name__}: {error}") from error


def _description_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description of the objects, if it is one that this version knows."""
    if TEXT not in metadata:
        raise LoadError("it holds arrays and no model of fastmlp: model.load_state_dict(fm.load_arrays(path))")
    described = json.loads(metadata[TEXT], object_pairs_hook=unique)
    if not isinstance(described, dict) or type(described.get("version")) is not int:
        raise LoadError("its description has no version")
    if described["version"] > VERSION:
        writer = checks.shown(described.get("fastmlp"), str)
        raise LoadError(
            f"it was written by fastmlp {writer}, in a newer format than fastmlp {__version__} knows: update fastmlp"
        )
    return described


def _built(described: dict[str, Any], tensors: dict[str, np.ndarray], custom: Mapping[str, Any], model_only: bool) -> Parts:
    """The objects of a description."""
    builder = Builder(tensors, custom)
    with at_most(SLACK + 2 * sum(array.size for array in tensors.values())):
        model = builder.module(described.get("model"))
    others = set(entry_of(described, "arrays", list))
    _fill(model, {name: array for name, array in tensors.items() if name not in others}, described)
    optimizer = schedule = None
    values: dict[str, Any] = {}
    if not model_only:
        values = _values_in(described, builder)
        if "optimizer" in described:
            optimizer = builder.optimizer(described["optimizer"], dict(model.named_parameters()))
        if "schedule" in described:
            schedule = _schedule_of(described["schedule"], builder, optimizer)
        if builder.used != others:
            raise LoadError(f"nothing needs its array {checks.shown(min(others - builder.used))}")
    return Parts(model, optimizer, schedule, values)


def values_of(saved: Description) -> dict[str, Any]:
    """The values beside the model."""
    return _values_in(saved.described, Builder(saved.tensors, saved.named))


def _values_in(described: dict[str, Any], builder: Builder) -> dict[str, Any]:
    return {name: builder.value(value) for name, value in entry_of(described, "values", dict).items()}


def restore(saved: Description, model: Module, optimizer: Optimizer, schedule: LRScheduler | None) -> None:
    """Give things like those of a file the numbers that those had; `saved` has what they name by name."""
    builder = Builder(saved.tensors, saved.named)
    others = set(entry_of(saved.described, "arrays", list))
    arrays = {name: array for name, array in saved.tensors.items() if name not in others}
    _check_arrays(model, arrays)
    optimizer.load_state_dict(builder.value(entry_of(saved.described["optimizer"], "state", dict)))
    if schedule is not None:
        builder.of_optimizer(optimizer)
        with _rates_kept(optimizer):
            schedule.load_state_dict(builder.value(entry_of(saved.described["schedule"], "state", dict)))
    _fill(model, arrays, saved.described)


def _schedule_of(entry: Any, builder: Builder, optimizer: Optimizer | None) -> LRScheduler:
    """A schedule where it was, with the rates in force as they were."""
    if optimizer is None:
        raise LoadError("it has a schedule and no optimizer")
    builder.of_optimizer(optimizer)
    with _rates_kept(optimizer):
        schedule = builder.schedule(entry)
        schedule.load_state_dict(builder.value(entry_of(entry, "state", dict)))
    return schedule


@contextmanager
def _rates_kept(optimizer: Optimizer) -> Iterator[None]:
    """Leave the rates in force as they are where a schedule is put in its place: who trained may have set others."""
    in_force = [dict(group) for group in optimizer.param_groups]
    yield
    for group, before in zip(optimizer.param_groups, in_force):
        group.clear()
        group.update(before)


def _tensors_of(model: Module) -> dict[str, np.ndarray]:
    """The arrays of the ``state_dict``, without the numbers of layers that draw, which PyTorch's have not."""
    drawing = {name for name, part, _ in model._named_counts() if part.draws}
    return {name: array for name, array in model.state_dict().items() if name not in drawing}


def _shapes_of(model: Module) -> dict[str, tuple[Any, ...]]:
    """What the arrays of a model are."""
    shapes: dict[str, tuple[Any, ...]] = {name: (array.shape, array.dtype) for name, array in model._named_arrays()}
    counts = {name: ((), np.dtype(np.int64)) for name, part, _ in model._named_counts() if not part.draws}
    return shapes | counts


def _check_arrays(model: Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that are not those of a model."""
    expected = _shapes_of(model)
    for name in sorted(expected.keys() ^ arrays.keys()):
        raise LoadError(f"the array {checks.shown(name)} is {'not there' if name in expected else 'none of the model'}")
    for name, array in arrays.items():
        if (array.shape, array.dtype) != expected[name]:
            shape, dtype = expected[name]
            raise LoadError(f"{checks.shown(name)} must be {dtype} of shape {shape}; got {array.dtype} of shape {array.shape}")


def _fill(model: Module, arrays: Mapping[str, np.ndarray], described: dict[str, Any]) -> None:
    """Give a model its numbers, once all of them are known to fit."""
    _check_arrays(model, arrays)
    counts = entry_of(described, "counts", dict)
    drawing = {name: (part, count) for name, part, count in model._named_counts() if part.draws}
    if counts.keys() != drawing.keys():
        raise LoadError("the seeds of its layers that draw do not fit")
    model.load_state_dict(dict(arrays) | counts)
    parts, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in entry_of(described, "evaluating", list):
        parts[name].training = False
    for name in entry_of(described, "frozen", list):
        parameters[name].requires_grad = False
    classifiers = dict(_classifiers(model))
    for name, names in entry_of(described, "classes", dict).items():
        classifiers[name].classes = names


def _classifiers(model: Module) -> list[tuple[str, Sequential]]:
    """The parts that may have names of classes."""
    return [(name, part) for name, part in model.named_modules() if isinstance(part, Sequential)]


def _check_rebuilt(model: Module, entry: dict[str, Any], describer: Describer) -> None:
    """Make modules of the user's own classes anew, as :func:`read` will, and see that they have the same arrays and parts."""
    if "modules" in entry and takes_row(model):
        for part, (_, inside) in zip(model, entry["modules"]):  # type: ignore[call-overload]
            _check_rebuilt(part, inside, describer)
        if "custom" not in entry:
            return
    elif "class" in entry:
        return
    kind = type(model).__name__
    try:
        again = Builder(describer.tensors, describer.named).module(json.loads(json.dumps(entry)))
    except Exception as error:
        raise TypeError(f"{kind} cannot be saved, for its get_config() does not make another one: {error}") from error
    if _shapes_of(again) != _shapes_of(model) or _kinds_of(again) != _kinds_of(model):
        raise TypeError(
            f"{kind} cannot be saved: another one made by its get_config() has other parameters or parts. What the constructor "
            "does not make must follow from its arguments"
        )


def _kinds_of(model: Module) -> list[tuple[str, type]]:
    return [(name, type(part)) for name, part in model.named_modules()]
