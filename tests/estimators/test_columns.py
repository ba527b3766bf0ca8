"""What becomes of the columns of a table, against the formulas in NumPy and pandas."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastmlp.sklearn.columns import ENTRIES, ONE_HOT, Columns

pytestmark = pytest.mark.once


def test_numbers_are_centred_scaled_and_drawn_in():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(5, 3, 101), np.exp(rng.normal(0, 3, 101)), np.full(101, 4.0), rng.random(101) < 0.1])
    columns = Columns(X)
    low, centre, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
    spread = high - low
    spread[3] = 0.5  # more than half of its rows agree: half the range
    z = (X - centre)[:, [0, 1, 3]] / spread[[0, 1, 3]]  # the constant column is left out
    found = columns.transform(X)
    np.testing.assert_allclose(found, z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    assert np.abs(columns.transform(X * 1e6)).max() <= 3
    assert Columns(np.ones((9, 2))).transform(np.ones((3, 2))).tolist() == [[0.0], [0.0], [0.0]]


def test_missing_numbers_are_the_median_and_a_column():
    X = np.array([[1.0], [2.0], [np.nan], [3.0], [9.0]])
    found = Columns(X).transform(np.array([[2.5], [np.nan], [9.0]]))
    np.testing.assert_allclose(found[:, 0], [0.0, 0.0, (z := 6.5 / 2.75) / np.sqrt(1 + (z / 3) ** 2)], rtol=1e-5)
    assert found[:, 1].tolist() == [0, 1, 0]
    assert Columns(np.full((4, 1), np.nan)).transform(np.full((4, 1), np.nan)).shape == (4, 1)


def test_categories_are_one_hot_up_to_nine_values_else_embedded():
    pd = pytest.importorskip("pandas")
    assert (ONE_HOT, ENTRIES) == (9, 8)
    for count, missing, width, embeddings in (
        (1, False, 1, {}),
        (2, False, 1, {}),
        (2, True, 3, {}),
        (9, False, 9, {}),
        (9, True, 1, {0: 10}),
        (10, False, 1, {0: 11}),
    ):
        values = [f"{number:02}" for number in range(count)] + [None] * missing
        columns = Columns(pd.DataFrame({"c": values}))
        assert (columns.width, columns.embeddings) == (width, embeddings)
        found = columns.transform(pd.DataFrame({"c": values}))
        if embeddings:
            assert found[:, 0].tolist() == [*range(1, count + 1), *[0] * missing]
        elif width == 9:
            assert found.tolist() == np.eye(9).tolist()
        elif missing:
            assert found.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
        elif count == 2:
            assert found[:, 0].tolist() == [0, 1]
    mixed = pd.DataFrame({"n": [1.0, 2.0, 3.0], "big": list("abc"), "b": [True, False, True]})
    assert Columns(mixed, categorical=["n", "big"]).width == 3 + 3 + 1
