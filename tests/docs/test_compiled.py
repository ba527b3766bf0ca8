"""The code in docs/compiled.md runs, in order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import JIT, jit_only

TEXT = (Path(__file__).parents[2] / "docs/compiled.md").read_text()


@jit_only
@pytest.mark.once
def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in ("scipy.integrate", "scipy.ndimage", "scipy.optimize"):
        pytest.importorskip(module)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 6
    program = tmp_path / "page.py"  # Numba caches functions that a file has
    program.write_text("\n\n".join(blocks))
    names: dict = {"__name__": "page", "__file__": str(program)}
    exec(compile(program.read_text(), program, "exec"), names)
    assert JIT
    assert np.isfinite(names["out"]).all()
    written = (tmp_path / "policy.c").read_text()
    for line in re.findall(r"^(?:enum { policy|void policy_).*;$", TEXT, re.MULTILINE):
        assert line in written
    u, du, field = np.ones(2), np.empty(2), names["field"]
    pointer = names["right_hand_side"].ctypes.argtypes[1]
    names["right_hand_side"].ctypes(0.0, *(a.ctypes.data_as(pointer) for a in (u, du, field.header)))
    assert np.array_equal(du, field.predict(u))


@pytest.mark.once
def test_signatures_of_c_are_those_of_the_class():
    import fastmlp as fm

    said = " ".join(fm.Predictor.c_function.__doc__.split())
    assert "void f(const void *header, const T *x, T *out, int64_t rows)" in said
    for name in ("forward", "jacobian", "vjp", "jvp"):
        assert re.search(rf"void {name}\(const void \*header, const T \*x, .*int64_t rows\);", TEXT)
