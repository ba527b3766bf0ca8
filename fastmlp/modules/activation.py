"""The base of the elementwise modules, which are a formula each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from fastmlp import checks, structure
from fastmlp.compiled import check_static
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Activation", "Formulas"]

#: A value, a slope that is written or None, and what that reads.
Formulas: TypeAlias = "tuple[Callable[..., Any], Callable[..., Any] | None, str]"


class Activation(Module):
    """The base of the elementwise functions: ``y = value(x, *constants)``.

    A subclass is one formula in plain Python on numbers, ``value``; the engine's loops and, where `slope` is not written, the
    derivative are made of it.

    Attributes
    ----------
    value : callable
        Static: ``value(x, *constants)``.
    slope : callable, optional
        Static: the derivative, ``slope(saved, *constants)``.
    saves : {"y", "x"}
        What `slope` reads: the output or the input. A derived slope reads x.
    constants : tuple of str
        Names of attributes that are numbers of the formula. They are values in the program: to change one compiles nothing.
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    saves = "y"
    constants: ClassVar[tuple[str, ...]] = ()
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    #: Where the function is max(x, floor): the product before it can do that too.
    floor: float | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.forward is Module.forward:
            check_static(cls, ("value", "slope"), "its options are numbers named in `constants`, which come as arguments")
        if cls.saves not in ("x", "y"):
            raise ValueError(f'{cls.__name__}.saves must be "x" or "y"; got {cls.saves!r}')
        own = vars(cls)  # what a base says about another formula does not hold for this one
        if "value" in own or "slope" in own:
            for name, default in (("floor", None),) + (("slope", None), ("saves", "y")) * ("value" in own):
                if name not in own:
                    setattr(cls, name, default)

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        name, (value, slope, saves) = type(self).__name__.lower(), self._formulas()
        if value is not self.value:
            name += f"-{value.__name__}"
        return [Elementwise(width, name, value, slope, saves, self._numbers(), self.floor)]

    def _formulas(self) -> Formulas:
        """What is computed: `value` and `slope`, unless the options of a class choose between several."""
        return self.value, self.slope, self.saves

    def _numbers(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.constants)

    def _options(self) -> tuple[Any, ...]:
        return self._formulas(), self._numbers()

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_number(value, name, least=-float("inf")) if name in self.constants else value

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "training":
            structure.changed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name):g}' for name in self.constants)})"
