"""How a module goes forward and back: in stretches, one compiled call each, and in modules written in Python between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import checks
from fastmlp.eligible import runs_compiled
from fastmlp.kernels.op import UNIT, Op
from fastmlp.modules.stretch import Kept, Stretch
from fastmlp.parameters import Parameter, Storage, spans_of
from fastmlp.program import Program, are_narrow

if TYPE_CHECKING:
    from fastmlp.modules.module import Module

__all__ = ["ARITHMETIC", "Route", "Trace", "flat_row", "ops_of", "options_of", "runs_in_engine"]

#: What a subclass of a built-in module brings to run in Python.
ARITHMETIC = ("forward", "backward", "__call__")

#: Rows of a prediction that modules written in Python take at a time.
PYTHON_ROWS = 1024

#: Programs of training that a route keeps: they are small, but for the memory of the last run (training/compiled.py).
PROGRAMS_KEPT = 4


def runs_in_engine(module: Module) -> bool:
    """Whether the engine can run a module that is no container."""
    return runs_compiled(type(module), "_ops", *ARITHMETIC)


def _flat(module: Module) -> Iterator[Module]:
    """The modules of a row, those of rows within it too."""
    if module._dissolves and runs_compiled(type(module), "_row", *ARITHMETIC):
        for part in module._row():  # type: ignore[misc]
            yield from _flat(part)
    else:
        yield module._stand_in()


def flat_row(module: Module) -> list[Module]:
    """The modules that `module` runs by the arithmetic of its built-in class, whatever its own class adds to that."""
    if module._row is None:
        return [module]
    return [flat for part in module._row() for flat in _flat(part)]


class Trace:
    """What a pass forward in training mode has kept: for each stretch its workspace, for each module in Python its shapes."""

    __slots__ = ("dtype", "parts", "shape")

    def __init__(self, parts: list[tuple[Module | None, Any]], shape: tuple[int, int], dtype: np.dtype):
        self.parts, self.shape, self.dtype = parts, shape, dtype

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """The gradient of the input for that of the output."""
        given = dy
        for module, kept in reversed(self.parts):
            if module is None:
                dy = kept.backward(dy)
            else:
                returned = type(module).backward(module, dy.copy() if dy is given else dy)
                dy = checks.as_returned(returned, kept, dy.dtype, module, "backward").copy()  # it may be its own memory
        return dy.copy() if dy is given else dy

    def release(self) -> None:
        """Let another pass have the workspaces."""
        for module, kept in self.parts:
            if module is None:
                kept.release()


class Route:
    """The parts of a module in the order in which they compute."""

    def __init__(self, module: Module, storage: Storage | None, *, as_whole: bool = False):
        """With `as_whole`, the module is one part, run by the arithmetic of its own class."""
        self.storage = storage
        self.modules = [module] if as_whole else flat_row(module) if module._dissolves else [module._stand_in()]
        self._options = options_of(self.modules)
        self._parts: list[Module | list[Module]] = []  # a module in Python, or some that the engine takes together
        for part in self.modules:
            if (as_whole or part is not module) and not runs_in_engine(part):
                self._parts.append(part)
            elif self._parts and isinstance(self._parts[-1], list):
                self._parts[-1].append(part)
            else:
                self._parts.append([part])
        #: Rows that a batch of training must have.
        self.least_rows = max([1, *(part.least_rows for part in self.modules if part.training)])
        self._work: dict[int, tuple[int, int, bool]] = {}
        self._training: dict[tuple, Program] = {}
        self._stretches: dict[tuple[int, int, np.dtype], Stretch] = {}
        #: The stretch of the last call, where everything is one.
        self.last: Stretch | None = None
        #: That stretch once a network has predicted by it, and the version of the structure at which it may do so unasked.
        self.whole: Stretch | None = None
        self.version = -1
        #: Whether everything is one compiled call.
        self.compiled = len(self._parts) == 1 and isinstance(self._parts[0], list)

    def fits(self, module: Module) -> bool:
        """Whether the module still consists of the same parts."""
        modules = flat_row(module) if module._dissolves else [module._stand_in()]
        return self.modules == modules and self._options == options_of(modules)

    def refuse(self, rows: int, hint: str = "") -> None:
        """Say that a batch has too few rows to train on."""
        (asker, *_) = [part for part in self.modules if part.training and part.least_rows > rows]
        raise ValueError(
            f"{checks.describe(asker)} needs at least {asker.least_rows} rows in training mode, to have a variance; got a "
            f"batch of {rows}{hint}"
        )

    def python_modules(self) -> list[Module]:
        """The parts that are written in Python."""
        return [part for part in self._parts if not isinstance(part, list)]

    def ops(self, width: int) -> list[Op]:
        """All ops, of a route that the engine can take as a whole."""
        return ops_of(self.modules, width)

    def work(self, width: int, dtype: np.dtype) -> tuple[int, int, bool]:
        """Flops of a row forward, into how many units the largest weight is shared out; whether layers are narrow."""
        if width not in self._work:
            ops = self.ops(width)
            units = [-(-op.width_in // int(UNIT)) for op in ops if op.has_parameters]
            self._work[width] = sum(op.flops for op in ops), max(units, default=1), are_narrow(ops, dtype)
        return self._work[width]

    def training(
        self,
        width: int,
        loss: Op,
        updates: Sequence[Op],
        group_at: Mapping[int, int],
        dtype: np.dtype,
        batch: int,
        threads: int,
        between: Sequence[Op] = (),
    ) -> Program:
        """The program of whole steps: that of an earlier run, where all is as it was (0.1 ms, ten steps of a small network)."""
        options = (width, batch, threads, dtype, tuple(group_at.items()), *map(_described, (loss, *updates, *between)))
        program = self._training.get(options)
        if program is None:
            if len(self._training) == PROGRAMS_KEPT:
                self._training.clear()
            layers = self.ops(width)
            how: dict[str, Any] = {"batch": batch, "threads": threads, "between": between}
            program = Program.training(layers, loss, updates, group_at.get, dtype, **how)
            self._training[options] = program
        return program

    def stretch(self, place: int, width: int, dtype: np.dtype) -> Stretch:
        """The stretch at a place of the route, for inputs of this width and dtype."""
        key = place, width, dtype
        found = self._stretches.get(key)
        if found is None:
            modules = self._parts[place]
            assert isinstance(modules, list)
            expected = _width_in(modules)
            if expected is not None and expected != width:
                taker = checks.describe(modules[0])
                if place == 0:
                    raise ValueError(f"{taker} expects (N, {expected}); got (N, {width})")
                giver = checks.describe(self._parts[place - 1])
                raise ValueError(f"{giver} must return (N, {expected}), as {taker} expects; got (N, {width})")
            storage = self.storage if self.storage is not None else Storage.empty(dtype)
            frozen = spans_of(parameter for module in modules for parameter in _frozen_beside_others(module))
            check = self.check_input if place == 0 else None
            found = self._stretches[key] = Stretch(lambda width: ops_of(modules, width), storage, width, dtype, frozen, check)
        return found

    @property
    def check_input(self) -> Callable[..., None] | None:
        """What refuses inputs: the first module's, of those that do anything."""
        for module in self.modules:
            if module._check_input is not None:
                return module._check_input
            if not runs_in_engine(module) or module._ops(1):  # type: ignore[misc]
                break
        return None

    def _whole(self, x: np.ndarray) -> Stretch | None:
        """The stretch that takes `x` all the way, where everything is one."""
        stretch = self.last
        if stretch is None or stretch.width_in != x.shape[1] or stretch.dtype is not x.dtype:
            stretch = self.stretch(0, x.shape[1], x.dtype) if self.compiled else None
            self.last = stretch = None if stretch is None or stretch.empty else stretch
        return stretch

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Trace | Kept]:
        """The output for `x`, laid out for the kernels, and what the way back needs."""
        stretch = self._whole(x)
        if stretch is not None:
            return stretch.forward(x)
        parts: list[tuple[Module | None, Any]] = []
        given = x
        for place, part in enumerate(self._parts):
            if isinstance(part, list):
                stretch = self.stretch(place, x.shape[1], x.dtype)
                if stretch.empty:
                    continue
                x, kept = stretch.forward(x)
                parts.append((None, kept))
            else:
                shape = x.shape
                x = _python_forward(part, x.copy() if x is given else x)
                parts.append((part, shape))
        return x.copy() if x is given else x, Trace(parts, (x.shape[0], x.shape[1]), x.dtype)

    def predict(self, x: np.ndarray, out: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
        """The output for `x`; keeps nothing.

        The modules in Python are shallow copies in evaluation mode, so that the modules themselves keep what they have.
        """
        stretch = self._whole(x)
        if stretch is not None:
            if out is None:
                out = np.empty((x.shape[0], stretch.width_out), x.dtype)
            stretch.predict(x, out, threads)
            return out
        y = self._predict_in_turns(x, threads)
        if out is None:
            return y
        out[...] = y
        return out

    def jacobian(self, x: np.ndarray, threads: int | None) -> np.ndarray:
        """The derivatives of the outputs for `x` by the inputs, (N, O, I)."""
        own = ", ".join(type(part).__name__ for part in self.python_modules())
        if own:
            raise TypeError(f"jacobian needs modules that the engine runs; written in Python: {own}")
        stretch = self._whole(x)
        if stretch is None:  # nothing is computed
            return np.repeat(np.eye(x.shape[1], dtype=x.dtype)[None], len(x), axis=0)
        return stretch.jacobian(x, threads)

    def _predict_in_turns(self, x: np.ndarray, threads: int | None) -> np.ndarray:
        copies = {part: _detached(part) for part in self._parts if not isinstance(part, list)}
        results = []
        for first in range(0, len(x), PYTHON_ROWS if copies else len(x)):
            y = x[first : first + PYTHON_ROWS] if copies else x
            for place, part in enumerate(self._parts):
                if isinstance(part, list):
                    stretch = self.stretch(place, y.shape[1], x.dtype)
                    if not stretch.empty:
                        out = np.empty((len(y), stretch.width_out), x.dtype)
                        stretch.predict(y, out, threads)
                        y = out
                else:
                    y = _python_forward(copies[part], y.copy() if y.base is not None else y)
            results.append(y)
        return np.concatenate(results)


def _width_in(modules: Sequence[Module]) -> int | None:
    """The width that modules in a row expect, None where any will do."""
    for module in modules:
        if (width := module._width_in()) is not None:
            return width
        if module._width_out(1) != 1:
            return None
    return None


def _frozen_beside_others(module: Module) -> list[Parameter]:
    """The parameters that are not trained, of a module that has others."""
    parameters = list(module.parameters())
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    return frozen if len(frozen) < len(parameters) else []


def options_of(modules: Sequence[Module]) -> list[tuple[Any, ...]]:
    """What the ops of modules depend on: which parameters are trained, too."""
    return [(part._options(), *(parameter.requires_grad for parameter in part.parameters())) for part in modules]


def _described(op: Op) -> tuple:
    """What tells an op from others."""
    return (op.block, *vars(op).values())


def ops_of(modules: Sequence[Module], width: int) -> list[Op]:
    """What the engine is to do for modules in a row, on inputs of this width."""
    ops: list[Op] = []
    for module in modules:
        described = module._ops(width)  # type: ignore[misc]
        if not any(parameter.requires_grad for parameter in module.parameters()):
            for op in described:
                op.has_parameters = False
        ops += described
        width = described[-1].width_out if described else width
    return ops


def _python_forward(module: Module, x: np.ndarray) -> np.ndarray:
    """What a module in Python makes of `x`, checked and laid out for the kernels; a copy, for it may be its own memory."""
    return checks.as_returned(type(module).__call__(module, x), (x.shape[0], None), x.dtype, module, "forward").copy()


def _detached(module: Module) -> Module:
    """A shallow copy in evaluation mode, parts included: it shares the parameters, and what it keeps goes with it."""
    twin = object.__new__(type(module))
    twin.__dict__.update({name: _detached_value(value) for name, value in module.__dict__.items() if name != "_trace"})
    twin.__dict__["training"] = False
    return twin


def _detached_value(value: Any) -> Any:
    from fastmlp.modules.module import Module

    if isinstance(value, Module):
        return _detached(value)
    if type(value) in (list, tuple):
        return type(value)(_detached_value(item) for item in value)
    if type(value) is dict:
        return {key: _detached_value(item) for key, item in value.items()}
    return value
