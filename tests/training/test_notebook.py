"""Progress in the kernel of a notebook, with widgets and without them."""

from __future__ import annotations

import warnings

import pytest

pytestmark = pytest.mark.once
for package in ("nbclient", "ipykernel", "ipywidgets", "tqdm"):
    pytest.importorskip(package)

BEGIN = """
import sys
sys.modules["ipywidgets"] = None  # not installed
import fastmlp as fm
X, y = fm.datasets.make_disc(2000, rng=0)
model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.ReLU(), fm.Linear(9, 2, rng=1))
def train(**how):
    return fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters()), X, y, epochs=4, validation=0.1, rng=0, **how)
train(progress=False);
"""

WITH_WIDGETS = """
del sys.modules["ipywidgets"]
for name in [name for name in sys.modules if name.startswith("tqdm")]:
    del sys.modules[name]
"""


@pytest.fixture(scope="module")
def outputs():
    """What each cell gives."""
    import nbclient
    import nbformat

    training = ["train()", "train(progress=True);", "train(progress='log');"]
    programs = [BEGIN, *training, WITH_WIDGETS, *training[:2]]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(program) for program in programs])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Jupyter
        nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def texts(cell):
    """What a person sees in a file, or on a page, where no widgets are alive; nothing is red."""
    assert all(output.name == "stdout" for output in cell if output.output_type == "stream")
    return [output.text if output.output_type == "stream" else output.data["text/plain"] for output in cell]


def test_a_notebook_has_a_bar_that_goes_and_one_that_stays_with_widgets_and_without(outputs):
    _, shown, kept, log, _, shown_by_widgets, kept_by_widgets = outputs
    for cell in (shown, shown_by_widgets):
        gone, history = texts(cell)
        assert gone == ""
        assert history.startswith("History(4 epochs: loss 0.")
    for cell in (kept, kept_by_widgets):
        (end,) = texts(cell)
        assert end.startswith("epoch 4/4, loss 0.")
        assert end.endswith(" samples/s")
    lines = "".join(texts(log)).splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch 1/4", "epoch 2/4", "epoch 3/4", "epoch 4/4"]


def test_a_history_is_one_line_in_a_notebook(outputs):
    results = [output for cell in outputs for output in cell if output.output_type == "execute_result"]
    assert len(results) == 2
    for result in results:
        assert set(result.data) == {"text/plain"}
        assert "\n" not in result.data["text/plain"]
