from __future__ import annotations

import numpy as np
import pytest

from fastmlp import checks


def test_weights_are_numbers_of_rows(dtype):
    given = np.array([1, 0, 2.5], dtype)
    assert checks.as_weights(given, dtype, 3) is given
    for other in ([1, 0, 2.5], given.astype(">f8"), np.array([1, 9, 0, 9, 2.5])[::2]):
        array = checks.as_weights(other, dtype, 3)
        assert array.dtype == dtype
        assert array.tolist() == [1, 0, 2.5]
        assert array.flags.carray


def test_weights_reject_others(dtype, message_of):
    largest = float(np.finfo(dtype).max)
    assert checks.as_weights([largest], dtype, 1)[0] == largest
    for wrong, came in ((-0.5, "-0.5"), (np.inf, "inf"), (np.nan, "nan")):
        message = message_of(ValueError, checks.as_weights, [1, wrong], dtype, 2, "w")
        assert message == f"w must be finite numbers of at least 0; w[1] is {came}"
    assert "one number a row; got (2, 1): drop the second axis, np.asarray(w)[:, 0]" in message_of(
        ValueError, checks.as_weights, [[1], [2]], dtype, 2, "w"
    )


def test_kinds_of_targets(dtype, message_of):
    for kind, good, wrong in (
        ("signs", [-1, 1], [0, 0.5, -2, np.nan]),
        ("probabilities", [0, 0.5, 1], [-0.01, 1.01, np.nan, np.inf]),
        ("counts", [0, 0.5, 1e30], [-1, np.nan]),
    ):
        checks.check_kind(np.array([good], dtype), kind, "y", "Loss")
        for number in wrong:
            array = np.array([good, [*good[:-1], number]], dtype)
            message = message_of(ValueError, checks.check_kind, array, kind, "y", "Loss")
            assert message.startswith("Loss takes targets of ")
            assert message.endswith(f"row 1 of y holds {array[1, -1]}")


def test_vectors_are_numbers_or_tuples(message_of):
    assert checks.as_vector(2, "w") == 2.0
    assert checks.as_vector(np.float32(0.5), "w") == 0.5
    assert checks.as_vector(np.array(3), "w") == 3.0
    for given in ([1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float32)):
        assert checks.as_vector(given, "w") == (1.0, 2.0)
        assert {type(number) for number in checks.as_vector(given, "w")} == {float}
    assert message_of(ValueError, checks.as_vector, [1, 0], "w", above=0) == "w[1] must be above 0 and finite; got 0.0"
    for wrong in ("a", None, True, ["a"], [None], [1j], {}):
        with pytest.raises(TypeError, match="w must"):
            checks.as_vector(wrong, "w")
    for wrong in ([], [[1]], np.zeros((2, 1))):
        with pytest.raises(ValueError, match=r"w must be a number, or one for each column of the outputs, \(C,\)"):
            checks.as_vector(wrong, "w")


def test_columns_are_as_many_as_the_outputs(message_of):
    assert checks.as_columns(2.0, 3, "w") == (2.0, 2.0, 2.0)
    assert checks.as_columns((1.0, 2.0), 2, "w") == (1.0, 2.0)
    message = message_of(ValueError, checks.as_columns, (1.0, 2.0), 3, "w")
    assert message == "w has 2 numbers, the outputs have 3 columns: one for each"


def test_reduction_is_one_of_a_few(message_of):
    assert checks.as_reduction("sum") == "sum"
    assert checks.as_reduction("batchmean", more=("batchmean",)) == "batchmean"
    assert message_of(ValueError, checks.as_reduction, "max") == "reduction must be 'mean' or 'sum'; got 'max'"
    assert message_of(TypeError, checks.as_reduction, 1) == "reduction must be 'mean' or 'sum'; got 1"
    assert "'none' would give a loss for each row" in message_of(ValueError, checks.as_reduction, "none")


def test_arguments_are_written_as_one_writes_them():
    assert checks.argument("w", 0.5) == "w=0.5"
    assert checks.argument("w", (1.0, 0.5)) == "w=[1, 0.5]"
    assert checks.argument("w", None) == "w=None"
