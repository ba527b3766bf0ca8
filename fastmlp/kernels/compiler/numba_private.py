"""All of Numba that Numba does not promise, in one place: what each thing is for, and what happens where it is gone.

Numba optimises every function by itself and makes machine code of it before it links a copy into the callers, then
optimises each caller and its copies again: a function five calls deep goes through LLVM six times, and only the last copy
runs. Here a *part*, which only other kernels call, is handed on as LLVM IR as it is; the *whole*, an entry point or a block
with all its parts, goes through the full passes and to machine code once. To the first epoch of a training that was 4.8 s of
CPU time instead of 8.8, and what comes out is no slower: passes over each function alone, before it is inlined, made the step
on narrow layers 1.4 times as slow, Numba's cheap passes before the full ones (they serve the pruning of reference counts)
gained nothing.

Before LLVM gets anything, Numba's own row of passes in Python takes twice as long as LLVM. Kernels need 10 of its 27, need no
analysis of the function behind each pass, and count no references, since nothing in them allocates: on a Zen 4 that was 3.1 s
for the first `fit` of the disc network instead of 4.1 (1.1 s of either in LLVM), and 0.03 us less for each array of a call.

A part that Numba has linked in could be anybody's, as far as LLVM knows, and takes all fields of all its arrays, which nobody
reads, from the stack. Made internal, it takes what it reads, in registers where there are some: a matrix product 15 values
instead of 45. A step of 2-25-25-25-2 on one row took 0.60 us instead of 0.67, on ten rows 2.17 instead of 2.31 (Zen 4).

All of it is the same from Numba 0.62 to 0.68 at least. Where anything in HOOKS is gone, :data:`AVAILABLE` is false: kernels
are compiled and cached in Numba's own way, blocks are compiled in each process. The rest falls back by itself, as said there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import pickle
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from llvmlite import binding, ir
from numba import config, typeof
from numba.core import cgutils

from fastmlp.kernels.compiler.collector import collector_off

__all__ = [
    "AVAILABLE",
    "AttributeTemplate",
    "BlockCompiler",
    "DispatcherCache",
    "PartCompiler",
    "PlainBlockCompiler",
    "WholeCompiler",
    "around_compile",
    "borrowed_array",
    "compile_and_keep",
    "compiler_lock",
    "data_of",
    "host_features",
    "lend_part",
    "link_function",
    "lower_constant",
    "object_code",
    "on_compile",
    "shape_of",
    "straight",
]


def _find(module: str, name: str) -> Any:
    """What is called so in one of Numba's modules, or None."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None


# codegen: how LLVM IR becomes machine code; what _Part and _Whole change of it.
CodeLibrary = _find("numba.core.codegen", "JITCodeLibrary")
LIBRARY = """_optimize_functions _optimize_final_module _finalize_final_module _finalize_dynamic_globals _ensure_finalized
             finalize _get_module_for_linking _raise_if_finalized enable_object_caching codegen has_dynamic_globals"""
# compiler: where a pipeline gets its code library, and a compilation as something that can be pickled.
Compiler = _find("numba.core.compiler", "Compiler")
CompileResult = _find("numba.core.compiler", "CompileResult")
# caching: what the dispatcher asks before it compiles.
NullCache = _find("numba.core.caching", "NullCache")
# What Numba pickles functions and environments with: pickle alone cannot.
dumps = _find("numba.core.serialize", "dumps")
# dispatcher: how other compiled functions get at an entry point.
Dispatcher = _find("numba.core.registry", "CPUDispatcher")

# The passes of a compilation, and what goes through them; what _Kernel leaves out.
PassManager = _find("numba.core.compiler_machinery", "PassManager")
AnalysisPass = _find("numba.core.compiler_machinery", "AnalysisPass")
register_pass = _find("numba.core.compiler_machinery", "register_pass")
untyped_passes, typed_passes = (_find("numba.core", f"{kind}_passes") for kind in ("untyped", "typed"))
UNTYPED = "TranslateByteCode FixupArgs IRProcessing DeadBranchPrune GenericRewrites ReconstructSSA"
TYPED = "NopythonTypeInference PreLowerStripPhis NativeLowering NoPythonBackend"

HOOKS = [
    (CodeLibrary, LIBRARY),
    (binding, "create_pass_builder create_pipeline_tuning_options"),
    (config, "OPT LOOP_VECTORIZE SLP_VECTORIZE"),
    (Compiler, "compile_extra"),
    (CompileResult, "_reduce _rebuild"),
    (NullCache, "load_overload save_overload"),
    (dumps, "__call__"),
    (Dispatcher, "get_call_template get_overload compile"),
    (PassManager, "add_pass finalize _ENFORCING"),
    (AnalysisPass, "run_pass"),
    (register_pass, "__call__"),
    (untyped_passes, UNTYPED),
    (typed_passes, TYPED),
]

