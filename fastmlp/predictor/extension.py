"""A Predictor in Numba: its type, and what it can do in compiled code.

The address of the function that computes lies in the header of the object, and a caller loads it when it calls. So a caller's
machine code knows no address and no network: it is cached, and is the same for any number and width of layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import TypingError, types
from numba.core import cgutils
from numba.extending import (
    NativeValue,
    box,
    intrinsic,
    lower_builtin,
    models,
    overload,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)

from fastmlp.kernels.compiler.numba_private import borrowed_array, data_of, lower_constant, shape_of
from fastmlp.kernels.predictor import FUNCTIONS, HEADER, HEADER_PLACE, arguments
from fastmlp.predictor.arrays import ARRAYS, WRITTEN, sizes
from fastmlp.predictor.numba_type import PredictorType
from fastmlp.predictor.predictor import Predictor, predictor_at

__all__ = ["PredictorType"]

INT, POINTER = ir.IntType(64), ir.PointerType()


@typeof_impl.register(Predictor)
def _type_of(value, context):
    return value._numba_type_


@register_model(PredictorType)
class _Model(models.StructModel):
    """The header; the Python object, and what counts references to it. The last two are null where nobody counts."""

    def __init__(self, manager, fe_type):
        members = [("meminfo", types.MemInfoPointer(types.voidptr)), ("header", types.voidptr), ("parent", types.pyobject)]
        super().__init__(manager, fe_type, members)


def _made(context, builder, kind, value=None):
    return cgutils.create_struct_proxy(kind)(context, builder, value=value)


@unbox(PredictorType)
def _unbox(kind, obj, c):
    made = _made(c.context, c.builder, kind)
    number = c.pyapi.object_getattr_string(obj, "address")  # which finds out whether the model has changed
    with c.builder.if_then(cgutils.is_not_null(c.builder, number)):
        made.header, made.parent = c.pyapi.long_as_voidptr(number), obj
        c.pyapi.decref(number)
        made.meminfo = c.pyapi.nrt_meminfo_new_from_pyobject(made.header, obj)
    return NativeValue(made._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@box(PredictorType)
def _box(kind, value, c):
    parent = _made(c.context, c.builder, kind, value).parent
    result = cgutils.alloca_once_value(c.builder, parent)
    with c.builder.if_else(cgutils.is_null(c.builder, parent)) as (unknown, known):
        with unknown:
            c.pyapi.err_set_string("PyExc_TypeError", "a Predictor of predictor_at cannot leave compiled code")
        with known:
            c.pyapi.incref(parent)
    c.context.nrt.decref(c.builder, kind, value)
    return c.builder.load(result)


#: A compiled function has the address of what it has closed over, or has found among the globals, in its machine code.
KEPT: list[Predictor] = []


@lower_constant(PredictorType)
def _constant(context, builder, kind, predictor):
    KEPT.append(predictor)
    made = _made(context, builder, kind)
    made.header = context.add_dynamic_addr(builder, predictor.address, info="Predictor")
    made.parent = context.add_dynamic_addr(builder, id(predictor), info="Predictor")
    made.meminfo = cgutils.get_null_value(made.meminfo.type)
    return made._getvalue()


# In compiled code.


def _header_word(builder, header, name):
    return builder.load(builder.gep(header, [INT(HEADER_PLACE[name])], source_etype=INT), typ=INT)


def _check(name: str, predictor: PredictorType, *arrays: Any) -> None:
    """Refuse what no kernel takes, with the line that mends it."""
    rows = [getattr(array, "ndim", 0) - len(axes) for array, (_, axes) in zip(arrays, ARRAYS[name])]
    for array, (called, axes), more in zip(arrays, ARRAYS[name], rows):
        if not isinstance(array, types.Array):
            raise TypingError(f"{called} must be an array of {predictor.dtype}, as the Predictor is; got {array}")
        if array.dtype != predictor.dtype:
            raise TypingError(
                f"{called} must be of {predictor.dtype}, as the Predictor is; got an array of {array.dtype}: make it "
                f"{called}.astype(np.{predictor.dtype}) before, or make a Predictor of a model of that dtype"
            )
        if array.layout != "C":
            raise TypingError(f"{called} must be C-contiguous; got {array}: np.ascontiguousarray({called})")
        if not array.mutable and called in WRITTEN:
            raise TypingError(f"{called} must be writable; got {array}: {called}.copy()")
        if more not in (0, 1) or more != rows[0]:
            one = ", ".join(f"p.{axis}" for axis in axes)
            raise TypingError(f"{called} must be of the shape ({one},), or (N, {one}) where x is (N, p.inputs); got {array}")


def _emit(context, builder, name, kinds, values):
    """Check the sizes of a function's arrays, and call it; the Predictor comes first."""
    header = _made(context, builder, kinds[0], values[0]).header
    data, shapes = ([of(context, builder, *pair) for pair in zip(kinds[1:], values[1:])] for of in (data_of, shape_of))
    rows = shapes[0][0] if kinds[1].ndim == 2 else INT(1)
    fits = ir.IntType(1)(1)
    for shape, (_, axes) in zip(shapes, ARRAYS[name]):
        wanted = [_header_word(builder, header, axis) for axis in axes]
        for extent, size in zip(shape, [rows] * (len(shape) - len(axes)) + wanted):
            fits = builder.and_(fits, builder.icmp_signed("==", extent, size))
    with builder.if_then(builder.not_(fits), likely=False):
        context.call_conv.return_user_exc(builder, ValueError, (sizes(name),))
    _call(context, builder, name, kinds[0].dtype, header, data, rows)


