"""A trained network as an object that compiled code can call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from fastmlp import checks, structure
from fastmlp.kernels import predictor as functions
from fastmlp.kernels.compiler.jit import COMPILING
from fastmlp.modules import Module
from fastmlp.modules.route import Route
from fastmlp.predictor.arrays import ARRAYS, WRITTEN
from fastmlp.predictor.low_level import c_function, low_level
from fastmlp.predictor.numba_type import TYPES
from fastmlp.predictor.plans import plans_of, route_of, width_of, width_out

__all__ = ["Predictor", "compiled", "predictor_at"]


class Predictor:
    """A network that compiled code can call: Numba's, in ``@njit`` functions, and C's. :func:`fastmlp.compiled` makes it.

    Everything here is so in Python and in ``@njit`` code alike; what compiled code cannot do is said.

    Attributes
    ----------
    inputs, outputs : int
        Widths of a row of x and of out; I and O below.
    dtype : dtype
        float32 or float64: that of the model, and of all arrays.
    address : int
        Where `header` lies: what C functions get as ``void *user_data``.
    header : ndarray of int64
        What the compiled functions read, for functions that take an array and hand on its address (``data=`` of numbalsoda).
        Read-only. Both are valid while the Predictor lives.

    Raises
    ------
    ValueError
        For arrays of other sizes, in compiled code too (in a ``@cfunc``, Numba prints it and goes on).
    TypeError
        For arrays of another dtype or layout; in compiled code it is Numba's TypingError, which says which.

    Notes
    -----
    A call is compiled code from end to end: it takes no lock, keeps nothing, and allocates nothing while a row takes less than
    32 KiB of workspace (a network of 784-512-512-10 neurons takes 11 KiB in float32). So any number of threads may call one
    Predictor, in ``prange`` too, and a forked child.

    The type in compiled code is the same for all networks of a dtype: calling a function with another network compiles nothing,
    and ``cache=True`` works. A Predictor may also be a global or a variable that an ``@njit`` function has closed over: Numba
    takes that one for good, compiles for each and doesn't cache.

    It follows its model. The parameters are the model's own, whatever trains them. When the model has got other parts,
    parameters or options (``model[2] = ...``, ``layer.negative_slope = 0.2``), the Predictor notices at the next moment that
    Python has it in its hands: a call from Python, an argument of a compiled function, :attr:`address`. What compiled code has
    closed over goes on with what was, until then. If the model has another width or dtype by then, that is a ValueError.

    Where ``NUMBA_DISABLE_JIT`` is set, it runs as plain Python; pointers for C are not to be had there.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm, numba
    >>> model = fm.Sequential(fm.Linear(2, 16), fm.Tanh(), fm.Linear(16, 2), dtype=np.float64)
    >>> field = fm.compiled(model)
    >>> @numba.njit
    ... def euler(field, u, steps, h):
    ...     slope = np.empty_like(u)
    ...     for _ in range(steps):
    ...         u += h * field(u, slope)
    ...     return u
    >>> euler(field, np.ones(2), 100, 0.01).shape
    (2,)
    """

    #: Those that are alive, by their addresses.
    alive: ClassVar[WeakValueDictionary[int, Predictor]] = WeakValueDictionary()

    def __init__(self, model: Module, frozen: bool):
        self._model, self._frozen = model, frozen
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._dtype = np.dtype(np.float32)
        self._route: Route | None = None
        self._version = -1
        self._header = functions.Header()
        self._address: int = self._header.words.ctypes.data
        self._look_again()
        self.alive[self._address] = self

    # What it is.

    @property
    def inputs(self) -> int:
        return self._sizes["inputs"]

    @property
    def outputs(self) -> int:
        return self._sizes["outputs"]

    @property
    def dtype(self) -> np.dtype:
        return self._dtype

    @property
    def address(self) -> int:
        if self._version != structure.version():
            self._look_again()
        return self._address

    @property
    def header(self) -> np.ndarray:
        if self._version != structure.version():
            self._look_again()
        view = self._header.words[:]
        view.flags.writeable = False
        return view

    # What it does.

    def __call__(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write the outputs for x, (I,) or (N, I), to out, (O,) or (N, O), and return it.

        Those of ``model.predict``, to the bit. The arrays are C-contiguous and don't overlap; N may be 0.
        """
        self._run("forward", x, out)
        return out

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The outputs for x, (I,) or (N, I), as a new array."""
        out = np.empty((*self._shape_of_rows(x), self.outputs), self._dtype)
        self._run("forward", x, out)
        return out

    def jacobian(self, x: np.ndarray, out: np.ndarray, jac: np.ndarray) -> np.ndarray:
        """Write the outputs for x to out, and ``jac[o, i]``, the derivative of output o by input i, to jac; return jac.

        x (I,), out (O,), jac (O, I); or of N rows, x (N, I), out (N, O), jac (N, O, I). What :func:`fastmlp.jacobian` gives, to
        the bit: derivatives go back from each output, or forward from each input where these are no more and every layer can.
        """
        self._run("jacobian", x, out, jac)
        return jac

    def vjp(self, x: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """Write ``dy @ jac`` at x to dx, and return it: the gradient by x of what has the gradient dy by the outputs.

        x (I,), dy (O,), dx (I,), or N rows of each. What ``model.backward`` gives in evaluation mode, for one way back.
        """
        self._run("vjp", x, dy, dx)
        return dx

    def jvp(self, x: np.ndarray, v: np.ndarray, dout: np.ndarray) -> np.ndarray:
        """Write ``jac @ v`` at x to dout, and return it: the derivative of the outputs in the direction v.

        x (I,), v (I,), dout (O,), or N rows of each. One way forward; for networks with a residual, a norm of rows, a
        LogSoftmax or an Embedding, one way back for each output.
        """
        self._run("jvp", x, v, dout)
        return dout

    def low_level(self, kind: str) -> Any:
        """A ``scipy.LowLevelCallable``, which SciPy calls without coming back to Python. Not in compiled code.

        Parameters
        ----------
        kind : {"quad", "scalar", "generic_filter", "generic_filter1d", "geometric_transform"}
            The signature: of ``scipy.integrate.quad`` and ``nquad`` ("scalar" is ``double f(double, void *)``), or of the
            function in ``scipy.ndimage`` of that name. "geometric_transform" takes a network of as many inputs as the result
            has axes, and as many outputs as the image; all others one of one output.

        Returns
        -------
        scipy.LowLevelCallable
            It keeps the Predictor alive. A float32 network converts the doubles that come and go.

        Raises
        ------
        ValueError
            For another kind, and a network whose widths it cannot have.
        RuntimeError
            Where ``NUMBA_DISABLE_JIT`` is set.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> from scipy.integrate import quad
        >>> line = fm.Sequential(fm.Linear(1, 1), dtype=np.float64)
        >>> line[0].weight.data, line[0].bias.data = [[2.0]], [1.0]
        >>> quad(fm.compiled(line).low_level("quad"), 0, 3)[0]
        12.0
        """
        return low_level(self, kind)

    def c_function(self, name: str) -> Callable[..., None]:
        """A function as a ctypes pointer, which C may keep; it holds the Predictor. Not in compiled code.

        Parameters
        ----------
        name : {"forward", "jacobian", "vjp", "jvp"}
            Which.

        Returns
        -------
        ctypes function
            ``void f(const void *header, const T *x, T *out, int64_t rows)`` for "forward", with T float or double as `dtype`
            says; ``void f(const void *header, const T *x, T *out, T *jac, int64_t rows)`` for "jacobian"; "vjp" has dy and dx
            there, "jvp" v and dout. The first argument is :attr:`address`. They stay so. The first three words of a header,
            int64, are the inputs, the outputs and the bytes of a T.

        Raises
        ------
        ValueError
            For another name.
        RuntimeError
            Where ``NUMBA_DISABLE_JIT`` is set.

        Examples
        --------
        >>> import numpy as np, fastmlp as fm
        >>> net = fm.compiled(fm.Sequential(fm.Linear(3, 2), fm.ReLU()))
        >>> f, x, out = net.c_function("forward"), np.ones(3, np.float32), np.empty(2, np.float32)
        >>> f(net.address, x.ctypes.data, out.ctypes.data, 1)
        >>> bool((out == net.predict(x)).all())
        True
        """
        return c_function(self, name)

    def _run(self, name: str, *arrays: np.ndarray) -> None:
        """Call a function, on arrays that compiled code would take."""
        shape = self._shape_of_rows(arrays[0])
        for array, (called, axes) in zip(arrays, ARRAYS[name]):
            self._check(called, array, (*shape, *(self._sizes[axis] for axis in axes)))
        if self._check_input is not None:
            self._check_input(arrays[0].reshape(-1, self.inputs))
        rows = shape[0] if shape else 1
        if name == "forward":
            functions.call_forward(self._header.handle, arrays[0], arrays[1], rows)
        elif COMPILING:
            _c_functions(name)(self._address, *[array.ctypes.data for array in arrays], rows)
        else:
            _, kernel, _, which = functions.FUNCTIONS[name]
            with np.errstate(all="ignore"):
                functions.KERNELS[kernel](self._header.handle, *arrays, rows, *which)

    def _shape_of_rows(self, x: Any) -> tuple[int, ...]:
        """(N,) for rows, () for one row."""
        if self._version != structure.version():
            self._look_again()
        inputs = self._sizes["inputs"]
        if not isinstance(x, np.ndarray) or x.ndim not in (1, 2) or x.shape[-1] != inputs:
            self._check("x", x, (inputs,), f"({inputs},) or (N, {inputs})")
        return x.shape[:-1]

    def _check(self, name: str, array: Any, shape: tuple[int, ...], wanted: str = "") -> None:
        """Refuse what compiled code would refuse."""
        if type(array) is np.ndarray and array.dtype is self._dtype and array.shape == shape and array.flags.carray:
            return
        if not isinstance(array, np.ndarray) or array.dtype != self._dtype:
            got = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else checks.shown(array)
            raise TypeError(
                f"{name} must be an array of {self._dtype}, as the Predictor is; got {got}: make it "
                f"np.asarray({name}, np.{self._dtype}) before"
            )
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {wanted or shape}; got {array.shape}")
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise TypeError(f"{name} must be C-contiguous: np.ascontiguousarray({name})")
        if not array.flags.writeable and name in WRITTEN:
            raise TypeError(f"{name} must be writable: {name}.copy()")

    # How it is made.

    def _look_again(self) -> None:
        """Follow the model, after some network has changed."""
        with self._lock:
            version = structure.version()
            route = route_of(self._model)
            if route is not self._route:
                self._follow(route)
            if version == structure.version():  # else somebody has changed it meanwhile
                self._version = version

    def _follow(self, route: Route) -> None:
        """Have the header describe this network."""
        width, dtype = width_of(self._model), self._model.dtype or np.dtype(np.float32)
        plans = plans_of(route, width, dtype)
        is_now = {"inputs": width, "outputs": width_out(route, width)}
        if self._route is not None and (is_now != self._sizes or dtype != self._dtype):
            raise ValueError(
                f"the model is {_described(is_now, dtype)} now, but this is {self!r}, and compiled code may rely on that: make "
                "another one, fastmlp.compiled(model)"
            )
        self._sizes, self._dtype = is_now, dtype
        self._numba_type_ = TYPES[dtype]  # what Numba's dispatcher looks at before it asks Python
        self._check_input: Callable[..., None] | None = route.check_input
        self._header.write(dtype, is_now, plans, functions.KERNELS)
        self._route = route

    def __reduce__(self) -> tuple:
        return Predictor, (self._model, self._frozen)

    def __repr__(self) -> str:
        return f"<Predictor: {_described(self._sizes, self._dtype)}{', a copy' if self._frozen else ''}>"


def _described(sizes: dict[str, int], dtype: np.dtype) -> str:
    return f"{sizes['inputs']} to {sizes['outputs']}, {dtype}"


_known: dict[str, Callable[..., None]] = {}


def _c_functions(name: str) -> Callable[..., None]:
    """A function by its name, to be called with the address of a header, those of arrays, and how many rows there are."""
    if name not in _known:
        _known[name] = c_function(None, name)
    return _known[name]


def compiled(model: Module, *, copy: bool = False) -> Predictor:
    """A trained network as an object that compiled code can call: one's own ``@njit`` functions, SciPy, C.

    Parameters
    ----------
    model : Module
        A network, or a layer that has a width. Everything computes as in evaluation mode.
    copy : bool, default False
        Whether the Predictor gets a copy of the model and stays as it is. By default it follows the model: training goes on
        under whatever calls it.

    Returns
    -------
    Predictor
        ``p(x, out)``, ``p.predict(x)``, ``p.jacobian``, ``p.vjp``, ``p.jvp``: see there.

    Raises
    ------
    TypeError
        For what is no Module, and for a network with modules written in Python.
    ValueError
        For a network that takes inputs of any width.

    Notes
    -----
    The first one of a dtype on a machine compiles for a second or two, if that dtype's layers have been compiled before; from
    then on a Predictor takes a millisecond or two to make.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm, numba
    >>> model = fm.Sequential(fm.Linear(4, 16), fm.ReLU(), fm.Linear(16, 1))
    >>> policy = fm.compiled(model)
    >>> @numba.njit
    ... def play(policy, state, steps):
    ...     action = np.empty(policy.outputs, policy.dtype)
    ...     for _ in range(steps):
    ...         policy(state, action)
    ...         state += np.float32(0.01) * action[0]
    ...     return state
    >>> play(policy, np.ones(4, np.float32), 1000).shape
    (4,)
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module of fastmlp; got {checks.shown(model)}")
    copy = checks.as_flag(copy, "copy")
    return Predictor(deepcopy(model) if copy else model, copy)


