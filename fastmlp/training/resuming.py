"""Runs that go on from where they were, whatever ended them: checkpoints in a folder."""

from __future__ import annotations

import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks, saving
from fastmlp.arguments import arguments_of
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.optim.optimizer import as_place
from fastmlp.saving import LoadError
from fastmlp.training.callbacks import Callback, Training
from fastmlp.training.data import Data
from fastmlp.training.history import History
from fastmlp.training.inputs import Rows
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.pieces import Pieces

__all__ = ["Checkpoints", "Place", "as_checkpoints", "keys_of", "settings_of"]

#: How many checkpoints stay: with two, one is there whatever happens to the newest.
KEPT = 2

#: Their names, which sort as their steps do; and what a process that was killed has left of one.
NAME = re.compile(r"step-\d{9,}\.safetensors")
PART = re.compile(r"\.step-\d{9,}\.safetensors\.[0-9a-f]+\.part")

#: Rows whose check sum tells whether data are the same ones.
SAMPLE = 1000

#: What ends a call of `fit`, and not the run: the next call goes on.
PAUSES = ("max_seconds", "called off")

#: What is said where two runs differ in something that has no short value.
OTHERS = {
    "rng": "rng gives other orders of rows",
    "layout": "X comes in another order: it was read in pieces of other sizes, or at once",
}


class Place(NamedTuple):
    """How far a run has come."""

    epoch: int
    batch: int
    steps: int  # since its epoch 0
    judged: int  # epochs
    due: tuple[tuple[str, str], ...]  # callbacks that are still to be called there, by key, and their methods
    stopped: str


def as_checkpoints(checkpoint: Any, every: Any, resume: Any) -> Checkpoints | None:
    """The checkpoints that `fit` is told to keep, with the newest one, where it is to go on from one; None for none.

    Raises
    ------
    FileExistsError
        Where the folder has checkpoints and nobody says what is to become of them.
    LoadError
        Where it has some, of which none can be read.
    """
    every, resume = every if every is None else checks.as_size(every, "every"), checks.as_flag(resume, "resume")
    if checkpoint is None:
        if resume or every is not None:
            raise ValueError(f"{'resume' if resume else 'every'} needs a folder of checkpoints: pass checkpoint=folder, too")
        return None
    if not isinstance(checkpoint, (str, os.PathLike)) or not isinstance(os.fspath(checkpoint), str):
        raise TypeError(f"checkpoint must be the path of a folder; got {checks.shown(checkpoint)}")
    return Checkpoints(os.path.abspath(os.fspath(checkpoint)), every, resume=resume)


