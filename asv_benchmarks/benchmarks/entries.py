"""What of each family is timed: the public classes of the working tree, with the first of the arguments in their ``cases``.

The other cases choose other numbers, or other terms of a formula; tests go through them all. Those that are worth a curve of
their own are in `ALSO`: every number takes two seconds of ``make bench``.

Read from the sources, not from the package that is measured: asv, and ``bench-compare``, know a benchmark by the place of its
parameters in their lists, so the lists must be the same at every commit. A new class is timed without an edit here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["activations", "criteria", "elementary", "layers", "make", "optimizers"]

PACKAGE = Path(__file__).parents[2] / "fastmlp"

#: Cases that are no first ones, and run other machine code.
ALSO = (
    "GELU(approximate='tanh')",
    "PReLU(num_parameters='width', init=-0.5)",
    "CrossEntropyLoss(weight='columns', label_smoothing=0.3)",
    "SGD(lr=0.05, momentum=0.9)",
    "Adam(lr=0.01, amsgrad=True)",
)


def activations() -> list[str]:
    """The elementwise modules: ``Tanh()``, ..."""
    return _family("modules", "Activation")


def layers() -> list[str]:
    """The modules that are neither formula nor container and take any numbers; 'width' stands for the width of the input."""
    others = {*_family("modules", "Activation"), *_family("modules", "Sequential")}
    return [entry for entry in _family("modules", "Module", "Activation", "Sequential", "Embedding") if entry not in others]


def criteria() -> list[str]:
    """The losses."""
    return _family("criterion", "Criterion", "ElementwiseLoss")


def optimizers() -> list[str]:
    """The optimizers."""
    return _family("optim", "Optimizer")


def elementary() -> list[str]:
    """The elementary functions."""
    tree = ast.parse((PACKAGE / "kernels" / "elementary.py").read_text(encoding="utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    return next(ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "__all__")


def make(entry: str, *arguments: object, **options: object):
    """An instance of an entry, if this commit has its class with these arguments; else the benchmark is not for this commit."""
    import fastmlp

    call = ast.parse(entry, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    kind = getattr(fastmlp, call.func.id, None)
    if kind is None or not hasattr(kind, "cases"):
        raise NotImplementedError(f"no {call.func.id} of blocks at this commit")
    try:
        return kind(*arguments, **named | options)
    except TypeError as failure:
        raise NotImplementedError(f"{entry}: {failure}") from None


@cache
def _classes(folder: str) -> dict[str, ast.ClassDef]:
    """All classes of a folder of the package, by name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((PACKAGE / folder).glob("*.py"))]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def _family(folder: str, *bases: str) -> list[str]:
    """The public subclasses of `bases` in the order of the alphabet, with their first case and those in `ALSO`."""
    public = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    names = {alias.asname or alias.name for node in public.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    classes, found = _classes(folder), []
    for name in sorted(names & classes.keys()):
        if name not in bases and set(_ancestors(name, classes)) & set(bases):
            cases = [", ".join(f"{key}={value!r}" for key, value in case.items()) for case in _cases(name, classes)]
            entries = [f"{name}({arguments})" for arguments in cases]
            found += [entry for entry in entries if entry == entries[0] or entry in ALSO]
    return found


def _ancestors(name: str, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    """A class and those that it is derived from, the nearest first."""
    yield name
    for base in classes[name].bases if name in classes else ():
        if isinstance(base, ast.Name):
            yield from _ancestors(base.id, classes)


def _cases(name: str, classes: dict[str, ast.ClassDef]) -> list[dict]:
    """What the class, or the nearest of its ancestors, assigns to ``cases``."""
    for ancestor in _ancestors(name, classes):
        for node in classes[ancestor].body if ancestor in classes else ():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            if any(isinstance(target, ast.Name) and target.id == "cases" for target in targets) and node.value is not None:
                return list(ast.literal_eval(node.value))
    return [{}]
