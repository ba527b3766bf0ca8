"""The file of C: compiled by gcc and clang without a warning, clean under sanitizers, what `predict` gives, to rounding."""

from __future__ import annotations

import ctypes
import itertools
import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers import make_net, normal
from predictor.nets import every_module, inputs_for

import fastmlp as fm
from fastmlp.predictor.c_code.numbers import literal
from fastmlp.predictor.plans import route_of, width_out

pytestmark = pytest.mark.once

STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
COMPILERS = [compiler for compiler in ("gcc", "clang", "cc") if shutil.which(compiler)][:2]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="there is no C compiler here")
BOUND = {"float32": 1e-6, "float64": 1e-14}


def compiled_by(compiler, source, target, *options):
    command = [compiler, *STRICT, *options, source, "-o", target, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr and "clang_rt" in done.stderr:
        pytest.skip(f"{compiler} has no sanitizers here")
    assert done.returncode == 0, done.stderr
    return target


def called(function, *arrays):
    function.restype = None
    function(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))


def functions_of(library, name, model, dtype):
    """Outputs and Jacobian of rows, by C."""
    outputs = width_out(route_of(model), model._width_in())

    def forward_and_derivatives(x):
        out, again = np.empty((2, len(x), outputs), dtype)
        jac = np.empty((len(x), outputs, x.shape[1]), dtype)
        for n in range(len(x)):
            row = x[n].astype(dtype)
            called(getattr(library, f"{name}_forward"), row, out[n])
            called(getattr(library, f"{name}_jacobian"), row, again[n], jac[n])
        np.testing.assert_array_equal(out, again)
        return out, jac

    return forward_and_derivatives


@needs_compiler
def test_every_module(dtype, tmp_path):
    """All in one file, each with a name of its own; by each compiler."""
    models, source = list(every_module(dtype)), tmp_path / "all.c"
    text = []
    for number, model in enumerate(models):
        model.eval()
        fm.to_c(model, source, name=f"net{number}", jacobian=True)
        text.append(source.read_text())
    source.write_text("\n".join(text))
    libraries = [
        ctypes.CDLL(str(compiled_by(compiler, source, tmp_path / f"{compiler}.so", "-O1", "-shared", "-fPIC")))
        for compiler in COMPILERS
    ]
    bound = BOUND[dtype.name]
    for number, model in enumerate(models):
        x = inputs_for(model, 3, dtype)
        expected = fm.compiled(model).predict(x), fm.jacobian(model, x)
        for library in libraries:
            for ours, wanted in zip(functions_of(library, f"net{number}", model, dtype)(x), expected):
                assert np.abs(ours - wanted).max() <= 4 * bound * (1 + np.abs(wanted).max()), repr(model)


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_sanitizers_find_nothing(compiler, dtype, tmp_path):
    model = fm.Sequential(
        *(fm.Embedding({1: 4}, 3, in_features=3, rng=0), fm.Standardize(5), fm.Linear(5, 9, rng=1), fm.LayerNorm(9), fm.GELU()),
        fm.Residual(fm.Linear(9, 6, rng=2), fm.SiLU(), fm.Dropout(), fm.BatchNorm1d(6), fm.Linear(6, 9, bias=False, rng=3)),
        *(fm.PReLU(9), fm.Linear(9, 4, rng=4), fm.LogSoftmax()),
        dtype=dtype,
    )
    model.eval()
    fm.to_c(model, tmp_path / "net.c", jacobian=True)
    x = inputs_for(model, 5, dtype)
    x[:, 1] = [0, 3, -1, 4, np.nan]  # what is no category is the first one
    T, numbers = "float" if dtype == np.float32 else "double", ", ".join(literal(v, dtype) for v in x.reshape(-1))
    (tmp_path / "main.c").write_text(
        f"""#include <stdio.h>
#include "net.c"
int main(void)
{{
    static const {T} x[{x.size}] = {{{numbers}}};
    for (int n = 0; n < {len(x)}; n++) {{
        {T} out[net_outputs], jac[net_outputs * net_inputs];
        net_forward(x + n * net_inputs, out);
        net_jacobian(x + n * net_inputs, out, jac);
        for (int j = 0; j < net_outputs; j++) printf("%.17g ", (double)out[j]);
        for (int j = 0; j < net_outputs * net_inputs; j++) printf("%.17g ", (double)jac[j]);
    }}
    return 0;
}}
"""
    )
    program = compiled_by(compiler, tmp_path / "main.c", tmp_path / "main", *SANITIZE)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    printed = np.array(done.stdout.split(), float).reshape(len(x), -1)
    x[2:, 1] = 0
    expected = np.concatenate([model.predict(x), fm.jacobian(model, x).reshape(len(x), -1)], axis=1)
    assert np.abs(printed - expected).max() <= 10 * BOUND[dtype.name] * (1 + np.abs(expected).max())


