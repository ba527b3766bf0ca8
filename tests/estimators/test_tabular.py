"""The estimators of tables: what they take, what they promise."""

from __future__ import annotations

import pickle
import time
import warnings

import numpy as np
import pytest
from helpers import ThreadTimes

pytest.importorskip("sklearn")

import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp as fm
from fastmlp import cores
from fastmlp.sklearn import MLPClassifier, TabularClassifier, TabularRegressor

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")]

#: scikit-learn's own MLP fails it, too, where it holds rows out: see the test below.
CHECK = "check_sample_weight_equivalence_on_dense_data"
FOLDS = {CHECK: "which rows are held out is drawn by their number, so a row of weight 2 is not two rows"}

SMALL = {"n_members": 2, "epochs": 20, "hidden_layer_sizes": (16,)}
FEW = {"n_members": 5, "epochs": 30, "hidden_layer_sizes": (32, 32), "random_state": 0}


@parametrize_with_checks([TabularClassifier(**SMALL), TabularRegressor(**SMALL)], expected_failed_checks=lambda _: FOLDS)
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_mlp_shares_the_failure_where_it_holds_rows_out():
    check = getattr(estimator_checks, CHECK)
    for estimator in (neural_network.MLPClassifier(max_iter=20), neural_network.MLPRegressor(max_iter=20)):
        with pytest.raises(AssertionError):
            check(type(estimator).__name__, clone(estimator).set_params(early_stopping=True))
    check("MLPClassifier", neural_network.MLPClassifier(max_iter=20))