#: Longer parts, in lines of IR, are not made internal: what has one caller LLVM would then copy into it, whatever its size, and
#: optimise once more there. The block of the cross-entropy, a part of which has 3,400, took 0.65 s to compile instead of 0.51;
#: parts of 2,000 make no difference.
LONG_PART = 2500

#: Whether this version of Numba has all that is needed.
AVAILABLE = all(owner is not None and hasattr(owner, name) for owner, names in HOOKS for name in names.split())


class _Part(CodeLibrary or object):  # type: ignore[misc,unused-ignore]
    """IR that is linked into others, and nothing more: alone into a whole, which brings what the part calls by itself."""

    _shared_module: Any
    _linking_libraries: list

    @property
    def codegen(self):
        # Asked for one thing: to store the address of the function's environment in its machine code, which there is not. Only
        # code that raises or calls the interpreter reads it; what Numba loads from its cache has none either.
        return SimpleNamespace(set_env=lambda *_: None)

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._raise_if_finalized()
        for function in self._final_module.functions:
            if not function.is_declaration:
                function.linkage = "linkonce_odr"
        self._finalize_dynamic_globals()
        self._finalized = True

    def _get_module_for_linking(self):
        """For a library of Numba's own, which knows of no parts: with all that it calls."""
        if self._shared_module is None:
            module = self._final_module.clone()
            _link(module, self._linking_libraries)
            self._shared_module = module
        return self._shared_module


def _link(module, libraries):
    """Link each of these into a module once, and each that a part among them calls.

    Numba would link a part's parts into it, those into what calls it, and so on: 0.1 s of the 1.45 that the block of a linear
    layer took to compile. LLVM leaves out a function that nobody refers to yet: what names a library as needed has to call it.
    """
    found, left = dict.fromkeys(libraries), list(libraries)
    while left:
        library = left.pop()
        whole = not isinstance(library, _Part)
        module.link_in(library._get_module_for_linking() if whole else library._final_module, preserve=True)
        for needed in () if whole else library._linking_libraries:
            if needed not in found:
                found[needed] = None
                left.append(needed)


class _Whole(CodeLibrary or object):  # type: ignore[misc,unused-ignore]
    """An entry point and everything it calls."""

    _linking_libraries: list

    #: Whether loops are unrolled. LLVM takes long to choose the addresses of what that makes (loop strength reduction).
    unrolls = True

    def _optimize_functions(self, module):
        module.data_layout = self._codegen._data_layout

    def finalize(self):
        _link(self._final_module, self._linking_libraries)
        self._linking_libraries = []
        super().finalize()

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if function.linkage.name == "linkonce_odr" and str(function).count("\n") < LONG_PART:
                function.linkage = "internal"
        options = binding.create_pipeline_tuning_options(int(config.OPT))
        options.loop_vectorization, options.slp_vectorization = bool(config.LOOP_VECTORIZE), bool(config.SLP_VECTORIZE)
        options.loop_unrolling = self.unrolls
        builder = binding.create_pass_builder(self._codegen._tm, options)
        builder.getModulePassManager().run(self._final_module, builder)
        if any(function.name.startswith("NRT_") for function in self._final_module.functions):
            raise RuntimeError(f"{self.name} allocates memory, which nobody would give back: kernels count no references")


class _Block(_Whole):
    """A whole that becomes object code, as bytes, and is not loaded into Numba's own engine."""

    codegen = _Part.codegen

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self.object_code = self._codegen._tm.emit_object(self._final_module)
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0


class _PlainBlock(_Block):
    """One whose loops are not unrolled."""

    unrolls = False


class _Passes(PassManager or object):  # type: ignore[misc,unused-ignore]
    """Passes behind each of which Numba does not analyse the function anew: those that need that do it themselves."""

    _ENFORCING = False


@functools.cache
def _size_in(data_layout):
    return functools.cache(lambda kind: kind.get_abi_size(data_layout))


class _NoReferences(AnalysisPass or object):  # type: ignore[misc,unused-ignore]
    """Before a function is lowered: nothing in it allocates, so arrays are lent and no references counted.

    And sizes of types are looked up once: Numba asks for that of each variable, and LLVM compiles a module to answer.
    """

    _name = "fastmlp_no_references"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        state.targetctx = state.targetctx.subtarget(enable_nrt=False, get_abi_sizeof=_size_in(state.targetctx.target_data))
        return False


