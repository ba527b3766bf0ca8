"""The catalogue: what there is of each family, found in the package itself.

No list is edited by hand: a class that the package exports is an entry of its family. Tests, golden numbers, benchmarks and the
documentation go through the entries, and through the ``cases`` of each entry: dictionaries of keyword arguments, in which the
text "width" stands for the width of a layer's input. The twin of an entry is PyTorch's class of the same name;
tests/golden/twins.py has those that PyTorch lacks.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import fastmlp

__all__ = ["Row", "activations", "criteria", "entries", "filled", "layers", "made", "optimizers", "schedules", "table"]

#: The base of a family first, then other bases. Bases are no entries.
ACTIVATIONS = (fastmlp.Activation,)
LAYERS = (fastmlp.Module, fastmlp.Activation, fastmlp.Sequential)
CRITERIA = (fastmlp.Criterion, fastmlp.ElementwiseLoss)
OPTIMIZERS = (fastmlp.Optimizer,)
SCHEDULES = (fastmlp.LRScheduler,)


def activations() -> dict[str, type]:
    """The elementwise modules, by name; twins of ``torch.nn``."""
    return _family(ACTIVATIONS)


def layers() -> dict[str, type]:
    """The modules that are neither a formula nor a container and take any numbers, by name; twins of ``torch.nn``."""
    others = fastmlp.Activation, fastmlp.Sequential, fastmlp.Embedding
    return {name: entry for name, entry in _family(LAYERS).items() if not issubclass(entry, others)}


def criteria() -> dict[str, type]:
    """The losses, by name; twins of ``torch.nn``."""
    return _family(CRITERIA)


def optimizers() -> dict[str, type]:
    """The optimizers, by name; twins of ``torch.optim``."""
    return _family(OPTIMIZERS)


def schedules() -> dict[str, type]:
    """The learning-rate schedules, by name; twins of ``torch.optim.lr_scheduler``."""
    return _family(SCHEDULES)


def entries() -> dict[str, type]:
    """The entries of all families, by name."""
    return activations() | layers() | criteria() | optimizers() | schedules()


def filled(case: dict[str, Any], width: int) -> dict[str, Any]:
    """The arguments of a case for this width: the text "width" stands for it, "columns" for a number for each column."""
    stands_for = {"width": width, "columns": [0.125 * (1 + j % 5) for j in range(width)]}
    return {name: stands_for.get(value, value) if isinstance(value, str) else value for name, value in case.items()}


def made(entry: type, case: dict[str, Any], width: int) -> Any:
    """An activation, a layer or a loss for inputs of this width.

    Examples
    --------
    >>> import fastmlp as fm
    >>> from fastmlp import registry
    >>> registry.made(fm.Linear, {"in_features": "width", "out_features": 2}, 3)
    Linear(3, 2)
    """
    return entry(**filled(case, width))


class Row(NamedTuple):
    """A line of the catalogue."""

    family: str
    name: str
    summary: str
    arguments: str


def table() -> list[Row]:
    """The catalogue as rows: family, name, first sentence of the documentation, arguments.

    It has the containers and Embedding, too, which are no entries: tests of their own go through them.

    Examples
    --------
    >>> from fastmlp import registry
    >>> rows = {row.name: row for row in registry.table()}
    >>> print(*rows["ReLU"], sep=" | ")
    activation | ReLU | The rectifier: ``y = max(x, 0)``, with the derivative 0 at 0. | ()
    """
    modules = _family(LAYERS[:2])
    families = {
        "activation": activations(),
        "layer": {name: entry for name, entry in modules.items() if name not in activations()},
        "loss": criteria(),
        "optimizer": optimizers(),
        "schedule": schedules(),
    }
    return [
        Row(family, name, _summary(entry), _arguments(entry))
        for family, found in families.items()
        for name, entry in found.items()
    ]


def _family(bases: tuple[type, ...]) -> dict[str, type]:
    """The package's own public subclasses of a base, without the bases, in the order of the alphabet."""
    public = {name: getattr(fastmlp, name) for name in sorted(fastmlp.__all__)}
    return {
        name: thing
        for name, thing in public.items()
        if inspect.isclass(thing)
        and issubclass(thing, bases[0])
        and thing not in bases
        and thing.__module__.partition(".")[0] == fastmlp.__name__
    }


def _summary(entry: type) -> str:
    """The first paragraph of the documentation, on one line."""
    return " ".join((inspect.getdoc(entry) or "").partition("\n\n")[0].split())


def _arguments(entry: type) -> str:
    """The arguments of the constructor, as one writes them, without the annotations."""
    parameters = inspect.signature(entry).parameters.values()
    text = str(inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]))
    return text.replace("<class 'numpy.float32'>", "float32")
