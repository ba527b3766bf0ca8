"""Training a network in whole epochs."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.checks.arrays import as_array
from fastmlp.criterion import Criterion
from fastmlp.kernels.op import UNIT
from fastmlp.kernels.scan import all_finite
from fastmlp.modules import Module, Sequential
from fastmlp.optim import LRScheduler, Optimizer
from fastmlp.parameters import Buffer
from fastmlp.team import team_size
from fastmlp.training.compiled import CompiledRun
from fastmlp.training.data import Data
from fastmlp.training.eager import EagerRun
from fastmlp.training.history import History, NonFiniteLossError, carried_by_failures
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.progress import Progress
from fastmlp.training.run import Rates, Run

__all__ = ["fit"]

#: Work of a step, in flops, that is worth a thread more. Below it the threads would wait for each other longer than they
#: save: a barrier costs about a microsecond, two of them a step.
FLOPS_PER_THREAD = 4_000_000

#: Rates of a schedule that are asked for before anything is trained.
RATES_CHECKED = 10_000


def fit(
    model: Sequential,
    criterion: Criterion,
    optimizer: Optimizer,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int = 32,
    shuffle: bool = True,
    drop_last: bool = False,
    rng: int | np.random.Generator | None = None,
    schedule: LRScheduler | None = None,
    validation: tuple[Any, ...] | None = None,
    sample_weight: Any = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    check_finite: bool = True,
    initial_epoch: int = 0,
) -> History:
    """Train `model` on the rows of `X` for whole epochs, in compiled calls.

    The arithmetic is that of the hand-written loop (forward, loss, ``zero_grad``, ``backward``, ``step`` for each batch):
    the parameters it leaves are bitwise the same, on any number of threads.

    Parameters
    ----------
    model : Sequential
        The network; it is left in training mode.
    criterion : Criterion
        The loss.
    optimizer : Optimizer
        Of the parameters of `model`.
    X : array_like, (N, I)
        Anything NumPy converts to real numbers; it is converted once, and not copied where it is C-contiguous and has the
        dtype of the model.
    y : array_like
        As `criterion` takes it: labels ``(N,)`` or targets ``(N, O)``.
    epochs : int
        Passes over the data.
    batch_size : int, default 32
        Rows of a step. The last, smaller batch of an epoch is trained on, unless `drop_last`.
    shuffle : bool, default True
        A new order of the rows for each epoch: a function of `rng` and the epoch alone.
    drop_last : bool, default False
        Leave out a last batch that is smaller than the others.
    rng : None, int or Generator
        For the shuffles. A Generator gives one number, from which all epochs' orders follow.
    schedule : LRScheduler, optional
        Sets the learning rate of each epoch (or of each step, if its ``interval`` is "step"), and takes a step after it. A
        :class:`ReduceLROnPlateau` is told the loss on `validation` after each epoch, or, without that, the loss in training.
    validation : (X, y) or (X, y, sample_weight), optional
        Data to compute a loss on after each epoch, in evaluation mode.
    sample_weight : array_like, (N,), optional
        How much each row counts, at least 0: the loss of a batch, and that of an epoch, is a weighted mean. A batch in which no
        row counts has the gradient 0.
    clip_norm, clip_value : float, optional
        What the gradients of each step are limited to before the optimizer gets them: their norm as one vector, or each
        number; as :func:`clip_grad_norm_` or :func:`clip_grad_value_` between ``backward`` and ``step``. One of them.
    threads : int, optional
        How many threads to train on; by default as many as the work of a step is worth.
    progress : bool, optional
        A progress bar on standard error; by default on a terminal only. Needs tqdm, the extra ``progress``.
    check_finite : bool, default True
        Refuse NaN and infinity in `X` and in floating-point targets.
    initial_epoch : int, default 0
        Go on with a run that has done this many of its `epochs`.

    Returns
    -------
    History
        Losses by epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed.
    NonFiniteLossError
        When a loss becomes NaN or infinite. The model keeps the last finite parameters, the error has the history.

    Notes
    -----
    Ctrl-C ends the run within half a second with a KeyboardInterrupt: the model is as after the last finished step, and the
    exception has the history so far in its attribute ``history``, as every exception that ends a run has.

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
    _check_kinds((model, Sequential, "model"), (criterion, Criterion, "criterion"), (optimizer, Optimizer, "optimizer"))
    epochs = checks.as_size(epochs, "epochs")
    threads = threads if threads is None else checks.as_size(threads, "threads")
    batch_size = checks.as_size(batch_size, "batch_size")
    shuffle, drop_last = checks.as_flag(shuffle, "shuffle"), checks.as_flag(drop_last, "drop_last")
    check_finite = checks.as_flag(check_finite, "check_finite")
    clip_norm = clip_norm if clip_norm is None else checks.as_number(clip_norm, "clip_norm", above=0)
    clip_value = clip_value if clip_value is None else checks.as_number(clip_value, "clip_value", above=0)
    if clip_norm is not None and clip_value is not None:
        raise ValueError("clip_norm and clip_value are two ways to limit a gradient: give one of them")
    progress = progress if progress is None else checks.as_flag(progress, "progress")
    initial_epoch = checks.as_size(initial_epoch, "initial_epoch", least=0)
    if schedule is not None and (not isinstance(schedule, LRScheduler) or schedule.optimizer is not optimizer):
        raise TypeError("schedule must be an LRScheduler of the optimizer that is passed")
    optimizer._groups_now()
    if not all_finite(model.storage.data):
        raise ValueError(f"{_first_wrong(model)} holds NaN or infinity before training: reset_parameters() draws it anew")
    x, y, weights = _check_data(model, criterion, X, y, sample_weight, "", check_finite)
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError("validation must be a pair (X, y), or (X, y, sample_weight)")
        held_x, held_y, *rest = validation
        held_out = _check_data(model, criterion, held_x, held_y, rest[0] if rest else None, "validation ", check_finite)
    rows = len(x) // batch_size * batch_size if drop_last and len(x) >= batch_size else len(x)
    if drop_last and len(x) < batch_size:
        raise ValueError(f"drop_last leaves nothing: batch_size is {batch_size}, X has {len(x)} rows")
    seed = int(checks.as_generator(rng).integers(2**62))
    data = Data(x, y, min(batch_size, len(x)), -(-rows // batch_size), rows, shuffle, seed, weights, clip_norm, clip_value)

    batches = data.batches
    rates = Rates(optimizer, schedule, initial_epoch, batches)
    if schedule is not None and schedule.last_epoch and initial_epoch:
        at = schedule.last_epoch if schedule.interval == "epoch" else schedule.last_epoch / batches
        if at != initial_epoch:
            raise ValueError(
                f"initial_epoch is {initial_epoch}, but the schedule has done {at:g} epochs: a schedule that goes on has its "
                f"own place (initial_epoch=0 trains {epochs} epochs more), a fresh one begins at initial_epoch"
            )
    history = History()
    _check_parameters(model, optimizer)
    with carried_by_failures(history):
        rates.check(epochs - initial_epoch, RATES_CHECKED)
        evaluating = [module for module in model.modules() if not module.training]
        for module in evaluating:
            module.training = True
        try:
            run = _make_run(model, criterion, optimizer, data, initial_epoch, rates, threads)
        except BaseException:
            for module in evaluating:
                module.training = False
            raise
        _train(run, history, model, criterion, held_out, epochs, initial_epoch, progress, threads)
    return history


def _first_wrong(model: Sequential) -> str:
    """The name of the first parameter that is not finite."""
    wrong = (name for name, parameter in model.named_parameters() if not np.isfinite(parameter.data).all())
    return next(wrong, "the padding of the parameters")


def _check_kinds(*things: tuple[Any, type, str]) -> None:
    """Refuse what is not of its kind; each thing comes with the kind and a name."""
    for value, kind, name in things:
        if not isinstance(value, kind):
            came = checks.full_name(value)
            if isinstance(value, type):
                came = f"the class {value.__name__}: make one, {value.__name__}()"
            hint = f": wrap it, Sequential({checks.describe(value)})" if isinstance(value, Module) else ""
            article = "an" if kind is Optimizer else "a"
            raise TypeError(f"{name} must be {article} {kind.__name__} of fastmlp; got {came}{hint}")


def _check_data(model, criterion, X, y, sample_weight, where, finite):
    """X, y and the weights of the rows as the kernels take them."""
    x_name, y_name, w_name = f"{where}X", f"{where}y", f"{where}sample_weight"
    x = checks.as_rows(X, model._width_in(), model.dtype, "fit", x_name, finite=finite, module=model)
    check_input = model._route_as_whole().check_input
    if check_input is not None:
        check_input(x, x_name)
    width = model._width_out(x.shape[1])
    if criterion.runs_in_engine() and width is not None:
        y = criterion._check_targets(y, width, model.dtype, len(x), y_name, finite=finite)
        weights = criterion._check_weights(sample_weight, y, model.dtype, w_name)
    else:
        y = as_array(y, y_name)  # only the criterion knows what it takes
        checks.check_same_length(len(x), len(y) if y.ndim else 0, x_name, y_name)
        weights = None if sample_weight is None else checks.as_weights(sample_weight, model.dtype, len(x), w_name)
    if weights is not None and not weights.any():
        raise ValueError(f"no row of {x_name} counts: each has the weight 0, or is ignored")
    return x, y, weights


def _check_parameters(model: Sequential, optimizer: Optimizer) -> None:
    """The optimizer trains parameters of the model, all or some."""
    if not set(map(id, optimizer.params)) <= {id(array) for array in model._stored if not isinstance(array, Buffer)}:
        raise ValueError("the optimizer must hold parameters of the model, and no others: SGD(model.parameters(), ...)")
    if not any(parameter.requires_grad for parameter in optimizer.params):
        raise ValueError("there is nothing to train: no parameter of the optimizer requires a gradient")


def _make_run(model, criterion, optimizer, data: Data, initial_epoch, rates, threads) -> Run:
    """On the engine where it can run everything, else in Python, which a warning says."""
    route = model._route_as_whole()
    last = data.rows % data.batch_size or data.batch_size
    if route.least_rows > last:
        route.refuse(last, ": drop_last=True leaves out a last batch that is smaller" if last < data.batch_size else "")
    if route.compiled and criterion.runs_in_engine() and optimizer.runs_in_engine():
        flops, units = route.work(data.x.shape[1])
        shares = max(-(-data.batch_size // int(UNIT)), units)
        count = team_size(threads, 3 * flops * data.batch_size, FLOPS_PER_THREAD, shares)
        return CompiledRun(route, model, criterion, optimizer, data, initial_epoch, rates, count, threads is None)
    parts = [*route.python_modules()]
    parts += [part for part in (criterion, optimizer) if not part.runs_in_engine()]
    names = ", ".join(dict.fromkeys(type(part).__name__ for part in parts)) or type(model).__name__
    warnings.warn(f"{names} runs in Python, so every step of fit comes back to Python: it is slower", stacklevel=3)
    return EagerRun(model, criterion, optimizer, data, initial_epoch, rates)


def _loss_of(model, criterion, held_out: tuple, threads: int | None) -> float:
    """The loss of the network as it is; a criterion in Python gets targets that it may write to."""
    x, y, weights = held_out
    y = y if criterion.runs_in_engine() else y.copy()
    given = () if weights is None else (weights.copy(),)
    return checks.as_loss(criterion(model.predict(x, threads=threads), y, *given), criterion)


def _train(run: Run, history: History, model, criterion, held_out, epochs, initial_epoch, progress, threads) -> None:
    """Take the run to its end, with all that happens between two epochs."""
    bar = Progress(progress, epochs, initial_epoch, run.data.rows)
    began = time.perf_counter()

    judged = 0
    told = run.rates.schedule is not None and run.rates.schedule.takes_metric

    def judge() -> None:
        """Judge an epoch that has ended since: the loss on what was held out and what the schedule makes of it belong to it."""
        nonlocal judged
        if (held_out is None and not told) or judged == len(run.losses):
            return
        with interrupts_held():
            loss = run.losses[-1]
            if held_out is not None:
                loss = _loss_of(model, criterion, held_out, threads)
                history.validation_loss.append(loss)
            judged = len(run.losses)
            run.rates.tell(loss)

    try:
        while run.epoch < epochs and not run.failed:
            run.advance(run.epoch + 1 if held_out is not None or told else epochs)
            history.loss = run.losses
            judge()
            steps = (run.epoch - initial_epoch) * run.data.batches + run.batch
            loss = history.loss[-1] if history.loss else None
            bar.show(run.epoch, run.batch, run.data.batches, loss, time.perf_counter() - began, steps, run.data.batch_size)
    except KeyboardInterrupt:
        history.loss = run.losses
        judge()
        raise
    finally:
        bar.close()
        history.loss = run.losses
        history.seconds = time.perf_counter() - began
    if run.failed:
        raise NonFiniteLossError(
            f"the loss or a parameter became infinite or NaN in epoch {run.epoch + 1} of {epochs} (step {run.batch + 1} of "
            f"{run.data.batches}); the model keeps its last finite parameters. A smaller learning rate than "
            f"{run.rates.optimizer.lr:g} or scaled inputs may help",
            run.epoch,
            history,
        )
