from __future__ import annotations

import decimal
import fractions
import json
import math

import numpy as np
import pytest

from fastmlp import checks


class Table:
    """Stands for a user's schedule, or criterion."""


def plain(value):
    """A number without NumPy's class, whose repr differs between versions of NumPy."""
    return value.item() if isinstance(value, np.generic) else value


def test_float_dtype_is_native():
    for given in (np.float32, "float32", "f4", ">f4", np.dtype("<f4")):
        assert checks.as_float_dtype(given) == np.float32
        assert checks.as_float_dtype(given).isnative


def test_float_dtype_rejects_others(message_of):
    for given, name in (
        (np.float16, "float16"),
        (np.int64, "int64"),
        (complex, "complex128"),
        (object, "object"),
        ("no such dtype", "'no such dtype'"),
        ("(", "'('"),
        (1.5, "1.5"),
        (np.longdouble, str(np.dtype(np.longdouble))),
    ):
        assert message_of(TypeError, checks.as_float_dtype, given) == f"dtype must be float32 or float64; got {name}"


def test_float_dtype_of_is_that_of_the_input():
    for values, expected in (
        (np.ones(2, np.float64), "f8"),
        (np.ones(2, ">f8"), "f8"),
        (np.ones(2, ">f4"), "f4"),
        (np.ones(2, int), "f4"),
        (np.ones(2, np.float16), "f4"),
        ([1.0], "f4"),
        (None, "f4"),
        (np.float64(1), "f8"),
    ):
        assert checks.as_float_dtype_of(values) == np.dtype(expected)
        assert checks.as_float_dtype_of(values).isnative


def test_size_accepts_whole_numbers():
    for value in (1, np.int8(1), np.uint64(1), np.array(1)):
        assert checks.as_size(value, "n") == 1
        assert type(checks.as_size(value, "n")) is int
    assert checks.as_size(0, "n", least=0) == 0


def test_size_rejects_others(message_of):
    for value in (1.0, "1", None, True, np.True_, np.array(True), [1], 1j, np.array([1, 2]), decimal.Decimal(1)):
        text = message_of(TypeError, checks.as_size, value, "n")
        assert text == f"n must be a whole number; got {plain(value)!r}"
    text = message_of(TypeError, checks.as_size, np.ma.masked_array(3, mask=True), "n")
    assert text == "n must be a whole number; got a MaskedArray of shape ()"
    text = message_of(TypeError, checks.as_size, np.ones((2, 2), int), "n")
    assert text == "n must be a whole number; got an ndarray of shape (2, 2)"
    for value, rule in (
        (0, "at least 1; got 0"),
        (-3, "at least 1; got -3"),
        (2**63, f"at most 2**62; got {2**63}"),
        (10**5000, "at most 2**62; got 2**16609 or more"),
    ):
        assert message_of(ValueError, checks.as_size, value, "n") == f"n must be {rule}"


def test_number_accepts_numbers():
    for value in (0, 0.5, np.float16(0.5), np.float32(0.5), np.longdouble(0.5), np.array(0.5), np.int8(3), 10**300):
        assert checks.as_number(value, "lr") == float(value)
        assert type(checks.as_number(value, "lr")) is float
    assert checks.as_number(fractions.Fraction(1, 4), "lr") == checks.as_number(decimal.Decimal("0.25"), "lr") == 0.25


def test_number_rejects_what_is_not_a_number(message_of):
    """float() would take the text, the bytes, the real part of the complex number, and NaN for the masked one."""
    for value in (
        *("0.1", None, 1j, [0.1, 0.2], True, np.True_, b"1", bytearray(b"1"), memoryview(b"1"), np.str_("1")),
        *(np.complex64(1), np.array("0.1"), np.array([0.1]), np.ma.masked, np.timedelta64(5, "s"), np.array(None), {}),
    ):
        text = message_of(TypeError, checks.as_number, value, "lr")
        assert text == f"lr must be a number; got {plain(value)!r}"


def test_number_keeps_to_its_interval(message_of):
    """Closed and open ends, against plain comparisons."""
    for bounds, rule, inside, outside in (
        ({}, "at least 0 and finite", [0, 1e308], [-1e-9, math.nan, math.inf, -math.inf]),
        ({"below": 1}, "at least 0 and below 1", [0, 0.999], [1, -0.1, math.nan, math.inf]),
        ({"most": 1}, "at least 0 and at most 1", [0, 1], [1 + 1e-15, -0.1, math.nan]),
        ({"above": 0}, "above 0 and finite", [1e-300], [0, -1, math.inf, math.nan]),
        ({"above": 0, "below": 2}, "above 0 and below 2", [1], [0, 2]),
        ({"above": 0, "most": 2}, "above 0 and at most 2", [2], [0, 3]),
        ({"least": -math.inf}, "finite", [-5, 0], [math.inf, -math.inf, math.nan]),
        ({"least": -1}, "at least -1 and finite", [-1], [-1.5]),
    ):
        for value in inside:
            assert checks.as_number(value, "m", **bounds) == value
        for value in outside:
            assert message_of(ValueError, checks.as_number, value, "m", **bounds) == f"m must be {rule}; got {value}"
    for value, shown in ((10**400, "2**1328 or more"), (-(10**400), "-2**1328 or more"), (decimal.Decimal("1e400"), "1E+400")):
        assert message_of(ValueError, checks.as_number, value, "lr") == f"lr must be at least 0 and finite; got {shown}"


