"""A network: modules in a row."""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from fastmlp import checks, structure
from fastmlp.arguments import arguments_of
from fastmlp.eligible import runs_compiled
from fastmlp.modules.labels import as_classes, labels_of, probabilities_of
from fastmlp.modules.module import Module, _named
from fastmlp.modules.route import ARITHMETIC, Route, flat_row, runs_in_engine
from fastmlp.parameters import Parameter, Storage, gather
from fastmlp.sources import Source, as_source

__all__ = ["Sequential"]

#: The one object that the number has: quick to compare.
ONE = 1

#: Bytes of inputs that a prediction reads at a time from what is not in memory, or in no one array.
PIECE_BYTES = 2**24


class Sequential(Module):
    """Modules in a row, each reading the output of the one before.

    Building it gathers the parameters of its modules into one flat vector of one dtype; the modules stay usable.

    Parameters
    ----------
    *modules : Module
        At least one. No module may stand in two networks, or twice in one: it keeps the input of its last call.
    dtype : dtype, optional
        float32 or float64, for all parameters. By default the dtype the modules have.

    Shape: ``(N, I)`` to ``(N, O)``, I the width of the first module and O that of the last.

    Raises
    ------
    TypeError
        If something that is not a Module is passed.
    ValueError
        If the widths don't chain, or a module already has a place in a network.

    Notes
    -----
    ``repr`` shows the modules and counts the parameters; ``model[i]`` is the i-th module, which may be assigned; a slice is a
    Sequential of the same modules, which stay parts of `model`. A module that is assigned to an attribute comes at the end of
    the row, as in PyTorch. A module is free for another network when its network is gone.

    Forward and backward are one compiled call each, unless a module is written in Python: then there is one for each stretch
    between such modules.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2))
    >>> model
    Sequential(
      (0): Linear(2, 25)     75 parameters
      (1): ReLU()
      (2): Linear(25, 2)     52 parameters
    )  127 parameters, float32
    >>> model(np.zeros((10, 2))).shape
    (10, 2)
    """

    _modules: dict[str, Module]
    _width: int | None
    _dtype: np.dtype
    _as_built = True  # its arithmetic is that of this class

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._as_built = runs_compiled(cls, "_row", *ARITHMETIC)

    def __init__(self, *modules: Module, dtype=None):
        if len(modules) == 1 and isinstance(modules[0], (list, tuple)):
            raise TypeError("Sequential takes its modules one by one: Sequential(*modules)")
        if not modules:
            raise ValueError("Sequential needs at least one module")
        for module in modules:
            if not isinstance(module, Module):
                kind = f"the class {module.__name__}" if isinstance(module, type) else f"a {checks.full_name(module)}"
                hint = f": make one, {module.__name__}()" if isinstance(module, type) else ""
                if isinstance(module, dict):
                    kind = "a dictionary"
                    hint = ": make it of the values, Sequential(*modules.values()); a name comes by model.name = module"
                raise TypeError(f"Sequential is made of modules; got {kind}{hint}")
        row = {str(i): module for i, module in enumerate(modules)}
        _check_free(row.values(), None)
        dtypes = {parameter.dtype for module in modules for parameter in module.parameters()}
        if dtype is None and len(dtypes) > 1:
            raise TypeError("the modules differ in dtype: say which one the network is to have, Sequential(..., dtype=)")
        self._dtype = checks.as_float_dtype(dtype if dtype is not None else next(iter(dtypes), np.float32))
        self._set_row(row)

    def _set_row(self, row: dict[str, Module]) -> None:
        """Have these modules, which are free."""
        self.__dict__["_width"] = _chain(list(row.values()))
        _check_first(row.values())
        for module in self.__dict__.get("_modules", {}).values():
            module.__dict__.pop("_parent", None)  # whoever is no longer in the row is free
        self.__dict__["_modules"] = row
        self._own()
        structure.changed()
        gather(self._arrays(), self._dtype)
        for name, parameter in self._named_arrays():
            parameter.name = name

    def _own(self) -> None:
        """Be the network of all parts."""
        for _, module in self.named_children():
            module.__dict__["_parent"] = weakref.ref(self)
            for part in module.modules():
                for _, child in part.named_children():
                    child.__dict__["_parent"] = weakref.ref(part)
                if isinstance(part, Sequential):  # its parameters have this dtype now
                    part.__dict__["_dtype"] = self._dtype

    def __setattr__(self, name: str, value: Any) -> None:
        row = self.__dict__.get("_modules", {})
        if isinstance(value, Module):
            if not row:
                raise TypeError(f"call super().__init__(*modules) before {name} is assigned")
            if name in self.__dict__:
                del self.__dict__[name]
            if row.get(name) is not value:
                _check_free([value], self)
                self._set_row(row | {name: value})
            return
        if name in row:
            raise TypeError(f"{name} is a module of the row; got a {type(value).__name__}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        row = self.__dict__.get("_modules", {})
        if name not in row:
            super().__delattr__(name)
        elif len(row) == 1:
            raise ValueError("Sequential needs at least one module")
        else:
            self._set_row({key: module for key, module in row.items() if key != name})

    def __getattr__(self, name: str) -> Module:
        row = self.__dict__.get("_modules", {})
        if name in row:
            return row[name]
        if name == "_modules":
            raise AttributeError(f"call super().__init__(*modules) in {type(self).__name__} first")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _look_again(self) -> Route | None:
        self.__dict__["_width"] = _chain(list(self._modules.values()))
        return super()._look_again()

    def _row(self) -> Iterable[Module]:
        return self._modules.values()

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters."""
        return self._dtype

    @property
    def storage(self) -> Storage:
        storage = super().storage
        return storage if self._stored else Storage.empty(self._dtype)

    def _dtype_for(self, x: Any) -> np.dtype:
        return self._dtype

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules, named by their places, or by the attributes they were assigned to; then those in lists and the like."""
        yield from self._modules.items()
        yield from _named({name: value for name, value in self.__dict__.items() if name != "_modules"}, Module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index):
        modules = list(self._modules.values())
        if not isinstance(index, slice):
            return modules[index]
        chosen = modules[index]
        if not chosen:
            raise ValueError(f"that slice of {len(modules)} modules is empty")
        part = object.__new__(Sequential)
        part.__dict__.update(_dtype=self._dtype, training=self.training, _width=_chain(chosen), _parent=weakref.ref(self))
        part.__dict__["_modules"] = {str(i): module for i, module in enumerate(chosen)}
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        """Put another module in the place of one: ``model[-1] = Linear(25, 5)``. The one before is free."""
        names = list(self._modules)
        if isinstance(index, slice) or not isinstance(module, Module):
            raise TypeError(f"model[i] = module puts one module in one place; got {checks.shown(module)}")
        setattr(self, names[index], module)

    def append(self, module: Module) -> Sequential:
        """Put a module at the end of the row, as in PyTorch; returns the network."""
        if not isinstance(module, Module):
            raise TypeError(f"Sequential is made of modules; got {checks.shown(module)}")
        setattr(self, str(len(self._modules)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _width_in(self) -> int | None:
        return self._width if self._as_built else None

    def _width_out(self, width: int | None) -> int | None:
        if not self._as_built:
            return None
        for module in self._modules.values():
            width = module._width_out(width)
        return width

    def _flattens(self) -> bool:
        return next(iter(self._modules.values()))._flattens()

    def predict(self, X, *, out: np.ndarray | None = None, threads: int | None = None) -> np.ndarray:
        """The outputs for all rows of `X`, in evaluation mode: one compiled call, a block of rows at a time.

        Parameters
        ----------
        X : array_like, (N, I)
            Anything NumPy converts to real numbers. A ``numpy.memmap``, a data set of h5py or zarr, a frame, and a table or a
            file of pyarrow are read some rows at a time.
        out : ndarray, (N, O), optional
            Where to write; C-contiguous, of the network's dtype. It may overlap `X`.
        threads : int, optional
            How many threads share the rows; by default as many as the work is worth, at most :func:`fastmlp.get_num_threads`.
        The results do not depend on it.

        Returns
        -------
        ndarray, (N, O)
            `out` where it was given.

        Raises
        ------
        ValueError, TypeError
            For another width, no rows, an array that does not hold real numbers, or an `out` that does not fit.

        Notes
        -----
        Keeps nothing for backward. Threads may call it on one network at the same time.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> model = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 1))
        >>> model.predict(np.zeros((1000, 2))).shape
        (1000, 1)
        """
        route = self._route
        if type(X) is not np.ndarray:
            if (source := as_source(X)) is not None:
                return self._predict_in_pieces(source, out, threads)
        elif route is not None and route.version == structure.version() and (stretch := route.whole) is not None:
            # A prediction of one row has no time for more: a look at an attribute of the network takes 50 ns.
            dtype, shape = stretch.dtype, X.shape
            if X.dtype is dtype and len(shape) == 2 and shape[1] == stretch.width_in and shape[0] and X.flags.carray:
                shape = shape[0], stretch.width_out
                y = np.empty(shape, dtype) if out is None else checks.as_output(out, shape, dtype, apart_from=X)
                if shape[0] == 1 and threads is None and (row := stretch.row) is not None:
                    row[0](row[1], X, y, 1)
                else:
                    if threads is not None and threads is not ONE:
                        threads = checks.as_size(threads, "threads")
                    stretch.predict(X, y, threads)
                if out is None or y is out:
                    return y
                out[...] = y  # it overlaps X, or is of a subclass
                return out
        route = self._route_as_whole()
        x = checks.as_rows(X, self._width_in(), self._dtype, "predict", module=self)
        if threads is not None:
            threads = checks.as_size(threads, "threads")
        if out is not None:
            width = self._width_out(x.shape[1])
            if width is not None:
                checks.as_output(out, (x.shape[0], width), self._dtype)
            if width is None or checks.overlaps(out, x):
                y = route.predict(x, None, threads)
                checks.as_output(out, y.shape, self._dtype)[...] = y
                return out
        y = route.predict(x, out, threads)
        if self._as_built:
            route.whole = route.last
        return y

    @property
    def classes(self) -> np.ndarray | None:
        """The names of the classes, in the order of the outputs: what :meth:`predict_labels` gives; None for their numbers.

        :func:`fastmlp.fit` sets them where the labels are text. They may be assigned, and are saved with the network.
        """
        return self.__dict__.get("_classes")

    @classes.setter
    def classes(self, names: Any) -> None:
        self.__dict__["_classes"] = as_classes(names)

    def _predict_in_pieces(self, source: Source, out: np.ndarray | None, threads: int | None) -> np.ndarray:
        """What :meth:`predict` does with rows that are not in memory, or in no one array."""
        whole, width = source.values, max(1, source.width)
        mapped = isinstance(whole, np.ndarray) and (
            whole.dtype == self._dtype or (out is not None and checks.overlaps(out, whole))
        )
        rows = max(1, PIECE_BYTES // (width * self._dtype.itemsize))
        if mapped or source.rows <= rows:
            return self.predict(np.asarray(whole) if mapped else source.read(0, source.rows), out=out, threads=threads)
        edges = source.edges(rows)
        y = None
        for first, last in itertools.pairwise(edges):
            part = self.predict(source.read(first, last), threads=threads)
            if y is None:
                shape = source.rows, part.shape[1]
                y = np.empty(shape, self._dtype) if out is None else checks.as_output(out, shape, self._dtype)
            y[first:last] = part
        assert y is not None
        return y if out is None else out

    def predict_proba(self, X, *, threads: int | None = None) -> np.ndarray:
        """The probabilities of the classes for all rows of `X`.

        Parameters
        ----------
        X, threads
            As in :meth:`predict`.

        Returns
        -------
        ndarray, (N, classes)
            The softmax of the outputs (logits). Outputs of a Softmax, a LogSoftmax or a Sigmoid are taken for what they are:
            those of a Sigmoid are probabilities each by itself. One output alone is that of class 1, as the criteria of
            binary cross entropy have it: then there are two columns, class 0 and class 1.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> model = fm.Sequential(fm.Linear(2, 3))
        >>> model[0].weight.data[:], model[0].bias.data = 0, [0, 0, np.log(2)]
        >>> model.predict_proba([[1.0, 2.0]])
        array([[0.25, 0.25, 0.5 ]], dtype=float32)
        """
        return probabilities_of(flat_row(self)[-1], self.predict(X, threads=threads))

    def predict_labels(self, X, *, threads: int | None = None) -> np.ndarray:
        """The most probable class of each row of `X`, (N,): its number, or its name where the network has :attr:`classes`.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> model = fm.Sequential(fm.Linear(2, 2))
        >>> model[0].weight.data = np.eye(2)
        >>> model.classes = ["left", "right"]
        >>> model.predict_labels([[5.0, 2.0], [0.0, 3.0]]).tolist()
        ['left', 'right']
        """
        probabilities = self.predict_proba(X, threads=threads)
        classes = self.classes
        if classes is not None and len(classes) != probabilities.shape[1]:
            raise ValueError(f"the network has {len(classes)} classes, but {probabilities.shape[1]} probabilities")
        return labels_of(probabilities, classes)

    def _route_as_whole(self) -> Route:
        """How others run it: as it is built, or by a ``forward`` that its class has."""
        route = self._route_now()
        assert route is not None
        return route if self._as_built else Route(self, None, as_whole=True)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make a network like this one, beside its modules."""
        return arguments_of(self, starred=True)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._own()
        structure.changed()

    def __repr__(self) -> str:
        entries = []
        for name, module in self.named_children():
            lines = repr(module).split("\n")
            entries.append((f"  ({name}): {lines[0]}", [f"  {line}" for line in lines[1:]], _count(module)))
        column = max(len(head) for head, tail, _ in entries if not tail) + 4 if any(not e[1] for e in entries) else 0
        text = []
        for head, tail, count in entries:
            text.append(head.ljust(column) + f" {_plural(count)}" if count and not tail else head)
            text += tail
        inside = "\n".join(text)
        return f"{type(self).__name__}(\n{inside}\n)  {_plural(_count(self))}, {self.dtype}"


def _count(module: Module) -> int:
    return sum(parameter.size for parameter in module.parameters())


def _plural(count: int) -> str:
    return f"{count:,} parameter{'s' if count != 1 else ''}"


def _check_free(modules: Iterable[Module], network: Module | None) -> None:
    """Refuse modules that have a place in a network already, and parameters that belong to two of them."""
    modules = list(modules)
    own = [] if network is None else list(network.modules())
    parts = [part for module in modules for part in module.modules()]
    places = Counter(map(id, [*own, *parts]))
    for part in parts:
        if places[id(part)] > 1:
            raise ValueError(
                f"{checks.describe(part)} stands twice in the network, but it keeps its last input: make a second one"
            )
    inside = {id(part) for part in parts}
    for part in parts:
        place = part._network()
        if place is not None and id(place) not in inside:
            raise ValueError(f"{checks.describe(part)} already has a place in a network: make another one, or copy.deepcopy it")
    stored: list[Parameter] = [parameter for module in modules for _, parameter in module._named_arrays()]
    if len(set(map(id, stored))) < len(stored):
        raise ValueError("a Parameter belongs to two modules of the network; each needs its own")


def _check_first(modules: Iterable[Module]) -> None:
    """Refuse what takes inputs of its own kind, categories say, where another module has changed them before."""
    parts = [part for module in modules for part in (flat_row(module) if module._dissolves else [module])]
    for place, part in enumerate(parts):
        for before in parts[:place] if part._check_input is not None else ():
            if not runs_in_engine(before) or before._ops(1):  # type: ignore[misc]
                raise ValueError(
                    f"{checks.describe(part)} must come first in a network: what {checks.describe(before)}, which stands "
                    "before it, gives are no categories"
                )


def _chain(modules: Sequence[Module]) -> int | None:
    """Check that the widths chain, and return the width of the input where it is known."""
    first = width = None
    giver, any_width = 0, True  # the place of what gave the width; whether no module so far has one of its own
    for place, module in enumerate(modules):
        expected = module._width_in()
        if expected is not None and width is not None and expected != width:
            raise ValueError(
                f"the widths don't chain: {checks.describe(modules[giver])} at {giver} gives {width} features, "
                f"{checks.describe(module)} at {place} expects {expected}"
            )
        if place == 0 or (first is None and any_width):
            first = expected  # only modules of any width stand before this one
        any_width = any_width and module._width_out(1) == 1
        out = module._width_out(width if expected is None else expected)
        if expected is not None or out != width:
            giver = place
        width = out
    return first
