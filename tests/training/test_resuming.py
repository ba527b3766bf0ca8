"""Runs that go on from a checkpoint: bit for bit the run that was never broken off, from any step, whatever ended it."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from helpers import DTYPES, assert_same_bits, flat, make_data, small
from saving.mutants import ACCIDENTS, of_another_description, one_of

import fastmlp as fm
from fastmlp.training import resuming

EPOCHS, STEPS = 4, 6  # in an epoch


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch):
    """A disk that confirms at once: what a crash of the machine leaves is not seen here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class PlainSGD(fm.Optimizer):
    """In Python; its state_dict is the base's."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

    def step(self):
        for parameter in self.params:
            parameter.data = parameter.data - parameter.dtype.type(self.lr) * parameter.grad


class Table(fm.LRScheduler):
    """Rates that end with the run."""

    def __init__(self, optimizer, rates):
        self.rates = rates
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.rates[epoch]


class Killed(BaseException):
    """Ends a run as a kill does, where nothing is written on the way out."""


class Case:
    """A training with all its parts, made anew as by a script that is started again."""

    def __init__(self, dtype, **options):
        self.X, self.y = make_data(21, 3, 4, dtype=dtype)
        self.model = self.network(dtype)
        self.model.reset_parameters(rng=0)
        self.criterion = fm.CrossEntropyLoss()
        self.optimizer, self.schedule = self.rule()
        self.callbacks = self.listeners()
        self.options = {"epochs": EPOCHS, "batch_size": 4, "rng": 0} | self.keywords() | options

    def network(self, dtype):
        return fm.Sequential(fm.Linear(3, 5), fm.Tanh(), fm.Linear(5, 4), dtype=dtype)

    def rule(self):
        return fm.SGD(self.model.parameters(), lr=0.1, momentum=0.9), None

    def listeners(self):
        return []

    def keywords(self):
        return {}

    def data(self):
        return self.X, self.y

    def fit(self, callbacks=(), **options):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* runs in Python, so every step")
            keywords = {"schedule": self.schedule, "callbacks": [*self.callbacks, *callbacks]} | self.options | options
            try:
                self.history = fm.fit(self.model, self.criterion, self.optimizer, *self.data(), **keywords)
            except BaseException as error:
                self.history = getattr(error, "history", None)
                raise
        return self

    def left(self):
        """All that a run leaves, but the seconds."""
        state = self.optimizer.state_dict()
        arrays = {f"model/{name}": array for name, array in self.model.state_dict().items()}
        for i, own in state.pop("state").items():
            arrays |= {f"optimizer/{i}/{name}": array for name, array in own.items()}
        numbers = {"optimizer": state, "schedule": None if self.schedule is None else self.schedule.state_dict()}
        numbers |= {"best": [getattr(callback, "best", None) for callback in self.callbacks]}
        numbers |= {"history": self.history.to_dict() | {"seconds": len(self.history.seconds), "interrupted": None}}
        return arrays, repr(numbers)  # as text, NaN is equal to NaN, and 1.0 is not equal to 1


class Everything(Case):
    """Statistics of batches, dropout, an average, a schedule by steps that moves the momentum, weights, validation."""

    def network(self, dtype):
        return fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.ReLU(), fm.Dropout(0.2), fm.Linear(5, 4), dtype=dtype)

    def rule(self):
        optimizer = fm.Adam(self.model.parameters(), lr=0.1)
        optimizer.average(0.9)
        return optimizer, fm.OneCycleLR(optimizer, max_lr=0.1, epochs=2 * EPOCHS, steps_per_epoch=STEPS)

    def listeners(self):
        return [fm.EarlyStopping("validation_accuracy", patience=3), fm.EarlyStopping(restore_best=False)]

    def keywords(self):
        weights = np.random.default_rng(1).random(21)
        more = {"metrics": "accuracy", "class_weight": "balanced", "sample_weight": weights}
        return more | {"validation": 0.3, "batch_size": 2, "clip_norm": 0.5, "drop_last": True}


class Plateau(Case):
    """A schedule that is told the loss; in order; groups of parameters, one of them frozen."""

    def rule(self):
        groups = [{"params": self.model[0].parameters()}, {"params": self.model[2].parameters(), "lr": 0.3}]
        self.model[0].bias.requires_grad = False
        optimizer = fm.RMSprop(groups, lr=0.5, momentum=0.5)
        return optimizer, fm.ReduceLROnPlateau(optimizer, patience=0, factor=0.7)

    def keywords(self):
        return {"shuffle": False, "clip_value": 0.1}


class Python(Case):
    """Modules and optimizers in Python: each step comes back there. A schedule that ends with the run."""

    def network(self, dtype):
        return fm.Sequential(fm.Linear(3, 5), Same(), fm.Dropout(0.1), fm.BatchNorm1d(5), fm.Linear(5, 4), dtype=dtype)

    def rule(self):
        optimizer = PlainSGD(self.model.parameters())
        return optimizer, Table(optimizer, [0.1, 0.2, 0.15, 0.05])

    def listeners(self):
        return [fm.EarlyStopping("loss", patience=9)]

    def keywords(self):
        return {"drop_last": True, "batch_size": 3}


class Accumulated(Case):
    """Steps of several batches, of which statistics and dropout are each one's; 5 steps an epoch."""

    def network(self, dtype):
        return fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.Dropout(0.2), fm.Linear(5, 4), dtype=dtype)

    def rule(self):
        optimizer = fm.AdamW(self.model.parameters(), lr=0.05)
        schedule = fm.CosineAnnealingLR(optimizer, EPOCHS * 5)
        schedule.interval = "step"
        return optimizer, schedule

    def keywords(self):
        return {"batch_size": 2, "accumulate": 2, "drop_last": True}


