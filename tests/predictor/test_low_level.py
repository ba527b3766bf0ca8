"""Predictors as functions of C: SciPy's callbacks and numbalsoda's, against their plain-Python twins."""

from __future__ import annotations

import ctypes
import gc

import numba
import numpy as np
import pytest
from helpers import JIT, assert_same_bits, jit_only, make_net, normal

import fastmlp as fm
from fastmlp.predictor.low_level import KINDS

scipy = pytest.importorskip("scipy")
integrate, ndimage = pytest.importorskip("scipy.integrate"), pytest.importorskip("scipy.ndimage")


def on_doubles(p):
    """The network in Python, from doubles to doubles."""
    return lambda *x: p.predict(np.asarray(x, p.dtype)).astype(np.float64)


@jit_only
def test_quad_and_nquad(dtype):
    one, three = (fm.compiled(make_net([n, 9, 1], dtype=dtype)) for n in (1, 3))
    for kind in ("quad", "scalar"):
        ours, theirs = (integrate.quad(f, -1, 2, limit=20) for f in (one.low_level(kind), lambda x: on_doubles(one)(x)[0]))
        assert ours == theirs
    ranges, options = [(0, 1), (-1, 1), (0, 2)], {"epsabs": 1e-2, "epsrel": 1e-2}
    f = on_doubles(three)
    ours = integrate.nquad(three.low_level("quad"), ranges, opts=options)
    theirs = integrate.nquad(lambda a, b, c: f(a, b, c)[0], ranges, opts=options)
    assert ours == theirs


@jit_only
def test_filters(dtype):
    p = fm.compiled(make_net([9, 12, 1], "relu", dtype=dtype))
    f, image = on_doubles(p), normal(np.random.default_rng(0), (20, 13), np.float64)
    ours = ndimage.generic_filter(image, p.low_level("generic_filter"), size=3)
    assert_same_bits(ours, ndimage.generic_filter(image, lambda window: f(*window)[0], size=3))
    ours = ndimage.generic_filter1d(image, p.low_level("generic_filter1d"), 9)

    def line(source, target):
        for i in range(len(target)):
            target[i] = f(*source[i : i + 9])[0]

    assert_same_bits(ours, ndimage.generic_filter1d(image, line, 9))


@jit_only
def test_geometric_transform(dtype):
    p = fm.compiled(make_net([2, 12, 2], "relu", dtype=dtype))
    f, image = on_doubles(p), normal(np.random.default_rng(0), (20, 13), np.float64)
    ours = ndimage.geometric_transform(image, p.low_level("geometric_transform"), order=1)
    assert_same_bits(ours, ndimage.geometric_transform(image, lambda place: tuple(f(*place)), order=1))


@jit_only
def test_a_callable_keeps_its_predictor(dtype):
    model = make_net([1, 9, 1], dtype=dtype)
    expected = integrate.quad(fm.compiled(model).low_level("quad"), 0, 1)
    f = fm.compiled(model).low_level("quad")
    gc.collect()
    assert integrate.quad(f, 0, 1) == expected
    f = fm.compiled(model).c_function("forward")
    gc.collect()
    assert f.predictor.inputs == 1


@jit_only
def test_sizes_that_do_not_fit_are_errors_of_the_caller(dtype):
    nine = fm.compiled(make_net([9, 4, 1], dtype=dtype))
    with pytest.warns(integrate.IntegrationWarning):
        assert np.isnan(integrate.quad(nine.low_level("quad"), 0, 1)[0])
    with pytest.raises(RuntimeError):
        ndimage.generic_filter(np.ones((5, 5)), nine.low_level("generic_filter"), size=2)
    with pytest.raises(RuntimeError):
        ndimage.generic_filter1d(np.ones((9, 9)), nine.low_level("generic_filter1d"), 8)
    two = fm.compiled(make_net([2, 4, 1], dtype=dtype))
    with pytest.raises(RuntimeError):
        ndimage.geometric_transform(np.ones((5, 5)), two.low_level("geometric_transform"))


