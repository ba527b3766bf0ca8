"""The base of every loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastmlp import checks, pickles
from fastmlp.eligible import check_names, check_static, runs_compiled
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

    def item(self) -> float:
        """The number, as of a tensor."""
        return float(self)


class _Saved:
    """What a loss keeps for its gradient."""

    __slots__ = ("job", "shape", "spare", "terms", "total", "way_back")

    def __init__(self, job: Job, spare: list[_Saved], terms: int):
        self.job, self.spare, self.terms, self.shape = job, spare, terms, (0, 0)
        self.total = 0.0  # of the weights of the rows
        self.way_back = 1  # the pass


class Criterion:
    """A loss: ``loss = criterion(out, y)``, then ``dout = criterion.backward()``.

    ``criterion(out, y, sample_weight)`` weights the rows: numbers ``(N,)`` of at least 0. A mean becomes the weighted mean,
    ``sum over n of w[n] l[n] / sum over n of w[n]`` with ``l[n]`` for the loss of row n, and a sum becomes ``sum over n of w[n]
    l[n]``. A row of weight 0 counts for nothing, whatever is in it. Where no row counts, a mean is NaN, as PyTorch has it, and
    the gradient 0.

    To write one of your own, subclass it and give it ``forward(out, y)``, which returns the mean loss of the batch as a
    float and keeps what ``backward()`` will need, and ``backward()``, which returns the gradient of that mean with respect
    to ``out``; with weights of rows it is called as ``forward(out, y, sample_weight)``. It works in :func:`fastmlp.fit`, only
    slower: each step then comes back to Python. A loss that is the mean of a
    formula is an :class:`ElementwiseLoss`, at full speed.

    Attributes
    ----------
    reduction : {"mean", "sum"}
        Of the losses of the rows of a batch; may be assigned later.
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.
    targets : tuple of str
        What the targets may be: "numbers", "labels", "signs" (-1 and 1), "probabilities" (0 to 1), "distributions" (rows of
        probabilities that sum to 1), "counts" (at least 0).
    outputs : str
        What the outputs must be: "numbers", "probabilities", "positive", or "pairs" (twice as many as targets).
    """

    reduction = "mean"
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    targets: ClassVar[tuple[str, ...]] = ("numbers",)
    outputs: ClassVar[str] = "numbers"
    #: Whether each row has a weight even where nobody gives one.
    _weighs = False
    #: Whether targets are squared: those that overflow then are refused.
    squares = False
    #: What the engine is to do, for outputs of this width: ``_op(width, labels=..., weighted=...)``. `labels` says whether
    #: targets are labels, where they may also be something else; `weighted` that rows have weights.
    _op: Callable[..., Op] | None = None
    _saved: _Saved | None = None

    def forward(self, out: np.ndarray, y: Any, sample_weight: Any = None) -> float:
        """The loss of the batch: the mean over its rows, or their sum."""
        if self._op is None:
            raise NotImplementedError(f"{type(self).__name__} has no forward(out, y)")
        out = checks.as_rows(out, None, checks.as_float_dtype_of(out), type(self).__name__, "out")
        rows, width = out.shape
        targets = self._check_targets(y, width, out.dtype, rows, "y", finite=False)
        weights = None
        if sample_weight is not None or targets is not y or self._weighs:
            weights = self._check_weights(sample_weight, targets, out.dtype, "sample_weight")
        labels = targets.ndim == 1
        # The workspace of the loss before is the one that the cache has. `pop`: of several threads, one alone gives it back.
        before = self.__dict__.pop("_saved", None)
        if before is not None:
            before.spare.append(before)
        room = self._room_for(rows, width, out.dtype, labels, weights is not None)
        job, total = room.job, rows
        job.sums[0] = 0
        if labels:
            job.labels[:rows] = targets
        if weights is not None:
            job.weights[:rows] = weights
        run(job.handle, 0, out, out if labels else targets, 0, 1)
        if weights is not None:
            total = job.totals.item(0)
        room.total = total
        total *= room.terms
        loss = job.sums.item()
        if total:
            loss /= total
        elif room.terms:  # a mean over nothing
            loss = float("nan")
        if loss != loss:
            self._explain(out)
        self.__dict__["_saved"] = room
        return Loss(loss)

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
        """How many terms the loss of a row is the mean of; 0 where the loss of a batch is a sum."""
        return int(self.reduction == "mean")

    def _share(self, rows: int, weights: np.ndarray | None) -> float:
        """How much the last loss, of so many rows, counts in that of an epoch."""
        if self.reduction == "sum":
            return 1.0
        if self._saved is not None:
            return self._saved.total
        return float(rows if weights is None else weights.sum(dtype=np.float64))

    def _explain(self, out: np.ndarray) -> None:
        """Say what is wrong with outputs whose loss is NaN, if there is a rule that they break."""

    def runs_in_engine(self) -> bool:
        """Whether the engine can compute the loss."""
        return runs_compiled(type(self), "_op", "forward", "backward", "__call__")

    def __call__(self, out: np.ndarray, y: Any, sample_weight: Any = None) -> float:
        return self.forward(out, y) if sample_weight is None else self.forward(out, y, sample_weight)

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        """`y` as the kernels take it."""
        array = checks.as_targets(y, width, dtype, rows, name, finite=finite, squared=self.squares)
        if self.targets[0] != "numbers":
            checks.check_kind(array, self.targets[0], name, self)
        return array

    def _check_weights(self, weights: Any, targets: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray | None:
        """How much each row counts, or None where all count alike; `targets` have been checked."""
        return None if weights is None else checks.as_weights(weights, dtype, len(targets), name)

    def _checked(self, name: str, value: Any) -> Any:
        """What an attribute becomes that is assigned; a subclass refuses what it cannot be."""
        return checks.as_reduction(value) if name == "reduction" and self.runs_in_engine() else value

    def _numbers(self) -> tuple[float, ...]:
        """The constants of the loss."""
        return ()

    def _room_for(self, rows: int, width: int, dtype: np.dtype, labels: bool, weighted: bool) -> _Saved:
        """A program with room for so many rows that no pass needs at the moment."""
        rooms, key = self.__dict__.get("_jobs"), (width, dtype.itemsize, labels, weighted, self._numbers())
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
            op = self._op(width, labels=labels, weighted=weighted)  # type: ignore[misc]
            job = Program.of_loss(op, dtype, batch=rows).job()
            job.batch = rows
            job.set(labels=np.zeros(rows if labels else 1, np.int64))
            if weighted:
                job.set(weights=np.zeros(rows, dtype))
            room = _Saved(job, spare, self._terms(width))
        room.shape, room.way_back = (rows, width), 1
        return room

    def __getstate__(self) -> dict:
        return pickles.closed({name: value for name, value in self.__dict__.items() if name not in TRANSIENT})

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(pickles.opened(state, self))

    def __setattr__(self, name: str, value: Any) -> None:
        value = self._checked(name, value)
        self.__dict__.pop("_jobs", None)  # programs of what was
        object.__setattr__(self, name, value)

    def _described(self) -> list[str]:
        """The arguments, as one writes them."""
        return []

    def __repr__(self) -> str:
        reduction = [] if self.reduction == "mean" else [f'reduction="{self.reduction}"']
        return f"{type(self).__name__}({', '.join(self._described() + reduction)})"


class Form(NamedTuple):
    """The formula that the options of a loss choose: what an :class:`ElementwiseLoss` says of itself."""

    name: str  # beside that of the class
    value: Callable[..., Any]
    slope: Callable[..., Any] | None
    columns: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()


class ElementwiseLoss(Criterion):
    """A loss that is the mean over all elements of a formula: ``loss = mean over n, j of value(out[n, j], y[n, j])``.

    With ``reduction="sum"`` it is their sum. The formula is plain Python on numbers; the engine's loops and, where `slope` is
    not written, the derivative by `out` are made of it. It may use operators, and the functions of :mod:`fastmlp.math`.

    Parameters
    ----------
    value : callable
        ``value(out, y, *constants)``. A function that Numba has compiled is taken as the Python function that it was made of.
    slope : callable, optional
        The derivative by `out`, ``slope(out, y, *constants)``. Derived where it is not given.
    constants : dict of str to float, optional
        Numbers of the formula, under the names that its arguments have. They become attributes that may be assigned; they are
        values in the program: to change one compiles nothing.
    reduction : {"mean", "sum"}, default "mean"
        Of the losses of the elements.

    A subclass says the same of a whole class: it has the formulas as static methods, and `constants` is a tuple of names.

    Attributes
    ----------
    value : callable
        Static in a subclass: ``value(out, y, *columns, *constants)``.
    slope : callable, optional
        Static in a subclass: the derivative by `out`, ``slope(out, y, *columns, *constants)``.
    constants : tuple of str
        Names of attributes that are numbers of the formula.
    columns : tuple of str
        Names of attributes that are numbers of the formula, one for each column of the outputs: a sequence, or one for all.

    Raises
    ------
    TypeError
        For a formula that cannot be compiled (the message names what it must not use), and arguments that do not fit.
    ValueError
        For constants that are not finite.

    Examples
    --------
    >>> import fastmlp as fm
    >>> asymmetric = fm.ElementwiseLoss(lambda out, y, a: fm.math.maximum(a * (y - out), out - y), constants={"a": 3.0})
    >>> asymmetric([[0.0], [2.0]], [[1.0], [1.0]])
    2.0
    >>> asymmetric.a = 1.0
    >>> asymmetric([[0.0], [2.0]], [[1.0], [1.0]])
    1.0
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    constants: tuple[str, ...] = ()
    columns: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        value: Callable[..., Any] | None = None,
        slope: Callable[..., Any] | None = None,
        *,
        constants: Mapping[str, float] | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction
        kind = type(self).__name__
        if value is None:
            if type(self) is ElementwiseLoss or slope is not None or constants is not None:
                raise TypeError(f"{kind} needs a formula: {kind}(lambda out, y: ...)")
            return  # a subclass has its formula
        numbers = checks.as_constants(constants, self)
        names = checks.check_formulas(kind, value, slope, ("out", "y"), ("out", "y"), numbers)
        self.__dict__.update(value=value, slope=slope, constants=names)
        for name, number in numbers.items():
            setattr(self, name, number)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_names(cls, "constants", "columns")
        if cls.__init__ is ElementwiseLoss.__init__:  # a class that has a formula takes none
            cls.__init__ = _constructor_of(cls)  # type: ignore[method-assign]
        if cls.forward is Criterion.forward:
            check_static(cls, ("value", "slope"), "its options are numbers named in `constants`, which come as arguments")
        if "value" in vars(cls) and "slope" not in vars(cls):
            cls.slope = None  # that of another formula does not hold for this one

    def _form(self) -> Form:
        """The formula: `value` and `slope`, unless the options of a class choose between several."""
        name = f"-{checks.name_of(self.value)}" if "value" in self.__dict__ else ""
        return Form(name, self.value, self.slope, self.columns, self.constants)

    def _op(self, width: int, *, labels: bool = False, weighted: bool = False) -> Op:
        form = self._form()
        return ElementwiseLossOp(
            width,
            type(self).__name__.lower() + form.name,
            form.value,
            form.slope,
            tuple(getattr(self, name) for name in form.constants),
            columns=tuple(checks.as_columns(getattr(self, name), width, name) for name in form.columns),
            terms=self._terms(width),
            weighted=weighted,
        )

    def _terms(self, width: int) -> int:
        return width if self.reduction == "mean" else 0

    def _numbers(self) -> tuple[float, ...]:
        return tuple([getattr(self, name) for name in self.constants]) if self.constants else ()

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("value", "slope", "constants") and type(self) is ElementwiseLoss:
            raise AttributeError(f"{name} of an ElementwiseLoss stays as it is: make another one, ElementwiseLoss(value, ...)")
        if name in self.columns:
            return checks.as_vector(value, name)
        return checks.as_number(value, name, least=-float("inf")) if name in self.constants else super()._checked(name, value)

    def _described(self) -> list[str]:
        formula = [checks.name_of(self.value)] if "value" in self.__dict__ else []
        return formula + [checks.argument(name, getattr(self, name)) for name in (*self.columns, *self.constants)]


def _constructor_of(cls: type) -> Callable[..., None]:
    """The constructor of a class that has a formula, under the name that an error says."""

    def __init__(self: ElementwiseLoss, *, reduction: str = "mean") -> None:  # noqa: N807
        self.reduction = reduction

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__
