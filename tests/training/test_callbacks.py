"""Callbacks: when they are called, what they see, how they end training; and what they cost where they do nothing."""

from __future__ import annotations

import csv
import pickle
import sys
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net, small

import fastmlp as fm
from fastmlp.training.compiled import CompiledRun


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class Notes(fm.Callback):
    """Writes down what is called."""

    def __init__(self, every=None):
        self.every, self.calls, self.parameters = every, [], []

    def on_begin(self):
        self.calls.append("begin")
        assert self.training.columns[0] == "loss"

    def on_epoch_end(self, epoch, history):
        assert history is self.training.history
        self.calls.append(epoch)
        self.parameters.append(flat(self.training.model))

    def on_steps(self, step, history):
        self.calls.append(f"step {step}")
        self.parameters.append(flat(self.training.model))

    def on_end(self, history):
        self.calls.append("end")

    def on_failure(self, error, history):
        self.calls.append(type(error).__name__)


def built(*, python=False, norm=False, dtype=np.float32, lr=0.1):
    model = make_net([3, 9, 4], dtype=dtype)
    if python or norm:
        model = fm.Sequential(model, Same() if python else fm.BatchNorm1d(4), dtype=dtype)
    return model, fm.SGD(model.parameters(), lr=lr, momentum=0.9)


def trained(callbacks=(), *, python=False, norm=False, dtype=np.float32, lr=0.1, **keywords):
    """Six steps an epoch."""
    X, y = make_data(21, 3, 4, dtype=dtype)
    model, optimizer = built(python=python, norm=norm, dtype=dtype, lr=lr)
    keywords = {"epochs": 4, "batch_size": 4, "rng": 0, "drop_last": norm} | keywords
    history = quiet_fit(model, fm.CrossEntropyLoss(), optimizer, X, y, callbacks=callbacks, **keywords)
    return model, optimizer, history


