"""The base of every loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.compiled import check_static, runs_compiled
from fastmlp.kernels.blocks.elementwise_loss import ElementwiseLoss as ElementwiseLossOp
from fastmlp.kernels.engine import run
from fastmlp.kernels.job import Job
from fastmlp.kernels.op import Op
from fastmlp.program import Program

__all__ = ["Criterion", "ElementwiseLoss"]

#: Attributes that belong to a moment, not to the loss: left behind by pickle and copy.
TRANSIENT = ("_saved", "_jobs")

#: Memory for so many times the rows of a call is kept for smaller calls; beyond that, it is given back.
KEPT = 8


class Loss(float):
    """The loss of a batch: a number, which says how the way back goes."""

    __slots__ = ()

    def backward(self) -> None:
        """Losses are numbers here, without a graph behind them."""
        raise TypeError("a loss is a number: go back with model.backward(criterion.backward())")


class _Saved:
    """What a loss keeps for its gradient."""

    __slots__ = ("job", "shape", "spare", "way_back")

    def __init__(self, job: Job, spare: list[_Saved]):
        self.job, self.spare, self.shape = job, spare, (0, 0)
        self.way_back = 1  # the pass


class Criterion:
    """A loss: ``loss = criterion(out, y)``, then ``dout = criterion.backward()``.

    To write one of your own, subclass it and give it ``forward(out, y)``, which returns the mean loss of the batch as a
    float and keeps what ``backward()`` will need, and ``backward()``, which returns the gradient of that mean with respect
    to ``out``. It works in :func:`fastmlp.fit`, only slower: each step then comes back to Python. A loss that is the mean of a
    formula is an :class:`ElementwiseLoss`, at full speed.

    Attributes
    ----------
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    #: Whether the targets are labels, whole numbers.
    takes_labels = False
    #: Whether targets are squared: those that overflow then are refused.
    squares = False
    #: What the engine is to do, for outputs of this width: ``_op(width)``.
    _op: Callable[[int], Op] | None = None
    _saved: _Saved | None = None

    def forward(self, out: np.ndarray, y: Any) -> float:
        """The mean loss of the batch."""
        if self._op is None:
            raise NotImplementedError(f"{type(self).__name__} has no forward(out, y)")
        out = checks.as_rows(out, None, checks.as_float_dtype_of(out), type(self).__name__, "out")
        rows, width = out.shape
        targets = self._check_targets(y, width, out.dtype, rows, "y", finite=False)
        # The workspace of the loss before is the one that the cache has. `pop`: of several threads, one alone gives it back.
        before = self.__dict__.pop("_saved", None)
        if before is not None:
            before.spare.append(before)
        room = self._room_for(rows, width, out.dtype)
        job = room.job
        job.sums[0] = 0
        if self.takes_labels:
            job.labels[:rows] = targets
        run(job.handle, 0, out, out if self.takes_labels else targets, 0, 1)
        loss = Loss(job.sums.item() / (rows * self._terms(width)))
        self.__dict__["_saved"] = room
        return loss

    def backward(self) -> np.ndarray:
        """The gradient of the last loss with respect to the outputs.

        Raises
        ------
        RuntimeError
            Before the first ``forward``.
        """
        if self._op is None:
            raise NotImplementedError(f"{type(self).__name__} has no backward()")
        if self._saved is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward: compute a loss first")
        saved = self._saved
        dout = np.empty(saved.shape, saved.job.work.dtype)
        run(saved.job.handle, saved.way_back, dout, dout, 0, 1)
        saved.way_back = 2  # the gradient is there already, and a block may have written it over what it was made of
        return dout

    def _terms(self, width: int) -> int:
        """How many terms the loss of a row is the mean of."""
        return 1

    def runs_in_engine(self) -> bool:
        """Whether the engine can compute the loss."""
        return runs_compiled(type(self), "_op", "forward", "backward", "__call__")

    def __call__(self, out: np.ndarray, y: Any) -> float:
        return self.forward(out, y)

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        """`y` as the kernels take it."""
        if self.takes_labels:
            return checks.as_labels(y, width, rows, name)
        return checks.as_targets(y, width, dtype, rows, name, finite=finite, squared=self.squares)

    def _numbers(self) -> tuple[float, ...]:
        """The constants of the loss."""
        return ()

    def _room_for(self, rows: int, width: int, dtype: np.dtype) -> _Saved:
        """A program with room for so many rows that no pass needs at the moment."""
        rooms, key = self.__dict__.get("_jobs"), (width, dtype.itemsize, self._numbers())
        if rooms is None:
            rooms = self.__dict__.setdefault("_jobs", {})
        spare = rooms.get(key)
        if spare is None:
            spare = rooms.setdefault(key, [])
        try:
            room = spare.pop()
        except IndexError:
            room = None
        if room is None or not rows <= room.job.batch <= KEPT * rows:
            job = Program.of_loss(self._op(width), dtype, batch=rows).job()  # type: ignore[misc]
            job.batch = rows
            job.set(labels=np.zeros(rows if self.takes_labels else 1, np.int64))
            room = _Saved(job, spare)
        room.shape, room.way_back = (rows, width), 1
        return room

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in TRANSIENT}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ElementwiseLoss(Criterion):
    """The base of the losses that are a mean over all elements: ``loss = mean over n, j of value(out[n, j], y[n, j])``.

    A subclass is one formula in plain Python on numbers, ``value``; the engine's loops and, where `slope` is not written, the
    derivative by `out` are made of it.

    Attributes
    ----------
    value : callable
        Static: ``value(out, y, *constants)``.
    slope : callable, optional
        Static: the derivative by `out`, ``slope(out, y, *constants)``.
    constants : tuple of str
        Names of attributes that are numbers of the formula. They are values in the program: to change one compiles nothing.
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    constants: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.forward is Criterion.forward:
            check_static(cls, ("value", "slope"), "its options are numbers named in `constants`, which come as arguments")
        if "value" in vars(cls) and "slope" not in vars(cls):
            cls.slope = None  # that of another formula does not hold for this one

    def _op(self, width: int) -> Op:
        return ElementwiseLossOp(width, type(self).__name__.lower(), self.value, self.slope, self._numbers())

    def _terms(self, width: int) -> int:
        return width

    def _numbers(self) -> tuple[float, ...]:
        return tuple([getattr(self, name) for name in self.constants]) if self.constants else ()

    def _checked(self, name: str, value: Any) -> float:
        """What a constant becomes; a subclass refuses what it cannot be."""
        return checks.as_number(value, name, least=-float("inf"))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.constants:
            value = self._checked(name, value)
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name):g}' for name in self.constants)})"
