"""Parameter updates over flat memory. Padding is zero in parameters, gradients and state, and stays so."""

from __future__ import annotations

from fastmlp.kernels.compiler.intrinsics import muladd
from fastmlp.kernels.compiler.jit import kernel

__all__ = ["HYPER_SIZE", "KEEP", "LR", "MOMENTUM", "NESTEROV", "WEIGHT_DECAY", "sgd_step"]

# Places in the vector of hyperparameters, which has the parameters' dtype. KEEP is 1 - dampening.
LR, MOMENTUM, KEEP, WEIGHT_DECAY, NESTEROV = range(5)
HYPER_SIZE = 5


@kernel
def sgd_step(params, velocity, grads, hyper):
    """Take one step of stochastic gradient descent, with PyTorch's arithmetic (``torch.optim.SGD``).

        g = grads + weight_decay * params
        velocity = momentum * velocity + keep * g
        params -= lr * (g + momentum * velocity if nesterov else velocity)

    and ``params -= lr * g`` where momentum is 0; `velocity` is then neither read nor written and may be empty.

    params (P), velocity (P) in/out; grads (P), hyper (HYPER_SIZE) in. Source: I. Sutskever et al., "On the importance of
    initialization and momentum in deep learning", ICML 2013, in PyTorch's form.
    """
    lr, momentum, keep, decay = -hyper[LR], hyper[MOMENTUM], hyper[KEEP], hyper[WEIGHT_DECAY]
    zero = params.dtype.type(0)
    if momentum == zero:
        for i in range(params.size):
            params[i] = muladd(lr, muladd(decay, params[i], grads[i]), params[i])
    elif hyper[NESTEROV] == zero:
        for i in range(params.size):
            g = muladd(decay, params[i], grads[i])
            velocity[i] = muladd(momentum, velocity[i], keep * g)
            params[i] = muladd(lr, velocity[i], params[i])
    else:
        for i in range(params.size):
            g = muladd(decay, params[i], grads[i])
            velocity[i] = muladd(momentum, velocity[i], keep * g)
            params[i] = muladd(lr, muladd(momentum, velocity[i], g), params[i])
