"""exp, log, tanh and sigmoid without branches, so that LLVM vectorises them wherever they stand in a loop.

Numba has no vector math library: ``np.exp`` in a compiled loop is a scalar call of libm, many times slower.

Each function reduces its argument to a small interval, evaluates a polynomial there and puts the exponent back by integer
arithmetic on the bits. NaN stays NaN; overflow gives inf, underflow 0. Bounds, in units in the last place, over the whole
range (tests/kernels/test_elementary.py measures them against mpmath):

========  =======  =======
          float32  float64
========  =======  =======
exp       2        1
log       1        1
tanh      2        2
sigmoid   3        3
========  =======  =======

The reductions and the coefficients of log and tanh are those of S. L. Moshier's Cephes library, "Methods and Programs for
Mathematical Functions", Prentice-Hall 1989; those of exp are the Taylor series, which at these degrees is as good.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from fastmlp.kernels.intrinsics import bits_to_float, float_to_bits, muladd
from fastmlp.kernels.jit import inner

__all__ = ["exp", "log", "sigmoid", "tanh"]

f32, f64, i32, i64 = np.float32, np.float64, np.int32, np.int64
SIGN_32, SIGN_64 = i32(-(2**31)), i64(-(2**63))


def _by_dtype(single, double):
    """One function for the two precisions: Numba picks the one for the type it compiles for, Python looks at the dtype."""

    def function(x):
        return single(x) if x.dtype == np.float32 else double(x)

    @overload(function)
    def _(x):
        return (lambda x: single(x)) if x is types.float32 else (lambda x: double(x))  # noqa: PLW0108  (Numba wants its own)

    return function


# exp(x) = 2^n exp(r), with n the nearest integer to x / ln 2 and |r| <= ln(2) / 2. Adding 1.5 * 2^23 (2^52) rounds to the
# nearest integer and leaves it in the low bits. ln 2 comes in two parts, the first short enough that n * part is exact. 2^n
# is applied in two halves, so that results below the normal range are rounded once and n = 128 does not overflow early.


@inner
def _exp_32(x):
    x = f32(89.0) if x > f32(89.0) else (f32(-104.0) if x < f32(-104.0) else x)
    shifted = muladd(x, f32(1.44269504088896341), f32(12582912.0))
    n = i32(float_to_bits(shifted) - i32(0x4B400000))
    whole = shifted - f32(12582912.0)
    r = muladd(whole, f32(-0.693359375), x)
    r = muladd(whole, f32(2.12194440e-4), r)
    p = f32(1.0 / 5040.0)
    p = muladd(p, r, f32(1.0 / 720.0))
    p = muladd(p, r, f32(1.0 / 120.0))
    p = muladd(p, r, f32(1.0 / 24.0))
    p = muladd(p, r, f32(1.0 / 6.0))
    p = muladd(p, r, f32(0.5))
    p = muladd(p * r, r, r) + f32(1.0)
    half = i32(n >> i32(1))
    low = bits_to_float(i32((half + i32(127)) << i32(23)))
    high = bits_to_float(i32((n - half + i32(127)) << i32(23)))
    return p * low * high


@inner
def _expm1_series_64(r):
    p = f64(1.0 / 6227020800.0)
    p = muladd(p, r, f64(1.0 / 479001600.0))
    p = muladd(p, r, f64(1.0 / 39916800.0))
    p = muladd(p, r, f64(1.0 / 3628800.0))
    p = muladd(p, r, f64(1.0 / 362880.0))
    p = muladd(p, r, f64(1.0 / 40320.0))
    p = muladd(p, r, f64(1.0 / 5040.0))
    p = muladd(p, r, f64(1.0 / 720.0))
    p = muladd(p, r, f64(1.0 / 120.0))
    p = muladd(p, r, f64(1.0 / 24.0))
    p = muladd(p, r, f64(1.0 / 6.0))
    p = muladd(p, r, f64(0.5))
    return muladd(p * r, r, r)


@inner
def _exp_64(x):
    x = f64(710.0) if x > f64(710.0) else (f64(-746.0) if x < f64(-746.0) else x)
    shifted = muladd(x, f64(1.4426950408889634074), f64(6755399441055744.0))
    n = i64(float_to_bits(shifted) - i64(0x4338000000000000))
    whole = shifted - f64(6755399441055744.0)
    r = muladd(whole, f64(-6.93145751953125e-1), x)
    r = muladd(whole, f64(-1.42860682030941723212e-6), r)
    p = _expm1_series_64(r) + f64(1.0)
    half = i64(n >> i64(1))
    low = bits_to_float(i64((half + i64(1023)) << i64(52)))
    high = bits_to_float(i64((n - half + i64(1023)) << i64(52)))
    return p * low * high


# log(x) = e ln 2 + log(m) with x = 2^e m and m in [sqrt(1/2), sqrt(2)). Subnormals are scaled up first.


@inner
def _log_32(x):
    tiny = x < f32(1.17549435e-38)
    y = x * f32(8388608.0) if tiny else x
    bits = float_to_bits(y)
    e = i32((bits - i32(0x3F3504F3)) >> i32(23))
    m = bits_to_float(i32(bits - (e << i32(23)))) - f32(1.0)
    whole = f32(e) - (f32(23.0) if tiny else f32(0.0))
    p = f32(7.0376836292e-2)
    p = muladd(p, m, f32(-1.1514610310e-1))
    p = muladd(p, m, f32(1.1676998740e-1))
    p = muladd(p, m, f32(-1.2420140846e-1))
    p = muladd(p, m, f32(1.4249322787e-1))
    p = muladd(p, m, f32(-1.6668057665e-1))
    p = muladd(p, m, f32(2.0000714765e-1))
    p = muladd(p, m, f32(-2.4999993993e-1))
    p = muladd(p, m, f32(3.3333331174e-1))
    square = m * m
    r = muladd(whole, f32(-2.12194440e-4), p * m * square)
    r = muladd(square, f32(-0.5), r) + m
    r = muladd(whole, f32(0.693359375), r)
    r = r if x < f32(np.inf) else x  # inf and nan as they came
    r = r if x != f32(0.0) else f32(-np.inf)
    return f32(np.nan) if x < f32(0.0) else r


@inner
def _log_64(x):
    tiny = x < f64(2.2250738585072014e-308)
    y = x * f64(4503599627370496.0) if tiny else x
    bits = float_to_bits(y)
    e = i64((bits - i64(0x3FE6A09E667F3BCD)) >> i64(52))
    m = bits_to_float(i64(bits - (e << i64(52)))) - f64(1.0)
    whole = f64(e) - (f64(52.0) if tiny else f64(0.0))
    p = f64(1.01875663804580931796e-4)
    p = muladd(p, m, f64(4.97494994976747001425e-1))
    p = muladd(p, m, f64(4.70579119878881725854e0))
    p = muladd(p, m, f64(1.44989225341610930846e1))
    p = muladd(p, m, f64(1.79368678507819816313e1))
    p = muladd(p, m, f64(7.70838733755885391666e0))
    q = m + f64(1.12873587189167450590e1)
    q = muladd(q, m, f64(4.52279145837532221105e1))
    q = muladd(q, m, f64(8.29875266912776603211e1))
    q = muladd(q, m, f64(7.11544750618563894466e1))
    q = muladd(q, m, f64(2.31251620126765340583e1))
    square = m * m
    r = muladd(whole, f64(-2.121944400546905827679e-4), m * square * p / q)
    r = muladd(square, f64(-0.5), r) + m
    r = muladd(whole, f64(0.693359375), r)
    r = r if x < f64(np.inf) else x
    r = r if x != f64(0.0) else f64(-np.inf)
    return f64(np.nan) if x < f64(0.0) else r


# tanh(|x|), then the sign of x. In float32 x + x^3 P(x^2) near zero, where 1 - 2 / (exp(2|x|) + 1) would cancel, and the
# latter elsewhere; its exp lies in a range where no care is needed. In float64, where the near part would be a quotient of two
# polynomials, t / (t + 2) with t = expm1(2|x|), and the rounding of t + 2 made good: one division instead of two.
# The same in float32, without the correction, is 8 % faster and 2.3 ulp.


@inner
def _tanh_32(x):
    a = abs(x)
    double = f32(18.2) if a > f32(9.1) else a + a
    shifted = muladd(double, f32(1.44269504088896341), f32(12582912.0))
    r = muladd(shifted - f32(12582912.0), f32(-0.69314718056), double)
    p = f32(1.0 / 720.0)
    p = muladd(p, r, f32(1.0 / 120.0))
    p = muladd(p, r, f32(1.0 / 24.0))
    p = muladd(p, r, f32(1.0 / 6.0))
    p = muladd(p, r, f32(0.5))
    p = muladd(p, r, f32(1.0))
    p = muladd(p, r, f32(1.0))
    e = bits_to_float(i32(float_to_bits(p) + (float_to_bits(shifted) << i32(23))))
    far = f32(1.0) - f32(2.0) / (e + f32(1.0))
    square = x * x
    q = f32(-5.70498872745e-3)
    q = muladd(q, square, f32(2.06390887954e-2))
    q = muladd(q, square, f32(-5.37397155531e-2))
    q = muladd(q, square, f32(1.33314422036e-1))
    q = muladd(q, square, f32(-3.33332819422e-1))
    near = muladd(q * square, a, a)
    positive = near if a < f32(0.625) else far
    return bits_to_float(i32(float_to_bits(positive) | (float_to_bits(x) & SIGN_32)))


@inner
def _tanh_64(x):
    a = abs(x)
    double = f64(38.2) if a > f64(19.1) else a + a
    shifted = muladd(double, f64(1.4426950408889634074), f64(6755399441055744.0))
    scale = bits_to_float(i64((float_to_bits(shifted) << i64(52)) + i64(0x3FF0000000000000)))
    whole = shifted - f64(6755399441055744.0)
    r = muladd(whole, f64(-6.93145751953125e-1), double)
    r = muladd(whole, f64(-1.42860682030941723212e-6), r)
    t = muladd(_expm1_series_64(r), scale, scale - f64(1.0))
    d = t + f64(2.0)
    lost = t - (d - f64(2.0))
    inverse = f64(1.0) / d
    q = t * inverse
    positive = muladd(muladd(-q, d, t) - q * lost, inverse, q)
    return bits_to_float(i64(float_to_bits(positive) | (float_to_bits(x) & SIGN_64)))


@inner
def _sigmoid_32(x):
    e = _exp_32(-abs(x))
    return (f32(1.0) if x >= f32(0.0) else e) / (f32(1.0) + e)


@inner
def _sigmoid_64(x):
    e = _exp_64(-abs(x))
    return (f64(1.0) if x >= f64(0.0) else e) / (f64(1.0) + e)


exp = _by_dtype(_exp_32, _exp_64)
log = _by_dtype(_log_32, _log_64)
tanh = _by_dtype(_tanh_32, _tanh_64)
sigmoid = _by_dtype(_sigmoid_32, _sigmoid_64)
