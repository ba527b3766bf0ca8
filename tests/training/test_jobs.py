"""Networks trained by joblib: in other processes, and by Dask."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data

import fastmlp as fm

joblib = pytest.importorskip("joblib")
pytestmark = pytest.mark.once


class Diverges(fm.Callback):
    """Fails in a network whose learning rate says so, with what cannot be pickled."""

    def on_epoch_end(self, epoch, history):
        if self.training.optimizer.lr > 1:
            error = RuntimeError("no more")
            error.held = (number for number in ())
            raise error


def trained(X, y, *, count=5, rates=None, callbacks=None, **how):
    """Networks with everything that a training changes, and all of it."""
    models, optimizers, schedules, stops = [], [], [], []
    for i in range(count):
        parts = fm.Linear(3, 9, rng=i), fm.BatchNorm1d(9), fm.ReLU(), fm.Dropout(0.2, rng=i), fm.Linear(9, 4, rng=i)
        models.append(fm.Sequential(*parts))
        optimizers.append(fm.Adam(models[i].parameters(), lr=0.01 if rates is None else rates[i]))
        optimizers[i].average(0.9)
        schedules.append(fm.CosineAnnealingLR(optimizers[i], T_max=9))
        stops.append([fm.EarlyStopping(patience=9), *(callbacks or [])])
    options = {"epochs": 3, "validation": 0.2, "metrics": "accuracy", "rng": 0, "schedule": schedules, "callbacks": stops}
    failure, histories = None, None
    try:
        histories = fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, **options, **how)
    except Exception as error:
        failure = error
    return models, optimizers, schedules, stops, histories, failure


def assert_same(first, second, numbers=range(5)):
    for i in numbers:
        (model, optimizer, schedule, (stop, *_)), (other, *others) = ([kind[i] for kind in run[:4]] for run in (first, second))
        assert_same_bits(flat(model), flat(other))
        assert repr(model.state_dict()) == repr(other.state_dict())
        assert list(model.classes) == list(other.classes)
        assert model.training == other.training
        assert repr(optimizer.state_dict()) == repr(others[0].state_dict())
        assert schedule.state_dict() == others[1].state_dict()
        assert stop.best == others[2][0].best != None  # noqa: E711
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, *data(), epochs=1, schedule=schedule)
        fm.fit(other, fm.CrossEntropyLoss(), others[0], *data(), epochs=1, schedule=others[1])
        assert_same_bits(flat(model), flat(other))  # and both go on alike


def data():
    X, y = make_data(40, 3, 4)
    return X, np.array(["north", "east", "south", "west"])[y]


@pytest.fixture
def two_processes():
    with joblib.parallel_config("loky", n_jobs=2):
        yield
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("two_processes")
def test_processes_give_what_threads_give(capsys):
    """Then with an error, which travels with its history; the others are trained all the same."""
    X, y = data()
    here, there = trained(X, y, backend="threads"), trained(X, y, progress="log")
    assert here[4] == there[4]
    assert_same(here, there)
    said = capsys.readouterr().err
    assert all(f"network {i + 1}/5, loss {history.loss[-1]:.4g}, " in said for i, history in enumerate(there[4]))

    rates = [0.01, 0.01, 1e30, 0.01, 1e30]
    here, there = trained(X, y, rates=rates, backend="threads", threads=1), trained(X, y, rates=rates)
    assert isinstance(there[5], fm.NonFiniteLossError)
    assert str(there[5]) == str(here[5])
    assert there[5].index == here[5].index == 2
    assert there[5].history == here[5].history
    assert "in the process that trained network 2:\nTraceback" in str(there[5].__cause__)
    assert_same(here, there, range(2))
    assert [optimizer.steps > 2 for optimizer in there[1]] == [True, True, False, True, False]

    failure = trained(X, y, rates=[0.01, 2.0, 0.01], count=3, callbacks=[Diverges()])[5]
    assert type(failure) is RuntimeError
    assert str(failure) == "RuntimeError: no more"
    assert failure.index == 1


def test_processes_have_the_limit_of_their_environment():
    """joblib shares the cores between its workers by OMP_NUM_THREADS; a limit of the program that asked is that program's."""
    before = fm.get_num_threads()
    fm.set_num_threads(1)
    try:
        with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=before):
            assert joblib.Parallel()(joblib.delayed(fm.get_num_threads)() for _ in range(2)) == [before] * 2
        with joblib.parallel_config("multiprocessing", n_jobs=2):
            assert joblib.Parallel()(joblib.delayed(fm.get_num_threads)() for _ in range(2)) == [1] * 2, "forked"
    finally:
        fm.set_num_threads(before)
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("two_processes")
def test_processes_share_large_data():
    """Which joblib maps: to a network it is in memory, and its rows are shuffled as a whole."""
    X, y = make_data(400_000, 3, 4)
    X = np.tile(X, (1, 8))
    assert X.nbytes > 2**25
    ends = []
    for backend in ("threads", None):
        models = [fm.Sequential(fm.Linear(24, 4, rng=i)) for i in range(2)]
        optimizers = [fm.SGD(model.parameters(), lr=0.01) for model in models]
        fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, epochs=1, batch_size=1000, rng=0, backend=backend)
        ends.append([flat(model) for model in models])
    assert_same_bits(*ends)


def test_dask_gives_what_threads_give():
    distributed = pytest.importorskip("distributed")
    X, y = data()
    here = trained(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cluster's own
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
        with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
            there = trained(X, y)
    assert here[4] == there[4]
    assert_same(here, there)


def test_threads_are_as_many_as_joblib_says(monkeypatch):
    from fastmlp.training import many

    asked = []
    monkeypatch.setattr(many, "run_together", lambda work, workers, *_, **__: (asked.append(workers), work(0, 1)))
    X, y = data()
    for config, how, workers in (
        ({"n_jobs": 3}, {}, 3),
        ({"backend": "threading", "n_jobs": 2}, {}, 2),
        ({"backend": "threading", "n_jobs": 2}, {"threads": 4}, 4),
        ({"backend": "sequential", "n_jobs": 2}, {}, 1),
        ({"backend": "sequential"}, {}, 1),
        ({"n_jobs": -1}, {}, min(5, joblib.cpu_count())),
        ({"backend": "loky", "n_jobs": 2}, {"backend": "threads", "threads": 5}, 5),
    ):
        with joblib.parallel_config(**config):
            assert trained(X, y, **how)[5] is None
        assert asked.pop() == workers, config
    trained(X, y)
    assert asked.pop() == min(5, many.cores())


def test_joblib_may_be_asked_for_and_missing(monkeypatch):
    X, y = data()
    with joblib.parallel_config("sequential"):
        there = trained(X, y, backend="joblib")
    assert_same(trained(X, y), there)
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert trained(X, y)[5] is None
    failure = trained(X, y, backend="joblib")[5]
    assert isinstance(failure, ImportError)
    assert str(failure) == 'backend="joblib" needs joblib: pip install joblib'
