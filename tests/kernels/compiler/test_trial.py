"""Formulas that cannot be compiled are named, with the place; tests/checks/test_formulas.py has what they may not do."""

from __future__ import annotations

import math

import pytest

from fastmlp.kernels.compiler.trial import try_out


def test_formula_gives_as_many_numbers_as_are_wanted():
    try_out("it", lambda x: x, 1)
    try_out("it", lambda x, y: (x, 2.0), 2, 2)
    try_out("it", lambda x: 1, 1)
    for formula, outputs, message in (
        (lambda x: (x, x), 1, "gives one number; got a tuple of 2"),
        (lambda x: x, 2, "gives a tuple of 2 numbers; got one number"),
        (lambda x: [x], 1, "gives one number; got an object of the class list"),
        (lambda x: None, 1, "gives one number; got None: a return is missing"),
        (lambda x: "1", 1, "gives one number; got an object of the class str"),
    ):
        with pytest.raises(TypeError, match=f"^it cannot be compiled: <lambda>: a formula {message}$"):
            try_out("it", formula, 1, outputs)


def test_place_is_that_of_the_formula_that_another_was_made_of():
    def inner(x):
        return math.exp(x)

    with pytest.raises(
        TypeError, match=r"^it cannot be compiled: `.*math.exp\(x\).*` in line \d+ of test_trial.py: "
    ) as caught:
        try_out("it", lambda x: 2 * inner(x), 1)
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(TypeError, match=r"^it cannot be compiled: exp: "):
        try_out("it", math.exp, 1)


def test_code_without_a_source_has_a_line():
    names = {"math": math}
    exec(compile("def formula(x):\n    return math.exp(x)", "typed.py", "exec"), names)
    with pytest.raises(TypeError, match=r"^it cannot be compiled: line 2 of typed.py: "):
        try_out("it", names["formula"], 1)
