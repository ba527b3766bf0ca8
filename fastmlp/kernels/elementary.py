"""exp, expm1, log, log1p, tanh, sigmoid, softplus, erf, the normal distribution, without branches: vectors compute them too.

Called in a loop they are vectorised by LLVM, in a formula (compiler/lines.py) they are emitted as vectors. Numba has no vector
math library: ``np.exp`` in a compiled loop is a scalar call of libm, many times slower.

NaN stays NaN; overflow gives inf, underflow a subnormal number or zero; expm1, log1p, tanh and erf keep the sign of zero. A
result depends on the argument alone: not on its place in an array, nor on the processor, as long as that has a fused
multiply-add. In the engine on x86-64 subnormal results are zero (engine.run); else these are bounds of errors over the whole
range, in units in the last place of the exact result, with fused multiply-adds:

========  =======  =======
          float32  float64
========  =======  =======
exp       1.1      1.1
expm1     1.6      1.9
log       0.9      0.9
log1p     1.4      1.4
tanh      1.9      2.0
sigmoid   1.7      1.8
softplus  1.9      2.0
erf       1.2      1.2
========  =======  =======

Those for float32 hold for every float32, which were all tried; those for float64 for ten million numbers about the places where
errors are largest. tests/kernels/test_elementary.py tries a few thousand of each against mpmath.

sqrt is correctly rounded. sigmoid_beside_softplus is within 2.9 units in float32 and 3.1 in float64, normal_pdf within 2.2 in
either dtype; normal_cdf within 7 in float32 and 8 in float64, with the largest errors in the left tail: of 30 million numbers
from -14.3 to 4 in float32, 25 thousand from -38.4 to 6 in float64.

Polynomials are minimax, in the relative error of the result, found by Remez exchange in 160 bits: the coefficients were rounded
to the dtype one by one, from the lowest, and the others fitted again each time. Horner's rule evaluates them: Estrin's scheme
was up to 10 % slower, even and odd powers apart within 8 % either way; but for erf in float64, where they were up to 7 and
13 % faster.
"""

from __future__ import annotations

import math

import numpy as np

from fastmlp.kernels.compiler.expression import (
    F32,
    F64,
    bits_to_float,
    copysign,
    expression,
    float_to_bits,
    muladd,
    select,
    sqrt,
)

__all__ = [
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "normal_cdf",
    "normal_pdf",
    "sigmoid",
    "sigmoid_beside_softplus",
    "softplus",
    "sqrt",
    "tanh",
]


def _both(single, double):
    """A constant, or a row of them, in the two dtypes; ``[()]`` makes a scalar of an array without axes."""
    return {F32: np.array(single, np.float32)[()], F64: np.array(double, np.float64)[()]}


def _integers(single, double):
    return {F32: np.int32(single), F64: np.int64(double)}


def _polynomial(x, coefficients):
    """By Horner's rule, the lowest coefficient first."""
    p = coefficients[-1]
    for c in coefficients[-2::-1]:
        p = muladd(p, x, c)
    return p


MANTISSA = _integers(23, 52)  # bits
ONE_BIT = _integers(1, 1)

# Adding 1.5 * 2^MANTISSA rounds a float to the nearest integer and leaves that in the low bits.
TO_INTEGER = _both(1.5 * 2.0**23, 1.5 * 2.0**52)
INTEGER_BITS = {dtype: float_to_bits(x) for dtype, x in TO_INTEGER.items()}

# ln 2 in two parts, the first short enough that a multiple of it by an exponent is exact.
LN2 = _both([0.693359375, -2.12194440054690583e-4], [6.93147180369123816490e-01, 1.90821492927058770002e-10])


# exp(x) = 2^n (1 + p), with n the nearest integer to x / ln 2, p = exp(r) - 1 and |r| <= ln(2) / 2. 2^n comes in two halves, so
# that n = 128 does not overflow early and results below the normal range are rounded once. Twice the bias of an exponent rides
# on the constant that rounds: half of what is then in the low bits is the one exponent, the rest is the other.

