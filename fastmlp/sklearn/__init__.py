"""Estimators for scikit-learn; needs the extra ``sklearn``. Importing fastmlp alone does not import scikit-learn."""

try:
    import sklearn as _sklearn  # noqa: F401 (only whether it is there)
except ImportError:
    raise ImportError('fastmlp.sklearn needs scikit-learn: pip install "fastmlp[sklearn]"') from None

from fastmlp.sklearn.classifier import MLPClassifier
from fastmlp.sklearn.onnx import register_skl2onnx
from fastmlp.sklearn.regressor import MLPRegressor
from fastmlp.sklearn.tabular_classifier import TabularClassifier
from fastmlp.sklearn.tabular_regressor import TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "register_skl2onnx"]
