"""The numbers that formulas are traced with where they become C: each operation is a line of a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.kernels.compiler.derivative import value_and_derivative
from fastmlp.kernels.compiler.expression import plain
from fastmlp.kernels.compiler.value import Number, is_literal

__all__ = ["HELPERS", "CNumber", "Lines", "derivative_lines", "literal", "value_lines"]

#: Functions of formulas that are functions of math.h.
OF_MATH = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "erf")

#: The others: what returns what, of `x`. T, and what ends the names of functions and of numbers, stand in braces.
HELPERS = {
    "sigmoid": "x > 0{f} ? 1{f} / (1{f} + exp{s}(-x)) : exp{s}(x) / (1{f} + exp{s}(x))",
    "softplus": "(x > 0{f} ? x : 0{f}) + log1p{s}(exp{s}(-fabs{s}(x)))",
    "normal_cdf": "0.5{f} * erfc{s}(-0.70710678118654752440{f} * x)",
    "normal_pdf": "0.39894228040143267794{f} * exp{s}(-0.5{f} * x * x)",
}
HELPERS["sigmoid_beside_softplus"] = HELPERS["sigmoid"]


def literal(x: Any, dtype: np.dtype) -> str:
    """A number as C has it, with as many digits as tell it from all others."""
    number, suffix = dtype.type(x), "f" if dtype.itemsize == 4 else ""
    if not np.isfinite(number):
        return "NAN" if np.isnan(number) else "INFINITY" if number > 0 else "-INFINITY"
    text = f"{number:.9g}" if suffix else f"{number:.17g}"
    return (text if any(c in text for c in ".e") else f"{text}.0") + suffix


class Lines:
    """The lines of a loop, of which in the end only those are written that something depends on."""

    def __init__(self, dtype: np.dtype, name: str, helpers: set[str]):
        self.dtype, self.name, self.helpers = dtype, name, helpers
        self.number = "float" if dtype.itemsize == 4 else "double"
        #: What ends the names of functions of math.h.
        self.suffix = "f" if dtype.itemsize == 4 else ""
        self._made: dict[str, tuple[str, list[str]]] = {}

    def given(self, text: str) -> CNumber:
        """A number that C has under this name."""
        return CNumber(self, text)

    def line(self, text: str, *operands: Any) -> str:
        """The name of what a line computes; operands stand in braces."""
        name = f"t{len(self._made)}"
        texts = [self.text(x) for x in operands]
        self._made[name] = text.format(*texts), texts
        return name

    def text(self, x: Any) -> str:
        """An operand."""
        if isinstance(x, CNumber):
            return x.text
        if not is_literal(x) and not isinstance(x, np.generic) and not isinstance(x, bool):
            raise TypeError(f"a formula combines numbers; got {type(x).__name__}")
        return f"({literal(x, self.dtype)})" if x < 0 else literal(x, self.dtype)

    def written(self, result: Any, target: str) -> list[str]:
        """The lines that `target` is computed by, and its assignment."""
        text = self.text(result)
        needed, todo = set[str](), [text]
        while todo:
            name = todo.pop()
            if name in self._made and name not in needed:
                needed.add(name)
                todo += self._made[name][1]
        kind = {name: "int" if code.startswith("(int)") else self.number for name, (code, _) in self._made.items()}
        lines = [
            f"const {kind[name]} {name} = {code.removeprefix('(int)')};"
            for name, (code, _) in self._made.items()
            if name in needed
        ]
        return [*lines, f"{target} = {text};"]


def _operator(sign):
    def forward(self, other):
        if isinstance(other, Number) and not isinstance(other, CNumber):
            return NotImplemented
        return self.made(f"{{}} {sign} {{}}", self, other)

    def reverse(self, other):
        return self.made(f"{{}} {sign} {{}}", other, self)

    return forward, reverse


def _comparison(sign):
    def compare(self, other):
        if isinstance(other, Number) and not isinstance(other, CNumber):
            return NotImplemented
        return _Condition(self.lines, self.lines.line(f"(int)({{}} {sign} {{}})", self, other))

    return compare


class CNumber(Number):
    """A number that a loop in C will have."""

    rank = 1

    def __init__(self, lines: Lines, text: str):
        self.lines, self.text = lines, text

    @property
    def dtype(self) -> np.dtype:
        """That of the file."""
        return self.lines.dtype

    def made(self, text: str, *operands: Any) -> CNumber:
        """What a line computes."""
        return CNumber(self.lines, self.lines.line(text, *operands))

    def constant(self, x: Any) -> CNumber:
        return CNumber(self.lines, self.lines.text(x))

    __add__, __radd__ = _operator("+")
    __sub__, __rsub__ = _operator("-")
    __mul__, __rmul__ = _operator("*")
    __truediv__, __rtruediv__ = _operator("/")
    __lt__, __gt__, __le__, __ge__ = (_comparison(sign) for sign in ("<", ">", "<=", ">="))
    __eq__, __ne__ = _comparison("=="), _comparison("!=")  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self):
        return self.made("-{}", self)

    def __abs__(self):
        return self.made(f"fabs{self.lines.suffix}({{}})", self)

    def apply(self, formula, slope):
        name = formula.__name__
        if name in OF_MATH:
            return self.made(f"{name}{self.lines.suffix}({{}})", self)
        if name in HELPERS:
            self.lines.helpers.add(name)
            return self.made(f"{self.lines.name}_{name}({{}})", self)
        return formula(self)

    def power(self, n):
        if n < 2:
            return self if n == 1 else self.constant(1) if n == 0 else 1 / self.power(-n)
        half = (self * self).power(n // 2)
        return half * self if n % 2 else half

    def muladd(self, a, b, c):
        return self.made("{} * {} + {}", a, b, c)

    def select(self, condition, a, b):
        return self.made("{} ? {} : {}", condition, a, b) if isinstance(condition, _Condition) else a if condition else b

    def copysign(self, x, y):
        return self.made(f"copysign{self.lines.suffix}({{}}, {{}})", x, y)

    def sqrt(self):
        return self.made(f"sqrt{self.lines.suffix}({{}})", self)

    def float_to_bits(self):
        raise TypeError("the bits of a number are not to be had in C: use the functions of fm.math")


class _Condition(CNumber):
    """A comparison, or several of them."""

    def _with(self, sign, other):
        return _Condition(self.lines, self.lines.line(f"(int)({{}} {sign} {{}})", self, other))

    def __and__(self, other):
        return self._with("&&", other)

    def __or__(self, other):
        return self._with("||", other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self):
        return _Condition(self.lines, self.lines.line("(int)(!{})", self))


def _numbers(constants: tuple[float, ...], dtype: np.dtype) -> list[float]:
    """Constants as the network has them: rounded to its dtype."""
    return [float(dtype.type(x)) for x in constants]


def value_lines(lines: Lines, value: Callable, constants: tuple[float, ...], x: str, y: str) -> list[str]:
    """``y = value(x)``."""
    return lines.written(plain(value)(lines.given(x), *_numbers(constants, lines.dtype)), y)


def derivative_lines(
    lines: Lines, value: Callable, slope: Callable | None, saves: str, constants: tuple[float, ...], names: tuple[str, ...]
) -> list[str]:
    """``dx = dy * slope``, of the input or of the output, whichever it reads; names of x, y, dy and dx."""
    x, y, dy, dx = names
    numbers = _numbers(constants, lines.dtype)
    if slope is None:
        found = value_and_derivative(plain(value), lines.given(x), *numbers)[1]
    else:
        found = plain(slope)(lines.given(y if saves == "y" else x), *numbers)
    return lines.written(lines.given(dy) * found, dx)