@jit_only
def test_what_a_network_cannot_be_is_refused():
    p = fm.compiled(make_net([2, 4, 3]))
    for call, message in (
        (lambda: p.low_level("integral"), "kind must be one of quad, scalar, generic_filter, .*; got 'integral'"),
        (lambda: p.low_level("quad"), "quad is for a network of 1 output; got <Predictor: 2 to 3, float32>"),
        (lambda: fm.compiled(make_net([2, 1])).low_level("scalar"), "scalar is for a network of 1 input; got"),
        (lambda: fm.compiled(make_net([9000, 1])).low_level("quad"), "quad is for networks of at most 4096 inputs and outputs"),
        (lambda: p.c_function("hessian"), "name must be one of forward, jacobian, vjp, jvp; got 'hessian'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.skipif(JIT, reason="of plain Python")
def test_plain_python_has_no_functions_of_c():
    p = fm.compiled(make_net([1, 4, 1]))
    for call in (lambda: p.low_level("quad"), lambda: p.c_function("forward")):
        with pytest.raises(RuntimeError, match="no machine code for C to call while NUMBA_DISABLE_JIT is set"):
            call()


@jit_only
def test_every_kind_is_tested():
    assert set(KINDS) == {"quad", "scalar", "generic_filter", "generic_filter1d", "geometric_transform"}


@jit_only
def test_c_functions(dtype):
    model = make_net([3, 9, 2], dtype=dtype)
    p, x = fm.compiled(model), normal(np.random.default_rng(0), (5, 3), dtype)
    out, jac, dx, dout = (np.empty((5, *shape), dtype) for shape in ((2,), (2, 3), (3,), (2,)))
    dy, v = normal(np.random.default_rng(1), (5, 2), dtype), normal(np.random.default_rng(2), (5, 3), dtype)
    p.c_function("forward")(p.address, x.ctypes.data, out.ctypes.data, 5)
    assert_same_bits(out, model.predict(x))
    p.c_function("jacobian")(p.address, x.ctypes.data, out.ctypes.data, jac.ctypes.data, 5)
    assert_same_bits(jac, fm.jacobian(model, x))
    p.c_function("vjp")(p.address, x.ctypes.data, dy.ctypes.data, dx.ctypes.data, 5)
    assert_same_bits(dx, p.vjp(x, dy, np.empty_like(x)))
    p.c_function("jvp")(p.address, x.ctypes.data, v.ctypes.data, dout.ctypes.data, 5)
    assert_same_bits(dout, p.jvp(x, v, np.empty_like(out)))
    function = p.c_function("forward")
    assert isinstance(ctypes.cast(function, ctypes.c_void_p).value, int)


@jit_only
def test_numbalsoda_solves_a_network(dtype):
    """Both ways to hand it over, against SciPy's solver with the same right-hand side."""
    if dtype == np.float32:
        pytest.skip("numbalsoda computes in float64")
    numbalsoda = pytest.importorskip("numbalsoda")
    field = fm.compiled(make_net([2, 16, 2], dtype=dtype))

    @numba.cfunc(numbalsoda.lsoda_sig)
    def by_pointer(t, u, du, data):
        fm.predictor_at(data, np.float64)(numba.carray(u, (2,)), numba.carray(du, (2,)))

    @numba.cfunc(numbalsoda.lsoda_sig)
    def by_closure(t, u, du, data):
        field(numba.carray(u, (2,)), numba.carray(du, (2,)))

    times, start = np.linspace(0, 3, 20), np.array([1.0, -1.0])

    @numba.njit
    def solved(address, field):
        return numbalsoda.lsoda(address, start, times, field.header, 1e-9, 1e-9)

    ours, success = solved(by_pointer.address, field)
    assert success
    again, success = solved(by_closure.address, field)
    assert success
    assert_same_bits(ours, again)
    theirs = integrate.solve_ivp(
        lambda t, u: field.predict(u), (0, 3), start, t_eval=times, rtol=1e-9, atol=1e-9, method="LSODA"
    )
    np.testing.assert_allclose(ours, theirs.y.T, atol=1e-6)