class _Kernel(Compiler or object):  # type: ignore[misc,unused-ignore]
    """A compilation with those passes only that a kernel needs: no closures, array expressions or loops to be lifted."""

    def define_pipelines(self):
        manager = _Passes("kernel")
        for name in UNTYPED.split():
            manager.add_pass(getattr(untyped_passes, name), name)
        for name in TYPED.split():
            if name == "NativeLowering":
                manager.add_pass(_NoReferences, _NoReferences._name)
            manager.add_pass(getattr(typed_passes, name), name)
        manager.finalize()
        return [manager]


if AVAILABLE:
    register_pass(mutates_CFG=False, analysis_only=False)(_NoReferences)


class PartCompiler(_Kernel):
    """For functions that only kernels call."""

    def __init__(self, typing, target, library, *rest):
        super().__init__(typing, target, library or _Part(target.codegen(), "part"), *rest)


@contextlib.contextmanager
def _linear_algebra_later():
    """Keep Numba from importing SciPy's linear algebra before its first compilation: 0.14 s, to know whether there is any.

    A function that uses it (``np.dot``) imports it when it is compiled, in any case.
    """
    if "numba.np.arraymath" in sys.modules or importlib.util.find_spec("scipy") is None:
        yield
        return
    linalg: Any = importlib.import_module("numba.np.linalg")
    asked = getattr(linalg, "ensure_blas", None)
    linalg.ensure_blas = lambda: None
    try:
        yield
    finally:
        linalg.ensure_blas = asked
        if "numba.np.arraymath" in sys.modules:
            vars(sys.modules["numba.np.arraymath"])["ensure_blas"] = asked


class _CollectorOff(_Kernel):
    """A compilation with all that it starts: parts are compiled inside it. What comes from the cache does not get here."""

    def __init__(self, *arguments):
        with _linear_algebra_later():
            super().__init__(*arguments)

    def compile_extra(self, func):
        with collector_off():
            return super().compile_extra(func)


class WholeCompiler(_CollectorOff):
    """For entry points."""

    def __init__(self, typing, target, library, *rest):
        if library is None:
            library = _Whole(target.codegen(), "whole")
            library.enable_object_caching()
        super().__init__(typing, target, library, *rest)


class BlockCompiler(_CollectorOff):
    """For functions that are called by their address."""

    kind: type = _Block

    def __init__(self, typing, target, library, *rest):
        super().__init__(typing, target, library or self.kind(target.codegen(), "block"), *rest)


class PlainBlockCompiler(BlockCompiler):
    """For those whose loops are not to be unrolled."""

    kind = _PlainBlock


class DispatcherCache(NullCache or object):  # type: ignore[misc,unused-ignore]
    """A cache as the dispatcher asks for it, which knows bytes and no more.

    Parameters
    ----------
    load : callable
        Takes a signature, gives what `save` was given once, or None.
    save : callable
        Takes a signature and bytes.
    """

    def __init__(self, load: Callable[[Any], bytes | None], save: Callable[[Any, bytes], None]):
        self._load, self._save = load, save

    def load_overload(self, sig, target_context):
        """The compiled overload, or None: then it is compiled."""
        # Numba would load here all it knows, of use to the compiler only: 0.3 s; and compile its run-time library, 0.02 s.
        found = self._load(sig)
        try:
            return None if found is None else CompileResult._rebuild(target_context, *pickle.loads(found))
        except Exception:  # whole, but not what this Numba can read: somebody has patched it; written anew
            return None

    def save_overload(self, sig, cres):
        self._save(sig, dumps(cres._reduce()))


def lend_part(dispatcher: Any, part: Any) -> None:
    """Let other compiled functions have `part` where they call `dispatcher`."""
    dispatcher.get_call_template, dispatcher.get_overload = part.get_call_template, part.get_overload


def around_compile(dispatcher: Any, wrap: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]) -> Any:
    """Wrap what the dispatcher compiles or loads an overload with; where that has another name, nothing is wrapped."""
    if hasattr(dispatcher, "compile"):
        dispatcher.compile = wrap(dispatcher.compile)
    return dispatcher


