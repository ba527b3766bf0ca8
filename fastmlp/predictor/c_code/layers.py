"""Each op as C: the constants it reads, what it does to a row, and to a delta on the way back.

Arrays of C are given by name: x and y are input and output, dy and dx their deltas. A weight lies as (I, O), as it does in the
package: the sums of a row's outputs go side by side, each the same chain as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.kernels.blocks.batch_norm import BatchNorm
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.blocks.embedding import Embedding
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.blocks.norms import Norm
from fastmlp.kernels.blocks.prelu import PReLU
from fastmlp.kernels.blocks.residual import Fork, Join
from fastmlp.kernels.blocks.scale import Scale
from fastmlp.kernels.blocks.softmax import Softmax
from fastmlp.kernels.blocks.standardize import Standardize
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.op import Op
from fastmlp.predictor.c_code.numbers import Lines, derivative_lines, literal, value_lines

__all__ = ["OPS", "Layer"]


class Layer:
    """An op of a network, to be written: its number, the file's dtype, and the parameters that it finds its own in."""

    #: Whether the output may lie where the input lies.
    in_place = True

    def __init__(self, op: Any, number: int, name: str, dtype: np.dtype, params: np.ndarray, helpers: set[str]):
        self.op, self.dtype, self.params, self.helpers = op, dtype, params, helpers
        self.prefix, self.name = f"{name}_{number}", name
        self.T, self.s = ("float", "f") if dtype.itemsize == 4 else ("double", "")
        self.constants: dict[str, np.ndarray] = self.arrays()

    def arrays(self) -> dict[str, np.ndarray]:
        """The constants, by the ends of their names."""
        return {}

    def forward(self, x: str, y: str) -> list[str]:
        """Lines of C that write y."""
        raise NotImplementedError

    def backward(self, x: str, y: str, dy: str, dx: str) -> list[str]:
        """Lines of C that write dx."""
        raise NotImplementedError

    # What they are made of.

    def vector(self, place: int, width: int | None = None) -> np.ndarray:
        """A parameter of one axis."""
        return self.params[place : place + (width or self.op.width_in)]

    def array(self, end: str) -> str:
        """The name of a constant in C."""
        return f"{self.prefix}_{end}"

    def number(self, x: float) -> str:
        """A number in C."""
        return literal(x, self.dtype)

    def each(self, *body: str, width: int | None = None) -> list[str]:
        """A loop over features."""
        return loop("j", width or self.op.width_in, *body)

    def total(self, name: str, term: str) -> list[str]:
        """A sum over features."""
        return [f"{self.T} {name} = {self.number(0)};", *self.each(f"{name} += {term};")]


def loop(index: str, width: int, *body: str) -> list[str]:
    """A loop of C."""
    return [f"for (int {index} = 0; {index} < {width}; {index}++) {{", *(f"    {line}" for line in body), "}"]


class _Linear(Layer):
    in_place = False

    def arrays(self):
        op = self.op
        stride = row_stride(op.width_out, self.params.dtype)
        weight = self.params[op.weight : op.weight + op.width_in * stride].reshape(op.width_in, stride)[:, : op.width_out]
        bias = {"bias": self.vector(op.bias, op.width_out)} if op.bias >= 0 else {}
        return {"weight": weight, **bias}

    def forward(self, x, y):
        op, w = self.op, self.array("weight")
        start = f"{self.array('bias')}[j]" if "bias" in self.constants else self.number(0)
        inner = loop("j", op.width_out, f"{y}[j] += {x}[i] * {w}[i * {op.width_out} + j];")
        return self.each(f"{y}[j] = {start};", width=op.width_out) + loop("i", op.width_in, *inner)

    def backward(self, x, y, dy, dx):
        op, w = self.op, self.array("weight")
        inner = loop("j", op.width_out, f"total += {dy}[j] * {w}[i * {op.width_out} + j];")
        return loop("i", op.width_in, f"{self.T} total = {self.number(0)};", *inner, f"{dx}[i] = total;")


class _Elementwise(Layer):
    def lines(self):
        return Lines(self.dtype, self.name, self.helpers)

    def forward(self, x, y):
        return self.each(*value_lines(self.lines(), self.op.value, self.op.constants, f"{x}[j]", f"{y}[j]"))

    def backward(self, x, y, dy, dx):
        op, names = self.op, tuple(f"{array}[j]" for array in (x, y, dy, dx))
        return self.each(*derivative_lines(self.lines(), op.value, op.slope, op.saves, op.constants, names))


class _Factor(Layer):
    """``y = (x - centre) * factor + bias``, with whatever there is of it."""

    def forward(self, x, y):
        text = f"{x}[j]"
        if "centre" in self.constants:
            text = f"({text} - {self.array('centre')}[j])"
        bias = f" + {self.array('bias')}[j]" if "bias" in self.constants else ""
        return self.each(f"{y}[j] = {text} * {self.array('factor')}[j]{bias};")

    def backward(self, x, y, dy, dx):
        return self.each(f"{dx}[j] = {dy}[j] * {self.array('factor')}[j];")


class _Scale(_Factor):
    def arrays(self):
        return {"factor": self.vector(self.op.weight)}


class _Standardize(_Factor):
    def arrays(self):
        return {"centre": self.vector(self.op.centre), "factor": self.vector(self.op.factor)}


class _BatchNorm(_Factor):
    def arrays(self):
        op, one = self.op, self.dtype.type(1)
        inverse = one / np.sqrt(self.vector(op.running_var).astype(self.dtype) + self.dtype.type(op.eps))
        factor = inverse * self.vector(op.weight).astype(self.dtype) if op.weight >= 0 else inverse
        bias = {"bias": self.vector(op.bias)} if op.bias >= 0 else {}
        return {"centre": self.vector(op.running_mean), "factor": factor, **bias}


