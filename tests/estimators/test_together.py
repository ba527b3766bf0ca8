"""The estimators within what scikit-learn and others build of estimators."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingRegressor, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier, MLPRegressor, register_skl2onnx

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, Y = load_iris(return_X_y=True)
FEW = {"hidden_layer_sizes": (9,), "max_iter": 40, "random_state": 0, "learning_rate_init": 0.02}


def test_grid_search_in_two_processes():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**FEW))
    grid = {"mlpclassifier__hidden_layer_sizes": [(3,), (9,)], "mlpclassifier__activation": ["relu", "gelu"]}
    there = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, Y)
    here = GridSearchCV(pipeline, grid, cv=3).fit(X, Y)
    np.testing.assert_array_equal(there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"])
    assert there.best_score_ > 0.93
    np.testing.assert_array_equal(there.predict_proba(X), here.predict_proba(X))


def test_cross_validation_and_calibration():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**FEW))
    proba = cross_val_predict(pipeline, X, Y, cv=3, method="predict_proba")
    assert (proba.argmax(axis=1) == Y).mean() > 0.9
    calibrated = CalibratedClassifierCV(pipeline, cv=3).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert calibrated.score(X, Y) > 0.93
    stacked = StackingClassifier([("mlp", pipeline)], LogisticRegression(), cv=3).fit(X, Y)
    assert stacked.score(X, Y) > 0.93


def test_frames_and_set_output():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": rng.normal(size=90), "kind": np.resize(["u", "v", "w"], 90)})
    y = frame["a"] * (frame["kind"] == "u") + frame["b"]
    columns = ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(sparse_output=False), ["kind"])])
    pipeline = make_pipeline(columns, MLPRegressor(**FEW)).set_output(transform="pandas").fit(frame, y)
    assert pipeline.score(frame, y) > 0.8
    assert list(pipeline[-1].feature_names_in_) == ["n__a", "n__b", "c__kind_u", "c__kind_v", "c__kind_w"]
    sparse = make_pipeline(OneHotEncoder(), MLPRegressor(**FEW)).fit(frame[["kind"]], y)
    assert sparse.predict(frame[["kind"]]).shape == (90,)
    with pytest.raises(ValueError, match="feature names should match"):
        pipeline[-1].predict(pipeline[0].transform(frame).iloc[:, ::-1])


def test_metadata_is_routed():
    weights = np.linspace(0.1, 2, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        clf = MLPClassifier(**FEW).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_validate(clf, X, Y, cv=3, params={"sample_weight": weights}, return_estimator=True)
        plain = cross_validate(MLPClassifier(**FEW), X, Y, cv=3, return_estimator=True)
    first, second = routed["estimator"][0], plain["estimator"][0]
    assert not np.array_equal(first.coefs_[0], second.coefs_[0])


def test_meta_estimators_of_regression():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(120, 3))
    y = np.exp(Z @ [1, 0.5, -0.5])
    model = MLPRegressor(**FEW)
    assert TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp).fit(Z, y).score(Z, y) > 0.9
    assert BaggingRegressor(model, 3, random_state=0).fit(Z, y).predict(Z).shape == (120,)
    assert MultiOutputRegressor(model).fit(Z, np.stack([y, -y], axis=1)).predict(Z).shape == (120, 2)
    assert cross_val_score(model, Z, np.log(y), cv=3).mean() > 0.9


def test_clone_has_the_arguments_and_no_state():
    clf = MLPClassifier(**FEW, dropout=0.1, class_weight={0: 2.0}).fit(X, Y)
    twin = clone(clf)
    assert twin.get_params() == clf.get_params()
    assert not hasattr(twin, "coefs_")
    assert repr(twin).startswith("MLPClassifier(class_weight={0: 2.0}, dropout=0.1, hidden_layer_sizes=(9,)")


def test_threads_predict_with_one_estimator():
    clf = MLPClassifier(**FEW).fit(X, Y)
    expected, wrong = clf.predict_proba(X), []

    def ask():
        for _ in range(50):
            if not np.array_equal(clf.predict_proba(X), expected):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_skl2onnx_converts_it():
    skl2onnx = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    x = X.astype(np.float32)
    register_skl2onnx()
    register_skl2onnx()  # once more does no harm

    clf = make_pipeline(StandardScaler(), MLPClassifier(**FEW)).fit(x, Y)
    written = skl2onnx.to_onnx(clf, x[:1], options={"zipmap": False}).SerializeToString()
    labels, proba = runtime.InferenceSession(written).run(None, {"X": x})
    np.testing.assert_array_equal(labels, clf.predict(x))
    np.testing.assert_allclose(proba, clf.predict_proba(x), rtol=1e-4, atol=1e-6)
    reg = MLPRegressor(**FEW | {"activation": "tanh", "dropout": 0.1}).fit(x, x[:, 0])
    reg.coefs_[0] = np.ones_like(reg.coefs_[0])  # what is assigned counts
    (out,) = runtime.InferenceSession(skl2onnx.to_onnx(reg, x[:1]).SerializeToString()).run(None, {"X": x})
    np.testing.assert_allclose(out.ravel(), reg.predict(x), rtol=1e-4, atol=1e-5)
    two = MLPClassifier(**FEW).fit(x[:100], np.array(["no", "yes"])[Y[:100]])
    session = runtime.InferenceSession(skl2onnx.to_onnx(two, x[:1], options={"zipmap": False}).SerializeToString())
    labels, proba = session.run(None, {"X": x})
    np.testing.assert_array_equal(labels, two.predict(x))
    np.testing.assert_allclose(proba, two.predict_proba(x), rtol=1e-4, atol=1e-6)
    for estimator, y, message in (
        (MLPClassifier(**FEW, activation="gelu"), Y, "converts the activations identity, .*; got 'gelu'"),
        (MLPClassifier(**FEW, loss=fm.HingeLoss()), Y, "probabilities of log_loss.*HingeLoss"),
        (MLPClassifier(**FEW, loss=fm.BCEWithLogitsLoss()), Y, "probabilities of log_loss"),
        (MLPRegressor(**FEW, loss="poisson"), Y, "one number; got loss='poisson' with 1 outputs"),
        (MLPRegressor(**FEW), np.stack([Y, -Y], axis=1), "with 2 outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            skl2onnx.to_onnx(estimator.fit(x, y), x[:1])


def test_without_skl2onnx_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[onnx\]"'):
        register_skl2onnx()
