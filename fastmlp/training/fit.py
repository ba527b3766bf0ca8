"""Training a network in whole epochs."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from fastmlp import beside, checks
from fastmlp.criterion import Criterion
from fastmlp.kernels.op import UNIT
from fastmlp.kernels.scan import all_finite
from fastmlp.modules import Sequential
from fastmlp.modules.route import Route
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.parameters import Buffer
from fastmlp.program import RELAY_EACH
from fastmlp.team import team_size
from fastmlp.training.callbacks import Training, as_callbacks
from fastmlp.training.chunks import Chunks
from fastmlp.training.compiled import CompiledRun
from fastmlp.training.data import Data
from fastmlp.training.eager import EagerRun
from fastmlp.training.history import History, carried_by_failures
from fastmlp.training.inputs import Rows, check_kinds
from fastmlp.training.interrupts import interrupts_watched
from fastmlp.training.loop import Loop, alone
from fastmlp.training.metrics import as_metrics
from fastmlp.training.pieces import Pieces, as_rows_or_pieces
from fastmlp.training.progress import as_progress
from fastmlp.training.resuming import as_checkpoints, settings_of
from fastmlp.training.run import Rates, Run

__all__ = ["fit"]

#: Work of a step, in flops of float32, that is worth a thread more. Below it the threads would wait for each other longer than
#: they save: a barrier costs about a microsecond, two of them a step. One of float64 takes as long as two: 64-50-50-10 with
#: batches of 200, 7.4 million flops, takes 147 us on one thread of a Zen 4 and 99 on two, in float32 83 and 58.
FLOPS_PER_THREAD = 4_000_000

#: In a run of so many, half of that is worth one: it is long enough to find out what a second core is worth at the moment. Two
#: cores of a Zen 4, steps of 30-80 us: runs of 10 ms gain 0-14 %, those of 30 ms 5-25 %, and they lose 1 % where the cores are
#: far from each other; one of 5 ms would lose 15 %.
LONG_RUN = 1_000_000_000

#: The same in a long run whose steps are relays (kernels/blocks/relay.py), beside the rows that are worth one.
FLOPS_PER_THREAD_RELAY = 30_000

#: Work of a whole run that is worth another thread: one that sleeps takes 100-300 us until its core is awake. A step of
#: 64-100-10 with 200 rows in float64, 18 million, takes 0.15 ms on one thread.
FLOPS_PER_THREAD_OF_RUN = 20_000_000

#: Rates of a schedule that are asked for before anything is trained.
RATES_CHECKED = 10_000


def fit(
    model: Sequential,
    criterion: Criterion,
    optimizer: Optimizer,
    X: Any,
    y: Any = None,
    *,
    epochs: int,
    batch_size: int = 32,
    shuffle: bool = True,
    drop_last: bool = False,
    rng: int | np.random.Generator | None = None,
    schedule: LRScheduler | None = None,
    validation: tuple[Any, ...] | float | None = None,
    metrics: Any = (),
    callbacks: Any = (),
    sample_weight: Any = None,
    class_weight: Any = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    max_seconds: float | None = None,
    threads: int | None = None,
    progress: bool | str | tuple[str, float] | None = None,
    check_finite: bool = True,
    initial_epoch: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | None = None,
    resume: bool = False,
) -> History:
    """Train `model` on the rows of `X` for whole epochs, in compiled calls.

    The arithmetic is that of the hand-written loop (forward, loss, ``zero_grad``, ``backward``, ``step`` for each batch):
    the parameters it leaves are bitwise the same, on any number of threads.

    Parameters
    ----------
    model : Sequential
        The network; it is left in training mode. A part that is in evaluation mode, while the network itself is not, stays so:
        BatchNorm1d keeps its running statistics then, Dropout does nothing.
    criterion : Criterion
        The loss.
    optimizer : Optimizer
        Of the parameters of `model`.
    X : array_like, (N, I), or what is read in pieces
        Anything NumPy converts to real numbers; it is converted once, and not copied where it is C-contiguous and has the
        dtype of the model. Files, frames and functions of more than 32 MiB are read in pieces: see :class:`Chunks`.
    y : array_like, or str
        As `criterion` takes it: labels ``(N,)`` or targets ``(N, O)``. Labels may be text, or whatever whole numbers
        ``model.classes`` has; it becomes the names in `y`, sorted, where it has been None. A str is the name of the column of
        `X` that has them; the other columns are the inputs.
    epochs : int
        Passes over the data. A second call goes on where the first one stopped, and takes as many more.
    batch_size : int, default 32
        Rows of a step, or with `accumulate` of each of its batches. A last step of an epoch that has fewer is taken, unless
        `drop_last`.
    shuffle : bool, default True
        A new order of the rows for each epoch: a function of `rng` and the epoch alone.
    drop_last : bool, default False
        Leave out a last step that has fewer rows than the others.
    rng : None, int or Generator
        For the shuffles, and for a `validation` that is a fraction. A Generator gives one number, from which all epochs' orders
        follow. None: that of the call before with this optimizer, if there was one.
    schedule : LRScheduler, optional
        Sets the learning rate of each epoch (or of each step, if its ``interval`` is "step"), and takes a step after it. A
        :class:`ReduceLROnPlateau` is told the loss on `validation` after each epoch, or, without that, the loss in training.
    validation : (X, y), (X, y, sample_weight), Chunks, or float, optional
        Data to compute a loss and the metrics on after each epoch, in evaluation mode; or the fraction of the rows that is held
        out for that, a function of `rng` alone: each class gives its share, and keeps a row to train on.
    metrics : str, callable, or several
        As for :func:`fastmlp.evaluate`. With `validation` they are computed on that, ``history["validation_accuracy"]``;
        without it on the training data after each epoch, ``history["accuracy"]``: about a third of an epoch's time more.
    callbacks : Callback, callable, or several
        What is called between epochs: :class:`Callback`, or ``f(epoch, history) -> stop``.
    sample_weight : array_like, (N,), optional
        How much each row counts, at least 0: the loss of a batch, and that of an epoch, is a weighted mean. A batch in which no
        row counts has the gradient 0.
    class_weight : dict, array_like (C,) or "balanced", optional
        How much each class counts in training, of a criterion that takes labels; times `sample_weight`. Classes that a dict
        does not have weigh 1; balanced is ``rows / (classes * rows of the class)``, as in scikit-learn.
    clip_norm, clip_value : float, optional
        What the gradients of each step are limited to before the optimizer gets them: their norm as one vector, or each
        number; as :func:`clip_grad_norm_` or :func:`clip_grad_value_` between ``backward`` and ``step``. One of them.
    accumulate : int, default 1
        How many batches make a step (gradient accumulation): ``accumulate * batch_size`` rows, one batch after the other in the
        memory of one. It is the step of so many rows at once, bit for bit, but for what belongs to a pass forward: BatchNorm1d
        takes its statistics, and Dropout draws, for each batch. Schedules, callbacks and `drop_last` go by steps.
    max_seconds : float, optional
        Ends training after so many seconds, at the end of an epoch; compiling does not count.
    threads : int, optional
        How many threads to train on; by default as many as the work of a step is worth, at most :func:`get_num_threads`.
    progress : bool, "log" or ("log", seconds), optional
        True: a bar on standard error; by default on a terminal and in a notebook only. Needs tqdm, the extra ``progress``.
        "log": a plain line for each epoch, or with at least so many seconds between two.
    check_finite : bool, default True
        Refuse NaN and infinity in `X` and in floating-point targets.
    initial_epoch : int, optional
        The number, from 0, of the first epoch, which its order of rows, a fresh schedule and callbacks go by; `epochs` is then
        the number of all. By default it is ``optimizer.epochs``, how many epochs have been trained with this optimizer, and
        `epochs` more are.
    checkpoint : path, optional
        A folder, made where it is missing, in which the run is saved: model, optimizer, schedule, history, and the state of
        callbacks. The two newest files stay; a file appears whole or not at all.
    every : int, optional
        Save after each so many steps; by default after each epoch. The beginning and the end are saved, too.
    resume : bool, default False
        Go on from the newest checkpoint in the folder that can be read, or begin where there is none: a program that is simply
        started again. `epochs` is then the number of all epochs of the run. What the run began with must be passed again, but
        for `epochs`, `max_seconds`, `threads`, `progress`, `every`, and callbacks without a state; what was saved goes on.

    Returns
    -------
    History
        Losses, metrics, rates and seconds by epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed.
    NonFiniteLossError
        When a loss becomes NaN or infinite. The model keeps the last finite parameters, the error has the history.
    FileExistsError
        For a folder that has checkpoints, without `resume`.
    OSError, LoadError
        Where a checkpoint cannot be written, or none of those that are there can be read. The one before, and the model after
        the last finished step, stay as they are.
    RuntimeError
        When another thread, or a call around this one, trains the same model at the moment.

    Notes
    -----
    Ctrl-C ends the run within half a second with a KeyboardInterrupt: the model is as after the last finished step, and the
    exception has the history so far in its attribute ``history``, as every exception that ends a run has.

    Two calls of 2 epochs leave the same model, bit for bit, as one of 4, with the same int for `rng` or with none: the order of
    an epoch is a function of `rng` and its number, and the optimizer keeps both (they are in its ``state_dict``). A schedule
    that is passed again goes on; a fresh one begins. An epoch that was broken off goes on with its next batch if as many
    rows are trained on in as large batches, else it begins anew.

    A run that goes on from a checkpoint, of whatever step, ends with the bits of the unbroken one: model, optimizer, schedule,
    history (but the seconds), and what :class:`EarlyStopping` brings back. An exception, Ctrl-C included, is passed on once
    there is a checkpoint of the last finished step; so is what a handler of SIGTERM raises. ``max_seconds`` ends a call, and
    the next one goes on; a callback that says stop ends the run for good.

    The gradients of the parameters are left alone. A module, criterion or optimizer written in Python works too; then every
    step comes back to Python, and a warning says so.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(1000, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 25), fm.Tanh(), fm.Linear(25, 2))
    >>> model.reset_parameters(rng=0)
    >>> optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=20, batch_size=100, rng=0)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    check_kinds((model, Sequential, "model"), (criterion, Criterion, "criterion"), (optimizer, Optimizer, "optimizer"))
    epochs = checks.as_size(epochs, "epochs")
    threads = threads if threads is None else checks.as_size(threads, "threads")
    batch_size = checks.as_size(batch_size, "batch_size")
    accumulate = checks.as_size(accumulate, "accumulate")
    shuffle, drop_last = checks.as_flag(shuffle, "shuffle"), checks.as_flag(drop_last, "drop_last")
    check_finite = checks.as_flag(check_finite, "check_finite")
    clip_norm = clip_norm if clip_norm is None else checks.as_number(clip_norm, "clip_norm", above=0)
    clip_value = clip_value if clip_value is None else checks.as_number(clip_value, "clip_value", above=0)
    if clip_norm is not None and clip_value is not None:
        raise ValueError("clip_norm and clip_value are two ways to limit a gradient: give one of them")
    max_seconds = max_seconds if max_seconds is None else checks.as_number(max_seconds, "max_seconds", above=0)
    bar, listeners = as_progress(progress), as_callbacks(callbacks)
    goes_on = initial_epoch is None
    first = optimizer.epochs if initial_epoch is None else checks.as_size(initial_epoch, "initial_epoch", least=0)
    checkpoints = as_checkpoints(checkpoint, every, resume)
    found = None if checkpoints is None else checkpoints.found
    history = History(first_epoch=first) if found is None else found.history
    last = history.first_epoch + epochs if goes_on else epochs
    first = first if found is None else found.place.epoch
    if schedule is not None and (not isinstance(schedule, LRScheduler) or schedule.optimizer is not optimizer):
        raise TypeError("schedule must be an LRScheduler of the optimizer that is passed")
    optimizer._groups_now()
    beside.begin(model.storage.data.dtype)
    if not all_finite(model.storage.data):
        raise ValueError(f"{_first_wrong(model)} holds NaN or infinity before training: reset_parameters() draws it anew")
    rows, classes = as_rows_or_pieces(
        model, criterion, X, y, sample_weight, finite=check_finite, classes=model.classes, new=True
    )
    fraction, held_out = _as_validation(validation, model, criterion, check_finite, classes)
    seed = optimizer._seed if found is None else found.seed
    if rng is not None or seed is None or not (found is not None or optimizer.epochs or optimizer._place):
        seed = int(checks.as_generator(rng).integers(2**62))
    if fraction is not None:
        rows, held_out = rows.split(fraction, seed, criterion)
    width = model._width_out(rows.first.x.shape[1])
    wanted = as_metrics(metrics, criterion, rows.first.y, width)
    judged_on = held_out or (rows if wanted else None)
    weighted = rows if class_weight is None else rows.with_class_weight(class_weight, criterion, width)
    count = rows.length
    step = accumulate * batch_size
    trained = count // step * step if drop_last and count >= step else count
    if drop_last and count < step:
        times = f"accumulate * batch_size is {step}" if accumulate > 1 else f"batch_size is {batch_size}"
        raise ValueError(f"drop_last leaves nothing: {times}, X has {count} rows")
    batches, sizes = -(-trained // step), (min(step, count), min(batch_size, count))
    data = Data(weighted, *sizes, batches, trained, shuffle, seed, last, clip_norm, clip_value)

    names = ("loss", *(("validation_loss",) if held_out is not None else ()), "rate", "seconds")
    columns = (*names, *(f"{'validation_' * (held_out is not None)}{metric.name}" for metric in wanted))
    _check_parameters(model, optimizer)
    with carried_by_failures(history), alone(model), interrupts_watched():
        if checkpoints is not None:
            settings = settings_of(criterion, data, held_out, classes, columns)
            checkpoints.settle(model, optimizer, schedule, listeners, settings, initial_epoch)
        place = optimizer._place
        broken_off = (goes_on or found is not None) and place is not None and tuple(place[:-3]) == data.key(first)
        first_batch = int(place[-3]) if broken_off and place is not None else 0
        rates = Rates(optimizer, schedule, first, batches, fresh=not goes_on, first_batch=first_batch)
        if schedule is not None and schedule.last_epoch and initial_epoch and found is None:
            at = schedule.last_epoch if schedule.interval == "epoch" else schedule.last_epoch / batches
            if at != initial_epoch:
                raise ValueError(
                    f"initial_epoch is {initial_epoch}, but the schedule has done {at:g} epochs: a schedule that goes on has "
                    f"its own place (without initial_epoch, {epochs} epochs more are trained), a fresh one begins at "
                    "initial_epoch"
                )
        rates.check(last - first, RATES_CHECKED)
        training = Training(model, criterion, optimizer, schedule, history, history.first_epoch, last, columns)
        # A part in evaluation mode within a network in training mode is meant so: BatchNorm whose statistics are to stay.
        evaluating = [] if model.training else [module for module in model.modules() if not module.training]
        for module in evaluating:
            module.training = True
        try:
            run = _make_run(model, criterion, optimizer, data, first, rates, threads)
        except BaseException:
            for module in evaluating:
                module.training = False
            raise
        optimizer._seed = seed
        if classes is not model.classes:
            model.classes = classes
        loop = Loop(run, training, judged_on, held_out is not None, wanted, listeners, threads, max_seconds, bar, checkpoints)
        loop.train()
    return history


def _as_validation(
    validation: Any, model: Sequential, criterion: Criterion, finite: bool, classes: np.ndarray | None
) -> tuple[float | None, Rows | Pieces | None]:
    """What `validation` is: a fraction of the data, or data."""
    if validation is None:
        return None, None
    if isinstance(validation, Chunks):
        validation = validation, None
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        X, y, weights = (*validation, None)[:3]
        return None, as_rows_or_pieces(model, criterion, X, y, weights, finite=finite, where="validation ", classes=classes)[0]
    if isinstance(validation, (int, float, np.number)):
        return checks.as_number(validation, "validation, a fraction of the rows,", above=0, below=1), None
    raise TypeError("validation must be a pair (X, y), or (X, y, sample_weight), or Chunks, or a fraction of the rows")


def _first_wrong(model: Sequential) -> str:
    """The name of the first parameter that is not finite."""
    wrong = (name for name, parameter in model.named_parameters() if not np.isfinite(parameter.data).all())
    return next(wrong, "the padding of the parameters")


def _check_parameters(model: Sequential, optimizer: Optimizer) -> None:
    """The optimizer trains parameters of the model, all or some."""
    if not set(map(id, optimizer.params)) <= {id(array) for array in model._stored if not isinstance(array, Buffer)}:
        raise ValueError("the optimizer must hold parameters of the model, and no others: SGD(model.parameters(), ...)")
    if not any(parameter.requires_grad for parameter in optimizer.params):
        raise ValueError("there is nothing to train: no parameter of the optimizer requires a gradient")


def _most_threads(route: Route, dtype: np.dtype, data: Data, steps: int, wanted: int | None) -> int:
    """How many threads a run on the engine may have."""
    flops, units, narrow = route.work(data.given.first.x.shape[1], dtype)
    work = 3 * flops * data.microbatch * dtype.itemsize // 4
    if wanted is None and work * steps < 2 * FLOPS_PER_THREAD_OF_RUN:
        return 1
    shares = max(-(-data.microbatch // int(UNIT)), units)
    least = FLOPS_PER_THREAD if work * steps < LONG_RUN else FLOPS_PER_THREAD // 2
    each = data.batch_size // RELAY_EACH
    if narrow and each > 1 and not (data.together or data.given.weighted):
        shares = each
        least = FLOPS_PER_THREAD_RELAY if work * steps >= LONG_RUN else least
    return team_size(wanted, work, least, shares)


def _make_run(model, criterion, optimizer, data: Data, initial_epoch, rates, threads) -> Run:
    """On the engine where it can run everything, else in Python, which a warning says."""
    route = model._route_as_whole()
    smallest = data.smallest
    if route.least_rows > smallest:
        last = "batch" if data.microbatch == data.batch_size else "step"
        hint = f": drop_last=True leaves out a last {last} that is smaller" if smallest < data.microbatch else ""
        route.refuse(smallest, hint)
    if route.compiled and criterion.runs_in_engine() and optimizer.runs_in_engine():
        steps = (data.last_epoch - initial_epoch) * data.batches
        count = _most_threads(route, model.dtype, data, steps, threads)
        return CompiledRun(route, model, criterion, optimizer, data, initial_epoch, rates, count, threads is None)
    parts = [*route.python_modules()]
    parts += [part for part in (criterion, optimizer) if not part.runs_in_engine()]
    names = ", ".join(dict.fromkeys(type(part).__name__ for part in parts)) or type(model).__name__
    warnings.warn(f"{names} runs in Python, so every step of fit comes back to Python: it is slower", stacklevel=3)
    return EagerRun(model, criterion, optimizer, data, initial_epoch, rates)