def quiet_fit(*arguments, **keywords):
    """`fit` without the warning about a module in Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.fit(*arguments, **keywords)


@pytest.mark.parametrize("threads", [1, 2])
def test_callbacks_see_the_model_after_each_epoch(threads, dtype):
    """As calls of one epoch, two, three leave it; they change nothing, on the engine and in Python."""
    for python in (False, True):
        notes = Notes()
        model, _, history = trained(notes, python=python, dtype=dtype, threads=threads)
        assert notes.calls == ["begin", 0, 1, 2, 3, "end"]
        assert notes.training is None
        assert_same_bits(flat(model), flat(trained(dtype=dtype)[0]))
        for epoch, seen in enumerate(notes.parameters):
            assert_same_bits(seen, flat(trained(dtype=dtype, epochs=epoch + 1)[0]))
        assert history.loss == trained(dtype=dtype)[2].loss


def test_callbacks_every_so_many_steps(dtype):
    for python in (False, True):
        notes = Notes(every=4)
        model, optimizer, _ = trained(notes, python=python, dtype=dtype)
        steps = [4, 0, 8, 12, 1, 16, 2, 20, 24, 3]
        order = ["begin", "step 4", 0, "step 8", 1, "step 12", "step 16", 2, "step 20", 3, "step 24", "end"]
        assert notes.calls == order, steps
        assert_same_bits(flat(model), flat(trained(dtype=dtype)[0]))
        assert optimizer.steps == 24
        stopping = Notes(every=5)
        stopping.on_steps = lambda step, history: True
        _, optimizer, history = trained(stopping, python=python, dtype=dtype)
        assert (optimizer.steps, history.epochs, history.stopped) == (5, 0, "Notes")


def test_steps_of_the_users_own_are_counted():
    class Plain(fm.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)

        def step(self):
            for parameter in self.params:
                parameter.data = parameter.data - self.lr * parameter.grad

    notes, model = Notes(every=4), make_net([3, 9, 4])
    optimizer = Plain(model.parameters())
    quiet_fit(model, fm.CrossEntropyLoss(), optimizer, *make_data(21, 3, 4), epochs=2, batch_size=4, callbacks=notes)
    assert optimizer.steps == 12
    assert notes.calls == ["begin", "step 4", 0, "step 8", 1, "step 12", "end"]


def test_a_function_that_returns_true_ends_training():
    seen = []

    def callback(epoch, history):
        seen.append((epoch, len(history.loss)))
        return np.True_ if epoch == 1 else None

    for given in (callback, [callback], [fm.LambdaCallback(on_epoch_end=callback)]):
        seen.clear()
        _, optimizer, history = trained(given)
        assert seen == [(0, 1), (1, 2)]
        assert (history.epochs, history.stopped, optimizer.steps) == (2, "LambdaCallback", 12)
    said = []
    callback = fm.LambdaCallback(lambda: said.append("begin"), on_end=lambda history: said.append(history.epochs))
    trained(callback)
    assert said == ["begin", 4]


def test_callbacks_that_do_nothing_leave_training_in_calls_of_many_epochs(monkeypatch):
    calls, advance = [], CompiledRun.advance

    def counting(run, *arguments):
        calls.append(arguments)
        advance(run, *arguments)

    monkeypatch.setattr(CompiledRun, "advance", counting)
    monkeypatch.setattr("fastmlp.training.compiled.SLICE_SECONDS", 60)
    for callbacks, most in (((), 9), ([fm.Callback(), fm.LambdaCallback(on_end=print)], 9), (lambda *_: None, 200)):
        calls.clear()
        trained(callbacks, epochs=small(200, 20), progress=False)
        assert len(calls) <= most


def test_early_stopping_brings_the_best_network_back(dtype):
    """Buffers and counts too; on the engine and in Python."""
    held_out = make_data(9, 3, 4, dtype=dtype, rng=1)
    for python, norm in ((False, True), (True, False)):
        keywords = {"python": python, "norm": norm, "dtype": dtype, "validation": held_out, "lr": 0.5}
        for monitor, pick in (("validation_loss", np.argmin), ("validation_accuracy", np.argmax)):
            stop = fm.EarlyStopping(monitor, patience=3)
            model, _, history = trained(stop, metrics="accuracy", epochs=60, **keywords)
            best = int(pick(history[monitor]))
            assert (stop.best_epoch, stop.best) == (best, history[monitor][best])
            assert history.epochs == best + 4 < 60
            assert history.stopped == "EarlyStopping"
            twin, _, _ = trained(epochs=best + 1, **keywords)
            assert_same_bits(flat(model), flat(twin))
            states = model.state_dict(), twin.state_dict()
            assert all((states[0][name] == states[1][name]).all() for name in states[1])
            last, _, _ = trained(
                fm.EarlyStopping(monitor, patience=3, restore_best=False), metrics="accuracy", epochs=60, **keywords
            )
            assert_same_bits(flat(last), flat(trained(epochs=best + 4, **keywords)[0]))
    stop = fm.EarlyStopping("loss", patience=1, min_delta=100, start_from_epoch=3)
    assert trained(stop, epochs=9)[2].epochs == 5
    assert stop.best_epoch == 3
    assert trained(stop, epochs=9)[2].epochs == 5, "it begins anew"
    stop = fm.EarlyStopping("f", patience=2, mode="max")
    assert trained(stop, epochs=9, metrics=[("f", lambda y, out: float("nan"))])[2].epochs == 2


def test_a_run_to_its_last_epoch_brings_the_best_back_too():
    numbers = iter([3.0, 1.0, 2.0, 5.0])
    stop = fm.EarlyStopping("f", mode="min")
    model, _, history = trained(stop, metrics=[("f", lambda y, out: next(numbers))])
    assert (history.epochs, history.stopped, stop.best_epoch) == (4, "", 1)
    assert_same_bits(flat(model), flat(trained(epochs=2)[0]))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_what_ends_training_leaves_the_last_finished_step_and_carries_the_history(error, dtype):
    def failing(epoch, history):
        if epoch == 2:
            raise error

    for python in (False, True):
        notes = Notes()
        X, y = make_data(21, 3, 4, dtype=dtype)
        model, optimizer = built(python=python, dtype=dtype)
        keywords = {"epochs": 9, "batch_size": 4, "rng": 0, "validation": (X, y)}
        stop = fm.EarlyStopping()
        with pytest.raises(error) as caught:
            quiet_fit(model, fm.CrossEntropyLoss(), optimizer, X, y, callbacks=[notes, stop, failing], **keywords)
        history = caught.value.history
        assert notes.calls == ["begin", 0, 1, 2, error.__name__]
        assert history.epochs == len(history.validation_loss) == 3
        assert (optimizer.steps, optimizer.epochs) == (18, 3)
        assert history.interrupted == (error is KeyboardInterrupt)
        assert_same_bits(flat(model), flat(trained(epochs=3, dtype=dtype)[0]))
        assert stop._kept is None
        assert notes.training is None


def test_a_callback_may_change_the_rate():
    def halve(epoch, history):
        optimizer.lr /= 2

    X, y = make_data(21, 3, 4)
    model, optimizer = built()
    history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=4, rng=0, callbacks=halve)
    assert history.rate == [0.1, 0.05, 0.025]


def test_csv_logger_writes_a_line_after_each_epoch(tmp_path):
    path, sizes = tmp_path / "history.csv", []
    look = lambda epoch, history: sizes.append(len(path.read_text().splitlines()))  # noqa: E731
    _, _, history = trained([fm.CSVLogger(path), look], metrics="accuracy", validation=0.3)
    assert sizes == [2, 3, 4, 5]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "loss", "validation_loss", "rate", "seconds", "validation_accuracy"]
    for name in history:
        assert [float(row[name]) for row in rows] == getattr(history, name)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    trained(fm.CSVLogger(path, append=True), metrics="accuracy", validation=0.3)
    assert len(path.read_text().splitlines()) == 9
    trained(fm.CSVLogger(path), epochs=1)
    assert len(path.read_text().splitlines()) == 2
    with pytest.raises(OSError, match="no"):
        trained(fm.CSVLogger(tmp_path / "no" / "history.csv"))


def test_tensorboard_gets_each_column(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    trained(fm.TensorBoard(tmp_path / "runs"), validation=0.3)
    (file,) = (tmp_path / "runs").iterdir()
    content = file.read_bytes()
    assert all(content.count(name) >= 4 for name in (b"validation_loss", b"rate", b"seconds"))


def test_tensorboard_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"TensorBoard needs tensorboardX: pip install .fastmlp\[tensorboard\]"):
        trained(fm.TensorBoard(tmp_path))


def test_checkpoints_are_what_training_goes_on_from(tmp_path, dtype):
    path = tmp_path / "epoch{epoch}.safetensors"
    whole, _, history = trained(fm.ModelCheckpoint(path), dtype=dtype)
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"epoch{i}.safetensors" for i in (1, 2, 3, 4)]
    X, y = make_data(21, 3, 4, dtype=dtype)
    model, optimizer, _, first = fm.load_checkpoint(tmp_path / "epoch2.safetensors")
    second = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=4)
    assert_same_bits(flat(model), flat(whole))
    assert first.loss + second.loss == history.loss
    best = tmp_path / "best.safetensors"
    numbers = iter([3.0, 1.0, 2.0, 0.5, 7.0])
    saver = fm.ModelCheckpoint(best, "f", save_best_only=True, mode="min")
    trained(saver, epochs=5, dtype=dtype, metrics=[("f", lambda y, out: next(numbers))])
    assert (saver.best, saver.best_epoch) == (0.5, 3)
    assert_same_bits(flat(fm.load(best)), flat(trained(epochs=4, dtype=dtype)[0]))
    with pytest.raises(OSError, match="nowhere") as caught:
        trained(fm.ModelCheckpoint(tmp_path / "nowhere" / "file"), dtype=dtype)
    assert caught.value.history.epochs == 1


def test_checkpoints_of_steps_are_what_training_goes_on_from(tmp_path, dtype):
    """In the middle of an epoch: after 14 steps of 6 an epoch the run is lost."""
    path = tmp_path / "last.safetensors"

    def fail(epoch, history):
        if epoch == 2:
            raise ZeroDivisionError

    whole, _, history = trained(dtype=dtype)
    with pytest.raises(ZeroDivisionError):
        trained([fm.ModelCheckpoint(path, every=7), fail], dtype=dtype)
    model, optimizer, _, first = fm.load_checkpoint(path)
    assert (optimizer.steps, optimizer.epochs) == (14, 2)
    X, y = make_data(21, 3, 4, dtype=dtype)
    second = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=4)
    assert_same_bits(flat(model), flat(whole))
    assert first.loss + second.loss == history.loss
    with pytest.raises(ValueError, match="save_best_only goes by epochs, every by steps"):
        fm.ModelCheckpoint(path, save_best_only=True, every=7)


def test_optuna_prunes_by_a_function():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        def prune(epoch, history):
            trial.report(history.validation_loss[-1], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        rate = trial.suggest_float("lr", 1e-6, 1.0, log=True)
        return min(trained(prune, lr=rate, epochs=9, validation=0.3)[2].validation_loss)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(2))
    study.optimize(objective, n_trials=12)
    states = [trial.state.name for trial in study.trials]
    assert {"COMPLETE", "PRUNED"} == set(states)


def test_callbacks_survive_pickle():
    for callback in (fm.EarlyStopping(patience=3), fm.CSVLogger("a.csv"), fm.TensorBoard("runs"), fm.ModelCheckpoint("a")):
        twin = pickle.loads(pickle.dumps(callback))
        assert vars(twin) | {"training": None, "_file": None} == vars(callback) | {"training": None, "_file": None}


@pytest.mark.once
def test_what_is_no_callback_is_refused():
    for wrong, message in (
        (3, r"callbacks must be Callbacks, or functions f\(epoch, history\) -> stop; got 3"),
        ([3], "a callback must be a Callback or a function"),
        (fm.EarlyStopping, r"got the class: make one, EarlyStopping\(...\)"),
        ([Notes(every="3")], "every of Notes must be a whole number; got '3'"),
    ):
        with pytest.raises(TypeError, match=message):
            trained(wrong)
    notes = Notes()
    with pytest.raises(ValueError, match="a callback is listed twice"):
        trained([notes, notes])
    with pytest.raises(
        ValueError, match="monitors 'validation_loss', which this training does not have: pass validation=; it has"
    ):
        trained(fm.EarlyStopping())
    with pytest.raises(
        ValueError, match="monitors 'accuracy', which this training does not have; it has loss, validation_loss"
    ):
        trained(fm.EarlyStopping("accuracy"), validation=0.3)
    for arguments, error, message in (
        ({"monitor": "f1"}, ValueError, 'better is not known: pass mode="min" or "max"'),
        ({"monitor": 3}, TypeError, "monitor must be the name of a column"),
        ({"mode": "up"}, ValueError, 'mode must be "auto", "min" or "max"'),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"min_delta": -1}, ValueError, "min_delta must be at least 0"),
        ({"start_from_epoch": -1}, ValueError, "start_from_epoch must be at least 0"),
        ({"restore_best": "no"}, TypeError, "restore_best must be True or False"),
    ):
        with pytest.raises(error, match=message):
            fm.EarlyStopping(**arguments)
    for make in (fm.CSVLogger, fm.TensorBoard, fm.ModelCheckpoint):
        with pytest.raises(TypeError, match=r"must be a path; got 3"):
            make(3)
    with pytest.raises(TypeError, match="on_end must be a function; got 3"):
        fm.LambdaCallback(on_end=3)
