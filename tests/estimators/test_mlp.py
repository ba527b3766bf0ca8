"""What the estimators have beyond scikit-learn's, and what their state is."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from helpers import jit_only
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler

import fastmlp as fm
import fastmlp.sklearn
from fastmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
Z, NUMBERS = make_regression(120, 6, n_informative=4, random_state=0)
NUMBERS = NUMBERS / NUMBERS.std()
FEW = {"hidden_layer_sizes": (9,), "max_iter": 15, "random_state": 0, "learning_rate_init": 0.02}


def oracle(estimator, X, last):
    """The network in NumPy, from coefs_ and intercepts_."""
    h = X
    for coef, intercept in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1]):
        h = np.maximum(h @ coef + intercept, 0)
    return last(h @ estimator.coefs_[-1] + estimator.intercepts_[-1])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_coefs_are_views_of_the_model():
    clf = MLPClassifier(**FEW).fit(X, Y)
    np.testing.assert_allclose(clf.predict_proba(X), oracle(clf, X, softmax), rtol=1e-10)
    np.testing.assert_allclose(clf.model_.predict_proba(X), clf.predict_proba(X), rtol=1e-10)
    clf.coefs_[1][:] = 0
    clf.intercepts_[1][:] = [0, 1, 0]
    assert (clf.model_[2].weight.data == 0).all()
    assert (clf.predict(X) == 1).all()


def test_what_is_assigned_is_taken_over():
    clf = MLPClassifier(**FEW).fit(X, Y)
    other = MLPClassifier(**FEW | {"random_state": 1}).fit(X, Y)
    clf.coefs_, clf.intercepts_ = [c.copy() for c in other.coefs_], [i.copy() for i in other.intercepts_]
    np.testing.assert_array_equal(clf.predict_proba(X), other.predict_proba(X))
    clf.coefs_[0] = np.zeros((4, 9))  # one of the list
    np.testing.assert_allclose(clf.predict_proba(X), oracle(clf, X, softmax), rtol=1e-10)
    assert (clf.coefs_[0] == 0).all()
    clf.partial_fit(X, Y)
    assert not (clf.intercepts_[0] == other.intercepts_[0]).all()

    rng = np.random.default_rng(0)  # other widths: another network
    clf.coefs_, clf.intercepts_ = [rng.normal(size=(4, 5)), rng.normal(size=(5, 3))], [rng.normal(size=5), rng.normal(size=3)]
    np.testing.assert_allclose(clf.predict_proba(X), oracle(clf, X, softmax), rtol=1e-10)
    clf.partial_fit(X, Y)
    assert clf.coefs_[0].shape == (4, 5)
    clf.coefs_ = [np.zeros((4, 5)), np.zeros((6, 3))]
    with pytest.raises(ValueError, match="widths chain"):
        clf.predict(X)


def test_a_model_that_is_changed_is_what_predicts():
    clf = MLPClassifier(**FEW).fit(X, Y)
    clf.model_[2].bias.data = [0, 0, 99]
    assert (clf.predict(X) == 2).all()
    np.testing.assert_array_equal(clf.intercepts_[1], [0, 0, 99])


def test_pickles_and_copies_go_on_where_they_were():
    for clf in (MLPClassifier(**FEW).fit(X, Y), MLPClassifier(**FEW | {"dropout": 0.2, "activation": fm.PReLU()}).fit(X, Y)):
        twins = [pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)]
        for twin in twins:
            np.testing.assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
            twin.coefs_[0][0, 0] += 1  # its own
        assert all(twin.coefs_[0][0, 0] == clf.coefs_[0][0, 0] + 1 for twin in twins)
        for twin in twins:
            twin.coefs_[0][0, 0] = clf.coefs_[0][0, 0]
            twin.partial_fit(X, Y)
        clf.partial_fit(X, Y)
        for twin in twins:
            np.testing.assert_array_equal(twin.coefs_[0], clf.coefs_[0])
            np.testing.assert_array_equal(twin.coefs_[1], clf.coefs_[1])
    assert not hasattr(clone(clf), "coefs_")
    unfitted = MLPClassifier()
    assert pickle.loads(pickle.dumps(unfitted)).get_params().keys() == unfitted.get_params().keys()


def test_activations_are_all_of_fastmlps():
    names = ("gelu", "silu", "leaky_relu", "elu", "selu", "mish", "softplus", "hardswish")
    for activation in (*names, fm.LeakyReLU(0.3), fm.GELU, fm.PReLU(), ["relu", fm.Tanh()]):
        sizes = (8, 6) if isinstance(activation, list) else 8
        clf = MLPClassifier(**FEW | {"hidden_layer_sizes": sizes, "activation": activation, "max_iter": 40}).fit(X, Y)
        assert clf.score(X, Y) > 0.9, activation
    assert [type(module).__name__ for module in clf.model_] == ["Linear", "ReLU", "Linear", "Tanh", "Linear"]
    with pytest.raises(ValueError, match="an entry for each hidden layer, 1; got 2"):
        MLPClassifier(**FEW | {"activation": ["relu", "tanh"]}).fit(X, Y)
    with pytest.raises(ValueError, match=r"'activation' parameter .* Got 'rely'"):
        MLPClassifier(activation="rely").fit(X, Y)
    with pytest.raises(ValueError, match=r"must be one of .*leaky_relu.*got 'rely'"):
        MLPClassifier(activation=["rely"]).fit(X, Y)
    with pytest.raises(TypeError, match="a name or a module"):
        MLPClassifier(activation=[3]).fit(X, Y)


def test_dropout_trains_with_noise_and_predicts_without():
    clf = MLPClassifier(**FEW | {"dropout": 0.5}).fit(X, Y)
    assert [type(module).__name__ for module in clf.model_] == ["Linear", "ReLU", "Dropout", "Linear"]
    np.testing.assert_allclose(clf.predict_proba(X), oracle(clf, X, softmax), rtol=1e-10)
    again = MLPClassifier(**FEW | {"dropout": [0.5]}).fit(X, Y)
    np.testing.assert_array_equal(again.coefs_[0], clf.coefs_[0])
    assert not np.array_equal(MLPClassifier(**FEW).fit(X, Y).coefs_[0], clf.coefs_[0])
    with pytest.raises(ValueError, match="an entry for each hidden layer"):
        MLPClassifier(dropout=[0.1, 0.2]).fit(X, Y)


def test_class_weight_is_a_weight_of_rows():
    rng = np.random.default_rng(1)
    few = rng.permutation(len(Y))[:90]
    few = few[(Y[few] != 2) | (rng.random(90) < 0.2)]
    given = {0: 1.0, 1: 2.0, 2: 5.0}
    by_class = MLPClassifier(**FEW | {"class_weight": given}).fit(X[few], Y[few])
    by_row = MLPClassifier(**FEW).fit(X[few], Y[few], sample_weight=np.array([1.0, 2.0, 5.0])[Y[few]])
    np.testing.assert_array_equal(by_class.coefs_[0], by_row.coefs_[0])
    plain = MLPClassifier(**FEW).fit(X[few], Y[few])
    balanced = MLPClassifier(**FEW | {"class_weight": "balanced"}).fit(X[few], Y[few])
    recalls = [balanced_accuracy_score(Y, clf.predict(X)) for clf in (plain, balanced)]
    assert recalls[1] >= recalls[0]
    assert not np.array_equal(plain.coefs_[0], balanced.coefs_[0])
    with pytest.raises(ValueError, match="not for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_losses_of_fastmlp_train_a_classifier():
    two = Y != 2
    for loss in (
        fm.CrossEntropyLoss(label_smoothing=0.1),
        fm.CrossEntropyLoss(),
        fm.BCEWithLogitsLoss(),
        fm.MultiMarginLoss(),
        fm.HingeLoss(),
        fm.ElementwiseLoss(lambda out, y: fm.math.softplus(out) - y * out),
    ):
        for rows in (two, slice(None)):
            options = FEW | {"loss": loss, "max_iter": 60, "early_stopping": True, "n_iter_no_change": 60}
            clf = MLPClassifier(**options).fit(X[rows], Y[rows])
            assert clf.score(X[rows], Y[rows]) > 0.9, loss
            if isinstance(loss, (fm.MultiMarginLoss, fm.HingeLoss)):
                assert not hasattr(clf, "predict_proba")
                scores = clf.decision_function(X[rows])
                first = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
                np.testing.assert_array_equal(clf.classes_[first], clf.predict(X[rows]))
            else:
                assert not hasattr(clf, "decision_function")
                np.testing.assert_allclose(clf.predict_proba(X[rows]).sum(axis=1), 1)
                np.testing.assert_array_equal(clf.classes_[clf.predict_proba(X[rows]).argmax(axis=1)], clf.predict(X[rows]))
    assert loss is clf.loss  # the estimator trains with a copy
    labels = np.stack([Y == 0, Y != 2], axis=1).astype(int)
    clf = MLPClassifier(**FEW | {"loss": fm.BCEWithLogitsLoss(), "max_iter": 60}).fit(X, labels)
    assert clf.predict(X).shape == labels.shape
    for loss, message in (
        (fm.NLLLoss(), "outputs of another kind"),
        (fm.BCELoss(), "outputs of another kind"),
        (fm.CrossEntropyLoss(reduction="sum"), 'reduction="mean"'),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(loss=loss).fit(X, Y)
    with pytest.raises(ValueError, match="several labels"):
        MLPClassifier(loss=fm.CrossEntropyLoss()).fit(X, labels)
    with pytest.raises(ValueError, match="'loss' parameter"):
        MLPClassifier(loss="hinge").fit(X, Y)


def test_losses_of_fastmlp_train_a_regressor():
    options = FEW | {"max_iter": 80, "hidden_layer_sizes": 20}
    for loss in ("absolute_error", fm.HuberLoss(), fm.MSELoss(), fm.GaussianNLLLoss(), fm.QuantileLoss(0.5)):
        assert MLPRegressor(**options | {"loss": loss}).fit(Z, NUMBERS).score(Z, NUMBERS) > 0.9, loss
    three = MLPRegressor(**options | {"loss": fm.QuantileLoss([0.1, 0.5, 0.9])}).fit(Z, NUMBERS).predict(Z)
    assert three.shape == (120, 3)
    assert ((three[:, 0] < NUMBERS) & (three[:, 2] > NUMBERS)).mean() > 0.6
    counts = np.random.default_rng(0).poisson(np.exp(Z[:, 0] / 2))
    ours = MLPRegressor(**options | {"loss": fm.PoissonNLLLoss()}).fit(Z, counts)
    named = MLPRegressor(**options | {"loss": "poisson"}).fit(Z, counts)
    np.testing.assert_allclose(ours.coefs_[0], named.coefs_[0], rtol=1e-6)  # they differ by a constant
    np.testing.assert_allclose(ours.predict(Z), named.predict(Z), rtol=1e-6)
    with pytest.raises(ValueError, match="numbers as targets; CrossEntropyLoss takes labels"):
        MLPRegressor(loss=fm.CrossEntropyLoss()).fit(Z, NUMBERS)
    with pytest.raises(ValueError, match="log_input=True"):
        MLPRegressor(loss=fm.PoissonNLLLoss(log_input=False)).fit(Z, counts)
    with pytest.raises(ValueError, match="y of at least 0"):
        MLPRegressor(loss="poisson").fit(Z, NUMBERS)


def test_validation_data_have_a_loss_curve_and_stop():
    train, test = slice(None, None, 2), slice(1, None, 2)
    clf = MLPClassifier(**FEW | {"alpha": 0}).fit(X[train], Y[train], validation_data=(X[test], Y[test]))
    assert len(clf.validation_loss_curve_) == clf.n_iter_
    expected = log_loss(Y[test], clf.predict_proba(X[test]))
    assert clf.validation_loss_curve_[-1] == pytest.approx(expected)
    assert clf.validation_scores_ is None

    options = FEW | {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 200}
    clf = MLPClassifier(**options).fit(X[train], Y[train], validation_data=(X[test], Y[test]))
    assert clf.n_iter_ < 200
    assert clf.score(X[test], Y[test]) == clf.best_validation_score_ == max(clf.validation_scores_)
    weights = np.linspace(0.5, 2, len(Y[test]))
    weighted = MLPClassifier(**options).fit(X[train], Y[train], validation_data=(X[test], Y[test], weights))
    assert weighted.score(X[test], Y[test], sample_weight=weights) == pytest.approx(weighted.best_validation_score_)
    reg = MLPRegressor(**options).fit(Z[train], NUMBERS[train], validation_data=(Z[test], NUMBERS[test]))
    assert reg.score(Z[test], NUMBERS[test]) == pytest.approx(reg.best_validation_score_)
    with pytest.raises(ValueError, match=r"validation_data must be \(X, y\)"):
        MLPClassifier().fit(X, Y, validation_data=X)
    with pytest.raises(ValueError, match="classes that the training data lacks"):
        MLPClassifier(max_iter=1).fit(X[:100], Y[:100], validation_data=(X, Y))


def test_scoring_is_what_early_stopping_goes_by():
    pd = pytest.importorskip("pandas")
    options = FEW | {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 30, "max_iter": 30}
    clf = MLPClassifier(**options | {"scoring": "neg_log_loss"})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "X does not have valid feature names")
        clf.fit(pd.DataFrame(X, columns=list("abcd")), Y)
    np.testing.assert_allclose(-np.array(clf.validation_scores_), clf.validation_loss_curve_, rtol=1e-9)
    assert clf.best_validation_score_ == max(clf.validation_scores_)
    names = np.array(["u", "v", "w"])
    clf = MLPClassifier(**options | {"scoring": lambda estimator, X, y: float((estimator.predict(X) == y).mean())})
    default = MLPClassifier(**options).fit(X, names[Y])
    assert clf.fit(X, names[Y]).validation_scores_ == default.validation_scores_
    with pytest.raises(ValueError, match="'accurracy'"):
        MLPClassifier(**options | {"scoring": "accurracy"}).fit(X, Y)
    with pytest.raises(ValueError, match="pass scoring="):
        MLPRegressor(loss=fm.QuantileLoss([0.1, 0.9]), early_stopping=True).fit(Z, NUMBERS)


def test_callbacks_hear_of_each_epoch_and_may_stop():
    heard = []

    def hear(epoch, history):
        heard.append((epoch, history.loss[-1], history.last("validation_loss")))
        return epoch == 4

    clf = MLPClassifier(**FEW | {"callbacks": hear}).fit(X, Y, validation_data=(X, Y))
    assert [epoch for epoch, *_ in heard] == [0, 1, 2, 3, 4]
    assert clf.n_iter_ == 5
    assert [loss for *_, loss in heard] == clf.validation_loss_curve_
    assert clf.history_.loss == [loss for _, loss, _ in heard]
    with pytest.raises(ValueError, match="'callbacks' parameter"):
        MLPClassifier(callbacks=3).fit(X, Y)


def test_dtype_is_that_of_the_parameters():
    for dtype in ("float32", np.float64):
        clf = MLPClassifier(**FEW | {"dtype": dtype}).fit(X, Y)
        assert all(coef.dtype == dtype for coef in clf.coefs_)
        assert clf.predict_proba(X).dtype == dtype
        assert clf.score(X, Y) > 0.8
    with pytest.raises(ValueError, match="dtype must be float32 or float64; got 'int8'"):
        MLPClassifier(dtype="int8").fit(X, Y)


def test_a_loss_in_python_trains_too():
    class Squared(fm.Criterion):
        def forward(self, out, y, sample_weight=None):
            self.d = out - y
            return float((self.d**2).mean())

        def backward(self):
            return 2 * self.d / self.d.size

    with pytest.warns(UserWarning, match="Squared runs in Python"):
        slow = MLPRegressor(**FEW | {"loss": Squared()}).fit(Z, NUMBERS)
    fast = MLPRegressor(**FEW | {"loss": fm.MSELoss()}).fit(Z, NUMBERS)
    np.testing.assert_allclose(slow.coefs_[0], fast.coefs_[0], rtol=1e-9)


def test_interrupted_training_keeps_what_it_has():
    def interrupt(epoch, history):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = MLPClassifier(**FEW | {"callbacks": interrupt}).fit(X, Y)
    assert clf.n_iter_ == 3
    assert clf.predict(X).shape == (150,)


def test_verbose_prints_scikit_learns_lines(capsys):
    MLPClassifier(**FEW | {"verbose": True, "max_iter": 2, "early_stopping": True}).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = 1.")
    assert lines[1].startswith("Validation score: 0.")
    MLPClassifier(**FEW | {"verbose": True, "solver": "sgd", "learning_rate": "adaptive", "tol": 9.0, "max_iter": 200}).fit(
        X, Y
    )
    out = capsys.readouterr().out
    assert (
        "Training loss did not improve more than tol=9.000000 for 10 consecutive epochs. Setting learning rate to 0.004" in out
    )
    assert out.rstrip().endswith("Learning rate too small. Stopping.")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="could not convert string to float"):
        MLPClassifier().fit([["a"], ["b"]], [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier().fit([[1.0], [np.nan]], [0, 1])
    clf = MLPClassifier(**FEW).fit(X, Y)
    for wrong, message in ((X[:, :3], "3 features"), (X[0], "2D array"), (np.full((2, 4), np.inf), "infinity")):
        with pytest.raises(ValueError, match=message):
            clf.predict(wrong)
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        MLPClassifier(hidden_layer_sizes=(5, 0)).fit(X, Y)
    other, labels = make_classification(30, 6, n_classes=3, n_informative=4, random_state=0)
    clf.set_params(warm_start=True).n_features_in_ = 6
    with pytest.raises(ValueError, match="the network has 4 inputs and 3 outputs, the data 6 and 3"):
        clf.fit(other, labels)


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_few_rows_one_class_and_constant_columns_are_as_in_scikit_learn():
    constant = np.column_stack([X[:, :2], np.full(len(X), 3.0)])
    cases = (
        ("MLPClassifier", X[:50], Y[:50]),  # one class
        ("MLPClassifier", constant, Y),
        ("MLPClassifier", X[[0, 60]], [0, 1]),
        ("MLPRegressor", X[:2], [0.0, 1.0]),
        ("MLPRegressor", X[:1], [2.0]),
        ("MLPRegressor", constant, np.full(len(X), 2.0)),
    )
    for name, rows, targets in cases:
        their = getattr(neural_network, name)(**FEW).fit(rows, targets)
        our = getattr(fastmlp.sklearn, name)(**FEW).fit(rows, targets)
        np.testing.assert_allclose(our.coefs_[0], their.coefs_[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(our.predict(rows), their.predict(rows), rtol=1e-6)


@jit_only
def test_compiled_has_the_scaler_and_the_last_activation_in_it():
    raw = X * [3, 1, 0.2, 5] + [100, -3, 0, 7]
    two = Y[:100] == 1
    counts = np.abs(Z[:, 0].round())
    cases = (
        (MLPClassifier(**FEW), raw, Y, "predict_proba"),
        (MLPClassifier(**FEW, dropout=0.3), raw[:100], two, "predict_proba"),
        (MLPRegressor(**FEW), Z * 9 + 4, NUMBERS, "predict"),
        (MLPRegressor(**FEW, loss="poisson"), Z * 9 + 4, counts, "predict"),
    )
    for estimator, inputs, targets, method in cases:
        for scaler in (
            StandardScaler(),
            MinMaxScaler((-1, 2)),
            RobustScaler(),
            make_pipeline(MaxAbsScaler(), StandardScaler()),
        ):
            pipeline = make_pipeline(scaler, estimator).fit(inputs, targets)
            expected = getattr(pipeline, method)(inputs)
            expected = expected[:, None] if expected.ndim == 1 else expected[:, -estimator.n_outputs_ :]
            net = pipeline[-1].compiled(pipeline[:-1])
            np.testing.assert_allclose(net.predict(inputs), expected, rtol=1e-7, atol=1e-12)
        plain = estimator.compiled()
        expected = getattr(estimator, method)(inputs)
        expected = expected[:, None] if expected.ndim == 1 else expected[:, -estimator.n_outputs_ :]
        np.testing.assert_allclose(plain.predict(inputs), expected, rtol=1e-9, atol=1e-300)
    before = plain.predict(inputs)
    estimator.coefs_[0][:] = 0  # it is a copy
    np.testing.assert_array_equal(plain.predict(inputs), before)
    with pytest.raises(ValueError, match=r"affine in each feature.*PowerTransformer is not"):
        estimator.compiled(PowerTransformer().fit(inputs))
    with pytest.raises(ValueError, match="must give 6 features, as it takes; it gives 2"):
        estimator.compiled(PCA(2).fit(inputs))
    with pytest.raises(NotFittedError):
        MLPClassifier().compiled()