@needs_compiler
def test_functions_that_formulas_may_call(dtype, tmp_path):
    """Each of fm.math, over its range, and conditions joined; with derivatives."""
    formulas = {
        "functions": lambda x: (
            fm.math.exp(-x * x) + fm.math.expm1(0.1 * x) + fm.math.log(x * x + 1) + fm.math.log1p(x * x) + fm.math.tanh(x)
        ),
        "normal": lambda x: (
            fm.math.erf(x) + fm.math.normal_cdf(x) + fm.math.normal_pdf(x) + fm.math.sigmoid(3 * x) + fm.math.softplus(2 * x)
        ),
        "choices": lambda x: (
            fm.math.select((x > -1) & ~(x >= 2) | (x != x), x**3, abs(x)) + fm.math.clip(x, -0.5, 0.25) + fm.math.sign(x) * x
        ),
        "others": lambda x: (
            fm.math.maximum(x, 0.5 * x) - fm.math.minimum(x, 1.0) + fm.math.copysign(x, -x) + fm.math.sqrt(x * x + 2) ** -2
        ),
        "constants": fm.Activation(lambda x, a, b: fm.math.muladd(x, a, b) / (1 + a * a), constants={"a": -0.3, "b": 1e-30}),
    }
    x = np.linspace(-5, 5, 101).reshape(-1, 1).astype(dtype)
    for name, formula in formulas.items():
        activation = formula if isinstance(formula, fm.Module) else fm.Activation(formula)
        model = fm.Sequential(fm.Linear(1, 1, rng=0), activation, dtype=dtype)
        model[0].weight.data, model[0].bias.data = [[1.0]], [0.0]
        fm.to_c(model, tmp_path / f"{name}.c", jacobian=True)
        target = compiled_by(COMPILERS[0], tmp_path / f"{name}.c", tmp_path / f"{name}.so", "-shared", "-fPIC")
        out, jac = functions_of(ctypes.CDLL(str(target)), "net", model, dtype)(x)
        for ours, expected in ((out, model.predict(x)), (jac, fm.jacobian(model, x))):
            np.testing.assert_allclose(ours, expected, rtol=20 * BOUND[dtype.name], atol=20 * BOUND[dtype.name], err_msg=name)


@needs_compiler
def test_another_dtype_and_wide_networks(tmp_path):
    """A float64 network as float, and a float32 one as double: as exact as the parameters are."""
    x = normal(np.random.default_rng(0), (6, 40), np.float64)
    for given, written in itertools.permutations(("float32", "float64")):
        model = make_net([40, 129, 70, 3], "relu", dtype=np.dtype(given))
        fm.to_c(model, tmp_path / "net.c", dtype=written, jacobian=True)
        target = compiled_by(COMPILERS[0], tmp_path / "net.c", tmp_path / f"{written}.so", "-O2", "-shared", "-fPIC")
        out, _ = functions_of(ctypes.CDLL(str(target)), "net", model, np.dtype(written))(x)
        np.testing.assert_allclose(out, model.predict(x), rtol=1e-4, atol=1e-5)