def test_estimators_of_scikit_learn_take_them():
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = TabularClassifier(**FEW | {"epochs": 10})
    grid = GridSearchCV(clf, {"hidden_layer_sizes": [(16,), (32, 32)]}, cv=2).fit(X, y)
    assert grid.best_score_ > 0.8
    calibrated = CalibratedClassifierCV(clf, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    proba = cross_val_predict(clf, X, y, cv=3, method="predict_proba")
    assert log_loss(y, proba) < 0.5
    keep = ColumnTransformer([("first", "passthrough", list(X.columns[:3]))], verbose_feature_names_out=False)
    pipeline = make_pipeline(keep, TabularRegressor(**FEW | {"epochs": 10})).set_output(transform="pandas")
    assert pipeline.fit(X, X.iloc[:, 3]).score(X, X.iloc[:, 3]) > 0.5
    assert list(pipeline[-1].feature_names_in_) == list(X.columns[:3])
    with sklearn.config_context(enable_metadata_routing=True):
        weighted = clone(clf).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        weights = np.where(y == 0, 1e-3, 1.0)
        routed = cross_validate(weighted, X, y, cv=2, params={"sample_weight": weights}, return_estimator=True)
        plain = cross_validate(clf, X, y, cv=2, return_estimator=True)
    means = [result["estimator"][0].predict_proba(X)[:, 0].mean() for result in (routed, plain)]
    assert means[0] < means[1]


def table(rows=240, seed=0):
    """A frame with all kinds of columns, and a target that needs each."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "length": rng.normal(50, 20, rows),
            "heavy": np.exp(rng.normal(0, 2, rows)),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "city": [f"city {number}" for number in rng.integers(0, 14, rows)],
            "yes": rng.random(rows) < 0.4,
            "grade": pd.Categorical(rng.choice([1, 2, 3], rows)),
            "constant": 7.0,
        }
    )
    effect = {f"city {number}": np.sin(number * 2.0) for number in range(14)}
    y = frame["length"] / 20 + frame["city"].map(effect) * 2 + (frame["colour"] == "red") * 2 + frame["yes"] * 1.0
    y = (y + (frame["grade"] == 2) * 1.5).to_numpy()
    frame.loc[rng.random(rows) < 0.15, "length"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "colour"] = None
    return frame, y


def test_frames_are_taken_as_they_are():
    frame, y = table()
    reg = TabularRegressor(**FEW | {"epochs": 60}).fit(frame, y)
    assert reg.columns_.embeddings == {reg.columns_.width - 1: 15}  # 14 cities, and what is none
    # length and its indicator, heavy, colour's three and missing, yes, grade's three, the city
    assert reg.columns_.width == 2 + 1 + 4 + 1 + 3 + 1
    assert reg.oob_score_ > 0.6
    shifted = frame.assign(city=frame["city"].sample(frac=1, random_state=0).to_numpy())
    assert reg.score(shifted, y) < reg.score(frame, y) - 0.1  # each kind of column is used
    shifted = frame.assign(colour="blue")
    assert reg.score(shifted, y) < reg.score(frame, y) - 0.1
    labels = np.where(y > np.median(y), "high", "low")
    clf = TabularClassifier(**FEW).fit(frame, labels)
    assert clf.oob_score_ > 0.75
    assert list(clf.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame.drop(columns="yes"))


def test_frames_of_polars_are_frames():
    polars = pytest.importorskip("polars")
    frame, y = table()
    frame["grade"] = frame["grade"].astype(str)
    reg = TabularRegressor(**FEW | {"epochs": 5}).fit(frame, y)
    text = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    other = polars.DataFrame(text)
    np.testing.assert_array_equal(TabularRegressor(**FEW | {"epochs": 5}).fit(other, y).predict(other), reg.predict(frame))


def test_categories_may_be_named():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(0, 12, 200)])
    y = np.cos(X[:, 1] * 2.5)
    named = TabularRegressor(**FEW, categorical_features=[1]).fit(X, y)
    assert named.columns_.embeddings == {1: 13}
    for same in ([False, True], np.array([False, True]), ["1"]):
        other = TabularRegressor(**FEW, categorical_features=same).fit(X, y)
        np.testing.assert_array_equal(other.predict(X), named.predict(X))
    assert named.oob_score_ > 0.8
    for wrong, message in ((["size"], "names 'size', which is no column"), ([2], "names 2"), ([True], "2 entries")):
        with pytest.raises(ValueError, match=message):
            TabularRegressor(**FEW, categorical_features=wrong).fit(X, y)


def test_what_was_never_seen_counts_as_missing_and_is_said_once():
    frame, y = table()
    reg = TabularRegressor(**FEW).fit(frame, y)
    new = frame.assign(city="Atlantis", colour="mauve")
    with pytest.warns(UserWarning, match=r"in 'colour' \('mauve'\), 'city' \('Atlantis'\); this is said once"):
        predicted = reg.predict(new)
    gone = frame.assign(city=None, colour=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(reg.predict(gone), predicted)
        reg.predict(new)
    nan = frame.assign(heavy=np.nan)  # which had none in training
    assert np.isfinite(reg.predict(nan)).all()


def test_wrong_columns_are_refused_by_name():
    pd = pytest.importorskip("pandas")
    frame, y = table()
    reg = TabularRegressor(**FEW | {"epochs": 2}).fit(frame, y)
    with pytest.raises(ValueError, match=r"column 'length' must hold numbers, as in training.*'long'"):
        reg.predict(frame.assign(length="long"))
    with pytest.raises(ValueError, match="column 'heavy' contains infinity"):
        reg.predict(frame.assign(heavy=np.inf))
    with pytest.raises(TypeError, match="column 'when' holds dates"):
        TabularRegressor().fit(pd.DataFrame({"when": pd.date_range("2020", periods=20)}), np.arange(20.0))
    with pytest.raises(TypeError, match=r"column 'x'.*string or a real number, not 'dict'"):
        TabularRegressor().fit(pd.DataFrame({"x": [{}] * 20}), np.arange(20.0))
    with pytest.raises(NotFittedError):
        TabularClassifier().predict(frame)
    with pytest.raises(ValueError, match="Found array with 0 sample"):
        reg.predict(frame[:0])


def test_few_rows_one_class_and_constant_columns():
    one = TabularClassifier(**FEW).fit(np.arange(8.0).reshape(4, 2), ["a"] * 4)
    assert list(one.predict([[1.0, 2.0]])) == ["a"]
    assert one.predict_proba([[1.0, 2.0]]).tolist() == [[1.0]]
    two = TabularClassifier(**FEW).fit([[0.0], [1.0]], [0, 1])
    assert list(two.predict([[0.0], [1.0]])) == [0, 1]
    assert np.isnan(two.oob_score_)
    reg = TabularRegressor(**FEW).fit([[0.0], [1.0]], [3.0, 5.0])
    assert ((reg.predict([[0.0], [9.0]]) >= 3) & (reg.predict([[0.0], [9.0]]) <= 5)).all()
    flat = TabularRegressor(**FEW).fit(np.ones((30, 3)), np.full(30, 2.0))
    np.testing.assert_array_equal(flat.predict(np.ones((2, 3))), [2.0, 2.0])
    rare = np.array([0] * 20 + [1])  # a class of one row stays in every training
    clf = TabularClassifier(**FEW).fit(np.arange(21.0)[:, None], rare)
    assert list(clf.classes_) == [0, 1]


def test_out_of_bag_predictions_are_of_networks_that_have_not_seen_the_row():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 4)), rng.integers(0, 2, 120)
    for members in (3, 5, 8, 11):
        # Where there is one epoch, a row that is held out changes nothing in a network. No quartile depends on it either.
        X[7, 0] = 9.0
        clf = TabularClassifier(**FEW | {"n_members": members, "epochs": 1, "batch_size": 10}).fit(X, y)
        X[7, 0] = 20.0
        other = TabularClassifier(**FEW | {"n_members": members, "epochs": 1, "batch_size": 10}).fit(X, y)
        unmoved = [np.array_equal(a.storage.data, b.storage.data) for a, b in zip(clf.models_, other.models_)]
        known = ~np.isnan(clf.oob_decision_function_[:, 0])
        assert len(clf.models_) == members
        assert known.all() if members >= 5 else 0.4 < known.mean() < 0.8
        assert sum(unmoved) == (known[7] if members <= 8 else sum(unmoved)) <= 2
        assert clf.oob_score_ == accuracy_score(y[known], clf.oob_decision_function_[known].argmax(axis=1))
        if members == 5:
            X[7, 0] = 9.0
            logits = clf.models_[unmoved.index(True)].predict(clf.columns_.transform(X))[7] / clf._temperature
            expected = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(clf.oob_decision_function_[7], expected, rtol=1e-5)
    X, y = load_diabetes(return_X_y=True)
    reg = TabularRegressor(**FEW).fit(X, y)
    assert reg.oob_score_ == pytest.approx(r2_score(y, reg.oob_prediction_))
    assert reg.oob_score_ == pytest.approx(cross_val_score(reg, X, y, cv=3).mean(), abs=0.08)


def test_results_depend_on_random_state_alone():
    X, y = load_iris(return_X_y=True)
    first = TabularClassifier(**FEW, n_threads=1).fit(X, y)
    again = TabularClassifier(**FEW, n_threads=2).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    twin = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(twin.predict_proba(X), first.predict_proba(X))
    other = clone(first).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), first.predict_proba(X))


@pytest.mark.alone
@pytest.mark.skipif(not ThreadTimes.there, reason="the system does not say how long a thread has run")
def test_without_n_threads_the_limit_holds(monkeypatch):
    monkeypatch.setattr(cores, "hardware_cores", lambda: 3)
    monkeypatch.setattr(cores, "limit", [])
    X, y = load_digits(return_X_y=True)
    tables, network = TabularClassifier(**FEW), MLPClassifier(hidden_layer_sizes=(256, 256), max_iter=1, early_stopping=False)
    tables.fit(X[:300], y[:300])
    X = np.tile(X, (20, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is not enough
        for call in (lambda: tables.fit(X[:300], y[:300]), lambda: network.fit(X[:1000], y[:1000]), lambda: network.predict(X)):
            for limit, threads, expected in ((2, None, 1), (1, 2, 1), (1, None, 0)):
                fm.set_num_threads(limit)
                for estimator in (tables, network):
                    estimator.set_params(n_threads=threads)
                assert ThreadTimes().taking_part(call, expected) == expected, (limit, threads)


def test_several_targets_and_weights():
    X, y = load_diabetes(return_X_y=True)
    both = TabularRegressor(**FEW).fit(X, np.column_stack([y, -2 * y]))
    assert both.predict(X).shape == (442, 2)
    assert both.oob_score_ > 0.35
    low, high = both.predict_interval(X)
    assert low.shape == high.shape == (442, 2)
    # Rows that weigh little hardly count: they say the opposite.
    Z, labels = np.concatenate([X, X]), np.concatenate([y > 140, y <= 140])
    weights = np.repeat([1.0, 1e-3], 442)
    clf = TabularClassifier(**FEW).fit(Z, labels, sample_weight=weights)
    assert clf.score(X, y > 140) > 0.7


def test_intervals_cover_what_they_say():
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, (900, 2))
    y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * rng.normal(size=900)
    reg = TabularRegressor(**FEW).fit(X[:400], y[:400])
    widths = []
    for coverage in (0.5, 0.8, 0.95):
        low, high = reg.predict_interval(X[400:], coverage=coverage)
        inside = ((low <= y[400:]) & (y[400:] <= high)).mean()
        assert coverage - 0.06 < inside < coverage + 0.09, (coverage, inside)
        widths.append((high - low).mean())
    assert widths[0] < widths[1] < widths[2]
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1; got 90"):
        reg.predict_interval(X, coverage=90)
    with pytest.raises(ValueError, match="no rows were held out"):
        TabularRegressor(**FEW).fit(X[:1], y[:1]).predict_interval(X)


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1500, 3))
    p = 1 / (1 + np.exp(-2 * X[:, 0] + X[:, 1]))
    y = rng.random(1500) < p
    clf = TabularClassifier(**FEW).fit(X[:700], y[:700])
    given = clf.predict_proba(X[700:])[:, 1]
    assert np.abs(given - p[700:]).mean() < 0.07
    for low in (0.0, 0.25, 0.5, 0.75):
        here = (given >= low) & (given < low + 0.25)
        assert abs(given[here].mean() - p[700:][here].mean()) < 0.08


def test_time_limit_is_kept(capsys):
    X, y = load_diabetes(return_X_y=True)
    TabularRegressor(n_members=2, epochs=1, random_state=0).fit(X, y)  # compiles
    began = time.perf_counter()
    reg = TabularRegressor(n_members=8, epochs=100_000, time_limit=1.0, random_state=0, verbose=True).fit(X, y)
    assert time.perf_counter() - began < 3.0  # other processes may be at work
    assert 1 <= reg.n_iter_ < 100_000
    assert reg.score(X, y) > 0.4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(reg.models_)
    assert lines[0].startswith("member 1 of ")