def _calling(name: str):
    """An intrinsic for :func:`_emit`."""

    def typed(predictor, *arrays):
        def codegen(context, builder, signature, args):
            _emit(context, builder, name, signature.args, args)
            return context.get_dummy_value()

        return types.void(predictor, *arrays), codegen

    if len(ARRAYS[name]) == 2:
        return intrinsic(lambda typingctx, predictor, a, b: typed(predictor, a, b))
    return intrinsic(lambda typingctx, predictor, a, b, c: typed(predictor, a, b, c))


def _call(context, builder, name, dtype, header, pointers, rows):
    """Call a function by the address that the header has for it."""
    place, _, _, which = FUNCTIONS[name]
    kinds = arguments(name, dtype)
    function_type = context.call_conv.get_function_type(types.none, kinds)
    function = builder.inttoptr(_header_word(builder, header, HEADER[place]), function_type.as_pointer())
    pointers = [builder.bitcast(x, context.get_value_type(kind)) for x, kind in zip([header, *pointers], kinds)]
    context.call_conv.call_function(builder, function, types.none, kinds, [*pointers, rows, *map(INT, which)])


_forward, _jacobian, _vjp, _jvp = (_calling(name) for name in ("forward", "jacobian", "vjp", "jvp"))


@overload_method(PredictorType, "__call__")
def _call_overload(p, x, out):
    _check("forward", p, x, out)

    def call(p, x, out):
        _forward(p, x, out)
        return out

    return call


# An object that is called, p(x, out). Not through the function above, which gives the types: what raises in the caller itself
# leaks no references, what raises in a function that it calls does.
@lower_builtin(PredictorType, PredictorType, types.VarArg(types.Any))
def _lower_call(context, builder, signature, args):
    kinds = signature.args if len(signature.args) == len(args) else (signature.recvr, *signature.args)
    _emit(context, builder, "forward", kinds, args)
    context.nrt.incref(builder, kinds[2], args[2])
    return args[2]


@overload_method(PredictorType, "predict")
def _predict(p, x):
    _check("forward", p, x)
    dtype = np.dtype(p.dtype.name).type
    if x.ndim == 1:

        def predict(p, x):
            out = np.empty(p.outputs, dtype)
            _forward(p, x, out)
            return out

    else:

        def predict(p, x):
            out = np.empty((x.shape[0], p.outputs), dtype)
            _forward(p, x, out)
            return out

    return predict


@overload_method(PredictorType, "jacobian")
def _jacobian_overload(p, x, out, jac):
    _check("jacobian", p, x, out, jac)

    def jacobian(p, x, out, jac):
        _jacobian(p, x, out, jac)
        return jac

    return jacobian


@overload_method(PredictorType, "vjp")
def _vjp_overload(p, x, dy, dx):
    _check("vjp", p, x, dy, dx)

    def vjp(p, x, dy, dx):
        _vjp(p, x, dy, dx)
        return dx

    return vjp


@overload_method(PredictorType, "jvp")
def _jvp_overload(p, x, v, dout):
    _check("jvp", p, x, v, dout)

    def jvp(p, x, v, dout):
        _jvp(p, x, v, dout)
        return dout

    return jvp


# Attributes.


def _reading(name: str):
    """An intrinsic that reads a word of the header."""

    @intrinsic
    def read(typingctx, predictor):
        def codegen(context, builder, signature, args):
            return _header_word(builder, _made(context, builder, signature.args[0], args[0]).header, name)

        return types.int64(predictor), codegen

    return read


_read_inputs, _read_outputs = _reading("inputs"), _reading("outputs")


@intrinsic
def _address(typingctx, predictor):
    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_made(context, builder, signature.args[0], args[0]).header, INT)

    return types.int64(predictor), codegen


@intrinsic
def _header(typingctx, predictor):
    array = types.Array(types.int64, 1, "C", readonly=True)

    def codegen(context, builder, signature, args):
        made = _made(context, builder, signature.args[0], args[0])
        data = builder.bitcast(made.header, INT.as_pointer())
        return borrowed_array(context, builder, array, data, [INT(len(HEADER_PLACE))], [INT(8)], INT(8))

    return array(predictor), codegen


@overload_attribute(PredictorType, "inputs")
def _inputs(p):
    return lambda p: _read_inputs(p)


@overload_attribute(PredictorType, "outputs")
def _outputs(p):
    return lambda p: _read_outputs(p)


@overload_attribute(PredictorType, "dtype")
def _dtype(p):
    dtype = np.dtype(p.dtype.name)
    return lambda p: dtype


@overload_attribute(PredictorType, "address")
def _address_of(p):
    return lambda p: _address(p)


@overload_attribute(PredictorType, "header")
def _header_of(p):
    return lambda p: _header(p)


# A pointer that comes back.


@intrinsic
def _behind(typingctx, pointer, dtype):
    kind = PredictorType(getattr(dtype, "dtype", dtype))

    def codegen(context, builder, signature, args):
        made, value = _made(context, builder, kind), args[0]
        cast = builder.inttoptr if isinstance(value.type, ir.IntType) else builder.bitcast
        made.header = cast(value, context.get_value_type(types.voidptr))
        return made._getvalue()

    return kind(pointer, dtype), codegen


@overload(predictor_at)
def _predictor_at(pointer, dtype):
    if not isinstance(pointer, (types.CPointer, types.RawPointer, types.Integer)):
        raise TypingError(f"pointer must be a pointer, or an address as an integer; got {pointer}")
    if getattr(dtype, "dtype", None) not in (types.float32, types.float64):
        raise TypingError(f"dtype must be np.float32 or np.float64, as the Predictor is; got {dtype}")
    return lambda pointer, dtype: _behind(pointer, dtype)
