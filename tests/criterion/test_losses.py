"""What every loss of the catalogue does: gradients, weights of rows, reductions, options that are assigned later."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from golden.inputs import of_kind, targets
from helpers import DIFFERENCE_BOUND, assert_same_bits, assert_within, central_differences, eps, normal, small

import fastmlp as fm
from fastmlp import registry

CASES = [(kind, case, targets) for kind in registry.criteria().values() for case in kind.cases for targets in kind.targets]


def drawn(kind, of, rows, width, dtype, rng):
    """Outputs and targets of a loss."""
    width *= 1 + (kind.outputs == "pairs")
    out = of_kind(kind.outputs, 2 * normal(rng, (rows, width), np.float64)).astype(dtype)
    y = targets(of, out.shape, rng, kind.outputs)
    return out, y if of == "labels" else y.astype(dtype)


def test_gradients_match_finite_differences(rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 4, 3, np.float64, rng)
        for weights in ((), (np.array([0.5, 0, 2, 1]),)):
            criterion = registry.made(kind, case, out.shape[1])
            criterion(out, y, *weights)
            gradient = criterion.backward()
            differences = central_differences(lambda: criterion(out, y, *weights), out)  # noqa: B023
            near = np.minimum(np.abs(out), np.abs(1 - out))  # to where a logarithm ends
            bound = DIFFERENCE_BOUND * (1 + np.abs(differences) * (1 + 1 / near**2))
            assert_within(gradient, differences, bound)


def test_weights_that_are_whole_numbers_repeat_rows(dtype, rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 9, 4, dtype, rng)
        weights = rng.integers(0, 3, 9)
        weights[0] = 1
        rows = np.repeat(np.arange(9), weights)
        criterion = registry.made(kind, case, out.shape[1])
        expected = criterion(out[rows], y[rows])
        gradient = np.zeros(out.shape)
        np.add.at(gradient, rows, criterion.backward())
        bound = 200 * eps(dtype)
        assert criterion(out, y, weights) == pytest.approx(expected, rel=bound, abs=bound)
        assert_within(criterion.backward(), gradient, bound * (1 + np.abs(gradient)))


def test_weights_of_one_change_nothing(dtype, rng):
    """To the bit, where the same block computes, and always to a rounding."""
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 7, 4, dtype, rng)
        criterion = registry.made(kind, case, out.shape[1])
        plain, gradient = criterion(out, y), criterion.backward()
        assert criterion(out, y, np.ones(7)) == pytest.approx(plain, rel=8 * eps(dtype), abs=8 * eps(dtype))
        if kind is fm.CrossEntropyLoss and not case and of == "labels":
            assert_within(criterion.backward(), gradient, 8 * eps(dtype))
        else:
            assert_same_bits(criterion.backward(), gradient)
        assert criterion(out, y) == plain
        assert_same_bits(criterion.backward(), gradient)


def test_a_row_of_weight_0_may_hold_anything(dtype, rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 5, 4, dtype, rng)
        criterion = registry.made(kind, case, out.shape[1])
        weights = np.array([1, 0, 2, 0.5, 0])
        loss, gradient = criterion(out, y, weights), criterion.backward()
        assert not gradient[[1, 4]].any()
        for wrong in (np.nan, np.inf, -np.inf):
            out[1] = out[4, 1:] = wrong
            assert criterion(out, y, weights) == loss
            assert_same_bits(criterion.backward(), gradient)


def test_where_no_row_counts_a_mean_is_nan_and_a_sum_0(dtype, rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 3, 4, dtype, rng)
        criterion = registry.made(kind, case, out.shape[1])
        loss = criterion(out, y, np.zeros(3))
        assert loss == 0 if criterion.reduction == "sum" else np.isnan(loss)
        assert not criterion.backward().any()


def test_sum_is_the_mean_times_its_terms(dtype, rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 6, 4, dtype, rng)
        criterion = registry.made(kind, case | {"reduction": "mean"}, out.shape[1])
        if kind is fm.CrossEntropyLoss and of == "labels":
            criterion.weight = None
        if kind is fm.NLLLoss:
            criterion.weight = None
        mean, gradient = criterion(out, y), criterion.backward()
        criterion.reduction = "sum"
        terms = 6 if kind in (fm.CrossEntropyLoss, fm.NLLLoss, fm.MultiMarginLoss) else y.size
        bound = 30 * eps(dtype)
        assert criterion(out, y) == pytest.approx(mean * terms, rel=bound, abs=bound)
        assert_within(criterion.backward(), gradient * terms, bound * np.abs(gradient * terms))
        if kind is fm.KLDivLoss:
            criterion.reduction = "batchmean"
            assert criterion(out, y) == pytest.approx(mean * 4, rel=bound)


def test_a_loss_does_not_depend_on_the_place_of_a_row(dtype, rng):
    """Rows of any number: the blocks of the engine, the scratch memory of LOSS_ROWS rows, the lines of vectors."""
    for kind, case, of in CASES:
        rows = small(130, 9)
        out, y = drawn(kind, of, rows, 5, dtype, rng)
        criterion = registry.made(kind, case | {"reduction": "sum"}, out.shape[1])
        weights = rng.uniform(0.5, 1, rows).astype(dtype)
        criterion(out, y, weights)
        whole = criterion.backward()
        for row in (0, rows // 2, rows - 1):
            criterion(out[row : row + 1], y[row : row + 1], weights[row : row + 1])
            assert_same_bits(criterion.backward(), whole[row : row + 1])


def test_copies_have_the_same_options(dtype, rng):
    for kind, case, of in CASES:
        out, y = drawn(kind, of, 3, 4, dtype, rng)
        criterion = registry.made(kind, case, out.shape[1])
        loss = criterion(out, y)
        for other in (copy.deepcopy(criterion), copy.copy(criterion), pickle.loads(pickle.dumps(criterion))):
            assert repr(other) == repr(criterion)
            assert other(out, y) == loss
            assert other(out, y, [1, 0, 2]) == criterion(out, y, [1, 0, 2])


def test_representation_makes_it_again():
    for kind, case, _ in CASES:
        criterion = registry.made(kind, case, 3)
        assert repr(eval(f"fm.{criterion!r}")) == repr(criterion)
    assert repr(fm.CrossEntropyLoss([1, 2], ignore_index=3, label_smoothing=0.5, reduction="sum")) == (
        'CrossEntropyLoss(weight=[1, 2], ignore_index=3, label_smoothing=0.5, reduction="sum")'
    )


def test_options_that_are_assigned_count_from_the_next_loss(dtype, rng):
    """As if the loss had been made with them."""
    for kind in registry.criteria().values():
        for first, second in itertools.permutations(kind.cases, 2):
            out, y = drawn(kind, kind.targets[0], 3, 4, dtype, rng)
            width = out.shape[1]
            criterion, expected = registry.made(kind, first, width), registry.made(kind, second, width)
            criterion(out, y)
            defaults = registry.made(kind, {}, width)
            for name in first.keys() | second.keys():
                setattr(criterion, name, registry.filled(second, width).get(name, getattr(defaults, name)))
            assert criterion(out, y) == expected(out, y)
            assert_same_bits(criterion.backward(), expected.backward())


WRONG = [
    (lambda: fm.MSELoss(reduction="none"), ValueError, "'none' would give a loss for each row, and a way back needs one"),
    (lambda: fm.MSELoss(reduction="median"), ValueError, "reduction must be 'mean' or 'sum'; got 'median'"),
    (lambda: fm.MSELoss(reduction="batchmean"), ValueError, "reduction must be 'mean' or 'sum'"),
    (lambda: fm.KLDivLoss(reduction="none"), ValueError, "reduction must be 'mean', 'sum' or 'batchmean'; 'none'"),
    (lambda: fm.CrossEntropyLoss(reduction=None), TypeError, "reduction must be 'mean' or 'sum'; got None"),
    (lambda: fm.HuberLoss(delta=0), ValueError, "delta must be above 0"),
    (lambda: fm.SmoothL1Loss(beta=-1), ValueError, "beta must be at least 0"),
    (lambda: fm.CrossEntropyLoss(2.0), TypeError, r"weight must be a number for each class, \(C,\); got 2"),
    (lambda: fm.CrossEntropyLoss([1, -1]), ValueError, r"weight\[1\] must be at least 0"),
    (lambda: fm.CrossEntropyLoss([[1, 1]]), ValueError, r"one for each column of the outputs, \(C,\); got \(1, 2\)"),
    (lambda: fm.CrossEntropyLoss("abc"), TypeError, "weight must be a number for each class"),
    (lambda: fm.CrossEntropyLoss(label_smoothing=1.5), ValueError, "label_smoothing must be at least 0 and at most 1"),
    (lambda: fm.CrossEntropyLoss(ignore_index=0.5), TypeError, "ignore_index must be a whole number"),
    (lambda: fm.NLLLoss([np.nan, 1]), ValueError, r"weight\[0\] must be at least 0 and finite"),
    (lambda: fm.BCELoss(-1), ValueError, "weight must be at least 0"),
    (lambda: fm.BCEWithLogitsLoss(pos_weight=[np.inf]), ValueError, r"pos_weight\[0\] must be at least 0 and finite"),
    (lambda: fm.BCEWithLogitsLoss(pos_weight=[]), ValueError, r"one for each column of the outputs, \(C,\); got \(0,\)"),
    (lambda: fm.HingeLoss(squared="yes"), TypeError, "squared must be True or False"),
    (lambda: fm.HingeEmbeddingLoss("1"), TypeError, "margin must be a number"),
    (lambda: fm.MultiMarginLoss(p=3), ValueError, "p must be 1 or 2; got 3"),
    (lambda: fm.MultiMarginLoss(p=1.5), TypeError, "p must be a whole number"),
    (lambda: fm.MultiMarginLoss(margin=None), TypeError, "margin must be a number"),
    (lambda: fm.KLDivLoss(log_target=2), TypeError, "log_target must be True or False"),
    (lambda: fm.PoissonNLLLoss(full=None), TypeError, "full must be True or False"),
    (lambda: fm.PoissonNLLLoss(eps=-1), ValueError, "eps must be at least 0"),
    (lambda: fm.GaussianNLLLoss(eps=0), ValueError, "eps must be above 0"),
    (lambda: fm.QuantileLoss(1), ValueError, "quantile must be above 0 and below 1"),
    (lambda: fm.QuantileLoss([0.5, 0]), ValueError, r"quantile\[1\] must be above 0 and below 1"),
]


def test_bad_options_are_refused():
    for make, error, message in WRONG:
        with pytest.raises(error, match=message):
            make()


def test_bad_options_are_refused_when_they_are_assigned():
    for kind, name, value in (
        (fm.MSELoss, "reduction", "none"),
        (fm.CrossEntropyLoss, "weight", [1, -1]),
        (fm.BCEWithLogitsLoss, "pos_weight", -1),
        (fm.QuantileLoss, "quantile", [2]),
        (fm.GaussianNLLLoss, "eps", 0),
        (fm.MultiMarginLoss, "p", 0),
    ):
        criterion = kind()
        before = getattr(criterion, name)
        with pytest.raises(ValueError, match=name):
            setattr(criterion, name, value)
        assert getattr(criterion, name) == before


OUT = np.full((3, 2), 0.5)
CALLS = [
    (fm.BCELoss(), OUT, [[0, 1], [2, 0], [0, 0]], r"BCELoss takes targets of from 0 to 1; row 1 of y holds 2"),
    (fm.BCELoss(), 3 * OUT, OUT, "BCELoss takes outputs that are probabilities, from 0 to 1: end the network with a Sigmoid"),
    (fm.BCELoss(), -OUT, 0 * OUT + 1, "BCELoss takes outputs that are probabilities"),
    (fm.BCEWithLogitsLoss(), OUT, -OUT, r"takes targets of from 0 to 1; row 0 of y holds -0.5"),
    (fm.HingeLoss(), OUT, np.eye(3, 2), r"takes targets of -1 or 1 \(of labels 0 and 1: 2 \* y - 1\); row 0 of y holds 0"),
    (fm.HingeEmbeddingLoss(), OUT, 2 * OUT - 1, "takes targets of -1 or 1"),
    (fm.PoissonNLLLoss(), OUT, -OUT, "takes targets of at least 0; row 0 of y holds -0.5"),
    (fm.PoissonNLLLoss(log_input=False), -OUT, OUT, "takes outputs of at least 0: rates, not their logarithms"),
    (fm.KLDivLoss(), OUT, -OUT, "takes targets of at least 0; row 0 of y holds -0.5"),
    (fm.CrossEntropyLoss([1, 2, 3]), OUT, [0, 1, 0], "weight has 3 numbers, the outputs have 2 columns"),
    (fm.CrossEntropyLoss(ignore_index=1), OUT, OUT, "ignore_index is for labels; y has probabilities of the classes"),
    (fm.CrossEntropyLoss(), OUT, [0, -100, -99], r"y\[2\] is -99"),
    (fm.CrossEntropyLoss(), OUT, [0.0, -100, 1.5], r"y\[2\] is 1.5"),
    (fm.MultiMarginLoss(), OUT, [0, -100, 1], r"y\[1\] is -100"),
    (fm.BCEWithLogitsLoss(pos_weight=[1, 2, 3]), OUT, OUT, "pos_weight has 3 numbers, the outputs have 2 columns"),
    (fm.QuantileLoss([0.1, 0.5, 0.9]), OUT, OUT, "quantile has 3 numbers, the outputs have 2 columns"),
    (fm.GaussianNLLLoss(), np.zeros((2, 3)), np.zeros((2, 1)), "takes two outputs for each target.*; got 3"),
    (fm.GaussianNLLLoss(), OUT, OUT, r"the shape of the outputs, \(N, 1\); got \(3, 2\)"),
]


def test_bad_targets_and_outputs_are_refused():
    for criterion, out, y, message in CALLS:
        with pytest.raises(ValueError, match=message):
            criterion(out, y)
        with pytest.raises(RuntimeError, match="before forward"):
            criterion.backward()


def test_bad_weights_are_refused():
    criterion = fm.MSELoss()
    for weights, error, message in (
        ([1, 2], ValueError, "X and sample_weight must have as many rows as each other; got 3 and 2"),
        ([1, 2, -1], ValueError, r"finite numbers of at least 0; sample_weight\[2\] is -1"),
        ([1, np.inf, 1], ValueError, r"finite numbers of at least 0; sample_weight\[1\] is inf"),
        ([[1], [2], [3]], ValueError, r"one number a row; got \(3, 1\): drop the second axis"),
        (["a", "b", "c"], TypeError, "sample_weight must hold real numbers"),
        (1, ValueError, r"must have the shape \(N,\)"),
    ):
        with pytest.raises(error, match=message):
            criterion(OUT, OUT, weights)


def test_labels_that_are_ignored_count_for_nothing(dtype, rng):
    out = normal(rng, (6, 3), dtype)
    for kind, ignored in itertools.product((fm.CrossEntropyLoss, fm.NLLLoss), (-100, 1, 255)):
        for options in ({}, {"weight": [1, 2, 0.5]}, {"reduction": "sum"}):
            y = np.array([0, ignored, 2, 2, ignored, 0])
            criterion, plain = kind(ignore_index=ignored, **options), kind(**options)
            rows = y != ignored
            for labels in (y, y.tolist(), y.astype(float), y.astype(np.int16)):
                assert criterion(out, labels) == pytest.approx(plain(out[rows], y[rows]), rel=9 * eps(dtype))
                gradient = np.zeros_like(out)
                gradient[rows] = plain.backward()
                assert_within(criterion.backward(), gradient, 9 * eps(dtype))


def test_several_quantiles_of_the_same_targets(dtype):
    """Their minimum lies at the quantiles."""
    y = np.arange(101, dtype=dtype)
    quantiles = [0.1, 0.5, 0.9]
    criterion = fm.QuantileLoss(quantiles)
    at = np.tile(np.array([10, 50, 90], dtype), (101, 1))
    best = criterion(at, y)
    assert best == pytest.approx(np.mean([fm.QuantileLoss(q)(at[:, [j]], y) for j, q in enumerate(quantiles)]), rel=1e-5)
    assert criterion(at, y[:, None]) == criterion(at, np.tile(y[:, None], 3)) == best
    for step in (-1, 1):
        assert criterion(at + step, y) > best


def test_minimum_of_the_gaussian_loss_is_mean_and_variance(rng):
    y = rng.normal(2, 3, (1000, 1))
    mean, variance = y.mean(), y.var()
    out = np.tile([mean, np.log(variance)], (1000, 1))
    criterion = fm.GaussianNLLLoss()
    criterion(out, y)
    assert_within(criterion.backward().sum(axis=0), [0, 0], 1e-12)
    assert criterion(out, y) == pytest.approx(0.5 * (np.log(variance) + 1), rel=1e-12)
