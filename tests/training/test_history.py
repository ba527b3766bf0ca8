from __future__ import annotations

import copy
import json
import pickle
import sys

import numpy as np
import pytest

import fastmlp as fm

pytestmark = pytest.mark.once


def example():
    return fm.History([0.5, 0.25], [0.75], [0.1, 0.2], [1.0, 0.5], validation_accuracy=[0.5, float("nan")], first_epoch=3)


def test_history_is_empty_at_first():
    first, second = fm.History(), fm.History()
    assert first == second == fm.History([], [], [], [], interrupted=False)
    first.loss.append(1.0)
    assert second.loss == []
    assert first != second
    assert (second.epochs, list(second), repr(second)) == (0, ["loss"], "History(0 epochs)")


def test_columns_are_lists_by_attribute_and_arrays_by_name():
    history = example()
    assert history.loss == [0.5, 0.25]
    assert history.validation_accuracy[0] == 0.5
    assert history["loss"].dtype == np.float64
    np.testing.assert_array_equal(history["validation_accuracy"], [0.5, np.nan])
    assert list(history) == ["loss", "validation_loss", "rate", "seconds", "validation_accuracy"]
    assert "rate" in history
    assert "auc" not in history
    assert list(dict(history)) == list(history)
    assert history.last("loss") == 0.25
    for wrong, error in ((lambda: history["auc"], KeyError), (lambda: history.auc, AttributeError)):
        with pytest.raises(error, match=r"no column 'auc': it has loss, validation_loss"):
            wrong()
    with pytest.raises(KeyError, match="no numbers of 'rate': it has loss"):
        fm.History([1.0]).last("rate")


def test_history_round_trips_through_pickle_copy_and_dict():
    history = example()
    for twin in (
        pickle.loads(pickle.dumps(history)),
        copy.deepcopy(history),
        fm.History(**history.to_dict()),
        fm.History.from_dict(json.loads(history.to_json())),
    ):
        assert twin == history
        assert twin.seconds == history.seconds
        assert twin.first_epoch == 3
    history.to_dict()["loss"].append(1.0)
    assert history == example()


def test_history_compares_all_but_the_seconds():
    other = example()
    other.seconds = [9.0, 9.0]
    assert other == example()
    other.stopped = "max_seconds"
    assert other != example()
    assert (example() == 3) is False


def test_repr_is_one_line(tmp_path):
    history = fm.History(np.arange(1000, 0, -1) / 1000)
    assert repr(history) == "History(1000 epochs: loss 1 -> 0.001)"
    history.stopped, history.interrupted, history.seconds = "EarlyStopping", True, [0.5, 0.25]
    assert repr(history) == "History(1000 epochs: loss 1 -> 0.001, 0.75 s, interrupted, stopped by EarlyStopping)"
    assert repr(fm.History([1])) == "History(1 epoch: loss 1)"


def test_json_is_strict(tmp_path):
    path = tmp_path / "history.json"
    text = example().to_json(path)
    assert path.read_text() == text + "\n"
    assert json.loads(text)["validation_accuracy"] == [0.5, None]
    assert fm.History([float("inf")]).to_json().startswith('{"loss": [null]')


def test_frame_has_a_row_for_each_epoch():
    pandas = pytest.importorskip("pandas")
    frame = example().to_frame()
    assert list(frame.index) == [4, 5]
    assert list(frame.columns) == list(example())
    assert frame["loss"].tolist() == [0.5, 0.25]
    assert frame["validation_loss"].isna().tolist() == [False, True], "a run may end before an epoch is judged"
    assert isinstance(frame, pandas.DataFrame)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="to_frame needs pandas: pip install pandas"):
        example().to_frame()
    with pytest.raises(ImportError, match=r"plot needs matplotlib: pip install .fastmlp\[plot\]"):
        example().plot()


def test_plot_draws_the_losses():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    steep = fm.History([1.0, 0.1, 0.001], [1.0, 0.2, 0.1])
    ax = steep.plot()
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    np.testing.assert_array_equal(ax.lines[0].get_data(), [[1, 2, 3], [1.0, 0.1, 0.001]])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "log")
    _, own = pyplot.subplots()
    assert example().plot("loss", ax=own) is own
    assert (own.get_yscale(), own.get_legend()) == ("linear", None)
    assert own.lines[0].get_xdata().tolist() == [4, 5]
    with pytest.raises(KeyError, match="no column 'auc'"):
        steep.plot("auc")
    for empty in (fm.History(), fm.History([float("nan")])):
        empty.plot()
    pyplot.close("all")


def test_error_carries_epoch_and_history():
    history = fm.History([0.5])
    error = fm.NonFiniteLossError("text", 1, history)
    assert (str(error), error.epoch) == ("text", 1)
    assert error.history is history


def test_error_round_trips_through_pickle():
    """As it does on its way out of a process pool."""
    error = pickle.loads(pickle.dumps(fm.NonFiniteLossError("text", 1, fm.History([0.5]))))
    assert (str(error), error.epoch, error.history.loss) == ("text", 1, [0.5])