def predictor_at(pointer: Any, dtype: Any) -> Predictor:
    """The Predictor behind a pointer, in a function of one's own that C calls: an ODE solver's right-hand side, say.

    Parameters
    ----------
    pointer : pointer or int
        :attr:`Predictor.address`, as it comes back: ``void *user_data``, or whatever type the solver gives it.
    dtype : dtype
        That of the Predictor, np.float32 or np.float64: in compiled code the type has to be known.

    Returns
    -------
    Predictor
        That one. In compiled code, valid while somebody holds it; it cannot be returned to Python from there.

    Raises
    ------
    ValueError
        In Python, where no Predictor that lives has this address, or another dtype.

    Examples
    --------
    >>> import ctypes, numba, numpy as np, fastmlp as fm
    >>> @numba.cfunc("float64(float64, voidptr)")
    ... def twice(x, user_data):
    ...     net, row, out = fm.predictor_at(user_data, np.float64), np.full(1, x), np.empty(1)
    ...     return net(row, out)[0] * 2
    >>> model = fm.Sequential(fm.Linear(1, 1), dtype=np.float64)
    >>> model[0].weight.data, model[0].bias.data = [[3.0]], [1.0]
    >>> net = fm.compiled(model)
    >>> twice.ctypes(1.0, net.address)
    8.0
    """
    address = pointer if isinstance(pointer, int) else ctypes.cast(pointer, ctypes.c_void_p).value
    found = Predictor.alive.get(address or 0)
    if found is None:
        raise ValueError(f"there is no Predictor at {address}: it is Predictor.address, while the Predictor lives")
    if found.dtype != np.dtype(dtype):
        raise ValueError(f"the Predictor there is of {found.dtype}; dtype says {np.dtype(dtype)}")
    return found
