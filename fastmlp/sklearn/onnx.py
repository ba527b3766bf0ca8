"""The MLPs for skl2onnx, by its own converters of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import is_classifier

from fastmlp.sklearn.classifier import MLPClassifier
from fastmlp.sklearn.regressor import MLPRegressor

__all__ = ["register_skl2onnx"]

#: What scikit-learn's has too.
ACTIVATIONS = ("identity", "logistic", "relu", "tanh")


def register_skl2onnx() -> None:
    """Have skl2onnx convert `MLPClassifier` and `MLPRegressor`, in pipelines and searches too, as it does scikit-learn's.

    Call it once, before ``skl2onnx.to_onnx``. What scikit-learn's MLP lacks is refused with a ValueError when it is converted:
    other activations, losses whose outputs are no probabilities or no plain numbers, several outputs of a regressor. Dropout
    does nothing in predictions, so it does not matter.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastmlp.sklearn import MLPClassifier, register_skl2onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, tol=1e4)).fit(X, y)
    >>> register_skl2onnx()
    >>> import skl2onnx
    >>> file = skl2onnx.to_onnx(pipeline, X[:1].astype("float32"), options={"zipmap": False}).SerializeToString()
    """
    try:
        from skl2onnx import update_registered_converter
        from skl2onnx.common import shape_calculator as shapes
        from skl2onnx.operator_converters import multilayer_perceptron as converters
    except ImportError:
        raise ImportError('register_skl2onnx needs skl2onnx: pip install "fastmlp[onnx]"') from None
    update_registered_converter(
        MLPClassifier,
        "FastmlpMLPClassifier",
        shapes.calculate_linear_classifier_output_shapes,
        _checked(converters.convert_sklearn_mlp_classifier),
        options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]},
    )
    update_registered_converter(
        MLPRegressor,
        "FastmlpMLPRegressor",
        shapes.calculate_linear_regressor_output_shapes,
        _checked(converters.convert_sklearn_mlp_regressor),
    )


def _checked(convert: Callable[..., None]) -> Callable[..., None]:
    """A converter that refuses what it would convert wrongly, or not at all."""

    def converter(scope: Any, operator: Any, container: Any) -> None:
        estimator = operator.raw_operator
        estimator._network()  # what has been assigned to coefs_
        if estimator.activation not in ACTIVATIONS:
            raise ValueError(f"skl2onnx converts the activations {', '.join(ACTIVATIONS)}; got {estimator.activation!r}")
        if is_classifier(estimator):
            several = len(estimator.classes_) > 2 and not estimator._is_multilabel()
            right = estimator.out_activation_ == ("softmax" if several else "logistic")
        else:
            right = estimator.out_activation_ == "identity" and estimator.n_outputs_ == 1
        if not right:
            raise ValueError(
                f"skl2onnx converts outputs as scikit-learn's MLP has them: the probabilities of log_loss, or one number; got "
                f"loss={estimator.loss!r} with {estimator.n_outputs_} outputs"
            )
        convert(scope, operator, container)

    return converter
