"""scikit-learn's checks of estimators, and its own tests of its MLP with ours in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import jit_only, run_python

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.sklearn import MLPClassifier, MLPRegressor

ESTIMATORS = [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)]

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]

#: Files of scikit-learn's tests that use its MLP.
USED = [
    "sklearn.neural_network.tests.test_mlp",
    pytest.param("sklearn.ensemble.tests.test_stacking", marks=pytest.mark.slow),
    pytest.param("sklearn.model_selection.tests.test_validation", marks=pytest.mark.slow),
]

PLUGIN = """
import sklearn.neural_network as library
import fastmlp.sklearn as ours

library.MLPClassifier, library.MLPRegressor = ours.MLPClassifier, ours.MLPRegressor
"""


@parametrize_with_checks(ESTIMATORS)
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


@jit_only
@pytest.mark.parametrize("module", USED)
def test_scikit_learns_own_tests_pass(module, tmp_path):
    (tmp_path / "swap_mlp.py").write_text(PLUGIN)
    paths = [str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "swap_mlp", "-p", "no:cacheprovider"]
    command += ["--pyargs", module]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=290, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_without_scikit_learn_the_error_names_the_extra():
    run_python(
        """
import sys
sys.modules["sklearn"] = None
try:
    import fastmlp.sklearn
except ImportError as error:
    assert 'pip install "fastmlp[sklearn]"' in str(error), error
else:
    raise AssertionError("it was imported")
"""
    )
