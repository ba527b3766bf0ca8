import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.compiler.expression import F32, F64, FORMULAS, Value, constant
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.processor import REGISTER_BYTES

INT = ir.IntType(64)


def lines_pass(formula, inputs, outputs, constants):
    formula = FORMULAS.get(id(formula), formula)

    def typed(typingctx, size, *rest):
        pass

    n = inputs + outputs + 1
    names = ", ".join(f"a{i}, at{i}" for i in range(n))

    def emit(context, builder, signature, args):
        size = args[0]
        arr = signature.args[1].dtype
        dtype = F32 if arr is types.float32 else F64
        lanes = REGISTER_BYTES // dtype.itemsize
        vec = ir.VectorType(context.get_data_type(arr), lanes)
        ptrs = [
            builder.gep(
                context.make_array(signature.args[1 + 2 * i])(context, builder, args[1 + 2 * i]).data, [args[2 + 2 * i]]
            )
            for i in range(n)
        ]
        scal = []
        for k in range(constants):
            v = builder.load(builder.gep(ptrs[-1], [INT(k)]))
            u = ir.Constant(vec, ir.Undefined)
            single = builder.insert_element(u, v, ir.IntType(32)(0))
            scal.append(
                Value(
                    builder,
                    dtype,
                    builder.shuffle_vector(single, u, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)),
                )
            )
        entry = builder.block
        test = builder.append_basic_block("t")
        body = builder.append_basic_block("b")
        leave = builder.append_basic_block("l")
        builder.branch(test)
        builder.position_at_end(test)
        i = builder.phi(INT)
        i.add_incoming(INT(0), entry)
        builder.cbranch(builder.icmp_signed("<", i, size), body, leave)
        builder.position_at_end(body)
        vals = [
            Value(builder, dtype, builder.load(builder.bitcast(builder.gep(p, [i]), vec.as_pointer()), align=dtype.itemsize))
            for p in ptrs[:inputs]
        ]
        r = formula(*vals, *scal)
        r = r if isinstance(r, tuple) else (r,)
        for v, p in zip(r, ptrs[inputs:]):
            v = v.llvm if isinstance(v, Value) else constant(dtype, lanes, v)
            builder.store(v, builder.bitcast(builder.gep(p, [i]), vec.as_pointer()), align=dtype.itemsize)
        i.add_incoming(builder.add(i, INT(lanes)), builder.block)
        builder.branch(test)
        builder.position_at_end(leave)
        return context.get_dummy_value()

    def sig(size, *arrays):
        out = [types.intp]
        for k in range(n):
            out += [arrays[2 * k], types.intp]
        return types.void(*out)

    space = {"emit": emit, "sig": sig}
    exec(f"def compiled(typingctx,size,{names}):\n    return sig(size,{names}), emit\n", space)
    compiled = intrinsic(space["compiled"])

    @instead(compiled)
    def twin(size, *rest):
        arrays = [rest[2 * k][rest[2 * k + 1] : rest[2 * k + 1] + size] for k in range(n - 1)]
        cs = [rest[2 * n - 2][rest[2 * n - 1] + k] for k in range(constants)]
        with np.errstate(all="ignore"):
            r = formula(*arrays[:inputs], *cs)
        r = r if isinstance(r, tuple) else (r,)
        for a, v in zip(arrays[inputs:], r):
            a[:] = v

    return twin