TWO_BIASES = _both(2 * 127, 2 * 1023)
TWO_BIASES_BITS = _integers((2 * 127) << 23, (2 * 1023) << 52)
EXP_LIMIT = _both(104.0, 746.0)  # from here on exp(-x) is 0
EXP = _both(
    [0.49999994, 0.166665167, 0.0416681059, 0.00836913288, 0.00138364779],
    [
        *[0.5000000000000011, 0.1666666666666608, 0.041666666666522, 0.008333333333453881, 0.0013888888947973946],
        *[0.00019841269996097582, 2.4801486496392588e-05, 2.7556872178090273e-06, 2.763321292085807e-07],
        2.5296118386886257e-08,
    ],
)


def _reduce(x, positive=True):
    """``r, lost, a, b`` with ``x = n ln 2 + r + lost`` and ``a b = 2^n``; `lost` is what is lost where r is rounded.

    Where x is never `positive` it needs no upper limit.
    """
    dtype, number = x.dtype, x.dtype.type
    high, low = LN2[dtype]
    limit = EXP_LIMIT[dtype]
    if positive:
        x = select(x > limit, limit, x)
    x = select(x < -limit, -limit, x)
    shift = TO_INTEGER[dtype] + TWO_BIASES[dtype]
    rounded = muladd(x, number(1 / np.log(2)), shift)
    n = rounded - shift
    exact = muladd(n, -high, x)
    r = muladd(n, -low, exact)
    lost = muladd(n, -low, exact - r)
    bits = float_to_bits(rounded)
    half = bits >> ONE_BIT[dtype]
    return r, lost, bits_to_float(half << MANTISSA[dtype]), bits_to_float((bits - half) << MANTISSA[dtype])


def _inverse(power):
    """``1 / 2^n``."""
    return bits_to_float(TWO_BIASES_BITS[power.dtype] - float_to_bits(power))


def _exp(x, positive=True):
    r, _, a, b = _reduce(x, positive)
    p = muladd(r * r, _polynomial(r, EXP[x.dtype]), r)
    return muladd(p, a, a) * b


@expression(slope=lambda y: y)
def exp(x):
    """``e^x``."""
    return _exp(x)


@expression(slope=lambda y: y + 1)
def expm1(x):
    """``e^x - 1``, without cancellation near zero."""
    r, lost, a, b = _reduce(x)
    p = muladd(r * r, _polynomial(r, EXP[x.dtype]), lost) + r
    return select(abs(x) > x.dtype.type(0), muladd(p, a, a - _inverse(b)) * b, x)


@expression(slope=lambda y: y * (1 - y))
def sigmoid(x):
    """``1 / (1 + e^-x)``, whether ``e^-x`` is small or large."""
    r, _, a, b = _reduce(-x)
    p = muladd(r * r, _polynomial(r, EXP[x.dtype]), r)
    inverse = _inverse(b)
    one = a + inverse  # 1 + 2^n, divided by b
    lost = inverse - (one - a)
    return inverse / (muladd(p, a, lost) + one)


# log(x) = k ln 2 + log(1 + f) with x = 2^k (1 + f) and 1 + f in [sqrt(1/2), sqrt(2)). With s = f / (2 + f),
# log(1 + f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + s^2 P(s^2)), which is how Sun's fdlibm has it (e_log.c).

TINY = _both(np.finfo(np.float32).tiny, np.finfo(np.float64).tiny)  # the smallest normal number
SQRT_HALF_BITS = {dtype: float_to_bits(x) for dtype, x in _both(np.sqrt(0.5), np.sqrt(0.5)).items()}
LOG = _both(
    [0.666667759, 0.399775803, 0.298709601],
    [
        *[0.6666666666666734, 0.3999999999941648, 0.2857142874210423, 0.2222219859308246, 0.18183563685684279],
        *[0.15314058228683902, 0.14795950549358464],
    ],
)