def keys_of(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Callbacks by names that tell them apart: the class and what it monitors, with a number from the second of them on."""
    result: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        name = type(callback).__name__ + (f"({monitor})" if isinstance(monitor, str) else "")
        counts[name] += 1
        result[name if counts[name] == 1 else f"{name} number {counts[name]}"] = callback
    return result


def settings_of(
    criterion: Criterion,
    data: Data,
    held_out: Rows | Pieces | None,
    classes: np.ndarray | None,
    columns: Sequence[str],
) -> dict[str, Any]:
    """What a run must have in common with the one that it goes on with, by what messages call it."""
    given = data.given
    sample = given.first.taken(slice(SAMPLE))
    numbers = [np.ascontiguousarray(part, np.float64) for part in sample if part is not None]
    try:
        options = arguments_of(criterion)
    except TypeError:  # one of the user's own, whose attributes are its affair
        options = {}
    return {
        "criterion": type(criterion).__name__,
        **{f"{name} of the criterion": _plain(value) for name, value in options.items()},
        "batch_size": data.microbatch,
        "accumulate * batch_size": data.batch_size,
        "shuffle": data.shuffle,
        "clip_norm": data.clip_norm,
        "clip_value": data.clip_value,
        "the number of rows": given.length,
        "the number of rows that are trained on": data.rows,
        "the number of features": given.first.x.shape[1],
        "the number of rows of validation": None if held_out is None else held_out.length,
        "classes": None if classes is None else classes.tolist(),
        "history.keys(), from validation= and metrics=,": list(columns),
        "rng": data.seed,
        "layout": data.key(0)[-1],
        "sample": zlib.crc32(b"".join(map(np.ndarray.tobytes, numbers))),
    }


def _plain(value: Any) -> Any:
    """An option of a criterion as what can be compared and saved."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return getattr(value, "__name__", "a function") if callable(value) else value


class Checkpoints:
    """The checkpoints of a run: the one that it goes on from, `found`, and those that it leaves in its folder.

    Each is a file of :func:`fastmlp.save`, with values beside: what the run is like, how far it has come, and the state of its
    callbacks.
    """

    def __init__(self, folder: str, every: int | None, *, resume: bool):
        self.folder, self.every = folder, every
        self._whole: list[str] = []  # names of checkpoints that are known to be whole, the oldest first
        self._newest: Place | None = None
        self._settings: dict[str, Any] = {}
        self._began: Any = None
        self._open = False
        self.found: _Found | None = None
        names = _names_in(folder)
        if names and not resume:
            raise FileExistsError(
                f"{folder!r} has checkpoints of a run: pass resume=True to go on with it, or another folder for a new one"
            )
        wrong = None
        for name in reversed(names):
            try:
                self.found = _Found(os.path.join(folder, name))
            except LoadError as error:
                wrong = wrong or error
                continue
            self._whole = [name]
            break
        if wrong is not None and self.found is None:
            raise LoadError(f"no checkpoint in {folder!r} can be read ({wrong}): remove them to begin anew") from wrong
        if wrong is not None:
            warnings.warn(f"{wrong}; training goes on from the one before, {self._whole[0]}", stacklevel=4)

    # Where a run begins.

    def settle(
        self,
        model: Sequential,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        callbacks: Sequence[Callback],
        settings: dict[str, Any],
        initial_epoch: int | None,
    ) -> None:
        """Put model, optimizer and schedule where the run was, once they are known to be those of that run."""
        began = _hyperparameters(optimizer)
        here = saving.describe(model, optimizer, schedule)
        if self.found is not None:
            fresh = None if optimizer.steps or optimizer.epochs or optimizer._place else began
            self.found.check(here, settings, fresh, keys_of(callbacks), model.training, initial_epoch)
            with interrupts_held():
                self.found.restore(here, model, optimizer, schedule)
            began = self.found.began
        self._settings, self._began = settings, began

    def begin(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        """Give the callbacks their state; a new run is saved, so that what cannot be saved, or nowhere, is known at once."""
        if self.found is not None:
            self.found.restore_callbacks(callbacks)
            self.found, self._newest = None, place
            self._remove(PART)
        else:
            try:
                os.makedirs(self.folder, exist_ok=True)
            except OSError as error:
                raise OSError(error.errno, f"cannot make the folder {self.folder!r}: {error.strerror}") from error
            self._save(training, callbacks, place)
        self._open = True

    # While it goes on.

    def steps_left(self, steps: int) -> int | None:
        """How many steps it is until the next checkpoint; None where they go by epochs."""
        return None if self.every is None else self.every - steps % self.every

    def after(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        """Save a run where it is time to."""
        assert self._newest is not None
        due = place.batch == 0 if self.every is None else place.steps % self.every == 0
        if due and place.steps != self._newest.steps:
            self._save_or_end(training, callbacks, place)

    def end(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        """Save a run that has ended, before callbacks change the model."""
        if place != self._newest:
            self._save_or_end(training, callbacks, place)

    def way_out(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        """Save a run that an exception ends, as it is after its last finished step. Where that fails, the exception goes on."""
        if not self._open or place == self._newest:
            return
        try:
            self._save(training, callbacks, place)
        except Exception as error:
            with suppress(Warning):  # as an error it would stand in for the one that ends the run
                warnings.warn(f"the run ends without another checkpoint: {error}", stacklevel=4)

    def _save_or_end(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        """Save the run. Where the disk does not take it, that ends the run, and is not tried again on the way out."""
        try:
            self._save(training, callbacks, place)
        except OSError:
            self._open = False
            raise

    def _save(self, training: Training, callbacks: dict[str, Callback], place: Place) -> None:
        states = {key: callback.state_dict() for key, callback in callbacks.items()}
        run = {
            "settings": self._settings,
            "began": self._began,
            "place": dict(zip(Place._fields, place)),
            "broken off": [training.optimizer.epochs, training.optimizer._place],
            "callbacks": {key: state for key, state in states.items() if state},
        }
        history = training.history.to_dict()
        history |= {name: np.array(values) for name, values in history.items() if isinstance(values, list)}  # text is slow
        parts = training.model, training.optimizer, training.schedule
        description = saving.describe(*parts, rebuilt=False, history=history, run=run)  # `settle` has seen that they can be
        name = f"step-{place.steps:09d}.safetensors"
        saving.write(os.path.join(self.folder, name), description)
        self._newest = place
        self._whole = [*(kept for kept in self._whole if kept != name), name][-KEPT:]
        self._remove(PART)
        self._remove(NAME)

    def _remove(self, pattern: re.Pattern[str]) -> None:
        """Remove files, but for the newest checkpoints that are known to be whole."""
        for name in os.listdir(self.folder):
            if pattern.fullmatch(name) and name not in self._whole:
                with suppress(OSError):  # the next time
                    os.unlink(os.path.join(self.folder, name))


class _Found:
    """A checkpoint that has been read."""

    def __init__(self, path: str):
        self.path = path
        self.saved = saving.read_description(path)
        with saving.errors_of(path):
            if "run" not in self.saved.described["values"]:
                raise LoadError("it is no checkpoint of fit")
            values = saving.values_of(self.saved)
            run = values["run"]
            self.place, self.history = _as_place(**run["place"]), History(**values["history"])
            epochs, place = run["broken off"]
            self.broken_off = {"epochs": checks.as_size(epochs, "epochs", least=0), "_place": as_place(place)}
            self.settings, self.states, self.began = dict(run["settings"]), dict(run["callbacks"]), [*map(dict, run["began"])]
            self.seed = checks.as_size(self.settings["rng"], "the seed", least=0)
        self.history.interrupted = False
        if self.history.stopped in PAUSES:
            self.history.stopped = ""

    def check(
        self,
        here: saving.Description,
        settings: dict[str, Any],
        fresh: list[dict[str, Any]] | None,
        callbacks: dict[str, Callback],
        in_training: bool,
        initial_epoch: int | None,
    ) -> None:
        """Refuse to go on with another run than that of the checkpoint; `fresh` are hyperparameters nobody has trained with."""
        if initial_epoch not in (None, self.history.first_epoch):
            self._refuse("initial_epoch", initial_epoch, self.history.first_epoch)
        for name in settings | self.settings:
            if name != "sample" and settings.get(name) != self.settings.get(name):
                self._refuse(name, settings.get(name), self.settings.get(name))
        saved = self.saved.described
        for part in ("model", "optimizer", "schedule"):
            pair = here.described.get(part), saved.get(part)
            with saving.errors_of(self.path):
                different = saving.first_difference(*pair, part, here.tensors, self.saved.tensors)
            if different:
                self._refuse(*different)
        here_evaluating = here.described["evaluating"] if in_training else []
        for what, now, then in (
            ("the list of frozen parameters", here.described["frozen"], saved.get("frozen")),
            ("the list of parts in evaluation mode", here_evaluating, saved.get("evaluating")),
        ):
            if now != then:
                self._refuse(what, now, then)
        for number, (now, then) in enumerate(zip(fresh or (), self.began)):
            for name in now:
                if now[name] != then.get(name):
                    where = f" of param_groups[{number}]" if number else " of the optimizer"
                    self._refuse(name + where, now[name], then.get(name))
        missing = [key for key in self.states if key not in callbacks]
        if missing:
            raise ValueError(f"the run of {self.path!r} has {missing[0]}, which is not among callbacks: pass it again")
        if settings["sample"] != self.settings.get("sample"):
            warnings.warn(
                f"the first rows of X or y are not those of the run of {self.path!r}: it goes on, but to other numbers than "
                "without the interruption",
                stacklevel=4,
            )

    def _refuse(self, what: str, now: Any, then: Any) -> None:
        told = OTHERS.get(what, f"{what} is {checks.shown(now)}, not {checks.shown(then)}")
        raise ValueError(
            f"{told}, as in the run of {self.path!r}: pass what that run began with, or another folder for a new run"
        )

    def restore(self, here: saving.Description, model: Sequential, optimizer: Optimizer, schedule: LRScheduler | None) -> None:
        """Put everything where it was."""
        with saving.errors_of(self.path):
            saving.restore(self.saved._replace(named=here.named), model, optimizer, schedule)
        vars(optimizer).update(self.broken_off)  # one of the user's own may have a state_dict of its own
        del self.saved  # as large as the model and the optimizer

    def restore_callbacks(self, callbacks: dict[str, Callback]) -> None:
        """Give the callbacks their state."""
        with saving.errors_of(self.path):
            for key, state in self.states.items():
                callbacks[key].load_state_dict(state)
        self.states.clear()


def _as_place(*, due: Any, stopped: Any, **numbers: Any) -> Place:
    """The place that a file says, checked."""
    methods = ("on_epoch_end", "on_steps")
    if not all(isinstance(key, str) and method in methods for key, method in due):
        raise LoadError(f"its callbacks that are due are none: {checks.shown(due)}")
    return Place(
        **{name: checks.as_size(n, name, least=0) for name, n in numbers.items()}, due=tuple(due), stopped=str(stopped)
    )


def _names_in(folder: str) -> list[str]:
    """The names of the checkpoints in a folder, the oldest first; there may be no folder yet."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise NotADirectoryError(error.errno, f"checkpoint must be a folder; {folder!r} is none") from error
    return sorted((name for name in names if NAME.fullmatch(name)), key=lambda name: (len(name), name))


def _hyperparameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The hyperparameters of each group, that of the average among them."""
    average = {"the decay of average()": optimizer._ema_decay}
    return [{name: group[name] for name in optimizer._defaults} | average for group in optimizer._groups_now()]
