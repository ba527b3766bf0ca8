"""A network as one file of C: no memory but the stack's, no library but math.h."""

from __future__ import annotations

import os
import re
from itertools import chain
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp._version import __version__
from fastmlp.kernels.blocks.residual import Fork, Join
from fastmlp.modules import Module
from fastmlp.predictor.c_code.layers import OPS, Layer
from fastmlp.predictor.c_code.numbers import HELPERS, literal
from fastmlp.predictor.plans import route_of, width_of, width_out
from fastmlp.saving.whole import write_whole

__all__ = ["to_c"]

#: Words of C99 that a name cannot be.
KEYWORDS = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|restrict|"
    "return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while"
)

#: Numbers in a line.
NUMBERS = 8


def to_c(model: Module, path: str | os.PathLike[str], *, name: str = "net", dtype: Any = None, jacobian: bool = False) -> None:
    """Write a network as one self-contained file of C99, for a microcontroller, say.

    ``void net_forward(const T *x, T *out)`` computes the outputs of one row, as in evaluation mode, and with `jacobian`
    ``void net_jacobian(const T *x, T *out, T *jac)`` their derivatives too, ``jac[o * net_inputs + i]``. The widths are
    ``net_inputs`` and ``net_outputs``.

    Parameters
    ----------
    model : Module
        A network, or a layer that has a width, without modules written in Python.
    path : str or path
        The file.
    name : str, default "net"
        What all names in it begin with.
    dtype : dtype, optional
        float32 or float64: T is float or double. By default that of the model.
    jacobian : bool, default False
        Whether there is a function for derivatives.

    Raises
    ------
    TypeError, ValueError
        For what is no Module or has parts written in Python, takes inputs of any width or has parameters that are not finite;
        for a name that is none in C.
    OSError
        Where the file cannot be written.

    Notes
    -----
    The file allocates nothing, calls nothing but functions of math.h, and compiles without a warning; its functions may be
    called by any number of threads. Parameters have as many digits as tell them from all others, so results differ from
    ``model.predict`` by rounding alone. Activations lie on the stack: one row of each layer. `x` and `out` must not overlap.

    With double, the file also has what CasADi's ``external`` asks for, where it is compiled with ``-Dnet_CASADI``:
    ``casadi.external("net", "./net.so")``, with a Jacobian if there is one.

    Examples
    --------
    >>> import os, tempfile, fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 3), fm.ReLU(), fm.Linear(3, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fm.to_c(model, os.path.join(folder, "net.c"))
    ...     with open(os.path.join(folder, "net.c")) as file:
    ...         [line for line in file.read().splitlines() if line.startswith("void")]
    ['void net_forward(const float *x, float *out);', 'void net_forward(const float *x, float *out)']
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module of fastmlp; got {checks.shown(model)}")
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or KEYWORDS.fullmatch(name):
        raise ValueError(f"name must be one that C can have, letters, digits and underscores; got {checks.shown(name)}")
    jacobian = checks.as_flag(jacobian, "jacobian")
    kind = (model.dtype or np.dtype(np.float32)) if dtype is None else checks.as_float_dtype(dtype)
    write_whole(path, [_File(model, name, kind).text(jacobian).encode()])


class _File:
    """The file of one network."""

    def __init__(self, model: Module, name: str, dtype: np.dtype):
        self.name, self.dtype, self.T = name, dtype, "float" if dtype.itemsize == 4 else "double"
        route, self.inputs = route_of(model), width_of(model)
        self.outputs = width_out(route, self.inputs)
        params = route.storage.data if route.storage is not None else np.empty(0, dtype)
        ops = list(chain.from_iterable(op.evaluated() for op in route.ops(self.inputs)))
        self.helpers: set[str] = set()
        self.layers: list[Layer] = []
        for number, op in enumerate(ops):
            kind = next(kind for kind in type(op).__mro__ if kind in OPS)
            self.layers.append(OPS[kind](op, number, name, dtype, params, self.helpers))
        for layer in self.layers:
            for end, numbers in layer.constants.items():
                with np.errstate(over="ignore"):
                    if not np.isfinite(numbers.astype(dtype)).all():
                        raise ValueError(f"parameters must be finite in {dtype} to be written; {end} of a {layer.op!r} is not")

    def text(self, jacobian: bool) -> str:
        """All of it."""
        name, T = self.name, self.T
        functions = self.forward() + (["", *self.jacobian()] if jacobian else [])
        declared = [f"void {name}_forward(const {T} *x, {T} *out);"]
        declared += [f"void {name}_jacobian(const {T} *x, {T} *out, {T} *jac);"] * jacobian
        parts = [
            f"/* A network of {self.inputs} inputs and {self.outputs} outputs, written by fastmlp {__version__}. */",
            "#include <math.h>",
            "",
            f"enum {{ {name}_inputs = {self.inputs}, {name}_outputs = {self.outputs} }};",
            *declared,
            "",
            *chain.from_iterable(self.constants(layer) for layer in self.layers),
            *self.helper_functions(),
            *functions,
            *(self.casadi(jacobian) if T == "double" else []),
        ]
        return "\n".join(parts) + "\n"

    def constants(self, layer: Layer) -> list[str]:
        """The numbers of a layer."""
        lines = []
        for end, numbers in layer.constants.items():
            texts = [literal(x, self.dtype) for x in numbers.reshape(-1)]
            rows = [", ".join(texts[i : i + NUMBERS]) for i in range(0, len(texts), NUMBERS)]
            lines += [
                f"static const {self.T} {layer.array(end)}[{len(texts)}] = {{",
                *(f"    {row}," for row in rows),
                "};",
                "",
            ]
        return lines

    def helper_functions(self) -> list[str]:
        """Those that formulas use and math.h does not have."""
        f, s = (".0f", "f") if self.dtype.itemsize == 4 else (".0", "")
        lines = []
        for helper in sorted(self.helpers):
            body = HELPERS[helper].replace("{s}", s)
            body = re.sub(r"(\d+\.\d+)\{f\}", rf"\1{s}", body)  # 0.5{f}
            body = body.replace("{f}", f)
            head = f"static {self.T} {self.name}_{helper}(const {self.T} x)"
            lines += [head, "{", f"    return {body};", "}", ""]
        return lines

    # Functions. The output of layer k lies in array k; the input is x, the last output is out.

    def forward(self) -> list[str]:
        """One row forward; what may lie where its input lay does."""
        held: set[str] = set()
        body, x = [], "x"
        declared: list[str] = []
        skipped: dict[int, str] = {}
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            if isinstance(layer.op, Fork):
                skipped[id(layer.op)] = x
                held.add(x)
                continue
            if isinstance(layer.op, Join):
                layer.skipped = skipped[id(layer.op.fork)]  # type: ignore[attr-defined]
            if last:
                y = "out"
            elif layer.in_place and x != "x" and x not in held:
                y = x
            else:
                y = f"a{number}"
                declared.append(f"{self.T} {y}[{layer.op.width_out}];")
            body += _block(layer.forward(x, y))
            x = y
        if x == "x":
            body += [f"for (int j = 0; j < {self.outputs}; j++) out[j] = x[j];"]
        return _function(f"void {self.name}_forward(const {self.T} *x, {self.T} *out)", declared + body)

    def jacobian(self) -> list[str]:
        """One row forward, which keeps what each layer gives, and a way back from each output."""
        names, declared, body = ["x"], list[str](), list[str]()
        joins = {id(layer.op.fork): number for number, layer in enumerate(self.layers) if isinstance(layer.op, Join)}
        places = {id(layer.op): number for number, layer in enumerate(self.layers)}
        for number, layer in enumerate(self.layers):
            if isinstance(layer.op, Fork):
                names.append(names[-1])
                continue
            if isinstance(layer.op, Join):
                layer.skipped = names[places[id(layer.op.fork)]]  # type: ignore[attr-defined]
            names.append("out" if number == len(self.layers) - 1 else f"a{number}")
            if names[-1] != "out":
                declared.append(f"{self.T} {names[-1]}[{layer.op.width_out}];")
            body += _block(layer.forward(names[-2], names[-1]))
        if names[-1] != "out":
            body += [f"for (int j = 0; j < {self.outputs}; j++) out[j] = {names[-1]}[j];"]
        one, zero, delta = literal(1, self.dtype), literal(0, self.dtype), f"d{len(self.layers)}"
        ways = [f"for (int j = 0; j < {self.outputs}; j++) {delta}[j] = j == o ? {one} : {zero};"]
        declared += [f"{self.T} d{number + 1}[{layer.op.width_out}];" for number, layer in enumerate(self.layers)]
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            if isinstance(layer.op, Fork):
                layer.other = f"d{joins[id(layer.op)] + 1}"  # type: ignore[attr-defined]
            dx = f"d{number}" if number else "row"
            ways += _block(layer.backward(names[number], names[number + 1], f"d{number + 1}", dx))
        loop = [f"for (int o = 0; o < {self.outputs}; o++) {{", f"    {self.T} *row = jac + o * {self.inputs};"]
        body += [*loop, *(f"    {line}" for line in ways), "}"]
        head = f"void {self.name}_jacobian(const {self.T} *x, {self.T} *out, {self.T} *jac)"
        return _function(head, declared + body)

    def casadi(self, jacobian: bool) -> list[str]:
        """What CasADi's ``external`` looks for."""
        name, n, m = self.name, self.inputs, self.outputs
        integer, call = "long long int", "const double **arg, double **res, long long int *iw, double *w, int mem"

        def function(called: str, ins: list[tuple[int, int]], outs: list[tuple[int, int]], body: list[str]) -> list[str]:
            lines = _function(f"int {called}({call})", [*body, "(void)iw, (void)w, (void)mem;", "return 0;"])
            for side, shapes in (("in", ins), ("out", outs)):
                lines += _function(f"{integer} {called}_n_{side}(void)", [f"return {len(shapes)};"])
                inside = [f"static const {integer} s{k}[] = {{{_dense(*shape)}}};" for k, shape in enumerate(shapes)]
                chosen = [f"if (i == {k}) return s{k};" for k in range(len(shapes))]
                lines += _function(f"const {integer} *{called}_sparsity_{side}({integer} i)", [*inside, *chosen, "return 0;"])
            return lines

        row = [f"static const double zeros[{n}] = {{0}};", "const double *x = arg[0] ? arg[0] : zeros;"]
        lines = ["", f"#ifdef {name}_CASADI"]
        lines += function(name, [(n, 1)], [(m, 1)], [*row, f"if (res[0]) {name}_forward(x, res[0]);"])
        if jacobian:
            turned = [f"if (res[0]) {{ double out[{m}], jac[{n * m}];", f"    {name}_jacobian(x, out, jac);"]
            turned += [f"    for (int o = 0; o < {m}; o++)", f"        for (int i = 0; i < {n}; i++)"]
            turned += [f"            res[0][o + i * {m}] = jac[o * {n} + i]; }}"]
            lines += function(f"jac_{name}", [(n, 1), (m, 1)], [(m, n)], [*row, *turned])
        return [*lines, "#endif"]


def _block(lines: list[str]) -> list[str]:
    """Lines whose names are their own: in braces, where they have some."""
    names = any(line.startswith(("const ", "float ", "double ")) for line in lines)
    return ["{", *(f"    {line}" for line in lines), "}"] if names else lines


def _function(head: str, body: list[str]) -> list[str]:
    return [head, "{", *(f"    {line}" for line in body), "}", ""]


def _dense(rows: int, columns: int) -> str:
    """A sparsity of CasADi's without zeros: where columns begin, and the rows of their entries."""
    begins = (rows * k for k in range(columns + 1))
    return ", ".join(map(str, [rows, columns, *begins, *list(range(rows)) * columns]))
