"""Saving and loading of models and of trainings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastmlp import saving
from fastmlp.modules import Module
from fastmlp.optim import Optimizer
from fastmlp.optim.schedules import LRScheduler
from fastmlp.saving import LoadError
from fastmlp.training.history import History

__all__ = ["Checkpoint", "load", "load_checkpoint", "save"]


class Checkpoint(NamedTuple):
    """What :func:`load_checkpoint` returns: what :func:`save` was given, None where it was not."""

    model: Any
    optimizer: Any = None
    schedule: Any = None
    history: History | None = None


def save(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None = None,
    schedule: LRScheduler | None = None,
    history: History | None = None,
) -> None:
    """Save a model, and what a training needs to go on, in one file.

    The file is of the safetensors format: other programs see the arrays of the ``state_dict`` under PyTorch's names. It appears
    whole or not at all; whatever happens meanwhile, a file that was there before stays as it was.

    Parameters
    ----------
    path : str or path
        The file; by custom its name ends in ``.safetensors``. Its folder must be there.
    model : Module
        Whose classes, arguments, parameters, buffers, counts and modes are saved.
    optimizer : Optimizer, optional
        Of parameters of the model: hyperparameters, groups, steps, state, moving average.
    schedule : LRScheduler, optional
        Of that optimizer: its arguments and its place.
    history : History, optional
        What :func:`fit` returned.

    Raises
    ------
    OSError
        Where the file cannot be written.
    TypeError, ValueError
        For what a file cannot hold, and parts that don't belong together.

    Notes
    -----
    Functions, and classes of your own, are saved by name; :func:`load` is given them. Such a class keeps the arguments of its
    constructor as attributes of the same names, or has a ``get_config()`` that returns them: see :meth:`Module.get_config`.
    Gradients, attributes that are neither, and what was computed last are not saved.

    Examples
    --------
    >>> import os, tempfile, fastmlp as fm
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> model = fm.Sequential(fm.Linear(2, 3), fm.ReLU(), fm.Linear(3, 1))
    >>> fm.save(path, model)
    >>> fm.load(path)
    Sequential(
      (0): Linear(2, 3)     9 parameters
      (1): ReLU()
      (2): Linear(3, 1)     4 parameters
    )  13 parameters, float32
    """
    if history is not None and not isinstance(history, History):
        raise TypeError(f"history must be a History, what fit returns; got a {type(history).__name__}")
    columns = None if history is None else history.to_dict()
    saving.write(path, saving.describe(model, optimizer, schedule, history=columns))


def load(
    path: str | os.PathLike[str], custom: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | None = None
) -> Any:
    """The model of a file that :func:`save` has written.

    Parameters
    ----------
    path : str or path
        The file.
    custom : dict of str to class or function, or list of them, optional
        The classes and functions that the model has and the package has not, by the names that an error lists. In place of a
        class, a function that takes the same arguments and returns such an object does.

    Returns
    -------
    Module
        The model, in the mode, with the frozen parameters, seeds and counts that it had.

    Raises
    ------
    LoadError
        For a file that is damaged, holds no model, is too new, or needs what `custom` lacks.
    OSError
        Where it cannot be read.

    Notes
    -----
    A file is data: nothing in it is executed, and no class or function is looked up but those of fastmlp and of `custom`.
    Time and memory are bounded by a multiple of what the file's size allows.
    """
    return saving.read(path, custom, model_only=True).model


def load_checkpoint(
    path: str | os.PathLike[str], custom: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]] | None = None
) -> Checkpoint:
    """The model of a file that :func:`save` has written, with optimizer, schedule and history: what a training needs to go on.

    Parameters
    ----------
    path, custom
        As for :func:`load`; a function of a schedule, that of LambdaLR for instance, is one of `custom`, too.

    Returns
    -------
    Checkpoint
        A tuple ``(model, optimizer, schedule, history)``, with None for what was not saved.

    Raises
    ------
    LoadError, OSError
        As :func:`load`.

    Examples
    --------
    >>> import os, tempfile, fastmlp as fm
    >>> path = os.path.join(tempfile.mkdtemp(), "training.safetensors")
    >>> X, y = fm.datasets.make_disc(200, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1))
    >>> optimizer = fm.Adam(model.parameters())
    >>> history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=5, rng=0)
    >>> fm.save(path, model, optimizer, history=history)
    >>> model, optimizer, _, history = fm.load_checkpoint(path)
    >>> optimizer.steps, len(history.loss)
    (35, 5)
    """
    parts = saving.read(path, custom)
    history = None
    if "history" in parts.values:
        try:
            history = History(**parts.values["history"])
        except (TypeError, ValueError, AttributeError) as error:
            raise LoadError(f"{os.fspath(path)}: its history is none: {error}") from error
    return Checkpoint(parts.model, parts.optimizer, parts.schedule, history)