def straight(dispatcher: Any, *arguments: Any) -> Callable[..., Any]:
    """The compiled function that a dispatcher calls for arguments of these types, or the dispatcher itself.

    It looks at no type, so it is for whoever knows that they are exactly these: of the 0.43 us of :func:`.call_forward` for a
    row, 0.15 us go into finding it. In plain Python there is no dispatcher, but the function itself.
    """
    if not hasattr(dispatcher, "overloads"):
        return dispatcher
    kinds = tuple(map(typeof, arguments))
    dispatcher.compile(kinds)
    return getattr(dispatcher.overloads.get(kinds), "entry_point", dispatcher)


def compile_and_keep(dispatcher: Any, signature: Any) -> tuple[Any, str]:
    """Compile for a signature; the code library, and the function's symbol in it."""
    dispatcher.compile(signature)
    (overload,) = dispatcher.overloads.values()
    return overload.library, overload.fndesc.llvm_func_name


def object_code(library: Any) -> tuple[bytes, list[str], bool]:
    """What a BlockCompiler has made, the symbols that it needs, and whether it may be kept: not with an address in it."""
    library._ensure_finalized()
    module = library._final_module
    used = [value.name for values in (module.functions, module.global_variables) for value in values if value.is_declaration]
    return library.object_code, [name for name in used if not name.startswith("llvm.")], not library.has_dynamic_globals


#: What says the types of a type's attributes. Needed wherever anything is compiled.
AttributeTemplate: Any = _find("numba.core.typing.templates", "AttributeTemplate") or object

#: What makes a constant of an object that a compiled function has closed over. Needed where a Predictor is one.
lower_constant: Any = _find("numba.core.imputils", "lower_constant") or (lambda _: lambda function: function)

#: What Numba holds while it compiles; a lock of ours where it has another name.
compiler_lock: Any = _find("numba.core.compiler_lock", "global_compiler_lock") or threading.RLock()


def on_compile(begun: Callable[[Callable], None]) -> None:
    """Have `begun` called with each function whose compilation begins; never, where Numba has no such events."""
    base, register = _find("numba.core.event", "Listener"), _find("numba.core.event", "register")
    if base is None or register is None:
        return

    class Listener(base):  # type: ignore[misc,valid-type,unused-ignore]
        def on_start(self, event):
            begun(event.data["dispatcher"].py_func)

        def on_end(self, event):
            pass

    register("numba:compile", Listener())


def host_features() -> str:
    """The processor's features as LLVM lists them; Numba leaves out those that it knows to be broken."""
    numbas = _find("numba.core.codegen", "get_host_cpu_features")
    return numbas() if numbas is not None else binding.get_host_cpu_features().flatten()


#: What has been written for parts to call, by name.
_written: dict[str, Any] = {}


def link_function(context: Any, name: str, write: Callable[[ir.Module], None]) -> None:
    """Link a function of this name into what is being compiled: `write` writes it into a module, once a process.

    Numba would make text of it, and LLVM read that, with each part that calls it. Needed wherever anything is compiled.
    """
    if name not in _written:
        codegen = context.codegen()
        library = _Part(codegen, name) if AVAILABLE else codegen.create_library(name)
        module = library.create_ir_module(name)
        write(module)
        library.add_ir_module(module)
        library.finalize()
        _written[name] = library
    context.add_linking_libs([_written[name]])


def _place(context: Any, kind: Any, name: str) -> int:
    """Where a field lies in the structure of an array."""
    return context.data_model_manager[kind].get_field_position(name)


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """The address of an array's first entry. Needed wherever anything is compiled, as the next two.

    Numba's ``make_array`` lays the array on the stack first, looks for a conversion to one, and fails: 0.5 ms each time.
    """
    return builder.extract_value(array, _place(context, kind, "data"))


def shape_of(context: Any, builder: Any, kind: Any, array: Any) -> list:
    """How many entries an array has along each axis."""
    shape = builder.extract_value(array, _place(context, kind, "shape"))
    return [builder.extract_value(shape, axis) for axis in range(kind.ndim)]


def borrowed_array(context: Any, builder: Any, kind: Any, data: Any, shape: list, strides: list, itemsize: Any) -> Any:
    """An array structure that owns nothing: Numba counts no references to it."""
    entries = shape[0]
    for extent in shape[1:]:
        entries = builder.mul(entries, extent)
    extents, steps = cgutils.pack_array(builder, shape), cgutils.pack_array(builder, strides)
    fields = {"data": data, "shape": extents, "strides": steps, "itemsize": itemsize, "nitems": entries}
    array = ir.Constant(context.get_value_type(kind), None)
    for name, field in fields.items():
        array = builder.insert_value(array, field, _place(context, kind, name))
    return array
