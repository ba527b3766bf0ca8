"""The README's programs run as they stand, one after the other."""

import re
import warnings
from pathlib import Path

import numpy as np
from helpers import jit_only

import fastmlp as fm

TEXT = (Path(__file__).parents[2] / "README.md").read_text()


@jit_only
def test_programs_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "777 parameters" in capsys.readouterr().out
    X, y = names["X"], names["X"][:, :1]
    model = fm.Sequential(fm.Linear(2, 9, rng=0), names["bump"], fm.Linear(9, 1, rng=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing runs in Python
        history = fm.fit(model, names["log_cosh"], fm.Adam(model.parameters(), lr=0.01), X, y, epochs=20, rng=0)
    assert history.loss[-1] < 0.2 * history.loss[0]
    d = np.abs(model.predict(X) - y)
    assert np.isclose(names["log_cosh"](model.predict(X), y), np.log(np.cosh(d)).mean(), rtol=1e-3)