class Pieces(Case):
    """Data in pieces, a schedule of several, text for labels."""

    def rule(self):
        optimizer = fm.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        parts = [fm.LinearLR(optimizer, total_iters=2), fm.ExponentialLR(optimizer, 0.9)]
        return optimizer, fm.SequentialLR(optimizer, parts, milestones=[2])

    def data(self):
        return (fm.Chunks(self.X, np.array(["a", "b", "c", "d"])[self.y], chunk_rows=2, buffer_rows=9),)


CASES = [Case, Everything, Plateau, Python, Accumulated, Pieces]


def raising(error, *, step=None, epoch=None):
    """A callback that raises after a step, or an epoch."""

    class Raising(fm.Callback):
        every = None if step is None else 1

        def on_steps(self, number, history):
            if number == step:
                raise error

        def on_epoch_end(self, number, history):
            if number == epoch:
                raise error

    return Raising()


def assert_left_alike(one, other):
    (arrays, numbers), (expected, others) = one.left(), other.left()
    assert numbers == others
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert_same_bits(array, expected[name])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("every", [None, 1, 5])
def test_run_that_is_broken_off_at_any_step_ends_as_the_unbroken_one(case, every, tmp_path, monkeypatch):
    """By a kill, where the last checkpoint counts, or by an exception, on whose way out there is one more."""
    for i, step in enumerate(small((1, 6, 7, 14, 24), (6, 8))):
        dtype = DTYPES[i % 2]
        whole = case(dtype).fit()
        steps = whole.optimizer.steps
        for killed in (True, False):
            if step > steps:  # early stopping
                continue
            how = {"checkpoint": tmp_path / f"{step}{killed}" / "new", "every": every, "resume": True}
            with monkeypatch.context() as patch:
                if killed:
                    patch.setattr(resuming.Checkpoints, "way_out", lambda *_: None)
                with pytest.raises(Killed):
                    case(dtype).fit([raising(Killed(), step=step)], **how)
            assert_left_alike(case(dtype).fit([fm.LambdaCallback()], **how), whole)
            again = case(dtype).fit(**how)  # there is nothing left to do
            assert_left_alike(again, whole)
            assert again.history.seconds == case(dtype).fit(**how).history.seconds


def test_run_with_checkpoints_is_the_run_without(tmp_path):
    for case in CASES:
        assert_left_alike(case(np.float32).fit(checkpoint=tmp_path / case.__name__), case(np.float32).fit())
        assert len(os.listdir(tmp_path / case.__name__)) == 2


def test_more_epochs_go_on(tmp_path):
    """Also where the best network had come back at the end of the first ones; once in objects that are still there."""
    how = {"checkpoint": tmp_path, "resume": True}
    whole = Everything(np.float32).fit(epochs=7)
    first = Everything(np.float32).fit(epochs=2, **how)
    assert first.history.epochs == 2
    assert_left_alike(first, Everything(np.float32).fit(epochs=2))
    first.fit(epochs=3, **how)
    assert_left_alike(Everything(np.float32).fit(epochs=7, **how), whole)
    fewer = Everything(np.float32).fit(epochs=1, **how)
    assert fewer.history.epochs == whole.history.epochs


def test_objects_that_are_still_there_go_on(tmp_path):
    """As in a notebook, after an exception: the rates in force are those of the schedule at its step."""
    for step in (3, 13):
        how = {"checkpoint": tmp_path / str(step), "resume": True, "every": 2}
        for case in (Everything, Plateau):
            broken = case(np.float64)
            how["checkpoint"] /= case.__name__
            with pytest.raises(Killed):
                broken.fit([raising(Killed(), step=step)], **how)
            assert_left_alike(broken.fit(**how), case(np.float64).fit())


