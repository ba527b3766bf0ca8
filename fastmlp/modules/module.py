"""The base of every module: what is called on a network and propagates through its parts."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks, pickles, structure
from fastmlp.arguments import arguments_of
from fastmlp.kernels.op import Op
from fastmlp.modules.route import Route, Trace
from fastmlp.modules.stretch import Kept
from fastmlp.parameters import Buffer, Parameter, Storage, gather, spans_of

__all__ = ["Module"]

#: Attributes that belong to a moment, not to the module: left behind by pickle and copy.
TRANSIENT = ("_trace", "_route", "_version", "_stored", "_spans", "_parent", "_outdated", "_adapter")

#: Containers that nobody changes: they are replaced.
SETTLED = (*TRANSIENT, "_modules")

#: Where modules and parameters are looked for, beside the attributes themselves.
CONTAINERS = (list, tuple, dict)


class Module:
    """A part of a network, or a network: ``y = module(x)``, then ``dx = module.backward(dy)``.

    To write one of your own, subclass it and give it two methods on NumPy arrays: ``forward(x)``, which keeps what
    ``backward(dy)`` will need, and ``backward(dy)``, which adds to the gradients of the module's parameters and returns the
    gradient with respect to ``x``. Attributes that are Parameters or Modules are found by name, also in lists, tuples and
    dictionaries. Such a module works everywhere, :func:`fastmlp.fit` included, only slower: each step comes back to Python.

    Shape: ``(N, I)`` to ``(N, O)``.

    Notes
    -----
    Gradients accumulate until :meth:`zero_grad`, as in PyTorch. In training mode a module keeps what the way back from its last
    output needs; in evaluation mode (:meth:`eval`) it keeps nothing, so :meth:`backward` still belongs to the last output of
    training mode.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> class Double(fm.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return 2 * dy
    >>> model = fm.Sequential(fm.Linear(2, 3), Double())
    >>> model(np.zeros((5, 2))).shape
    (5, 3)
    """

    training = True
    _parent: weakref.ref | None = None  # the module of whose network this one is a part
    _version = -1  # of the structure of all networks, when `_stored` was looked up
    _stored: Sequence[Parameter] = ()
    _spans: Sequence[tuple[Storage, int, int]] | None = None  # where `_stored` lie; None where parts may come unnoticed
    _open = False  # it has got a list or a dictionary, in which parts may come and go without an assignment
    _route: Route | None = None
    _trace: Trace | Kept | None = None
    _outdated = False  # the trace was that of other parts, parameters or options, and is gone

    #: Rows that a batch of training must have.
    least_rows = 1
    #: What refuses inputs that are no inputs for it, where it comes first in a network: ``_check_input(x, name)``.
    _check_input: Callable[..., None] | None = None
    #: Whether what it gives in training mode is drawn anew with each call.
    draws = False

    # What a subclass gives: `forward` and `backward`, in Python; or `_ops`, for the engine.

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The output for `x`, (N, I) to (N, O)."""
        route = self._route if self._version == structure.version() else self._look_again()
        if route is None:
            raise NotImplementedError(f"{type(self).__name__} has no forward(x)")
        x = checks.as_rows(x, self._width_in(), self._dtype_for(x), self, "x", module=self)
        if not self.training:
            return route.predict(x)
        if route.least_rows > len(x):
            route.refuse(len(x))
        # The workspace of the pass before is the one that the cache has. `pop`: of several threads, one alone gives it back.
        before = self.__dict__.pop("_trace", None)
        if before is not None:
            before.release()
        out, self.__dict__["_trace"] = route.forward(x)
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """The gradient with respect to the last input, given the one with respect to the last output.

        Adds to the gradients of the parameters.

        Raises
        ------
        RuntimeError
            Before the first ``forward`` in training mode.
        ValueError
            If `dy` does not have the shape of the last output.
        """
        if self._route_now() is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no backward(dy): write one, which calls those of its parts in reverse order, or "
                "make it a Sequential of them"
            )
        trace = self._trace
        if trace is None:
            if self._outdated:
                raise RuntimeError(
                    f"{type(self).__name__} has got another part, parameter or option since its last forward: call it again"
                )
            hint = "" if self.training else " in training mode (in evaluation mode, nothing is kept): call train(), and"
            raise RuntimeError(
                f"{type(self).__name__}.backward was called before forward{hint or ':'} call the module on an input first"
            )
        return trace.backward(checks.as_delta(dy, trace.shape, trace.dtype, self))

    def _jacobian(self, X: Any, threads: int | None) -> np.ndarray:
        """The derivatives of the outputs by the inputs: see :func:`fastmlp.jacobian`."""
        route = self._route_as_whole()
        if route is None:
            raise TypeError(f"jacobian needs modules that the engine runs; written in Python: {type(self).__name__}")
        x = checks.as_rows(X, self._width_in(), self._dtype_for(X), "jacobian", module=self)
        if route.check_input is not None:
            route.check_input(x)
        return route.jacobian(x, threads)

    def _route_as_whole(self) -> Route | None:
        """How others run it: as it is built, or by a ``forward`` that its class has; None for one that is all Python."""
        return self._route_now()

    #: What the engine is to do, for inputs of this width: ``_ops(width)``.
    _ops: Callable[[int], list[Op]] | None = None
    #: The modules that this one runs one after the other: ``_row()``.
    _row: Callable[[], Iterable[Module]] | None = None
    #: Whether these may stand in the row of an outer network instead of this one: it does nothing but run them.
    _dissolves = True

    def _stand_in(self) -> Module:
        """What runs in its place where it stands in a row: itself, but where only Python can run its parts."""
        return self

    @classmethod
    def _has_ops(cls) -> bool:
        """Whether `forward` and `backward` of the class Module have something to run."""
        return cls._ops is not None or cls._row is not None

    def _width_in(self) -> int | None:
        """The width of the input, None where any will do."""
        return None

    def _width_out(self, width: int | None) -> int | None:
        """The width of the output for an input of this width, None where unknown."""
        return None

    def _flattens(self) -> bool:
        """Whether it takes inputs of more than two axes, those behind the first as one."""
        return False

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x)

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype of the module's numbers; None where it has no parameters and takes its input's."""
        for _, parameter in self._named_arrays():
            return parameter.dtype
        return None

    def _dtype_for(self, x: Any) -> np.dtype:
        """The dtype to compute in."""
        return self._stored[0].dtype if self._stored else checks.as_float_dtype_of(x)

    # Parts and parameters.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The parts of this module, with their names."""
        yield from _named(self.__dict__, Module)

    def children(self) -> Iterator[Module]:
        """The parts of this module."""
        for _, child in self.named_children():
            yield child

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and of all its parts, with their names."""
        for name, parameter in self._named_arrays(prefix):
            if not isinstance(parameter, Buffer):
                yield name, parameter

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Buffer]]:
        """The buffers of this module and of all its parts, with their names."""
        for name, buffer in self._named_arrays(prefix):
            if isinstance(buffer, Buffer):
                yield name, buffer

    def _named_arrays(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Parameters and buffers."""
        for name, parameter in _named(self.__dict__, Parameter):
            yield prefix + name, parameter
        for name, child in self.named_children():
            yield from child._named_arrays(f"{prefix}{name}.")

    def _arrays(self) -> list[Parameter]:
        """Parameters and buffers, in the order in which they lie."""
        return list(dict.fromkeys(parameter for _, parameter in self._named_arrays()))

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Have all parameters trained, or, with False, none: a module that is frozen. Returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def buffers(self) -> Iterator[Buffer]:
        """The buffers of this module and of all its parts."""
        for _, buffer in self.named_buffers():
            yield buffer

    def parameters(self) -> Iterator[Parameter]:
        """The parameters of this module and of all its parts."""
        for _, parameter in self.named_parameters():
            yield parameter

    def modules(self) -> Iterator[Module]:
        """The module itself and all its parts, depth first."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself and all its parts, depth first, with their names; its own is empty."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    #: Names of whole numbers that count training steps, or belong to them, and so to the state.
    counts: ClassVar[tuple[str, ...]] = ()

    def _named_counts(self) -> Iterator[tuple[str, Module, str]]:
        """Name, module and attribute of each of these numbers."""
        for name, module in self.named_modules():
            for count in module.counts:
                yield (f"{name}.{count}" if name else count), module, count

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call `function` on all parts, then on the module itself, as in PyTorch; returns the module."""
        for _, child in self.named_children():
            child.apply(function)
        function(self)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        present = self.__dict__.get(name)
        if isinstance(present, Parameter) and value is not None and not isinstance(value, Parameter):
            raise TypeError(
                f"{name} of {type(self).__name__} is a Parameter; assign a Parameter, or its numbers: .{name}.data = ... "
                f"(got a {type(value).__name__})"
            )
        value = self._checked(name, value)
        if isinstance(value, UNSEARCHED):
            _refuse_parts(name, value)
        if _holds(value) or _holds(present):
            self._check_parts(name, value)
            self._let_go(name)
            object.__setattr__(self, name, value)
            self._take_in(name)
            structure.changed()
        else:
            opens = isinstance(value, CONTAINERS) and not self._open and _may_change(value)
            known = opens and self._is_open()
            object.__setattr__(self, name, value)
            if opens:
                self.__dict__["_open"] = True
                if not known:
                    structure.changed()

    def __delattr__(self, name: str) -> None:
        if _holds(self.__dict__.get(name)):
            self._let_go(name)
            structure.changed()
        object.__delattr__(self, name)

    def _check_parts(self, name: str, value: Any) -> None:
        """Refuse parameters and modules, alone or in containers, that have another place already."""
        others = {key: other for key, other in self.__dict__.items() if key != name}
        here = {id(parameter) for _, parameter in _named(others, Parameter)}
        for _, parameter in _named({name: value}, Parameter):
            owner = parameter.owner or self
            if owner is not self or id(parameter) in here:
                raise ValueError(
                    f"that Parameter already belongs to {checks.describe(owner)}; tied parameters are not supported: "
                    f"copy its numbers, .{name}.data = other.data"
                )
            here.add(id(parameter))
        for _, module in _named({name: value}, Module) if self._in_network() else ():
            if module._network() not in (None, self):
                raise ValueError(
                    f"{checks.describe(module)} already has a place in a network: make another one, or copy.deepcopy it"
                )

    def _take_in(self, name: str) -> None:
        """Own what an attribute holds."""
        held = {name: self.__dict__[name]}
        for _, parameter in _named(held, Parameter):
            parameter.enter(self)
        for _, module in _named(held, Module) if self._in_network() else ():
            module.__dict__["_parent"] = weakref.ref(self)

    def _let_go(self, name: str) -> None:
        """Set free what an attribute holds."""
        held = {name: self.__dict__.get(name)}
        for _, parameter in _named(held, Parameter):
            parameter.leave()
        for _, module in _named(held, Module):
            if module._network() is self:
                module.__dict__.pop("_parent")

    def _checked(self, name: str, value: Any) -> Any:
        """What an attribute becomes; a subclass refuses what it cannot be."""
        return value

    def _options(self) -> tuple[Any, ...]:
        """What the ops depend on beside the parameters and the width."""
        return ()

    # The flat vector that the parameters lie in.

    def _network(self) -> Module | None:
        """The module in whose network this one is a part; None where it is free, as it is when that network is gone."""
        return None if self._parent is None else self._parent()

    def _in_network(self) -> bool:
        """Whether it is a network or a part of one."""
        return self._row is not None or self._network() is not None

    def _root(self) -> Module:
        """The outermost network that this module is a part of."""
        module: Module = self
        while (parent := module._network()) is not None:
            module = parent
        return module

    def _route_now(self) -> Route | None:
        """How to go forward and back, as the module and its parameters are now; None for one that is all Python."""
        return self._route if self._version == structure.version() else self._look_again()

    def _adopt(self) -> None:
        """Take in parts that have come without an assignment, as in ``layers.append(...)``.

        They would gather their parameters for themselves, at each call away from the network that gathers them again.
        """
        for part in self.modules() if self._in_network() else ():
            for name, child in part.named_children():
                network = child._network()
                if network is None:
                    child.__dict__["_parent"] = weakref.ref(part)
                elif network._root() is not self:
                    raise ValueError(
                        f"{checks.describe(child)}, {name} of {checks.describe(part)}, already has a place in a network: "
                        "make another one, or copy.deepcopy it"
                    )

    def _look_again(self) -> Route | None:
        """Find the parameters again, after some network has changed, and bring them together where they are not."""
        root = self._root()
        stored = root._arrays()
        if stored and root._has_ops() and not _lie_together(stored):
            root._adopt()
            gather(stored, root.dtype or stored[0].dtype)
        version = structure.version()
        here = self.__dict__
        own = stored if root is self else self._arrays()
        storage = own[0].storage if own else None
        route = self._route
        if self._has_ops() and (route is None or route.storage is not storage or not route.fits(self)):
            route = here["_route"] = Route(self, storage)
            if here.pop("_trace", None) is not None:
                here["_outdated"] = True
        if route is not None:
            route.version, route.whole = version, None
        here["_stored"], here["_version"] = own, version
        here["_spans"] = None if any(part._is_open() for part in self.modules()) else spans_of(own)
        return route

    def _is_open(self) -> bool:
        """Whether parts may come and go without an assignment."""
        return self._open or any(
            isinstance(value, CONTAINERS) and name not in SETTLED and _may_change(value)
            for name, value in self.__dict__.items()
        )

    @property
    def storage(self) -> Storage:
        """The flat vector of the parameters, and that of their gradients, both with zeros where rows are padded.

        Of a module that has become a part of another, that one's. Numbers written into the padding have no effect.
        """
        self._route_now()
        return self._stored[0].storage if self._stored else Storage.empty(self.dtype or np.dtype(np.float32))

    # State.

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        if self._version != structure.version():
            self._look_again()
        for storage, first, last in spans_of(self.parameters()) if self._spans is None else self._spans:
            storage._grad[first:last] = 0

    def train(self, mode: bool = True) -> Module:
        """Switch to training mode (or, with False, to evaluation mode), with all parts."""
        mode = bool(mode)
        for module in self.modules():
            if module.training is not mode:
                module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode, with all parts."""
        return self.train(False)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw the parameters anew, those of all parts too. `rng` is None, an int or a Generator."""
        generator = checks.as_generator(rng)
        for _, child in self.named_children():
            child.reset_parameters(generator)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers, and the counts of steps, by name.

        Weights have the shape (out_features, in_features), as in PyTorch.
        """
        state: dict[str, np.ndarray] = {}
        for name, parameter in self._named_arrays():
            if name in state:
                raise ValueError(f"two parameters have the name {name!r}: call their places by other names")
            state[name] = np.array(parameter.data, order="C")
        return state | {name: np.array(getattr(module, count)) for name, module, count in self._named_counts()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over the numbers of a ``state_dict``, PyTorch's too. All are checked before any is changed.

        Counts of steps may be missing; then they stay as they are.

        Raises
        ------
        KeyError
            If a name is missing or not known.
        ValueError
            If a shape differs.
        """
        checks.check_mapping(state, "state")
        arrays = dict(self._named_arrays())
        counts = {name: (module, count) for name, module, count in self._named_counts()}
        missing, unknown = arrays.keys() - state.keys(), state.keys() - arrays.keys() - counts.keys()
        if missing or unknown:
            raise KeyError(f"the state_dict does not fit: missing {sorted(missing)}, not known {sorted(unknown)}")
        values = {name: checks.as_like(state[name], parameter.data, name) for name, parameter in arrays.items()}
        numbers = {name: checks.as_size(state[name], name, least=0) for name in counts if name in state}
        for name, parameter in arrays.items():
            parameter.data = values[name]
        for name, number in numbers.items():
            setattr(*counts[name], number)

    def __copy__(self) -> Module:
        # It shares the parameters and parts, which stay those of the module that it is a copy of.
        twin = object.__new__(type(self))
        twin.__dict__.update(pickles.opened(self.__getstate__(), self), _parent=weakref.ref(self))
        return twin

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a module like this one; its numbers are in the ``state_dict``.

        They are read from the attributes that have the names of the constructor's arguments. A class whose arguments are not
        attributes has a ``get_config`` of its own: :func:`fastmlp.save` keeps what it returns (numbers, texts, lists, arrays,
        modules, functions), and :func:`fastmlp.load` calls the class with it.

        Examples
        --------
        >>> import fastmlp as fm
        >>> fm.LeakyReLU(0.2).get_config()
        {'negative_slope': 0.2}
        """
        return arguments_of(self)

    #: The names of the parameters that its class gives it: those that somebody has added are saved by a class that knows them.
    _vectors: Sequence[str] = ()
    #: Those of them that may be None.
    _optional: Sequence[str] = ()

    def __getstate__(self) -> dict:
        return pickles.closed({name: value for name, value in self.__dict__.items() if name not in TRANSIENT})

    def __setstate__(self, state: dict) -> None:
        state = pickles.opened(state, self)
        self.__dict__.update(state)
        for _, parameter in _named(state, Parameter):
            parameter.enter(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _holds(value: Any) -> bool:
    """Whether a value is a parameter or a module, or has some in it: what a module keeps for its way back has none."""
    if isinstance(value, (Parameter, Module)):
        return True
    return isinstance(value, CONTAINERS) and bool(_named({"": value}, (Parameter, Module)))


def _may_change(value: Any) -> bool:
    """Whether something in a container can be replaced there."""
    return isinstance(value, (list, dict)) or any(isinstance(item, CONTAINERS) and _may_change(item) for item in value)


#: Containers in which parts would not be found: sets have no order, the others no names.
UNSEARCHED = (set, frozenset, deque, np.ndarray)


def _refuse_parts(name: str, value: Any) -> None:
    """Refuse parts that would be neither trained nor saved."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return
    items = value.flat if isinstance(value, np.ndarray) else value
    if any(isinstance(item, (Parameter, Module)) for item in items):
        raise TypeError(f"parts are not found in {checks.messages.a(type(value).__name__)}: make a list of {name}")


def _named(attributes: dict[str, Any], kind: type | tuple[type, ...]) -> list[tuple[str, Any]]:
    """The attributes of this kind, and those within lists, tuples and dictionaries, with their names."""
    found: list[tuple[str, Any]] = []
    for name, value in attributes.items():
        if name in TRANSIENT:
            continue
        if isinstance(value, kind):
            found.append((name, value))
        elif isinstance(value, CONTAINERS):
            _add_named(found, name, value, kind)
    return found


def _add_named(found: list[tuple[str, Any]], name: str, container: Any, kind: type | tuple[type, ...]) -> None:
    """Add what a list, tuple or dictionary has of this kind: a list, not nested generators, which took three times as long."""
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(value, kind):
            found.append((f"{name}.{key}", value))
        elif isinstance(value, CONTAINERS):
            _add_named(found, f"{name}.{key}", value, kind)


def _lie_together(parameters: Sequence[Parameter]) -> bool:
    """Whether parameters fill one storage, in order."""
    storage, at = parameters[0].storage, 0
    for parameter in parameters:
        if parameter.storage is not storage or parameter.offset != at:
            return False
        at += parameter.span
    return at == storage.data.size
