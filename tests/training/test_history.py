from __future__ import annotations

import pickle

import fastmlp as fm


def test_history_is_empty_at_first():
    first, second = fm.History(), fm.History()
    assert first == second == fm.History([], [], 0.0, False)
    first.loss.append(1.0)
    assert second.loss == []


def test_history_round_trips_through_pickle():
    history = fm.History([0.5, 0.25], [0.75], 1.5, True)
    assert pickle.loads(pickle.dumps(history)) == history


def test_error_carries_epoch_and_history():
    history = fm.History([0.5])
    error = fm.NonFiniteLossError("text", 1, history)
    assert (str(error), error.epoch) == ("text", 1)
    assert error.history is history


def test_error_round_trips_through_pickle():
    """As it does on its way out of a process pool."""
    error = pickle.loads(pickle.dumps(fm.NonFiniteLossError("text", 1, fm.History([0.5]))))
    assert (str(error), error.epoch, error.history.loss) == ("text", 1, [0.5])