@pytest.mark.once
@pytest.mark.parametrize("rng", [None, np.random.default_rng])
def test_seed_is_that_of_the_run(tmp_path, rng):
    """With none the saved one, with a Generator that begins anew the same."""
    seeds = {"rng": None} if rng is None else {"rng": rng(5)}
    first = Case(np.float32)
    with pytest.raises(Killed):
        first.fit([raising(Killed(), step=8)], checkpoint=tmp_path, **seeds)
    second = Case(np.float32).fit(checkpoint=tmp_path, resume=True, **({"rng": None} if rng is None else {"rng": rng(5)}))
    assert second.optimizer._seed == first.optimizer._seed
    unbroken = Case(np.float32)
    unbroken.optimizer._seed, unbroken.optimizer._place = first.optimizer._seed, (9,) * 9
    assert_left_alike(second, unbroken.fit(rng=None))


@pytest.mark.once
def test_run_may_begin_at_an_epoch(tmp_path):
    """With `initial_epoch`, and behind another training with the same optimizer."""

    class Late(Case):
        def rule(self):
            optimizer = fm.SGD(self.model.parameters(), lr=0.1)
            return optimizer, fm.StepLR(optimizer, 2, 0.5)

        def keywords(self):
            return {"initial_epoch": 3, "epochs": 7}

    for step in (1, 6, 9):
        how = {"checkpoint": tmp_path / str(step), "resume": True, "every": 4}
        with pytest.raises(Killed):
            Late(np.float32).fit([raising(Killed(), step=step)], **how)
        late = Late(np.float32).fit(**how)
        assert late.history.first_epoch == 3
        assert_left_alike(late, Late(np.float32).fit())
    with pytest.raises(ValueError, match="initial_epoch is 2, not 3, as in the run of"):
        Late(np.float32).fit(checkpoint=tmp_path / "1", resume=True, initial_epoch=2)
    for broken in (True, False):
        case = Case(np.float32).fit(epochs=2)
        if broken:
            with pytest.raises(Killed):
                case.fit([raising(Killed(), step=12 + 8)], checkpoint=tmp_path / "behind")
            case = Case(np.float32).fit(epochs=2)
            behind = case.fit(checkpoint=tmp_path / "behind", resume=True)
    assert_left_alike(behind, case.fit())
    assert behind.history.first_epoch == 2