def test_loss_becomes_a_python_float():
    """m18: a history of NumPy's numbers cannot be written as JSON, and float16 prints as such."""
    for kind in (float, np.float16, np.float32, np.float64, np.longdouble, np.array, lambda v: np.array([[v]]), np.ma.array):
        loss = checks.as_loss(kind(0.25), Table())
        assert type(loss) is float
        assert json.dumps(loss) == "0.25"
    assert checks.as_loss(np.int64(1), Table()) == 1.0
    assert math.isnan(checks.as_loss(np.float16(np.nan), Table()))
    assert checks.as_loss(np.float32(np.inf), Table()) == math.inf


def test_loss_rejects_what_is_not_one_number(message_of):
    rule = "Table.forward must return one number, the loss; got "
    for error, value, came in (
        (TypeError, None, "None: a return statement is missing"),
        (TypeError, "1", "'1'"),
        (TypeError, 1j, "1j"),
        (TypeError, True, "True"),
        (TypeError, np.ma.masked, "masked"),
        (TypeError, np.ma.masked_array([[1.0]], mask=True), "a MaskedArray of shape (1, 1)"),
        (TypeError, (1.0, 2.0), "a tuple of 2"),
        (ValueError, np.array([1.0, 2.0]), "an array of shape (2,): take its mean, .mean()"),
        (ValueError, np.zeros((0,)), "an array of shape (0,): take its mean, .mean()"),
    ):
        text = message_of(error, checks.as_loss, value, Table())
        assert text == rule + came


def test_metric_is_any_real_number(message_of):
    for kind in (float, np.float16, np.longdouble, np.array, lambda v: np.array([[v]])):
        assert type(checks.as_metric(kind(0.25))) is float
    assert math.isnan(checks.as_metric(np.float32(np.nan)))
    for value, came in ((None, "None"), ("1", "'1'"), (np.zeros(2), "array([0., 0.])"), (np.ma.masked, "masked")):
        assert message_of(TypeError, checks.as_metric, value) == f"metrics must be a number, a loss for instance; got {came}"


def test_rate_is_finite_and_not_negative(message_of):
    for value in (0, 0.1, np.float32(0.5), np.array(0.5)):
        assert checks.as_rate(value, Table(), 3) == float(value)
    for value in (-0.1, math.nan, math.inf):
        text = message_of(ValueError, checks.as_rate, value, Table(), 3)
        assert text == f"what Table.rate(3) returns, a learning rate, must be at least 0 and finite; got {value}"
    assert message_of(TypeError, checks.as_rate, None, Table(), 3) == (
        "Table.rate(3) must return a number; got None: a return statement is missing"
    )
    assert message_of(TypeError, checks.as_rate, [0.1], Table(), 3) == (
        "what Table.rate(3) returns, a learning rate, must be a number; got [0.1]"
    )


def test_random_generator_takes_what_spec_7_says(message_of):
    generator = np.random.default_rng(3)
    assert checks.as_generator(generator) is generator
    assert checks.as_generator(3).random() == np.random.default_rng(3).random()
    assert checks.as_generator(None).random() != checks.as_generator(None).random()
    for value in ("seed", -1, 1.5):
        text = message_of(TypeError, checks.as_generator, value)
        assert text == f"rng must be None, an int of at least 0, or a numpy.random.Generator; got {value!r}"


@pytest.mark.parametrize("state", ["raise", "warn"])
def test_scalars_do_not_raise_whatever_seterr_says(state):
    with np.errstate(all=state):
        assert checks.as_number(np.longdouble("1e-4000"), "lr") == 0
        assert checks.as_loss(np.longdouble("1e4000"), "L") == math.inf
        assert checks.as_rate(np.float16(1e-7), "L", 0) == float(np.float16(1e-7))


def test_flag_is_yes_or_no():
    for value in (True, np.True_, 1, np.int64(1), 1.0):
        assert checks.as_flag(value, "nesterov") is True
    for value in (False, np.False_, 0, np.int8(0)):
        assert checks.as_flag(value, "nesterov") is False
    for value in ("False", "", 2, -1, None, 0.5, np.nan, [0], np.zeros(1, int), np.array(True)):
        with pytest.raises(TypeError, match="nesterov must be True or False; got"):
            checks.as_flag(value, "nesterov")


def test_pair_is_two_numbers(message_of):
    for value in ((0.5, 0.25), [0.5, 0.25], np.array([0.5, 0.25])):
        assert checks.as_pair(value, "betas", below=1.0) == (0.5, 0.25)
    for value in (0.5, None, (0.5,), (1, 2, 3)):
        assert message_of(TypeError, checks.as_pair, value, "betas").startswith("betas must be a pair of numbers; got ")
    assert (
        message_of(ValueError, checks.as_pair, (0, 1), "betas", below=1.0) == "betas[1] must be at least 0 and below 1; got 1"
    )
