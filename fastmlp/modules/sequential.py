"""A network: modules in a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fastmlp import checks
from fastmlp.kernels.passes import forward_pass, forward_share
from fastmlp.kernels.products.tile import TILE_ROWS
from fastmlp.kernels.threads import CONTROL_SIZE
from fastmlp.modules.lowering import lower, try_lower
from fastmlp.modules.module import Module, padded_arithmetic
from fastmlp.modules.passes import Passes
from fastmlp.parameters import Storage, gather
from fastmlp.program import BLOCK_ROWS, Program, Workspace
from fastmlp.team import run_together, team_size

__all__ = ["Sequential"]

#: Work of a prediction, in flops, that is worth a thread more: starting one costs 100 to 200 us, most of it until a core of its
#: own has the weights. 784-512-512-10, one thread and two: 32 rows 390 and 390 to 540 us, 48 rows 580 and 420 to 740, 64 rows
#: 783 and 516.
FLOPS_PER_THREAD = 40_000_000
FLOPS_FOR_TWO = 2 * FLOPS_PER_THREAD

#: Into how many shares for each thread many rows are cut; no share is smaller than a block, but where there are few rows.
SHARES = 8


class Sequential(Module):
    """Modules in a row, each reading the output of the one before.

    Building it gathers the parameters of its modules into one flat vector of one dtype; the modules stay usable.

    Parameters
    ----------
    *modules : Module
        At least one. No module may stand in two networks, or twice in one: it keeps the input of its last call.
    dtype : dtype, optional
        float32 or float64, for all parameters. By default the dtype the modules have.

    Shape: ``(N, I)`` to ``(N, O)``, I the width of the first module and O that of the last.

    Raises
    ------
    TypeError
        If something that is not a Module is passed.
    ValueError
        If the widths don't chain, or a module already has a place in a network.

    Notes
    -----
    ``repr`` shows the modules and counts the parameters; ``model[i]`` is the i-th module.

    Forward and backward are one compiled call each, unless a module is written in Python. The numbers are those of the modules
    called one after the other, which may be done too, and mixed with it.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2))
    >>> model
    Sequential(
      (0): Linear(2, 25)     75 parameters
      (1): ReLU()
      (2): Linear(25, 2)     52 parameters
    )  127 parameters, float32
    >>> model(np.zeros((10, 2))).shape
    (10, 2)
    """

    def __init__(self, *modules: Module, dtype=None):
        if len(modules) == 1 and isinstance(modules[0], (list, tuple)):
            raise TypeError("Sequential takes its modules one by one: Sequential(*modules)")
        if not modules:
            raise ValueError("Sequential needs at least one module")
        for module in modules:
            if not isinstance(module, Module):
                kind = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
                hint = f": make one, {module.__name__}()" if isinstance(module, type) else ""
                raise TypeError(f"Sequential is made of modules; got {kind}{hint}")
        self._modules = list(modules)
        parts = [part for module in modules for part in module.modules()]
        for part in parts:
            if parts.count(part) > 1:
                raise ValueError(f"{part!r} stands twice in the network, but it keeps its last input: make a second one")
        for module in modules:
            if getattr(module, "_owned", False):
                raise ValueError(f"{module!r} already has a place in a network: make another one, or copy.deepcopy it")
        self._width = _chain(modules)
        stored = [parameter for module in modules for parameter in module._stored_parameters()]
        if len(set(stored)) < len(stored):
            raise ValueError("a Parameter belongs to two modules of the network; each needs its own")
        dtypes = {parameter.dtype for parameter in stored}
        if dtype is None and len(dtypes) > 1:
            raise TypeError("the modules differ in dtype: say which one the network is to have, Sequential(..., dtype=)")
        self._dtype = checks.as_float_dtype(dtype if dtype is not None else next(iter(dtypes), np.float32))
        self._empty = gather([], self._dtype)  # for a network without parameters
        self._stored = stored
        gather(stored, self._dtype)
        for part in parts:
            if isinstance(part, Sequential):  # its parameters have this dtype now
                part._dtype, part._empty = self._dtype, self._empty
        for name, parameter in self.named_parameters():
            parameter.name = name
        self._own()

    def _own(self) -> None:
        for module in self._modules:
            module._owned = True
        self._spare: list[tuple[Storage, int, Workspace]] = []
        self._passes: Passes | None = None
        self._calls = [padded_arithmetic(module, "forward") for module in self._modules]
        self._backward_calls = [padded_arithmetic(module, "backward") for module in reversed(self._modules)]

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._own()

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the network's numbers."""
        return self._dtype

    @property
    def storage(self) -> Storage:
        """The flat vector of the parameters; after this network became a part of another, that one's."""
        return self._stored[0].storage if self._stored else self._empty

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules, named by their places."""
        for i, module in enumerate(self._modules):
            yield str(i), module

    def __getitem__(self, index: int) -> Module:
        return self._modules[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def _width_in(self) -> int | None:
        return self._width

    def _width_out(self, width: int | None) -> int | None:
        for module in self._modules:
            width = module._width_out(width)
        return width

    def _lower(self, program: Program) -> None:
        for module in self._modules:
            lower(module, program)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The output for `x`, (N, I) to (N, O): one compiled call, where no module is written in Python."""
        x = checks.as_rows(x, self._width, self._dtype, self, "x")
        passes = self._passes_for(x.shape[1])
        if passes is None:
            return super().forward(x)
        out = passes.forward(x)
        self._saved = passes
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        passes = self._passes
        if passes is None or self._saved is not passes:
            return super().backward(dy)
        return passes.backward(self._checked_delta(dy, passes.shape))

    def _passes_for(self, width: int) -> Passes | None:
        """For inputs of this width; None where a module runs in Python only."""
        storage = self.storage
        passes = self._passes
        if passes is None or passes.storage is not storage or passes.width_in != width:
            runs = try_lower(self, width, self._dtype) is not None
            self._passes = passes = Passes(self, storage, width, self._dtype) if runs else None
        return passes

    def _forward(self, x: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        rows = x.shape[0]
        for forward in self._calls:
            x, width = forward(x, width)
        self._saved = (None, (rows, width))
        return x, width

    def _backward(self, dy: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        self._saved_shape()
        for backward in self._backward_calls:
            dy, width = backward(dy, width)
        return dy, width

    def predict(self, X, *, out: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
        """The outputs for all rows of `X`, in evaluation mode: one compiled call, a block of rows at a time.

        Parameters
        ----------
        X : array_like, (N, I)
            Anything NumPy converts to real numbers.
        out : ndarray, (N, O), optional
            Where to write; C-contiguous, of the network's dtype.
        threads : int, optional
            How many threads share the rows; by default as many as the work is worth. The results do not depend on it.

        Returns
        -------
        ndarray, (N, O)
            `out` where it was given.

        Raises
        ------
        ValueError, TypeError
            For another width, no rows, an array that does not hold real numbers, or an `out` that does not fit.

        Notes
        -----
        Keeps nothing for backward. Threads may call it on one network at the same time.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> model = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 1))
        >>> model.predict(np.zeros((1000, 2))).shape
        (1000, 1)
        """
        x = checks.as_rows(X, self._width, self._dtype, "predict")
        storage = self._stored[0].storage if self._stored else self._empty
        rows, width = x.shape
        spare = self._take_spare(storage, width)
        if spare is None:
            y = self._predict_eagerly(x)
            if out is None:
                return y
            checks.as_output(out, y.shape, self._dtype)[...] = y
            return out
        space = spare[2]
        shape = rows, space.width
        y = np.empty(shape, self._dtype) if out is None else checks.as_output(out, shape, self._dtype)
        work = rows * space.flops_per_row
        team = 1 if threads is None and work < FLOPS_FOR_TWO else team_size(threads, work, FLOPS_PER_THREAD)
        if team == 1:
            forward_pass(space.table, storage.data, space.work, x, y)
        else:
            self._predict_together(x, y, storage, team, threads is None)
        self._spare.append(spare)
        return y

    def _predict_together(self, x: np.ndarray, y: np.ndarray, storage: Storage, threads: int, shared: bool) -> None:
        """Let threads take rows, some at a time, until all are done: a thread that is late or slow takes fewer."""
        rows = len(x)
        threads = min(threads, -(-rows // TILE_ROWS))
        chunk = -(-rows // (SHARES * threads * BLOCK_ROWS)) * BLOCK_ROWS
        if chunk * threads > rows:
            chunk = -(-rows // (threads * TILE_ROWS)) * TILE_ROWS
        control = np.zeros(CONTROL_SIZE, np.int64)

        def run(*_: int) -> None:
            spare = self._take_spare(storage, x.shape[1])
            assert spare is not None  # the network has been lowered before
            space = spare[2]
            forward_share(space.table, storage.data, space.work, x, y, control, chunk)
            self._spare.append(spare)

        run_together(run, threads, shared=shared, all_needed=False)

    def _take_spare(self, storage: Storage, width: int) -> tuple[Storage, int, Workspace] | None:
        """A workspace that no other thread is using, to be put back; None where a module runs in Python only."""
        try:
            spare = self._spare.pop()
            if spare[0] is storage and spare[1] == width:
                return spare
        except IndexError:
            pass
        # The first time, or the network has meanwhile become a part of another, which holds its parameters now.
        program = try_lower(self, width, self._dtype)
        return None if program is None else (storage, width, program.lay_out(BLOCK_ROWS))

    def _predict_eagerly(self, x: np.ndarray) -> np.ndarray:
        """For a network with modules written in Python."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return np.concatenate([self.forward(x[first : first + 1024]) for first in range(0, x.shape[0], 1024)])
        finally:
            for module, mode in modes:
                module.training = mode

    def __repr__(self) -> str:
        entries = []
        for name, module in self.named_children():
            lines = repr(module).split("\n")
            entries.append((f"  ({name}): {lines[0]}", [f"  {line}" for line in lines[1:]], _count(module)))
        column = max(len(head) for head, tail, _ in entries if not tail) + 4 if any(not e[1] for e in entries) else 0
        text = []
        for head, tail, count in entries:
            text.append(head.ljust(column) + f" {_plural(count)}" if count and not tail else head)
            text += tail
        inside = "\n".join(text)
        return f"Sequential(\n{inside}\n)  {_plural(_count(self))}, {self.dtype}"


def _count(module: Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in module.parameters())


def _plural(count: int) -> str:
    return f"{count:,} parameter{'s' if count != 1 else ''}"


def _chain(modules: Sequence[Module]) -> int | None:
    """Check that the widths chain, and return the width of the input where it is known."""
    first = width = None
    giver = ""  # what gave the width
    for place, module in enumerate(modules):
        expected = module._width_in()
        if expected is not None and width is not None and expected != width:
            raise ValueError(
                f"the widths don't chain: {giver} gives {width} features, "
                f"{checks.describe(module)} at {place} expects {expected}"
            )
        if place == 0 or (first is None and all(m._width_out(1) == 1 for m in modules[:place])):
            first = expected  # only modules of any width stand before this one
        out = module._width_out(width if expected is None else expected)
        if expected is not None or out != width:
            giver = f"{checks.describe(module)} at {place}"
        width = out
    return first