class _PReLU(Layer):
    def arrays(self):
        return {"weight": self.vector(self.op.weight, 1 if self.op.shared else None)}

    def weight(self):
        return f"{self.array('weight')}[{0 if self.op.shared else 'j'}]"

    def forward(self, x, y):
        return self.each(f"{y}[j] = {x}[j] > {self.number(0)} ? {x}[j] : {self.weight()} * {x}[j];")

    def backward(self, x, y, dy, dx):
        return self.each(f"{dx}[j] = {x}[j] > {self.number(0)} ? {dy}[j] : {self.weight()} * {dy}[j];")


class _Norm(Layer):
    def arrays(self):
        places = {"weight": self.op.weight, "bias": self.op.bias}
        return {end: self.vector(place) for end, place in places.items() if place >= 0}

    def statistics(self, x):
        """The mean, and the factor of the normal form."""
        width = self.number(self.op.width_in)
        eps = float(np.finfo(self.params.dtype).eps) if self.op.eps is None else self.op.eps
        mean = [f"const {self.T} mean = {self.number(0)};"]
        if self.op.centred:
            mean = [*self.total("shift", f"{x}[j] - {x}[0]"), f"const {self.T} mean = {x}[0] + shift / {width};"]
        squares = self.total("square", f"({x}[j] - mean) * ({x}[j] - mean)")
        root = f"sqrt{self.s}(square / {width} + {self.number(eps)})"
        return [*mean, *squares, f"const {self.T} factor = {self.number(1)} / {root};"]

    def weighted(self, text):
        return f"{text} * {self.array('weight')}[j]" if "weight" in self.constants else text

    def forward(self, x, y):
        bias = f" + {self.array('bias')}[j]" if "bias" in self.constants else ""
        return [*self.statistics(x), *self.each(f"{y}[j] = {self.weighted(f'({x}[j] - mean) * factor')}{bias};")]

    def backward(self, x, y, dy, dx):
        width, d = self.number(self.op.width_in), self.weighted(f"{dy}[j]")
        lines = self.statistics(x)
        if self.op.centred:
            lines += self.total("slope", d)
        lines += self.total("product", f"{d} * (({x}[j] - mean) * factor)")
        mean = f" - slope / {width}" if self.op.centred else ""
        return lines + self.each(f"{dx}[j] = factor * ({d}{mean} - ({x}[j] - mean) * factor * (product / {width}));")


class _Softmax(Layer):
    def forward(self, x, y):
        largest = [f"{self.T} largest = {x}[0];", *self.each(f"largest = {x}[j] > largest ? {x}[j] : largest;")]
        total = self.total("total", f"exp{self.s}({x}[j] - largest)")
        if self.op.logarithm:
            last = [f"total = log{self.s}(total);", *self.each(f"{y}[j] = {x}[j] - largest - total;")]
        else:
            last = self.each(f"{y}[j] = exp{self.s}({x}[j] - largest) / total;")
        return [*largest, *total, *last]

    def backward(self, x, y, dy, dx):
        if self.op.logarithm:
            return self.total("total", f"{dy}[j]") + self.each(f"{dx}[j] = {dy}[j] - exp{self.s}({y}[j]) * total;")
        return self.total("total", f"{dy}[j] * {y}[j]") + self.each(f"{dx}[j] = {y}[j] * ({dy}[j] - total);")


class _Embedding(Layer):
    in_place = False

    def arrays(self):
        op, stride = self.op, row_stride(self.op.categories, self.params.dtype)
        table = self.params[op.weight : op.weight + op.entries * stride].reshape(op.entries, stride)[:, : op.categories]
        return {"table": table.T}

    def forward(self, x, y):
        op, others = self.op, self.op.width_in - 1
        value, column = f"{x}[{op.column}]", f"(j < {op.column} ? j : j + 1)"
        known = f"{value} >= {self.number(0)} && {value} < {self.number(op.categories)}"
        row = f"const int row = {known} ? (int){value} : 0;"
        entry = f"{y}[{others} + j] = {self.array('table')}[row * {op.entries} + j];"
        moved = self.each(f"{y}[j] = {x}[{column}];", width=others) if others else []
        return [*moved, row, *self.each(entry, width=op.entries)]

    def backward(self, x, y, dy, dx):
        op, others = self.op, self.op.width_in - 1
        column = f"(j < {op.column} ? j : j + 1)"
        moved = self.each(f"{dx}[{column}] = {dy}[j];", width=others) if others else []
        return [*moved, f"{dx}[{op.column}] = {self.number(0)};"]


class _Join(Layer):
    """What lies behind a fork comes as `skipped`; a fork itself writes nothing."""

    in_place = False
    skipped = ""

    def forward(self, x, y):
        return self.each(f"{y}[j] = {x}[j] + {self.skipped}[j];")

    def backward(self, x, y, dy, dx):
        return self.each(f"{dx}[j] = {dy}[j];")


class _Fork(Layer):
    other = ""  # the delta of the join's output

    def backward(self, x, y, dy, dx):
        return self.each(f"{dx}[j] = {dy}[j] + {self.other}[j];")


#: How each op is written.
OPS: dict[type[Op], Callable[..., Layer]] = {
    Linear: _Linear,
    Elementwise: _Elementwise,
    Scale: _Scale,
    Standardize: _Standardize,
    BatchNorm: _BatchNorm,
    PReLU: _PReLU,
    Norm: _Norm,
    Softmax: _Softmax,
    Embedding: _Embedding,
    Fork: _Fork,
    Join: _Join,
}