def test_text(tmp_path):
    """One header, no allocation, all names begin with that of the network."""
    model = make_net([2, 3, 1])
    fm.to_c(model, tmp_path / "a.c", name="plant", jacobian=True)
    text = (tmp_path / "a.c").read_text()
    assert re.findall(r"#include .*", text) == ["#include <math.h>"]
    assert "alloc" not in text
    assert "CASADI" not in text
    outside = re.findall(r"^(?:static const \w+|void|enum) (\w+|{ \w+)", text, re.MULTILINE)
    assert outside
    assert all(name.strip("{ ").startswith("plant_") for name in outside)
    fm.to_c(model, tmp_path / "b.c", name="plant")
    assert "jacobian" not in (tmp_path / "b.c").read_text()
    assert literal(1, np.dtype(np.float32)) == "1.0f"
    assert literal(-1e-30, np.dtype(np.float64)) == "-1.0000000000000001e-30"
    assert [literal(x, np.dtype(np.float32)) for x in (np.inf, -np.inf, np.nan)] == ["INFINITY", "-INFINITY", "NAN"]


def test_training_mode_and_changes_do_not_matter(tmp_path):
    model = fm.Sequential(fm.Linear(3, 4, rng=0), fm.BatchNorm1d(4), fm.Dropout(), fm.Linear(4, 2, rng=1))
    texts = []
    for training in (True, False):
        model.train(training)
        fm.to_c(model, tmp_path / "net.c")
        texts.append((tmp_path / "net.c").read_text())
    assert texts[0] == texts[1]


class Double(fm.Module):
    """In Python."""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def test_what_cannot_be_written_is_refused(tmp_path):
    model, bad = make_net([2, 3, 1]), make_net([2, 3, 1])
    bad[0].weight.data[0, 0] = np.inf
    large = make_net([2, 1], dtype=np.float64)
    large[0].weight.data[:] = 1e300
    path = tmp_path / "net.c"
    for call, error, message in (
        (lambda: fm.to_c(None, path), TypeError, "model must be a Module of fastmlp"),
        (lambda: fm.to_c(fm.Sequential(fm.Linear(2, 2), Double()), path), TypeError, "written in Python: Double"),
        (lambda: fm.to_c(fm.ReLU(), path), ValueError, "takes inputs of any"),
        (lambda: fm.to_c(model, path, name="2nd"), ValueError, "name must be one that C can have, .*; got '2nd'"),
        (lambda: fm.to_c(model, path, name="while"), ValueError, "got 'while'"),
        (lambda: fm.to_c(model, path, dtype=np.int32), TypeError, "float32 or float64"),
        (lambda: fm.to_c(model, path, jacobian="yes"), TypeError, "jacobian"),
        (
            lambda: fm.to_c(bad, path),
            ValueError,
            "parameters must be finite in float32 to be written; weight of a linear is not",
        ),
        (lambda: fm.to_c(large, path, dtype=np.float32), ValueError, "finite in float32"),
        (lambda: fm.to_c(model, tmp_path / "nowhere" / "net.c"), OSError, "nowhere"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert not path.exists()


@needs_compiler
def test_casadi_loads_it(tmp_path):
    casadi = pytest.importorskip("casadi")
    model = make_net([3, 9, 2], dtype=np.float64)
    fm.to_c(model, tmp_path / "plant.c", name="plant", jacobian=True)
    target = compiled_by(COMPILERS[0], tmp_path / "plant.c", tmp_path / "plant.so", "-Dplant_CASADI", "-shared", "-fPIC")
    plant, x = casadi.external("plant", str(target)), normal(np.random.default_rng(0), (1, 3), np.float64)
    np.testing.assert_allclose(np.array(plant(x[0])).ravel(), model.predict(x)[0], rtol=1e-13)
    symbol = casadi.MX.sym("x", 3)
    slope = casadi.Function("slope", [symbol], [casadi.jacobian(plant(symbol), symbol)])
    np.testing.assert_allclose(np.array(slope(x[0])), fm.jacobian(model, x)[0], rtol=1e-12)