def _exponent(x):
    """``k`` as an integer and ``2^-k x``."""
    k = (float_to_bits(x) - SQRT_HALF_BITS[x.dtype]) >> MANTISSA[x.dtype]
    return k, bits_to_float(float_to_bits(x) - (k << MANTISSA[x.dtype]))


def _to_float(k, dtype):
    return bits_to_float(k + INTEGER_BITS[dtype]) - TO_INTEGER[dtype]


def _log(k, f):
    dtype, number = f.dtype, f.dtype.type
    s = f / (number(2) + f)
    z = s * s
    square = number(0.5) * f * f
    small = muladd(s, muladd(z, _polynomial(z, LOG[dtype]), square), k * LN2[dtype][1])
    return muladd(k, LN2[dtype][0], f - (square - small))


@expression(slope=lambda x: 1 / x)
def log(x):
    """The natural logarithm."""
    dtype, number = x.dtype, x.dtype.type
    tiny = x < TINY[dtype]
    scale = number(2.0 ** int(MANTISSA[dtype]))
    k, m = _exponent(select(tiny, x * scale, x))
    k = _to_float(k, dtype) - select(tiny, number(MANTISSA[dtype]), number(0))
    y = _log(k, m - number(1))
    y = select(x > number(0), y, number(-np.inf))
    y = select(x < number(0), number(np.nan), y)
    return select(x < number(np.inf), y, x)


@expression(slope=lambda x: 1 / (1 + x))
def log1p(x):
    """``log(1 + x)``, without cancellation near zero: what is lost in ``u = 1 + x`` is added to ``f``."""
    dtype, number = x.dtype, x.dtype.type
    one = number(1)
    u = one + x
    lost = (one - (u - (u - one))) + (x - (u - one))  # D. E. Knuth's exact sum, whichever is the larger
    k, m = _exponent(u)
    scale = bits_to_float(float_to_bits(one) - (k << MANTISSA[dtype]))
    f = (m - one) + select(x < number(2.0**60), lost * scale, number(0))
    y = _log(_to_float(k, dtype), f)
    y = select(x > -one, y, number(-np.inf))
    y = select(x < -one, number(np.nan), y)
    y = select(x < number(np.inf), y, x)
    return select(abs(x) > number(0), y, x)


# softplus(x) = max(x, 0) + log(1 + f) with f = e^-|x| in (0, 1], where log(1 + f) = f + f^2 P(f): log1p takes that apart by the
# exponent of 1 + f and divides, for more numbers than this one needs.

LOG1P = _both(
    [-0.4999993, 0.33330464, -0.24958019, 0.19692102, -0.1534488, 0.106611274, -0.0574572, 0.020086203, -0.0032904518],
    [
        *[-0.4999999999999946, 0.33333333333235254, -0.2499999999368594, 0.19999999791548434, -0.1666666250189354],
        *[0.14285658931688577, -0.12499479861995756, 0.11107507320134918, -0.09981020199778752, 0.09013169643032608],
        *[-0.0808124865508014, 0.07035608527205553, -0.05750292096195717, 0.04230103454796475, -0.026744618086268077],
        *[0.013838872776874176, -0.005543137995437472, 0.0015956984059341964, -0.00029173705647218736],
        2.532558518951093e-05,
    ],
)


@expression
def sigmoid_beside_softplus(x):
    """``1 / (1 + e^-x)``, where `softplus` of that is computed too: they have the exponential in common."""
    f = _exp(-abs(x), positive=False)
    inverse = 1 / (1 + f)
    return select(x > 0, inverse, f * inverse)


@expression(slope=sigmoid_beside_softplus)
def softplus(x):
    """``log(1 + e^x)``, whether ``e^x`` is small or large."""
    f = _exp(-abs(x), positive=False)
    return select(x > 0, x, 0) + muladd(f * f, _polynomial(f, LOG1P[x.dtype]), f)


