"""Gradients held against central differences."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.criterion.example import example, targets_for
from fastmlp.modules import Module
from fastmlp.parameters import gather

__all__ = ["GradcheckError", "gradcheck"]

DOUBLE = np.dtype(np.float64)

#: Of the inputs and outputs that are drawn where none are given.
ROWS, WIDTH = 5, 3


class GradcheckError(AssertionError):
    """What :func:`gradcheck` raises: a gradient that is not that of the function."""


class How(NamedTuple):
    """How a gradient is compared."""

    eps: float
    atol: float
    rtol: float
    entries: int | None
    rng: np.random.Generator


def gradcheck(
    module_or_criterion: Module | Criterion,
    *inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    entries: int | None = 100,
    rng: int | np.random.Generator | None = 0,
    raise_exception: bool = True,
) -> bool:
    """Whether ``backward`` gives the gradient of ``forward``, by central differences in float64.

    Of a module, the gradients by its input and by its parameters, for a random gradient of the output, and whether those of
    the parameters are added to what is there. Of a criterion, the gradient by the outputs.

    Parameters
    ----------
    module_or_criterion : Module or Criterion
        Built in or your own. It is left as it is: a copy is checked, in float64 and in training mode.
    *inputs : array-like
        What ``forward`` gets: `x` of a module; `out`, `y`, `sample_weight` of a criterion. By default numbers of a normal
        distribution, and targets that suit. Where a function has a kink, central differences are wrong, so inputs had better
        not lie there.
    eps : float, default 1e-6
        The step: ``(f(x + eps) - f(x - eps)) / (2 * eps)``.
    atol, rtol : float, default 1e-5 and 1e-3
        An entry is right where ``|backward - differences| <= atol + rtol * |differences|``.
    entries : int or None, default 100
        So many entries of each array are tried, drawn at random; None for all.
    rng : None, int or Generator, default 0
        What is drawn.
    raise_exception : bool, default True
        Whether a gradient that is wrong raises; else the result is False.

    Returns
    -------
    bool
        True where all entries are right.

    Raises
    ------
    GradcheckError
        Names the array, the worst of its entries, and how many are wrong.
    ValueError
        For a module whose output differs from call to call, and for bounds below 0.
    TypeError
        For what is neither a module nor a criterion.

    Notes
    -----
    A module that draws random numbers is checked with those of one call: each call is then that of a copy.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.gradcheck(fm.Sequential(fm.Linear(3, 5), fm.GELU(), fm.Linear(5, 2)))
    True
    >>> fm.gradcheck(fm.CrossEntropyLoss())
    True
    >>> class Twice(fm.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return dy
    >>> fm.gradcheck(Twice(), [[1.0, 2.0]], raise_exception=False)
    False
    """
    how = How(
        checks.as_number(eps, "eps", above=0),
        checks.as_number(atol, "atol"),
        checks.as_number(rtol, "rtol"),
        None if entries is None else checks.as_size(entries, "entries"),
        checks.as_generator(rng),
    )
    if isinstance(module_or_criterion, Module):
        cases = _of_module(module_or_criterion, inputs, how.rng)
    elif isinstance(module_or_criterion, Criterion):
        cases = _of_criterion(module_or_criterion, inputs, how.rng)
    else:
        raise TypeError(f"gradcheck takes a Module or a Criterion; got {checks.shown(module_or_criterion)}")
    owner = checks.describe(module_or_criterion)
    try:
        for name, array, gradient, function in cases:
            _compare(f"gradcheck of {owner}: the gradient of {name}", array, gradient, function, how)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


#: A name, an array that may be written to, what backward says, and the function of what is in the array.
Case = tuple[str, np.ndarray, np.ndarray, Callable[[], float]]


def _of_module(given: Module, inputs: tuple[Any, ...], rng: np.random.Generator) -> Iterator[Case]:
    if len(inputs) > 1:
        raise TypeError(f"gradcheck of a module takes one input; got {len(inputs)}")
    module = _in_double(given)
    x = checks.as_rows(
        inputs[0] if inputs else rng.standard_normal((ROWS, module._width_in() or WIDTH)), None, DOUBLE, "gradcheck", "x"
    ).copy()
    first, again = copy.deepcopy(module), copy.deepcopy(module)
    out = checks.as_returned(first(x.copy()), len(x), DOUBLE, given, "forward")
    repeats = np.array_equal(out, first(x.copy()), equal_nan=True)
    if not np.array_equal(out, again(x.copy()), equal_nan=True):
        raise ValueError(f"{checks.describe(given)} gives another output for the same input: gradcheck needs a function")
    dy = rng.standard_normal(out.shape)

    def loss() -> float:
        called = module if repeats else copy.deepcopy(module)
        return float((called(x.copy()) * dy).sum())

    for parameter in again.parameters():
        parameter.grad = np.zeros(parameter.shape)
    dx = checks.as_returned(again.backward(dy.copy()), len(x), DOUBLE, given, "backward")
    yield "the input", x, dx.copy(), loss
    gradients = {name: parameter.grad.copy() for name, parameter in again.named_parameters()}
    once_more = copy.deepcopy(module)
    for parameter in once_more.parameters():
        parameter.grad = np.ones(parameter.shape)
    once_more(x.copy())
    once_more.backward(dy.copy())
    added = {name: parameter.grad for name, parameter in once_more.named_parameters()}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        yield name, parameter.data, gradients[name], loss
        if not np.allclose(added[name], gradients[name] + 1, rtol=1e-6, atol=1e-6):
            raise GradcheckError(
                f"gradcheck of {checks.describe(given)}: backward must add to the gradient of {name}; after a gradient of 1 it "
                "left something else than 1 more"
            )


def _in_double(given: Module) -> Module:
    """A copy in float64 and in training mode."""
    module = copy.deepcopy(given).train()
    for part in module.modules():
        if "_dtype" in vars(part):
            part.__dict__["_dtype"] = DOUBLE
    if arrays := module._arrays():
        gather(arrays, DOUBLE)
    return module


def _of_criterion(given: Criterion, inputs: tuple[Any, ...], rng: np.random.Generator) -> Iterator[Case]:
    criterion = copy.deepcopy(given)
    drawn = example(criterion, ROWS, WIDTH, rng)
    out = checks.as_rows(inputs[0] if inputs else drawn[0], None, DOUBLE, "gradcheck", "out").copy()
    others = inputs[1:] or (targets_for(criterion, out, rng) if inputs else drawn[1],)
    criterion(out.copy(), *others)
    gradient = np.array(criterion.backward(), np.float64)
    yield "the outputs", out, gradient, lambda: float(criterion(out.copy(), *others))


def _compare(what: str, array: np.ndarray, gradient: np.ndarray, function: Callable[[], float], how: How) -> None:
    """Raise where the gradient of a function by an array is not that of central differences."""
    if gradient.shape != array.shape:
        raise GradcheckError(f"{what} has the shape {gradient.shape}; must be {array.shape}")
    tried = np.arange(array.size)
    if how.entries is not None and how.entries < array.size:
        tried = np.sort(how.rng.choice(array.size, how.entries, replace=False))
    wrong, worst = 0, (0.0, "")
    for place in tried:
        index = tuple(int(i) for i in np.unravel_index(place, array.shape))
        before = array[index]
        values = []
        for step in (how.eps, -how.eps):
            array[index] = before + step
            values.append(function())
        array[index] = before
        expected, found = (values[0] - values[1]) / (2 * how.eps), float(gradient[index])
        excess = abs(found - expected) / (how.atol + how.rtol * abs(expected)) if expected != found else 0.0
        if not excess <= 1:
            wrong += 1
            if not excess <= worst[0]:
                entry = f"[{', '.join(map(str, index))}]"
                worst = excess, f"in {entry} backward gives {found:.6g}, central differences {expected:.6g}"
    if wrong:
        raise GradcheckError(
            f"{what} is wrong in {wrong} of {len(tried)} entries; worst, {worst[1]} (atol={how.atol:g}, rtol={how.rtol:g})"
        )