@pytest.mark.once
def test_model_that_is_being_trained_is_not_put_elsewhere(tmp_path):
    """Two calls for one model at a time: the second one touches neither the model nor the folder."""
    Case(np.float32).fit(checkpoint=tmp_path, epochs=2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def again(epoch, history):
        with pytest.raises(RuntimeError, match="this model is being trained by another call of fit"):
            fm.fit(case.model, case.criterion, case.optimizer, *case.data(), **case.options, checkpoint=tmp_path, resume=True)

    case = Case(np.float32)
    assert_left_alike(case.fit([again]), Case(np.float32).fit())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


# What is in the folder.


@pytest.mark.once
def test_newest_checkpoints_are_kept_and_sort(tmp_path):
    (tmp_path / "mine.txt").write_text("stays")
    (tmp_path / ".step-000000003.safetensors.0123abcd.part").write_text("left by a kill")
    case = Case(np.float32).fit(checkpoint=tmp_path, every=10)
    assert sorted(os.listdir(tmp_path)) == ["mine.txt", "step-000000020.safetensors", "step-000000024.safetensors"]
    saved = fm.load_checkpoint(tmp_path / "step-000000020.safetensors")
    assert saved.optimizer.steps == 20
    assert saved.history.loss == case.history.loss[:3]
    fm.fit(saved.model, case.criterion, saved.optimizer, case.X, case.y, epochs=1, batch_size=4)
    for one, other in zip(saved.model.parameters(), case.model.parameters()):
        assert_same_bits(one.data, other.data)


@pytest.mark.once
def test_damaged_checkpoint_is_passed_over(tmp_path):
    whole = Case(np.float32).fit(checkpoint=tmp_path)
    first, second = sorted(tmp_path.iterdir())
    for damage in (lambda content: content[:100], lambda content: content[:-3] + b"abc", lambda content: b""):
        kept = second.read_bytes()
        second.write_bytes(damage(kept))
        case = Case(np.float32)
        message = rf"{second.name}: .*; training goes on from the one before, {first.name}"
        with pytest.warns(UserWarning, match=message) as caught:
            case.fit(checkpoint=tmp_path, resume=True)
        assert caught[0].filename == __file__
        assert_left_alike(case, whole)
        assert sorted(tmp_path.iterdir()) == [first, second]
    fm.save(tmp_path / "step-000000099.safetensors", whole.model)  # under a name of ours
    with pytest.warns(UserWarning, match="step-000000099.*it is no checkpoint of fit"):
        Case(np.float32).fit(checkpoint=tmp_path, resume=True, epochs=EPOCHS + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000024.safetensors", "step-000000030.safetensors"]
    for path in tmp_path.iterdir():
        path.write_bytes(b"nothing")
    case = Case(np.float32)
    before = case.model.state_dict()
    with pytest.raises(fm.LoadError, match=r"no checkpoint in .* can be read .*step-000000030.*: remove them to begin anew"):
        case.fit(checkpoint=tmp_path, resume=True)
    for name, array in case.model.state_dict().items():
        assert_same_bits(array, before[name])


@pytest.mark.once
def test_checkpoint_that_is_broken_or_forged_is_refused_or_right(tmp_path):
    """What happens to files, and what somebody does to them, with a check sum that fits."""
    whole = Everything(np.float32).fit()
    with pytest.raises(Killed):
        Everything(np.float32).fit([raising(Killed(), step=17)], checkpoint=tmp_path, every=1000)
    path = max(tmp_path.iterdir())
    content, outcomes = path.read_bytes(), []
    for number in range(150):
        rng = np.random.default_rng(number)
        forged = number % 3 == 0
        mutant = (of_another_description if forged else one_of(rng, ACCIDENTS))(rng, content)
        for left in tmp_path.iterdir():
            left.unlink()
        path.write_bytes(mutant)
        case, error = Everything(np.float32), None
        before = flat(case.model)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other rows
                case.fit(checkpoint=tmp_path, resume=True)
        except ValueError as refused:  # LoadError is one
            error = refused
        outcomes.append((forged, error is None))
        if not forged:
            assert error is None or (isinstance(error, fm.LoadError) and str(path) in str(error)), (number, error)
        if error is None and not forged:
            assert_left_alike(case, whole)
        if isinstance(error, fm.LoadError):
            assert_same_bits(flat(case.model), before)
    assert outcomes.count((False, False)) > 90
    assert outcomes.count((True, False)) > 20
    assert outcomes.count((True, True)) > 0


@pytest.mark.once
def test_folder_of_another_run_is_not_written_to(tmp_path):
    Case(np.float32).fit(checkpoint=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    case = Case(np.float32)
    with pytest.raises(FileExistsError, match="has checkpoints of a run: pass resume=True to go on with it, or another folder"):
        case.fit(checkpoint=tmp_path)
    assert case.optimizer.steps == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.once
def test_bad_arguments_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for options, error, message in (
        ({"resume": True}, ValueError, "resume needs a folder of checkpoints: pass checkpoint=folder, too"),
        ({"every": 3}, ValueError, "every needs a folder of checkpoints"),
        ({"checkpoint": tmp_path, "every": 0}, ValueError, "every must be at least 1; got 0"),
        ({"checkpoint": tmp_path, "resume": "yes"}, TypeError, "resume must be"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a folder; got 3"),
        ({"checkpoint": b"bytes"}, TypeError, "checkpoint must be the path of a folder"),
        ({"checkpoint": tmp_path / "file"}, NotADirectoryError, "checkpoint must be a folder; '.*file' is none"),
    ):
        with pytest.raises(error, match=message):
            Case(np.float32).fit(epochs=1, **options)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.once
def test_another_run_is_refused_before_anything_is_changed(tmp_path):
    """Each with one error that says what differs, and what to do."""
    Everything(np.float32).fit(checkpoint=tmp_path, epochs=2)

    def changed(change, **options):
        case = Everything(np.float32, **options)
        change(case)
        return case

    def rule(make):
        def change(case):
            case.optimizer, case.schedule = make(case)

        return change

    def with_average(optimizer, decay=0.9):
        optimizer.average(decay)
        return optimizer

    def scheduled(case, optimizer, max_lr=0.1, steps=STEPS):
        return optimizer, fm.OneCycleLR(optimizer, max_lr=max_lr, epochs=2 * EPOCHS, steps_per_epoch=steps)

    def adam(case, **options):
        return fm.Adam(case.model.parameters(), **({"lr": 0.1} | options))

    def some(case):
        return fm.Adam(list(case.model.parameters())[:2], lr=0.1)

    def frozen(case):
        case.model[0].bias.requires_grad = False

    def replaced(number, module):
        def change(case):
            case.model[number] = module
            case.optimizer, case.schedule = case.rule()

        return change

    def rows(case):
        case.X, case.y = case.X[:15], case.y[:15]
        case.options |= {"sample_weight": None, "class_weight": None, "batch_size": 2}

    def pair(case):
        case.options["validation"] = case.X, case.y

    def smoothed(case):
        case.criterion = fm.CrossEntropyLoss(label_smoothing=0.5)

    def weighted(case):
        case.criterion = fm.CrossEntropyLoss(weight=[1, 2, 3, 4])

    def mse(case):
        case.criterion, case.y = fm.MSELoss(), np.eye(4)[case.y]
        case.options |= {"class_weight": None, "metrics": ()}

    def narrow(case):
        case.model.append(fm.Identity())
        case.optimizer, case.schedule = case.rule()

    def none(case):
        case.callbacks = case.callbacks[1:]

    def eval_part(case):
        case.model[1].eval()

    def nothing(case):
        pass

    for change, options, message in (
        (nothing, {"batch_size": 3}, "batch_size is 3, not 2"),
        (nothing, {"batch_size": 1, "accumulate": 2}, "batch_size is 1, not 2"),
        (nothing, {"accumulate": 2}, r"accumulate \* batch_size is 4, not 2"),
        (nothing, {"shuffle": False}, "shuffle is False, not True"),
        (nothing, {"drop_last": False}, "the number of rows that are trained on is 15, not 14"),
        (nothing, {"rng": 1}, "rng gives other orders of rows"),
        (nothing, {"clip_norm": None}, "clip_norm is None, not 0.5"),
        (nothing, {"clip_norm": None, "clip_value": 1}, "clip_norm is None, not 0.5"),
        (nothing, {"metrics": ()}, "validation= and metrics=, is .*'seconds'], not"),
        (nothing, {"validation": 0.2}, "the number of rows is 17, not 15"),
        (pair, {}, "the number of rows is 21, not 15"),
        (rows, {}, "the number of rows is 11, not 15"),
        (smoothed, {}, "label_smoothing of the criterion is 0.5, not 0.0"),
        (weighted, {}, "weight of the criterion is .*, not None"),
        (mse, {}, "criterion is 'MSELoss', not 'CrossEntropyLoss'"),
        (replaced(2, fm.Tanh()), {}, "model/2 is Tanh, not ReLU"),
        (replaced(3, fm.Dropout(0.3)), {}, "model/3/p is 0.3, not 0.2"),
        (replaced(3, fm.Dropout(0.2, rng=7)), {}, None),  # what it draws from is in the checkpoint
        (narrow, {}, "model/5 is Identity, not nothing"),
        (frozen, {}, "the list of frozen parameters is \\['0.bias'\\], not \\[\\]"),
        (eval_part, {}, "the list of parts in evaluation mode is \\['1'\\], not \\[\\]"),
        (rule(lambda case: (adam(case), None)), {}, "schedule is None, not OneCycleLR"),
        (rule(lambda case: scheduled(case, adam(case), max_lr=0.2)), {}, "schedule/max_lr is 0.2, not 0.1"),
        (rule(lambda case: scheduled(case, adam(case), steps=9)), {}, "schedule/total_steps is 72, not 48"),
        (rule(lambda case: scheduled(case, adam(case, eps=0.1))), {}, "optimizer/eps is 0.1, not 1e-08"),
        (rule(lambda case: scheduled(case, some(case))), {}, r"optimizer/groups is \[\['0.weight', '0.bias'\]\], not \[\["),
        (rule(lambda case: scheduled(case, fm.AdamW(case.model.parameters(), lr=0.1))), {}, "optimizer is AdamW, not Adam"),
        (
            rule(lambda case: scheduled(case, with_average(adam(case), 0.99))),
            {},
            r"the decay of average\(\) of the optimizer is 0.99, not 0.9",
        ),
        (none, {}, r"has EarlyStopping\(validation_accuracy\), which is not among callbacks: pass it again"),
    ):
        case = changed(change, **options)
        before = case.model.state_dict(), str(case.optimizer.state_dict()), str(case.schedule and case.schedule.state_dict())
        if message is None:
            assert case.fit(checkpoint=tmp_path, resume=True, epochs=2).optimizer.steps == 14
            continue
        with pytest.raises(ValueError, match=message):
            case.fit(checkpoint=tmp_path, resume=True)
        after = case.model.state_dict(), str(case.optimizer.state_dict()), str(case.schedule and case.schedule.state_dict())
        assert before[1:] == after[1:], message
        for name, array in before[0].items():
            assert_same_bits(array, after[0][name])


@pytest.mark.once
def test_other_data_are_warned_of(tmp_path):
    """They may differ by rounding, on another machine: that is no reason to lose a run."""
    Case(np.float32).fit(checkpoint=tmp_path, epochs=2)
    case = Case(np.float32)
    case.X = np.nextafter(case.X, np.float32(9))
    with pytest.warns(UserWarning, match="the first rows of X or y are not those of the run of .*: it goes on") as caught:
        case.fit(checkpoint=tmp_path, resume=True)
    assert caught[0].filename == __file__
    assert case.history.epochs == EPOCHS


@pytest.mark.once
def test_rate_that_a_callback_has_set_goes_on(tmp_path):
    """What is in force is saved, not what the optimizer was made with."""

    def halve(epoch, history):
        case.optimizer.lr /= 2

    case = Case(np.float32)
    whole = case.fit([halve])
    case = Case(np.float32)
    with pytest.raises(Killed):
        case.fit([halve, raising(Killed(), step=15)], checkpoint=tmp_path)
    case = Case(np.float32)
    assert_left_alike(case.fit([halve], checkpoint=tmp_path, resume=True), whole)


# Callbacks.


class Counting(fm.Callback):
    """One of the user's own, with a state; it fails at an epoch, or after a step, as long as it is told to."""

    def __init__(self, fails=None, every=None):
        self.fails, self.every, self.seen = fails, every, []

    def on_begin(self):
        self.seen = []

    def on_epoch_end(self, epoch, history):
        if epoch == self.fails:
            raise ZeroDivisionError
        self.seen.append(epoch)

    def on_steps(self, step, history):
        if self.every and step == self.fails:
            raise ZeroDivisionError
        self.seen.append(-step)

    def state_dict(self):
        return {"seen": self.seen, "array": np.arange(3), "text": {"a": None}}

    def load_state_dict(self, state):
        self.seen = state["seen"]
        assert (state["array"] == [0, 1, 2]).all()
        assert state["text"] == {"a": None}


@pytest.mark.once
@pytest.mark.parametrize("every", [None, 2])
def test_callback_that_fails_is_called_again_and_those_behind_it_are_not_passed_over(tmp_path, every):
    """The checkpoint on the way out is of the last finished step; what was not called there is called first."""

    class Stopping(Case):
        def listeners(self):
            first, second = fm.EarlyStopping("loss", patience=1), fm.EarlyStopping("validation_loss", patience=2)
            return [first, self.counting, second, LAST]

        def keywords(self):
            return {"validation": 0.2, "epochs": 9, "batch_size": 5}

        def rule(self):
            return fm.SGD(self.model.parameters(), lr=3.0), None

    LAST = Counting(every=3)
    Stopping.counting = Counting(every=every)
    whole = Stopping(np.float64).fit()
    seen, last = whole.callbacks[1].seen, LAST.seen
    assert whole.history.stopped
    for fails in (0, whole.history.epochs - 1) if every is None else (2, 4, 8):
        Stopping.counting, how = Counting(fails, every), {"checkpoint": tmp_path / str(fails), "resume": True}
        broken = Stopping(np.float64)
        with pytest.raises(ZeroDivisionError):
            broken.fit(**how)
        newest = fm.load_checkpoint(max(how["checkpoint"].iterdir()))
        assert_same_bits(flat(newest.model), flat(broken.model))
        assert newest.history.loss == broken.history.loss
        Stopping.counting = Counting(None, every)
        again = Stopping(np.float64).fit(**how)
        assert_left_alike(again, whole)
        assert again.callbacks[1].seen == seen
        assert LAST.seen == last


@pytest.mark.once
def test_files_of_callbacks_are_those_of_the_unbroken_run(tmp_path):
    """Lines of epochs that come again are written once; the best network is the best of all epochs."""

    class Writing(Case):
        folder = tmp_path / "whole"

        def listeners(self):
            best = fm.ModelCheckpoint(self.folder / "best.safetensors", "validation_loss", save_best_only=True)
            return [fm.CSVLogger(self.folder / "log.csv"), fm.CSVLogger(self.folder / "more.csv", append=True), best]

        def keywords(self):
            return {"validation": 0.2, "epochs": 9}

        def rule(self):
            return fm.SGD(self.model.parameters(), lr=2.0), None

    def lines(name):
        text = (Writing.folder / name).read_text()
        header, *rows = [line.split(",") for line in text.splitlines()]
        seconds = header.index("seconds")
        return [header, *([cell for i, cell in enumerate(row) if i != seconds] for row in rows)]

    Writing.folder.mkdir()
    whole = Writing(np.float32).fit()
    best, expected = fm.load(Writing.folder / "best.safetensors"), lines("log.csv")
    for step in (2, 7, 25, 44):
        Writing.folder = tmp_path / str(step)
        Writing.folder.mkdir()
        (Writing.folder / "more.csv").write_text("mine\n")
        how = {"checkpoint": Writing.folder / "run", "every": 4, "resume": True}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resuming.Checkpoints, "way_out", lambda *_: None)
            with pytest.raises(Killed):
                Writing(np.float32).fit([raising(Killed(), step=step)], **how)
        assert_left_alike(Writing(np.float32).fit(**how), whole)
        assert lines("log.csv") == expected
        assert [line.split(",")[:2] for line in (Writing.folder / "more.csv").read_text().splitlines()] == [
            ["mine"],
            *(line[:2] for line in expected[1:]),
        ]
        assert_same_bits(flat(fm.load(Writing.folder / "best.safetensors")), flat(best))


@pytest.mark.once
def test_tensorboard_hides_what_comes_again(tmp_path, monkeypatch):
    tensorboard = pytest.importorskip("tensorboardX")
    begun = []

    class Writer(tensorboard.SummaryWriter):
        def __init__(self, folder, **options):
            begun.append(options)
            super().__init__(folder, **options)

    monkeypatch.setattr(tensorboard, "SummaryWriter", Writer)
    Case(np.float32).fit([fm.TensorBoard(tmp_path / "board")], checkpoint=tmp_path / "run", epochs=3)
    Case(np.float32).fit([fm.TensorBoard(tmp_path / "board")], checkpoint=tmp_path / "run", resume=True)
    assert begun == [{}, {"purge_step": 4}]


def test_what_ends_a_call_ends_the_run_or_not(tmp_path):
    """Time that is up and Ctrl-C do not; a callback does, and so does the last epoch."""
    how, whole = {"checkpoint": tmp_path / "time", "resume": True}, Everything(np.float32).fit()
    for epochs in (1, 2, 3):
        case = Everything(np.float32).fit(max_seconds=1e-9, **how)
        assert (case.history.epochs, case.history.stopped) == (epochs, "max_seconds")
    assert_left_alike(Everything(np.float32).fit(**how), whole)
    how = {"checkpoint": tmp_path / "stop", "resume": True}
    for epochs in (4, 9):
        case = Case(np.float32).fit([lambda epoch, history: epoch == 1], epochs=epochs, **how)
        assert (case.history.epochs, case.history.stopped) == (2, "LambdaCallback")
    how["checkpoint"] = tmp_path / "interrupt"
    with pytest.raises(KeyboardInterrupt) as caught:
        Everything(np.float32).fit([raising(KeyboardInterrupt(), step=9)], **how)
    assert caught.value.history.interrupted
    case = Everything(np.float32).fit(**how)
    assert not case.history.interrupted
    assert_left_alike(case, whole)


@pytest.mark.once
def test_run_that_goes_on_prints_its_own_epochs(tmp_path, capsys):
    Case(np.float32).fit(checkpoint=tmp_path, epochs=2, progress="log")
    capsys.readouterr()
    Case(np.float32).fit(checkpoint=tmp_path, resume=True, progress="log")
    lines = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines() if "loss" in line]
    assert [line.partition("epoch ")[2] for line in lines] == ["3/4", "4/4"]


# What goes wrong.


class Lost(fm.Module):
    """Keeps its argument under another name: no file can have it."""

    def __init__(self, width):
        self._width = width

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


@pytest.mark.once
def test_what_cannot_be_saved_is_known_before_anything_is_trained(tmp_path):
    class Losing(Case):
        def network(self, dtype):
            return fm.Sequential(fm.Linear(3, 4), Lost(4), dtype=dtype)

    (tmp_path / "file").write_text("")
    for kind, folder, error, message in (
        (Losing, tmp_path / "new", TypeError, "Lost cannot be saved: its constructor takes width"),
        (
            Case,
            tmp_path / "file" / "inside",
            OSError,
            r"cannot make the folder '.*inside'|must be a folder; '.*inside' is none",
        ),
    ):
        case = kind(np.float32)
        before = flat(case.model)
        with pytest.raises(error, match=message):
            case.fit(checkpoint=folder)
        assert_same_bits(flat(case.model), before)
        assert case.optimizer.steps == 0


@pytest.mark.once
def test_failure_of_the_disk_leaves_training_and_checkpoint(tmp_path, monkeypatch):
    """At a checkpoint it ends the run; on the way out of another error that error goes on, with a warning."""
    whole, write = Everything(np.float32).fit(), os.fsync

    def full(handle):
        if case.optimizer.steps >= 15:
            raise OSError(28, "No space left on device")
        write(handle)

    monkeypatch.setattr(os, "fsync", full)
    case = Everything(np.float32)
    with pytest.raises(OSError, match=r"cannot save to '.*step-000000021.*': No space left on device") as caught:
        case.fit(checkpoint=tmp_path)
    assert caught.value.history.epochs == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", write)
        assert sorted(os.listdir(tmp_path)) == ["step-000000007.safetensors", "step-000000014.safetensors"]
        assert_left_alike(Everything(np.float32).fit(checkpoint=tmp_path, resume=True), whole)
    case = Everything(np.float32)
    with pytest.warns(UserWarning, match="ends without another checkpoint: .*No space left"), pytest.raises(Killed):
        case.fit([raising(Killed(), step=16)], checkpoint=tmp_path / "other")
    case = Everything(np.float32)
    with pytest.raises(Killed):  # warnings are errors: that one does not stand in for it
        case.fit([raising(Killed(), step=16)], checkpoint=tmp_path / "third")


def test_loss_that_is_not_finite_leaves_a_checkpoint_of_the_last_finite_step(tmp_path):

    class Diverging(Case):
        def rule(self):
            self.criterion, self.y = fm.MSELoss(), np.eye(4)[self.y]
            return fm.SGD(self.model.parameters(), lr=3.0), None

    case = Diverging(np.float32, epochs=99)
    with pytest.raises(fm.NonFiniteLossError):
        case.fit(checkpoint=tmp_path, every=10**6)
    saved = fm.load_checkpoint(max(tmp_path.iterdir()))
    assert saved.optimizer.steps == case.optimizer.steps > 1
    assert_same_bits(flat(saved.model), flat(case.model))
    with pytest.raises(fm.NonFiniteLossError) as caught:
        Diverging(np.float32, epochs=99).fit(checkpoint=tmp_path, resume=True)
    assert caught.value.history == case.history


# Many networks.


def members(count=3):
    models = [make_member(number) for number in range(count)]
    return models, [fm.Adam(model.parameters(), lr=0.01) for model in models]


def make_member(number):
    model = fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.ReLU(), fm.Linear(5, 4))
    model.reset_parameters(rng=number)
    return model


@pytest.mark.once
@pytest.mark.parametrize("listed", [False, True])
def test_many_networks_go_on_each_from_its_own_folder(tmp_path, listed):
    X, y = make_data(21, 3, 4)
    whole, optimizers = members()
    options = {"epochs": 6, "batch_size": 7, "threads": 2, "validation": 0.2}
    expected = fm.fit_many(whole, fm.CrossEntropyLoss(), optimizers, X, y, rng=0, **options)
    options["resume"], options["checkpoint"] = True, tmp_path / "all"
    if listed:
        options["checkpoint"] = [tmp_path / name for name in "abc"]

    def fail(epoch, history):
        if epoch == 2:
            raise ZeroDivisionError

    for callbacks in (fail, fail):
        models, optimizers = members()
        with pytest.raises(ZeroDivisionError):
            fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, rng=0, callbacks=callbacks, **options)
    assert sorted(os.listdir(tmp_path / "all" if not listed else tmp_path))[0] == ("a" if listed else "0")
    models, optimizers = members()
    histories = fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, rng=0, **options)
    assert histories == expected
    for one, other in zip(models, whole):
        assert_same_bits(flat(one), flat(other))
    more, optimizers = members(4)  # one more has a run of its own
    if not listed:
        assert fm.fit_many(more, fm.CrossEntropyLoss(), optimizers, X, y, rng=0, **options)[:3] == expected
    for wrong, message in (([tmp_path] * 3, "a folder of checkpoints comes twice"), ([tmp_path], "checkpoint is a list of 1")):
        with pytest.raises(ValueError, match=message):
            fm.fit_many(models, fm.CrossEntropyLoss(), members()[1], X, y, **options | {"checkpoint": wrong})


@pytest.mark.once
def test_ensemble_goes_on(tmp_path):
    X, y = make_data(21, 3, 4)

    def fitted(**options):
        ensemble = fm.Ensemble(lambda rng: make_member(int(rng.integers(99))), 2, rng=0)
        options = {"epochs": 4, "batch_size": 7, "rng": 1} | options
        return ensemble, ensemble.fit(fm.CrossEntropyLoss(), fm.Adam, X, y, **options)

    whole, expected = fitted()
    fitted(epochs=2, checkpoint=tmp_path)
    ensemble, histories = fitted(checkpoint=tmp_path, resume=True)
    assert histories == expected
    assert_same_bits(ensemble.predict(X), whole.predict(X))
    unseeded = [fitted(rng=None, epochs=epochs, checkpoint=tmp_path / "b", resume=True)[1] for epochs in (2, 3)]
    assert [history.loss[:2] for history in unseeded[1]] == [history.loss for history in unseeded[0]]
