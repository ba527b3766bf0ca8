"""First values of parameters, under PyTorch's names: ``fm.init.kaiming_normal_(layer.weight, nonlinearity="relu", rng=0)``.

Each function overwrites the numbers of a Parameter and returns it. `rng` is None, an int or a ``numpy.random.Generator``; a
generator goes on from one parameter to the next. :func:`apply` draws all weights of a model from one.

The fans of a weight are those of its shape, ``(out_features, in_features)``: fan_in is in_features, fan_out is out_features.
Numbers are drawn in float64 and rounded, so both dtypes get the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fastmlp import checks
from fastmlp.parameters import Buffer, Parameter

__all__ = [
    "apply",
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Model = TypeVar("Model")
RNG = int | np.random.Generator | None

#: By PyTorch's names; that of leaky_relu depends on its slope.
GAINS = {"linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}

#: The standard deviation of a standard normal number between -2 and 2.
TRUNCATED = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))

#: Of the normal numbers, how many must be within the bounds for them to be drawn until they are.
OFTEN = 0.3


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights are to be larger before a nonlinearity, so that it keeps the size of signals.

    Parameters
    ----------
    nonlinearity : {"linear", "identity", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
        1, 1, 1, 5/3, sqrt(2), sqrt(2 / (1 + slope^2)), 3/4.
    param : float, default 0.01
        The negative slope of "leaky_relu".

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else checks.as_number(param, "param, the negative slope,", least=-math.inf)
        return math.sqrt(2 / (1 + slope**2))
    if not isinstance(nonlinearity, str) or nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(f"unsupported nonlinearity {checks.shown(nonlinearity)}; there are {known}")
    return GAINS[nonlinearity]


# Filled with numbers, or drawn with given ones.


def constant_(parameter: Parameter, val: float, *, rng: RNG = None) -> Parameter:
    """Fill with `val`; `rng` is not asked.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.init.constant_(fm.Parameter((3,)), 0.5).data
    array([0.5, 0.5, 0.5], dtype=float32)
    """
    _check(parameter)
    parameter.data[...] = checks.as_number(val, "val", least=-math.inf)
    return parameter


def ones_(parameter: Parameter, *, rng: RNG = None) -> Parameter:
    """Fill with 1; `rng` is not asked."""
    return constant_(parameter, 1.0)


def zeros_(parameter: Parameter, *, rng: RNG = None) -> Parameter:
    """Fill with 0; `rng` is not asked."""
    return constant_(parameter, 0.0)


def uniform_(parameter: Parameter, a: float = 0.0, b: float = 1.0, *, rng: RNG = None) -> Parameter:
    """Draw uniformly from `a` to `b`.

    Examples
    --------
    >>> import fastmlp as fm
    >>> weight = fm.init.uniform_(fm.Parameter((3, 2)), -0.1, 0.1, rng=0)
    >>> bool((abs(weight.data) <= 0.1).all())
    True
    """
    _check(parameter)
    a, b = (checks.as_number(end, name, least=-math.inf) for end, name in ((a, "a"), (b, "b")))
    if a > b:
        raise ValueError(f"uniform_ draws from a to b, so a must be at most b; got {a:g} and {b:g}")
    parameter.data = checks.as_generator(rng).uniform(a, b, parameter.shape)
    return parameter


def normal_(parameter: Parameter, mean: float = 0.0, std: float = 1.0, *, rng: RNG = None) -> Parameter:
    """Draw normal numbers of a mean and a standard deviation."""
    _check(parameter)
    mean, std = checks.as_number(mean, "mean", least=-math.inf), checks.as_number(std, "std")
    parameter.data = checks.as_generator(rng).normal(mean, std, parameter.shape)
    return parameter


def trunc_normal_(
    parameter: Parameter, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, *, rng: RNG = None
) -> Parameter:
    """Draw normal numbers, those outside of `a` to `b` again.

    `a` and `b` are ends of the numbers, not counted in standard deviations, as in PyTorch.
    """
    _check(parameter)
    mean, std = checks.as_number(mean, "mean", least=-math.inf), checks.as_number(std, "std", above=0.0)
    a, b = (checks.as_number(end, name, least=-math.inf) for end, name in ((a, "a"), (b, "b")))
    if a >= b:
        raise ValueError(f"trunc_normal_ draws from a to b, so a must be below b; got {a:g} and {b:g}")
    parameter.data = _truncated(checks.as_generator(rng), mean, std, a, b, parameter.size).reshape(parameter.shape)
    return parameter


def _truncated(rng: np.random.Generator, mean: float, std: float, a: float, b: float, size: int) -> np.ndarray:
    """Normal numbers within the ends: by rejection, of normal numbers or, where few of them fit, of uniform ones."""
    inside = (math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2))) / 2
    peak = min(max(mean, a), b)  # where the density is largest
    found: list[np.ndarray] = []
    count = 0
    while count < size:
        if inside > OFTEN:
            x = rng.normal(mean, std, size)
            kept = x[(x >= a) & (x <= b)]
        else:
            x = rng.uniform(a, b, size)
            log_density = (((peak - mean) / std) ** 2 - ((x - mean) / std) ** 2) / 2
            kept = x[np.log1p(-rng.random(size)) <= log_density]
        found.append(kept)
        count += len(kept)
    return np.concatenate(found)[:size]


# Drawn so that signals keep their size, by the fans of a weight.


def xavier_uniform_(weight: Parameter, gain: float = 1.0, *, rng: RNG = None) -> Parameter:
    """Draw uniformly from ±gain * sqrt(6 / (fan_in + fan_out)).

    References
    ----------
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010, section 4.
    """
    bound = math.sqrt(3) * _xavier(weight, gain)
    return uniform_(weight, -bound, bound, rng=rng)


def xavier_normal_(weight: Parameter, gain: float = 1.0, *, rng: RNG = None) -> Parameter:
    """Draw normal numbers of the standard deviation gain * sqrt(2 / (fan_in + fan_out)); see :func:`xavier_uniform_`."""
    return normal_(weight, 0.0, _xavier(weight, gain), rng=rng)


def kaiming_uniform_(
    weight: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: RNG = None
) -> Parameter:
    """Draw uniformly from ±gain * sqrt(3 / fan).

    Parameters
    ----------
    weight : Parameter
        ``(out_features, in_features)``.
    a : float, default 0
        The negative slope of the LeakyReLU behind the layer.
    mode : {"fan_in", "fan_out"}
        Whether signals keep their size on the way forward, or gradients on the way back.
    nonlinearity : str, default "leaky_relu"
        What stands behind the layer; its gain is that of :func:`calculate_gain`.
    rng : None, int or Generator
        For the draws.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, section 2.2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Linear(600, 10)
    >>> _ = fm.init.kaiming_uniform_(layer.weight, nonlinearity="relu", rng=0)
    >>> bool((abs(layer.weight.data) <= 0.1).all())
    True
    """
    bound = math.sqrt(3) * _kaiming(weight, a, mode, nonlinearity)
    return uniform_(weight, -bound, bound, rng=rng)


def kaiming_normal_(
    weight: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", *, rng: RNG = None
) -> Parameter:
    """Draw normal numbers of the standard deviation gain / sqrt(fan); see :func:`kaiming_uniform_`."""
    return normal_(weight, 0.0, _kaiming(weight, a, mode, nonlinearity), rng=rng)


def lecun_uniform_(weight: Parameter, *, rng: RNG = None) -> Parameter:
    """Draw uniformly from ±sqrt(3 / fan_in), as in Keras and JAX.

    References
    ----------
    Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller, "Efficient BackProp", 1998, section 4.6.
    """
    bound = math.sqrt(3 / _fans(weight)[0])
    return uniform_(weight, -bound, bound, rng=rng)


def lecun_normal_(weight: Parameter, *, rng: RNG = None) -> Parameter:
    """Draw normal numbers, cut off at twice their scale, of the standard deviation 1 / sqrt(fan_in), as in Keras and JAX.

    Before SELU, they keep signals at mean 0 and variance 1. See :func:`lecun_uniform_`.
    """
    std = 1 / math.sqrt(_fans(weight)[0]) / TRUNCATED
    return trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, rng=rng)


def orthogonal_(weight: Parameter, gain: float = 1.0, *, rng: RNG = None) -> Parameter:
    """Draw a matrix whose rows or columns, whichever are fewer, are orthogonal and of the length `gain`.

    References
    ----------
    A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", ICLR 2014; F. Mezzadri, "How to generate random matrices from the classical compact groups", 2007, section 5.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> weight = fm.init.orthogonal_(fm.Parameter((5, 3), np.float64), rng=0)
    >>> np.allclose(weight.data.T @ weight.data, np.eye(3))
    True
    """
    width_in, width_out = _fans(weight)
    gain = checks.as_number(gain, "gain", least=-math.inf)
    more, fewer = max(width_in, width_out), min(width_in, width_out)
    q, r = np.linalg.qr(checks.as_generator(rng).standard_normal((more, fewer)))
    q *= np.where(np.diagonal(r) < 0, -gain, gain)  # else some matrices would come more often than others
    weight.data = q if width_out == more else q.T
    return weight


# All weights of a model.


def apply(
    model: Model,
    weight: Callable[..., Any] | None = None,
    *,
    bias: Callable[..., Any] | None = None,
    rng: RNG = None,
    **options: Any,
) -> Model:
    """Draw all weights of a model, and its biases, from one generator.

    Parameters
    ----------
    model : Module
        A network, or a layer.
    weight : function, optional
        ``weight(parameter, rng=generator, **options)`` for each parameter of two axes.
    bias : function, optional
        ``bias(parameter, rng=generator)`` for the bias of each module that has such a parameter; others stay as they are.
    rng : None, int or Generator
        For all draws, in the order of ``model.parameters()``.
    **options
        Those of `weight`.

    Returns
    -------
    Module
        The model.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2))
    >>> _ = fm.init.apply(model, fm.init.kaiming_normal_, nonlinearity="relu", bias=fm.init.zeros_, rng=0)
    >>> bool(model[0].bias.data.any())
    False
    """
    if isinstance(model, type) or not hasattr(model, "modules"):
        raise TypeError(f"model must be a Module of fastmlp; got {checks.shown(model)}")
    for function, name in ((weight, "weight"), (bias, "bias")):
        if function is not None and not callable(function):
            raise TypeError(
                f"{name} must be a function of a parameter, fm.init.zeros_ for instance; got {checks.shown(function)}"
            )
    generator = checks.as_generator(rng)
    for module in model.modules():  # type: ignore[attr-defined]
        own = [value for value in vars(module).values() if isinstance(value, Parameter) and not isinstance(value, Buffer)]
        matrices = [parameter for parameter in own if len(parameter.shape) == 2]
        for parameter in own:
            if weight is not None and len(parameter.shape) == 2:
                weight(parameter, rng=generator, **options)
            elif bias is not None and matrices and parameter is getattr(module, "bias", None):
                bias(parameter, rng=generator)
    return model


def _check(parameter: Any) -> None:
    if not isinstance(parameter, Parameter):
        hint = ": fm.init.apply draws those of a model" if hasattr(parameter, "modules") else ""
        raise TypeError(f"parameter must be a Parameter, layer.weight for instance; got {checks.full_name(parameter)}{hint}")


def _fans(weight: Any) -> tuple[int, int]:
    """Fan in and fan out."""
    _check(weight)
    if len(weight.shape) != 2:
        raise ValueError(f"fan in and fan out are those of a weight, (out_features, in_features); got the shape {weight.shape}")
    return weight.shape[1], weight.shape[0]


def _xavier(weight: Any, gain: Any) -> float:
    """The standard deviation."""
    return checks.as_number(gain, "gain") * math.sqrt(2 / sum(_fans(weight)))


def _kaiming(weight: Any, a: Any, mode: Any, nonlinearity: Any) -> float:
    """The standard deviation."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out"; got {checks.shown(mode)}')
    fan = _fans(weight)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)
