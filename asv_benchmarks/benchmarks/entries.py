"""What of each family is timed: the public classes of the working tree, with the arguments that their ``cases`` name.

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


def activations() -> list[str]:
    """The elementwise modules: ``Tanh()``, ..."""
    return _family("modules", "Activation")


def layers() -> list[str]:
    """The modules that are neither formula nor container and take any numbers; 'width' stands for the width of the input."""
    others = {*activations(), *_family("modules", "Sequential")}
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
    """The public subclasses of `bases`, once for each of their cases, in the order of the alphabet."""
    public = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    names = {alias.asname or alias.name for node in public.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    classes = _classes(folder)
    return [
        f"{name}({', '.join(f'{key}={value!r}' for key, value in case.items())})"
        for name in sorted(names & classes.keys())
        if name not in bases and set(_ancestors(name, classes)) & set(bases)
        for case in _cases(name, classes)
    ]


def _ancestors(name: str, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    """A class and those that it is derived from, the nearest first."""
    yield name
    for base in classes[name].bases if name in classes else ():
        if isinstance(base, ast.Name):
            yield from _ancestors(base.id, classes)


def _cases(name: str, classes: dict[str, ast.ClassDef]) -> list[dict]:
    """What the class, or the nearest of its ancestors, assigns to ``cases``; of those that differ in numbers alone, the first.

    Numbers are values in a program: they choose no other machine code, but by being there, as a momentum does.
    """
    for ancestor in _ancestors(name, classes):
        for node in classes[ancestor].body if ancestor in classes else ():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            if any(isinstance(target, ast.Name) and target.id == "cases" for target in targets) and node.value is not None:
                cases = list(ast.literal_eval(node.value))
                return list({_form(case): case for case in reversed(cases)}.values())[::-1]
    return [{}]


def _form(case: dict) -> tuple:
    """A case without its numbers."""
    return tuple((name, None if type(value) in (int, float) else repr(value)) for name, value in sorted(case.items()))
