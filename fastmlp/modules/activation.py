"""The base of the elementwise modules, which are a formula each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from fastmlp import checks, structure
from fastmlp.eligible import check_names, check_static
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Activation", "Formulas"]

#: A value, a slope that is written or None, and what is kept for the way back: what that reads, or what it gives.
Formulas: TypeAlias = "tuple[Callable[..., Any], Callable[..., Any] | None, str]"


#: What belongs to the formula, and stays.
FORMULA = ("value", "slope", "saves", "constants", "floor")


class Activation(Module):
    """An elementwise function: ``y = value(x, *constants)``, a formula in plain Python on numbers.

    The engine's loops and, where `slope` is not written, the derivative are made of it. What a formula may use: operators, and
    the functions of :mod:`fastmlp.math`.

    Parameters
    ----------
    value : callable
        ``value(x, *constants)``. A function that Numba has compiled is taken as the Python function that it was made of.
    slope : callable, optional
        The derivative, ``slope(x, *constants)`` of the input or ``slope(y, *constants)`` of the output. Derived where it is not
        given.
    saves : {"x", "y", "slope"}, optional
        What `slope` reads on the way back, where its first argument is called neither x nor y. With "slope" it reads the input
        on the way forward, and what it gives is kept.
    constants : dict of str to float, optional
        Numbers of the formula, under the names that its arguments have. They become attributes that may be assigned; they are
        values in the program: to change one compiles nothing.

    A subclass says the same of a whole class: it has the formulas as static methods, and `constants` is a tuple of names.

    Attributes
    ----------
    value : callable
        Static in a subclass: ``value(x, *constants)``.
    slope : callable, optional
        Static in a subclass: the derivative, ``slope(saved, *constants)``.
    saves : {"y", "x", "slope"}
        What is kept for the way back: the output or the input, which `slope` reads there; or the slope of the input, computed
        on the way forward, where it has exponentials and divisions in common with the value. So it is where it is derived.
    constants : tuple of str
        Names of attributes that are numbers of the formula.
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.

    Shape: ``(N, W)`` to ``(N, W)``.

    Raises
    ------
    TypeError
        For a formula that cannot be compiled (the message names what it must not use), and arguments that do not fit.
    ValueError
        For constants that are not finite.

    Notes
    -----
    A slope that is kept takes the memory that the input would take. With it a step of a net of 2-25-25-25-2 neurons, 100 rows a
    batch, took 0.8 times as long with SiLU, as with a slope made of the input on the way back; with GELU 0.75 times.

    A module can be pickled where its functions can: those of a module, not a lambda.

    Examples
    --------
    >>> import fastmlp as fm
    >>> ramp = fm.Activation(lambda x, a: fm.math.maximum(a * x, x * x), constants={"a": 0.5})
    >>> ramp([[-1.0, 0.25, 2.0]])
    array([[1.   , 0.125, 4.   ]], dtype=float32)
    >>> ramp.a = 1.0
    >>> ramp([[-1.0, 0.25, 2.0]])
    array([[1.  , 0.25, 4.  ]], dtype=float32)
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    saves = "y"
    constants: tuple[str, ...] = ()
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    #: Where the function is max(x, floor): the product before it can do that too.
    floor: float | None = None

    def __init__(
        self,
        value: Callable[..., Any] | None = None,
        slope: Callable[..., Any] | None = None,
        *,
        saves: str | None = None,
        constants: Mapping[str, float] | None = None,
    ):
        kind = type(self).__name__
        if value is None:
            if type(self) is Activation or slope is not None or saves is not None or constants is not None:
                raise TypeError(f"{kind} needs a formula: {kind}(lambda x: ...)")
            return  # a subclass has its formula
        if slope is not None:
            saves = _reads(slope, kind) if saves is None else _as_saves(saves, kind)
        numbers = checks.as_constants(constants, self)
        names = checks.check_formulas(kind, value, slope, ("x",), ("y" if saves == "y" else "x",), numbers)
        self.__dict__.update(value=value, slope=slope, saves=saves or "x", constants=names, floor=None)
        for name, number in numbers.items():
            setattr(self, name, number)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_names(cls, "constants")
        if cls.__init__ is Activation.__init__:  # a class that has a formula takes none
            cls.__init__ = Module.__init__  # type: ignore[assignment]
        if cls.forward is Module.forward:
            check_static(cls, ("value", "slope"), "its options are numbers named in `constants`, which come as arguments")
        _as_saves(cls.saves, cls.__name__)
        own = vars(cls)  # what a base says about another formula does not hold for this one
        if "value" in own or "slope" in own:
            for name, default in (("floor", None),) + (("slope", None), ("saves", "y")) * ("value" in own):
                if name not in own:
                    setattr(cls, name, default)

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        name, (value, slope, saves) = type(self).__name__.lower(), self._formulas()
        if value is not self.value or "value" in self.__dict__:
            name += f"-{checks.name_of(value)}"
        return [Elementwise(width, name, value, slope, saves, self._numbers(), self.floor)]

    def _formulas(self) -> Formulas:
        """What is computed: `value` and `slope`, unless the options of a class choose between several."""
        return self.value, self.slope, self.saves

    def _numbers(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.constants)

    def _options(self) -> tuple[Any, ...]:
        return self._formulas(), self._numbers()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a module like this one."""
        if type(self) is not Activation:
            return super().get_config()
        saves = {} if self.slope is None else {"saves": self.saves}
        constants = {name: getattr(self, name) for name in self.constants}
        return {"value": self.value, "slope": self.slope, "constants": constants} | saves

    def _checked(self, name: str, value: Any) -> Any:
        if name in FORMULA and type(self) is Activation:
            raise AttributeError(f"{name} of an Activation stays as it is: make another one, Activation(value, ...)")
        return checks.as_number(value, name, least=-float("inf")) if name in self.constants else value

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "training":
            structure.changed()

    def __repr__(self) -> str:
        formula = [checks.name_of(self.value)] if "value" in self.__dict__ else []
        numbers = [f"{name}={getattr(self, name):g}" for name in self.constants]
        return f"{type(self).__name__}({', '.join(formula + numbers)})"


def _as_saves(saves: Any, kind: str) -> str:
    if saves not in ("x", "y", "slope"):
        raise ValueError(f'{kind}.saves must be "x", "y" or "slope"; got {saves!r}')
    return saves


def _reads(slope: Callable[..., Any], kind: str) -> str:
    """What a slope reads by the name of its first argument."""
    first = checks.first_argument(slope)
    if first not in ("x", "y"):
        raise TypeError(
            f"the first argument of slope of {kind} must be called x (it reads the input) or y (the output), or saves= says "
            f"which; got {first}"
        )
    return first