# tanh(a) = (2^n (1 + t) - (1 - t)) / (2^n (1 + t) + (1 - t)) for a = n ln(2) / 2 + s and t = tanh(s), an odd polynomial. With d
# for the denominator it is (d - 2 + 2 t) / d, where d - 2 is exact. The rounding of d hurts the less, the nearer to 1 the
# quotient is; for n = 0, d is 2 and exact too. So n = 0 is to reach far: n is 1 from a = 13/16 ln(2) / 2 on, and so forth. To
# round like that, the constant that rounds leaves three bits of a fraction, 1/8 is added, and the fraction is cut off. The
# constant also carries the bias of an exponent, so that a shift makes 2^n of n.
#
# A polynomial near zero and 1 - 2 / (exp(2a) + 1) elsewhere took 1.44 times as long, for 1.6 ulp in float32;
# expm1(2a) / (expm1(2a) + 2) took 1.04 times as long and has 2.6 ulp. Operations count, and the length of the chain: LLVM
# interleaved up to four times, it was a tenth faster, so what limits the loop is how many iterations the processor has
# under way, not the division.

TANH_LIMIT = _both(9.1, 19.1)  # beyond, the result is 1
TANH_SHIFT = _both(1.5 * 2.0**20 + 127, 1.5 * 2.0**49 + 1023)
TANH_MANTISSA = _integers(20, 49)
NO_FRACTION = _integers(-8, -8)
HALF_LN2 = {F32: np.array([np.log(2) / 2], np.float32), F64: LN2[F64] / 2}
TANH = _both(
    [-0.333331406, 0.133186206, -0.0507503636],
    [
        *[-0.33333333333330456, 0.13333333332412065, -0.053968252969545646, 0.021869437126997824, -0.008861816510273677],
        *[0.003570490771959674, -0.0012826444639903092],
    ],
)


@expression(slope=lambda y: 1 - y * y)
def tanh(x):
    """The hyperbolic tangent."""
    dtype, number = x.dtype, x.dtype.type
    a = abs(x)
    a = select(a > TANH_LIMIT[dtype], TANH_LIMIT[dtype], a)
    n = float_to_bits(muladd(a, number(2 / np.log(2)), TANH_SHIFT[dtype] + number(0.125))) & NO_FRACTION[dtype]
    s, whole = a, bits_to_float(n) - TANH_SHIFT[dtype]
    for part in HALF_LN2[dtype]:
        s = muladd(whole, -part, s)
    square = s * s
    t = muladd(s * square, _polynomial(square, TANH[dtype]), s)
    scale = bits_to_float(n << TANH_MANTISSA[dtype])
    d = muladd(scale - number(1), t, scale + number(1))
    return copysign(muladd(number(2), t, d - number(2)) / d, x)


TWO_OVER_ROOT_PI = 2 / math.pi**0.5

# erf(a) = a + a P(a^2) near zero, 1 - exp(-Q(a)) elsewhere, where exp(-Q) = erfc(a) need be accurate to an ulp of 1 only.

ERF_LIMIT = _both(3.95, 5.95)  # beyond, the result is 1
ERF_NEAR = _both(0.9375, 1.0)
ERF = _both(
    [0.128379151, -0.376124799, 0.112816185, -0.0267586075, 0.00498076435, -0.000592556084],
    [
        *[0.12837916709551256, -0.37612638903183343, 0.1128379167093695, -0.026866170641958977, 0.005223977596732682],
        *[-0.0008548325484742641, 0.00012055280485608588, -1.4924465362930535e-05, 1.6444146319407878e-06],
        *[-1.6183952154563889e-07, 1.3616502635347693e-08, -7.607394007728895e-10],
    ],
)
LOG_ERFC = _both(
    [0.000235088548, 1.12751257, 0.637457192, 0.103689946, -0.0221102592, 0.00301390397, -0.000192943407],
    [
        *[5.13290727836873e-07, 1.128373991238966, 0.6366440571997585, 0.10270228403904579, -0.018988031131521668],
        *[-0.0004135516929041756, 0.0019189615398664808, -0.0007730560572557349, 0.0001365624868661028],
        *[1.951962730341756e-05, -2.2531596251876636e-05, 8.578382069592305e-06, -2.1147027424231525e-06],
        *[3.6954746540858226e-07, -4.5930773534557894e-08, 3.889784892397532e-09, -2.020211258629328e-10],
        4.8647502055683145e-12,
    ],
)


