"""What happens between the steps of a run: validation, schedules that want to know, callbacks, progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from weakref import WeakSet

from fastmlp.modules import Sequential
from fastmlp.parameters import Storage
from fastmlp.training.callbacks import Callback, Training
from fastmlp.training.evaluate import judged
from fastmlp.training.history import NonFiniteLossError
from fastmlp.training.inputs import Rows
from fastmlp.training.interrupts import calling_off, interrupts_held
from fastmlp.training.metrics import Metric
from fastmlp.training.pieces import Pieces
from fastmlp.training.progress import Progress
from fastmlp.training.resuming import Checkpoints, Place, keys_of
from fastmlp.training.run import Run

__all__ = ["Loop", "alone"]

#: The networks that are being trained at the moment.
TRAINED: WeakSet[Storage] = WeakSet()
LOCK = threading.Lock()


@contextmanager
def alone(model: Sequential) -> Iterator[None]:
    """Refuse to train a network, or a part of one, that another call is training."""
    storage = model.storage
    with LOCK:
        if storage in TRAINED:
            raise RuntimeError("this model is being trained by another call of fit: wait for its end, or train a copy.deepcopy")
        TRAINED.add(storage)
    try:
        yield
    finally:
        TRAINED.discard(storage)


class Loop:
    """A run on its way to its last epoch, and all that happens between two of its calls."""

    def __init__(
        self,
        run: Run,
        training: Training,
        rows: Rows | Pieces | None,
        held_out: bool,
        metrics: Sequence[Metric],
        callbacks: Sequence[Callback],
        threads: int | None,
        max_seconds: float | None,
        progress: bool | float | None,
        checkpoints: Checkpoints | None = None,
    ):
        """`rows` are those that are judged after each epoch, for a loss if they are `held_out`, and for metrics."""
        self.run, self.training, self.history = run, training, training.history
        self.rows, self.metrics, self.callbacks, self.threads = rows, metrics, callbacks, threads
        self.max_seconds, self.progress, self.checkpoints = max_seconds, progress, checkpoints
        self._prefix = "validation_" if held_out else ""
        self._told = run.rates.schedule is not None and run.rates.schedule.takes_metric
        self._keys = keys_of(callbacks)
        self._at_epochs = [key for key, callback in self._keys.items() if _has_own(callback, "on_epoch_end")]
        self._at_steps = {key: callback for key, callback in self._keys.items() if callback.every is not None}
        columns = self.history._columns  # the run's own lists: they grow while it trains
        for name, own in (("loss", run.losses), ("rate", run.rated), ("seconds", run.seconds)):
            own[:0] = columns[name]  # of a run that goes on
            columns[name] = own
        self._judged = self._noted = len(run.losses)  # epochs
        self._steps_noted = training.optimizer.steps
        self._due: list[tuple[str, str]] = []  # callbacks that are to be called, by key, and their methods
        found = None if checkpoints is None else checkpoints.found
        if found is not None:
            self._judged = found.place.judged
            self._due = [(key, method) for key, method in found.place.due if key in self._keys]

    def train(self) -> None:
        """Take the run to its end."""
        run, callbacks = self.run, self.callbacks
        first, last, batches = run.epoch, self.training.epochs, run.data.batches
        begun: list[Callback] = []
        bar = None
        try:
            for callback in callbacks:
                callback.training = self.training
                begun.append(callback)
                callback.on_begin()
            if self.checkpoints is not None:
                self.checkpoints.begin(self.training, self._keys, self._place())
            run.prepare()
            bar = Progress(self.progress, last, first, self.history)
            self._go(bar)
            if self.checkpoints is not None:
                self.checkpoints.end(self.training, self._keys, self._place())
            for callback in callbacks:
                callback.on_end(self.history)
        except BaseException as error:
            try:
                if isinstance(error, KeyboardInterrupt):
                    self._judge()
                if self.checkpoints is not None:
                    self._note_due()
                    self.checkpoints.way_out(self.training, self._keys, self._place())
            finally:
                for callback in begun:
                    callback.on_failure(error, self.history)
            raise
        finally:
            run.close()
            if bar is not None:
                place, steps = run.epoch + run.batch / batches, (run.epoch - first) * batches + run.batch
                bar.show(place, steps * run.data.batch_size, last=True)
                bar.close()
            for callback in begun:
                callback.training = None

    def _go(self, bar: Progress) -> None:
        run, last = self.run, self.training.epochs
        first, batches, size = run.epoch, run.data.batches, run.data.batch_size
        deadline, event = None if self.max_seconds is None else time.perf_counter() + self.max_seconds, calling_off()
        checkpoints = self.checkpoints
        by_epoch = bool(self.rows is not None or self._told or self._at_epochs or deadline is not None)
        by_epoch = by_epoch or (checkpoints is not None and checkpoints.every is None)
        self._judge()  # of a run that goes on
        self._call_due()
        while run.epoch < last and not run.failed and not self.history.stopped:
            before = run.epoch
            run.advance(run.epoch + 1 if by_epoch else last, self._steps_left())
            if by_epoch and run.epoch > before:
                self._judge()
            self._note_due()
            self._call_due()
            if deadline is not None and run.epoch > before and time.perf_counter() > deadline:
                self.history.stopped = self.history.stopped or "max_seconds"
            if checkpoints is not None:
                checkpoints.after(self.training, self._keys, self._place())
            bar.show(run.epoch + run.batch / batches, ((run.epoch - first) * batches + run.batch) * size)
            if event is not None and event.is_set():
                self.history.stopped = self.history.stopped or "called off"
        if run.failed:
            self._fail()

    def _stop(self, callback: Callback) -> None:
        self.history.stopped = self.history.stopped or type(callback).__name__

    def _place(self) -> Place:
        run = self.run
        steps = run.epoch * run.data.batches + run.batch
        return Place(run.epoch, run.batch, steps, self._judged, tuple(self._due), self.history.stopped)

    def _steps_left(self) -> int | None:
        """How many steps it is until the next callback that counts steps, or checkpoint; None where there is none."""
        steps = self.training.optimizer.steps
        left = [callback.every - steps % callback.every for callback in self._at_steps.values() if callback.every]
        if self.checkpoints is not None:
            left += [most for most in [self.checkpoints.steps_left(self._place().steps)] if most is not None]
        return min(left, default=None)

    def _note_due(self) -> None:
        """Note which callbacks are to be called for what has been finished since the last time."""
        epochs, steps = len(self.run.losses), self.training.optimizer.steps
        due = []
        if epochs > self._noted:
            due += [(key, "on_epoch_end") for key in self._at_epochs]
        if steps > self._steps_noted:
            counting = self._at_steps.items()
            due += [(key, "on_steps") for key, callback in counting if callback.every and steps % callback.every == 0]
        if due:
            with interrupts_held():
                self._due += due
                self._noted, self._steps_noted = epochs, steps

    def _call_due(self) -> None:
        """Call the callbacks that are due; where one fails, it and those behind it stay so, for a run that goes on."""
        while self._due:
            key, method = self._due[0]
            callback = self._keys[key]
            number = self.run.epoch - 1 if method == "on_epoch_end" else self.training.optimizer.steps
            with interrupts_held() if callback._quick else nullcontext():
                if getattr(callback, method)(number, self.history):
                    self._stop(callback)
                del self._due[0]

    def _judge(self) -> None:
        """Judge an epoch that has ended: the loss on what was held out and what the schedule makes of it belong to it."""
        run, history = self.run, self.history
        if (self.rows is None and not self._told) or self._judged == len(run.losses):
            return
        with interrupts_held():
            loss = run.losses[-1]
            training = self.training
            if self.rows is not None:
                numbers = judged(training.model, training.criterion, self.rows, self.metrics, self.threads)
                if self._prefix:
                    loss = numbers["loss"]
                    history.validation_loss.append(loss)
                for metric in self.metrics:
                    history._append(self._prefix + metric.name, numbers[metric.name])
            self._judged = len(run.losses)
            run.rates.tell(loss)

    def _fail(self) -> None:
        run = self.run
        raise NonFiniteLossError(
            f"the loss or a parameter became infinite or NaN in epoch {run.epoch + 1} of {self.training.epochs} (step "
            f"{run.batch + 1} of {run.data.batches}); the model keeps its last finite parameters. A smaller learning rate than "
            f"{run.rates.optimizer.lr:g} or scaled inputs may help",
            run.epoch,
            self.history,
        )


def _has_own(callback: Callback, name: str) -> bool:
    """Whether a callback does anything there."""
    return getattr(type(callback), name) is not getattr(Callback, name) or name in vars(callback)
