"""The base of every optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastmlp import checks, pickles, structure
from fastmlp.arguments import arguments_of
from fastmlp.eligible import check_names, check_static, has_formula, runs_compiled
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.engine import run
from fastmlp.kernels.job import Job
from fastmlp.kernels.layout import zeros
from fastmlp.optim.ema import averaging
from fastmlp.parameters import Parameter, Storage, spans_of
from fastmlp.program import Program

__all__ = ["Optimizer"]

#: Attributes that belong to a moment: looked up anew after pickle and copy.
MOMENT = (
    *("_version", "_settings", "_state_then", "_ahead", "_ahead_from", "_ahead_size"),
    *("_steps_now", "_zeroed", "_params_then", "_counted", "_changes"),
)

#: Steps whose scalars are computed at a time: NumPy takes as long for one as for many, ten times as long as the step of a small
#: network.
AHEAD = 64

#: A row of a 2-D array of no consequence, for an engine that expects one.
NOWHERE = {np.dtype(kind): np.zeros((1, 1), kind) for kind in (np.float32, np.float64)}

#: Numbers of a place in an epoch.
PLACE_SIZE = 9

#: What is said of a subclass that takes no step.
LACKING = "{} has no step(), nor both scalars(group, t, lr) and update(p, g, ...)"


class _OneStep(NamedTuple):
    """A program that updates the parameters in one storage."""

    job: Job
    scalars: np.ndarray  # of the step
    nowhere: np.ndarray


class Optimizer:
    """What turns gradients into new parameters: ``optimizer.zero_grad()``, ..., ``optimizer.step()``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``; or groups, each a dictionary with "params" and hyperparameters of its own, as in PyTorch.
    **defaults
        The hyperparameters by name, those of every group that does not say otherwise. ``lr`` is one of them.

    A subclass is a formula in plain Python on numbers, at full speed::

        class Momentum(fm.Optimizer):
            state = ("velocity",)                       # arrays like the parameters, zero at first

            def __init__(self, params, lr, momentum=0.9):
                super().__init__(params, lr=lr, momentum=momentum)

            def scalars(self, group, t, lr):            # for steps t = 1, 2, ..., an array; numbers or arrays like it
                return lr, group["momentum"]

            @staticmethod
            def update(p, g, velocity, lr, momentum):   # -> the parameter, then the state
                velocity = momentum * velocity + g
                return p - lr * velocity, velocity

    Or it has a ``step()`` of its own, which changes ``parameter.data`` for each of ``self.params`` by what is in
    ``parameter.grad``. That works in :func:`fastmlp.fit` too, only slower: each step then comes back to Python.

    Attributes
    ----------
    param_groups : list of dict
        The groups, with all hyperparameters. What is assigned in there is checked at the next step.
    steps : int
        Steps taken so far.
    epochs : int
        Epochs of :func:`fastmlp.fit` so far, where it goes on. It may be assigned: 0 begins with the first order of rows again.
    state : tuple of str
        Names of the arrays that the formula keeps for each parameter.
    rules : dict of callable
        What checks and converts hyperparameters, by name: ``rule(value, name)``.
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.

    Notes
    -----
    A hyperparameter is an attribute too, that of the first group; assigning it sets that of all groups.
    """

    update: Callable[..., Any]
    state: tuple[str, ...] = ()
    #: Whether the formula holds only while the momentum, or beta1, stays as it is: no schedule may cycle it then.
    constant_momentum: ClassVar[bool] = False
    rules: ClassVar[Mapping[str, Callable[[Any, str], Any]]] = {}
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    _ema_decay: float | None = None  # of the average of the parameters, where there is one
    epochs: int = 0
    _seed: int | None = None  # of the orders of rows in the epochs
    _place: tuple[Any, ...] | None = None  # in an epoch that was broken off: what it was of, batches done, sums so far

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_names(cls, "state")
        if cls.step is Optimizer.step:  # else `update` may be a helper of a step in Python
            check_static(cls, ("update",), "its options come from scalars(group, t, lr), as arguments")

    def __init__(self, params: Iterable[Parameter] | Iterable[Mapping], lr: float, **defaults: Any):
        self.__dict__["_defaults"] = {"lr": lr, **defaults}
        self.__dict__["param_groups"] = []
        self.steps = 0
        self._arrays: dict[Storage, tuple[tuple[str, ...], np.ndarray]] = {}  # of these names
        self._places: dict[Parameter, dict[str, tuple[np.ndarray, int]]] = {}  # by name: an array, a place
        self._jobs: dict[Storage, tuple[tuple, _OneStep]] = {}
        self._forget()
        for group in _as_groups(params):
            self.add_param_group(group)

    def _forget(self) -> None:
        """Look everything up anew at the next step."""
        self._jobs.clear()
        self._version, self._state_then = -1, self.state if self.param_groups else ()
        self._settings: list[Any] = []
        self._ahead: list[tuple[_OneStep, np.ndarray | None]] = []
        self._steps_now: list[_OneStep] = []
        self._zeroed: list[tuple[Storage, int, int]] = []
        self._ahead_from = self._ahead_size = 0
        self._params_then: list[tuple[Parameter, ...]] = []
        self._counted: tuple[Any, list[int], list[int]] | None = None
        self._count_change()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own.

        Raises
        ------
        ValueError, TypeError
            For names that are no hyperparameters, numbers outside their bounds, things that are not Parameters, and for a
            parameter that the optimizer has already.
        """
        parameters = _as_parameters(group["params"])
        unknown = group.keys() - self._defaults.keys() - {"params"}
        if unknown:
            raise ValueError(f"{type(self).__name__} has no hyperparameter {sorted(unknown)[0]!r}")
        have = {id(parameter) for parameter in self.params}
        for parameter in parameters:
            if id(parameter) in have:
                raise ValueError(f"{parameter!r} is listed twice: each parameter takes one step")
            have.add(id(parameter))
        complete = self._defaults | {name: value for name, value in group.items() if name != "params"}
        self.param_groups.append({"params": tuple(parameters)} | self.check(complete))
        self._forget()

    @property
    def params(self) -> list[Parameter]:
        """The parameters of all groups, in order."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def check(self, group: dict[str, Any]) -> dict[str, Any]:
        """The hyperparameters of a group, checked and converted by `rules`; a subclass may check more."""
        rules = {"lr": checks.as_number, **self.rules}
        return group | {name: rule(group[name], name) for name, rule in rules.items()}

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        """What `update` gets behind the state, for steps number `t` (from 1) with learning rates `lr`.

        Each is a number, or an array like `t`. So is a momentum in `group`, or beta1: a schedule may set it for each step.
        """
        raise NotImplementedError(LACKING.format(type(self).__name__))

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_defaults", ()) and self.param_groups:
            return self.param_groups[0][name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__.get("_defaults", ()):
            object.__setattr__(self, name, value)
            if name not in MOMENT:  # `scalars` may read it: what was computed ahead counts no longer
                self.__dict__["_settings"] = []
                self._count_change()
            return
        checked = [self.check({**group, name: value}) for group in self.param_groups]
        for group, new in zip(self.param_groups, checked):
            group.update(new)
            if name == "lr":  # a schedule that is made now begins from this one
                group.pop("initial_lr", None)

    def _count_change(self) -> None:
        """Note that `scalars` may say something else from now on, though no hyperparameter has changed."""
        here = self.__dict__
        here["_changes"] = (here.get("_changes") or 0) + 1

    # The average of the parameters.

    def average(self, decay: float | None = 0.999) -> None:
        """Keep an exponential moving average (EMA) of the parameters, from the next step on.

        After each step, by hand and in :func:`fastmlp.fit`, ``ema = ema + (1 - decay) * (param - ema)``, in the same pass over
        memory. The average begins with the first value that is not zero, as ``torch.optim.swa_utils.AveragedModel`` with
        ``get_ema_multi_avg_fn(decay)`` does. It is a part of the optimizer's state: saved, loaded and copied with it.

        Parameters
        ----------
        decay : float or None, default 0.999
            At least 0 and below 1; None ends the average.

        Raises
        ------
        TypeError, ValueError
            For a decay outside these bounds, and for an optimizer that takes its steps in Python.

        Examples
        --------
        >>> import fastmlp as fm
        >>> X, y = fm.datasets.make_disc(200, rng=0)
        >>> model, criterion = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1)), fm.CrossEntropyLoss()
        >>> optimizer = fm.Adam(model.parameters())
        >>> optimizer.average(0.9)
        >>> history = fm.fit(model, criterion, optimizer, X, y, epochs=5, rng=0)
        >>> with optimizer.averaged():
        ...     averaged = model.state_dict()
        """
        if not self._has_formula():
            raise TypeError(f"{type(self).__name__} takes its steps in Python: average() needs a formula, update(p, g, ...)")
        self._ema_decay = None if decay is None else checks.as_number(decay, "decay", below=1.0)
        if decay is None:
            for places in self._places.values():
                places.pop("ema", None)
        self._forget()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the parameters be their averages within a ``with`` block, to predict, to compute a loss, to save the model.

        The trained ones come back at its end; what was written to parameters meanwhile, by a step say, is lost.

        Raises
        ------
        RuntimeError
            Where no average is kept.
        """
        if self._ema_decay is None:
            raise RuntimeError(f"{type(self).__name__} keeps no average: call average(decay) before the first step")
        trained = [(parameter, parameter.data.copy()) for parameter in self.params]
        try:
            for parameter, values in trained:
                ema = self._kept_of(parameter).get("ema", values)
                parameter.data = np.where(ema == 0, values, ema)  # an average that is zero has not begun
            yield
        finally:
            for parameter, values in trained:
                parameter.data = values

    @property
    def _names(self) -> tuple[str, ...]:
        """The arrays of state, that of the average included."""
        return self.state if self._ema_decay is None else (*self.state, "ema")

    @property
    def _update(self) -> Callable[..., Any]:
        """The formula, that of the average included."""
        return self.update if self._ema_decay is None else averaging(self.update, len(self.state))

    # Steps, taken one by one. `fit` takes them in the engine's own calls.

    def _has_formula(self) -> bool:
        """Whether there is one to take a step by; a step in Python may have a helper of that name."""
        return has_formula(type(self), "update") and type(self).scalars is not Optimizer.scalars

    def runs_in_engine(self) -> bool:
        """Whether the engine can take the steps."""
        return has_formula(type(self), "update") and runs_compiled(type(self), "update", "step", "zero_grad")

    def zero_grad(self) -> None:
        """Set the gradients of the parameters to zero."""
        if self._version != structure.version():
            self._find_parameters()
        for storage, first, last in self._zeroed:
            storage._grad[first:last] = 0

    def step(self) -> None:
        """Change the parameters by what their gradients say."""
        here = self.__dict__  # past __setattr__, which takes as long as the step of a small network
        if here["_version"] != structure.version():
            if not self._has_formula():
                raise NotImplementedError(LACKING.format(type(self).__name__))
            self._find_parameters()
        settings = [value for group in here["param_groups"] for value in group.values()]
        at = here["steps"] - here["_ahead_from"]  # `fit` counts steps, too
        try:
            changed = settings != here["_settings"]
        except ValueError:  # an array among them, which has no place there
            changed, here["_settings"] = True, []
        if changed or not 0 <= at < here["_ahead_size"]:
            self._look_ahead(settings)
            at = 0
        for step, rows in here["_ahead"]:
            if rows is not None:
                step.scalars[:] = rows[at]
            run(step.job.handle, 0, step.nowhere, step.nowhere, 0, 1)
        here["steps"] += 1

    def _find_parameters(self) -> None:
        """Look up where the parameters lie, after some network has changed."""
        version = structure.version()
        spans = self._spans()
        self._zeroed = spans_of(self.params)
        storages = dict.fromkeys(storage for storage, *_ in spans) if self._has_formula() else ()
        self._steps_now = [self._step_of(storage, [span for span in spans if span[0] is storage]) for storage in storages]
        self._params_then = [group["params"] for group in self.param_groups]
        self._settings, self._version = [], version

    def _look_ahead(self, settings: list[Any]) -> None:
        """Compute the scalars of the steps that come, as long as no hyperparameter changes."""
        self._groups_now()  # `state` may depend on them
        t = np.arange(self.steps + 1, self.steps + 1 + (AHEAD if settings == self._settings else 1))
        if self.state != self._state_then or self._params_then != [group["params"] for group in self.param_groups]:
            self._find_parameters()  # an option needs another array, or a group has been given others
        ahead: list[tuple[_OneStep, np.ndarray | None]] = []
        for step in self._steps_now:
            rows = np.zeros((len(t), step.scalars.size), step.scalars.dtype)
            self._fill_scalars(rows, t, None)
            step.scalars[:] = rows[0]
            ahead.append((step, None if (rows == rows[0]).all() else rows))  # the same for each step, those of SGD for one
        self._ahead, self._ahead_from, self._ahead_size, self._settings = ahead, self.steps, len(t), settings

    def _spans(self) -> list[tuple[Storage, int, int, int]]:
        """Where the parameters lie, neighbours of a group joined: storage, first entry, behind the last entry, group."""
        for parameter in self.params:
            if parameter.replaced:
                raise RuntimeError(
                    f"{parameter!r} has been replaced in its module since the optimizer was made: make the optimizer anew"
                )
        trained = [[parameter for parameter in group["params"] if parameter.requires_grad] for group in self.param_groups]
        return [(*span, number) for number, parameters in enumerate(trained) for span in spans_of(parameters)]

    def _step_of(self, storage: Storage, spans: list[tuple[Storage, int, int, int]]) -> _OneStep:
        """What takes a step of the parameters in one storage, which lie in `spans`."""
        key = (self._names, *spans)
        found = self._jobs.get(storage)
        if found is not None and found[0] == key:
            return found[1]
        for other in set(self._jobs) - {parameter.storage for parameter in self.params}:
            del self._jobs[other]
        self._state_then = self.state
        updates, (_, starts) = self._updates_of(spans), self._places_of_scalars()
        program = Program.of_updates(updates, storage.data.dtype)
        job = program.job()
        step = _OneStep(job, np.zeros(starts[-1], storage.data.dtype), NOWHERE[storage.data.dtype])
        job.run.params = storage.data.size
        job.set(
            params=storage.data,
            grads=storage.grad,
            state=self._state_of(storage),
            scalars=step.scalars,
        )
        self._jobs[storage] = key, step
        return step

    @property
    def _formula(self) -> str:
        """The name of the formula; it differs where the options of a class choose between several."""
        return type(self).__name__.lower()

    def _formula_now(self) -> tuple[Any, ...]:
        """What a program of this optimizer is made for: other options may choose another formula, or want other arrays."""
        update = self.update
        return getattr(update, "__code__", update), self._names, len(self.param_groups)

    def _places_of_scalars(self) -> tuple[list[int], list[int]]:
        """How many scalars each group has, and where they begin in the row of a step: as long as the formula is the same."""
        formula = self._formula_now()
        if self._counted is None or self._counted[0] != formula:
            counts = [len(scalars) for scalars in self._scalars_of_groups(np.array([1]), None)]
            self._counted = formula, counts, [0, *accumulate(counts)]
        return self._counted[1:]

    def _updates_of(self, spans: Iterable[tuple[Storage, int, int, int]]) -> list[Update]:
        """The ops of spans of parameters."""
        counts, starts = self._places_of_scalars()
        return [
            Update(self._formula, self._update, len(self._names), counts[group], starts[group], first, last - first)
            for _, first, last, group in spans
        ]

    def _updates(self) -> list[Update]:
        """The ops of the groups, for whole steps of the engine."""
        counts, starts = self._places_of_scalars()
        return [Update(self._formula, self._update, len(self._names), counts[i], starts[i]) for i in range(len(counts))]

    def _groups_now(self) -> list[dict[str, Any]]:
        """The hyperparameters of the groups, checked: anything may have been assigned in there."""
        result = []
        for i, group in enumerate(self.param_groups):
            missing = self._defaults.keys() - group.keys()
            if missing:
                name = sorted(missing)[0]
                raise ValueError(
                    f"param_groups[{i}] of {type(self).__name__} has no {name!r}: groups are added by add_param_group"
                )
            result.append(self.check({name: group[name] for name in self._defaults}))
        return result

    def _momentum_of(self, group: dict[str, Any]) -> float:
        """A group's momentum, or its beta1."""
        return group["betas"][0] if "betas" in self._defaults else group["momentum"]

    def _has_momentum(self) -> bool:
        """Whether the state is that of a step with momentum, whatever a schedule makes of it."""
        return "betas" in self._defaults or all(group["momentum"] for group in self.param_groups)

    def _with_momentum(self, group: dict[str, Any], momentum: Any) -> dict[str, Any]:
        """What of a group holds its momentum, with another one: a number, or an array with one for each step."""
        if self.constant_momentum:
            raise ValueError(f"the momentum of {type(self).__name__} must stay as it is: cycle_momentum=False leaves it alone")
        if "betas" in self._defaults:
            return {"betas": (momentum, *group["betas"][1:])}
        if "momentum" in self._defaults:
            return {"momentum": momentum}
        raise ValueError(f"the optimizer must have momentum or betas for a schedule to cycle; {type(self).__name__} has none")

    def _scalars_of_groups(
        self, t: np.ndarray, rates: np.ndarray | None, momenta: np.ndarray | None = None
    ) -> list[tuple[Any, ...]]:
        """For each group what `update` gets; `rates` and `momenta` are (groups, steps), None for those in force."""
        result = []
        for i, group in enumerate(self._groups_now()):
            lr = np.full(len(t), group["lr"]) if rates is None else rates[i]
            if momenta is not None:
                group.update(self._with_momentum(group, momenta[i]))
            scalars = self.scalars(group, t, lr)
            if not isinstance(scalars, tuple):
                hint = checks.missing_return(scalars)
                raise TypeError(f"{type(self).__name__}.scalars must return a tuple; got {checks.shown(scalars)}{hint}")
            result.append(scalars if self._ema_decay is None else (*scalars, 1 - self._ema_decay))
        return result

    def _fill_scalars(
        self, rows: np.ndarray, t: np.ndarray, rates: np.ndarray | None, momenta: np.ndarray | None = None
    ) -> None:
        """Write a row of scalars for each step of `t`. A number beyond the dtype becomes inf, and the step's result says so."""
        with np.errstate(all="ignore"):
            groups = len(self.param_groups) if rates is None else len(rates)
            scalars_of = self._scalars_of_groups(t, rates, momenta) if groups == len(self.param_groups) else []
            values = [value for scalars in scalars_of for value in scalars]
            if len(values) != rows.shape[1]:
                raise self._other_formula()
            for place, value in enumerate(values):
                given = np.asarray(value)
                if given.dtype.kind not in "buif" or given.shape not in ((), t.shape):
                    raise TypeError(
                        f"{type(self).__name__}.scalars must return numbers, or arrays like t; got {checks.shown(value)}"
                    )
                rows[:, place] = given

    def _other_formula(self) -> ValueError:
        """What is wrong where a run was made for something else."""
        return ValueError(
            f"{type(self).__name__} has another formula than when fit began (a momentum that was 0, say), or another group: "
            "change that between two calls of fit"
        )

    # State.

    def _state_of(self, storage: Storage) -> np.ndarray:
        """The arrays of state of the parameters in a storage, one behind the other.

        The numbers come along where parameters move, and where an option needs other arrays; those of an array that is not
        needed at the moment are kept.
        """
        names = self._names
        had, here = self._arrays.get(storage, (None, None))
        inside = [parameter for parameter in self.params if parameter.storage is storage]
        if here is None or had != names or any(parameter not in self._places for parameter in inside):
            here = zeros(len(names) * storage.data.size, storage.data.dtype)
            arrays = dict(zip(names, here.reshape(len(names), -1) if names else ()))
            for parameter in inside:
                for name, before in self._kept_of(parameter).items():
                    parameter.view_of(arrays[name])[...] = before
            others = {parameter.storage for parameter in self.params} - {storage}
            self._arrays = {other: kept for other, kept in self._arrays.items() if other in others}
            self._arrays[storage] = names, here
            for parameter in inside:
                self._places.setdefault(parameter, {}).update(
                    {name: (array, parameter.offset) for name, array in arrays.items()}
                )
            self._jobs.pop(storage, None)  # its steps would go on with the arrays before
            self._version = -1
        return here

    def _kept_of(self, parameter: Parameter) -> dict[str, np.ndarray]:
        """The arrays of state of a parameter by name, in its shape; none before the first step."""
        places = self._places.get(parameter, {})
        return {name: parameter.view_of(*places[name]) for name in self._names if name in places}

    def get_config(self) -> dict[str, Any]:
        """The arguments, behind the parameters, that make an optimizer like this one; its numbers are in the ``state_dict``.

        They are the hyperparameters that groups have which do not say otherwise, and attributes that have the names of the
        constructor's other arguments.
        """
        return arguments_of(self, skip=1, given=self._defaults)

    def state_dict(self) -> dict:
        """The steps done, the groups, and a copy of each parameter's arrays of state, in order (none before the first step)."""
        groups = []
        count = 0
        for group in self.param_groups:
            numbers = list(range(count, count + len(group["params"])))
            count += len(numbers)
            groups.append(group | {"params": numbers})
        state = {}
        for i, parameter in enumerate(self.params):
            kept = self._kept_of(parameter)
            if self.steps and kept:  # an option may need one more array since the last step
                state[i] = {name: np.array(kept.get(name, np.zeros_like(parameter.data)), order="C") for name in self._names}
        average = {} if self._ema_decay is None else {"ema_decay": self._ema_decay}
        place = {"epochs": self.epochs, "seed": self._seed, "place": self._place} if self._seed is not None else {}
        return {"steps": self.steps, "state": state, "param_groups": groups} | average | place

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` gave, from an optimizer of parameters of the same shapes.

        All is checked before anything is changed. An average that the other one kept goes on; one that it did not begins.

        Raises
        ------
        KeyError
            If an entry is missing.
        ValueError
            If the groups or shapes differ.
        """
        checks.check_mapping(state, "state")
        missing = [name for name in ("steps", "param_groups", "state") if name not in state]
        if missing:
            hint = ": one of PyTorch's optimizers is not taken" if missing == ["steps"] else ""
            raise KeyError(f"the state_dict does not fit {type(self).__name__}: it has no {missing[0]!r}{hint}")
        steps = checks.as_size(state["steps"], "steps", least=0)
        given, groups = state["param_groups"], []
        if [len(group["params"]) for group in given] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the state_dict does not fit: its groups hold other numbers of parameters")
        for own, other in zip(self.param_groups, given):
            lacking = self._defaults.keys() - other.keys()
            if lacking:
                raise KeyError(f"the state_dict does not fit {type(self).__name__}: no {sorted(lacking)[0]!r}")
            groups.append({"params": own["params"]} | self.check({name: other[name] for name in self._defaults}))
            if "initial_lr" in other:
                groups[-1]["initial_lr"] = checks.as_number(other["initial_lr"], "initial_lr")
        average = checks.as_number(state["ema_decay"], "ema_decay", below=1.0) if "ema_decay" in state else None
        epochs = checks.as_size(state.get("epochs", 0), "epochs", least=0)
        seed = checks.as_size(state["seed"], "seed", least=0) if "seed" in state else None
        place = as_place(state.get("place"))
        before = self.param_groups
        self.__dict__["param_groups"] = groups  # `state` may depend on them
        try:
            names = self.state if average is None else (*self.state, "ema")
            values: list[dict[str, np.ndarray]] = []
            for i, parameter in enumerate(self.params):
                entry = state["state"].get(i)
                if entry is None:
                    if steps and names and state["state"]:
                        raise KeyError(f"the state_dict has no state of parameter {i}")
                    values.append({})
                    continue
                if entry.keys() != set(names):
                    raise ValueError(f"the state of parameter {i} must hold {sorted(names)}; got {sorted(entry)}")
                values.append({name: checks.as_like(entry[name], parameter.data, name) for name in names})
        except BaseException:
            self.__dict__["param_groups"] = before
            raise
        self.steps, self.epochs, self._seed, self._place = steps, epochs, seed, place
        self._ema_decay = self._ema_decay if average is None else average
        self._forget()
        for storage in dict.fromkeys(parameter.storage for parameter in self.params):
            self._state_of(storage)[...] = 0  # the same arrays, where they fit: a run of `fit` goes on with them
        for parameter, arrays in zip(self.params, values):
            places = self._places[parameter]
            self._places[parameter] = {name: places[name] for name in self._names}
            kept = self._kept_of(parameter)
            for name, array in arrays.items():
                kept[name][...] = array

    def __getstate__(self) -> dict:
        places = [self._places.get(p, {}) for p in self.params]
        kept = [{name: np.array(p.view_of(*place)) for name, place in here.items()} for p, here in zip(self.params, places)]
        empty: dict[str, Any] = {"_arrays": {}, "_places": {}, "_jobs": {}, "_kept": kept}
        return pickles.closed(self.__dict__ | empty | dict.fromkeys(MOMENT))

    def __setstate__(self, state: dict) -> None:
        state = pickles.opened(state, self)
        kept = state.pop("_kept")
        self.__dict__.update(state)
        self._forget()
        for parameter, arrays in zip(self.params, kept):
            self._places[parameter] = {}
            for name, values in arrays.items():
                flat = zeros(parameter.span, parameter.dtype)
                parameter.view_of(flat, 0)[...] = values
                self._places[parameter][name] = flat, 0

    def __repr__(self) -> str:
        groups = self.param_groups
        if len(groups) != 1:
            return f"{type(self).__name__}({len(groups)} groups)"
        return f"{type(self).__name__}({', '.join(f'{name}={groups[0].get(name)}' for name in self._defaults)})"


def as_place(place: Any) -> tuple[Any, ...] | None:
    """A place in an epoch that was broken off: what the epoch is of, batches done, and the sums so far; or None."""
    if place is None:
        return None
    whole = [checks.as_size(number, "each number of place", least=0) for number in place[:-2]]
    if len(place) != PLACE_SIZE:
        raise ValueError(f"place must have {PLACE_SIZE} numbers; got {len(place)}")
    return (*whole, *(checks.as_metric(number, "each sum of place") for number in place[-2:]))


def _as_groups(params: Any) -> list[dict[str, Any]]:
    """Groups of parameters, from what an optimizer is given."""
    if isinstance(params, Parameter):
        params = [params]
    if hasattr(params, "parameters"):  # a module, which may be iterable
        raise TypeError(f"params must be Parameters, model.parameters(); got {checks.messages.a(type(params).__name__)} itself")
    try:
        params = list(params)
    except TypeError:
        raise TypeError(f"params must be Parameters, model.parameters(); got {checks.shown(params)}") from None
    if not params:
        raise ValueError("params is empty: the model has no parameters, or its iterator has been used up")
    if not isinstance(params[0], Mapping):
        return [{"params": params}]
    for group in params:
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError('a group must be a dictionary with "params"')
    return [dict(group) for group in params]


def _as_parameters(params: Any) -> list[Parameter]:
    parameters = [params] if isinstance(params, Parameter) else list(params)
    if not parameters:
        raise ValueError("params is empty: the model has no parameters, or its iterator has been used up")
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            named = isinstance(parameter, tuple) and any(isinstance(part, Parameter) for part in parameter)
            came = "pairs of name and Parameter" if named else f"a {checks.full_name(parameter)}"
            raise TypeError(f"params must be Parameters, model.parameters(); got {came}")
    return parameters
