"""The code in docs/saving.md runs, and the error that it shows is raised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import make_data, make_net

import fastmlp as fm

TEXT = (Path(__file__).parents[2] / "docs/saving.md").read_text()


@pytest.mark.once
def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = make_data(30, 2, 2)
    model, criterion = make_net([2, 3, 2]), fm.CrossEntropyLoss()
    optimizer = fm.Adam(model.parameters())
    schedule = fm.StepLR(optimizer, 10)
    history = fm.fit(model, criterion, optimizer, X, y, epochs=20, schedule=schedule, rng=0, progress=False)
    names = {"fm": fm, "model": model, "criterion": criterion, "optimizer": optimizer, "schedule": schedule}
    names |= {"history": history, "X": X, "y": y}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        if "torch" not in block:  # that one: tests/saving/test_tensors.py
            here = dict(names)
            exec(block, here)
            if "load_checkpoint" in block:
                assert here["optimizer"].steps == 2 * optimizer.steps
    with pytest.raises(fm.LoadError) as caught:
        fm.load("gated.safetensors")
    assert str(caught.value) in TEXT.splitlines()