@expression(slope=lambda x: TWO_OVER_ROOT_PI * exp(-(x * x)))
def erf(x):
    """The error function."""
    dtype, number = x.dtype, x.dtype.type
    a = abs(x)
    a = select(a > ERF_LIMIT[dtype], ERF_LIMIT[dtype], a)
    near = muladd(a, _polynomial(a * a, ERF[dtype]), a)
    far = number(1) - _exp(-_polynomial(a, LOG_ERFC[dtype]), positive=False)
    return copysign(select(a < ERF_NEAR[dtype], near, far), x)


# Phi(-z) = exp(-z^2 / 2) G(z) for z >= 0, with G(z) = t (1/2 + u P(u)), u = z / (z + 3.5) and t = 1 - u = 3.5 / (z + 3.5): so
# the relative error of the left tail is small too. The rounding of z^2 would cost many units in the last place there, so z is
# split: h has the upper half of its bits, and h^2 is exact; the rest, |(z - h) (z + h)| / 2 < 0.06, is added to what the
# reduction of exp leaves.

NORMAL_LIMIT = _both(15.0, 39.0)  # from here on Phi(-z) is 0
UPPER_BITS = _integers(-(1 << 12), -(1 << 27))
HALF_A_BIT = _integers(1 << 11, 1 << 26)
MILLS_POLE = 3.5
MILLS = _both(
    [-0.8962983, 0.76991564, -0.20309101, -0.13665238, 0.051702734, 0.048020635, 0.007951798, -0.04436658, 0.01681542],
    [
        *[-0.8962979814050134, 0.7699040371897172, -0.20294403492922164, -0.13748603963519035, 0.05374274333152462],
        *[0.048117409848156725, -0.0040591684275535994, -0.017563958255352907, -0.005755267411910936, -1.7654730805856932e-05],
        *[0.018623016220834402, -0.051282267572090166, 0.15305415882677595, -0.36297909270180667, 0.6848546939126191],
        *[-1.0400230633242988, 1.2537149117963562, -1.1808985716429992, 0.8491351244285361, -0.4478676399887802],
        *[0.16224664329817148, -0.03587014370438303, 0.00363565356370394],
    ],
)


def _bell(x):
    """The absolute value of x, at most NORMAL_LIMIT, and ``exp(-x^2 / 2)``."""
    dtype = x.dtype
    z = abs(x)
    z = select(z > NORMAL_LIMIT[dtype], NORMAL_LIMIT[dtype], z)
    h = bits_to_float((float_to_bits(z) + HALF_A_BIT[dtype]) & UPPER_BITS[dtype])
    r, _, a, b = _reduce(-0.5 * h * h, positive=False)
    r = muladd(-0.5 * (z - h), z + h, r)
    p = muladd(r * r, _polynomial(r, EXP[dtype]), r)
    return z, muladd(p, a, a) * b


@expression(slope=lambda x, y: -x * y)
def normal_pdf(x):
    """The density of the standard normal distribution, ``exp(-x^2 / 2) / sqrt(2 pi)``."""
    return (1 / math.sqrt(2 * math.pi)) * _bell(x)[1]


@expression(slope=normal_pdf)
def normal_cdf(x):
    """The distribution function of the standard normal distribution, accurate in its left tail too."""
    z, bell = _bell(x)
    inverse = 1 / (z + MILLS_POLE)
    u = z * inverse
    below = (MILLS_POLE * inverse) * muladd(u, _polynomial(u, MILLS[x.dtype]), 0.5) * bell
    return select(x > 0, 1 - below, below)
