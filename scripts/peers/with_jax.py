"""JAX as an expert writes it: a whole epoch in one `jit(lax.scan)`, everything that changes donated; prediction in one `jit`.

The updates are optax's, dropout and batch normalisation are written by hand, with running statistics as in PyTorch.

Tried on the training: a loss by one-hot labels instead of ``take_along_axis`` makes no difference, neither does an unrolled
scan; several epochs in one call are 8 to 12 % faster on the disc networks with batches of 10 and 100, and no faster elsewhere.
With dropout, the generators "rbg" and "unsafe_rbg" make a step 1.25 times as long as the default one does.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .predictor import Predictor
from .workloads import EPS, Problem, Workload

__all__ = ["Jax", "JaxMany", "predictors"]

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def parameters_of(problem: Problem) -> list:
    """New arrays with the problem's parameters, weights as (in, out); with batch_norm the scales between weight and bias."""
    arrays, layers = [jnp.asarray(array.T.copy()) for array in problem.flat_parameters], []
    for layer in range(len(problem.parameters)):
        count = 3 if problem.workload.batch_norm and layer < len(problem.parameters) - 1 else 2
        layers.append(tuple(arrays[:count]))
        del arrays[:count]
    return layers


def forward(workload: Workload, parameters, x):
    """The outputs for `x`, nothing normalised and nothing dropped."""
    activation = ACTIVATIONS[workload.activation]
    for weight, bias in parameters[:-1]:
        x = activation(x @ weight + bias)
    return x @ parameters[-1][0] + parameters[-1][1]


def forward_in_training(workload: Workload, parameters, running, x, key):
    """The outputs for a batch, and the running statistics after it."""
    activation, after = ACTIVATIONS[workload.activation], []
    for layer, (weight, *scale, bias) in enumerate(parameters[:-1]):
        x = x @ weight
        if workload.batch_norm:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            unbiased = variance * (len(x) / (len(x) - 1))
            after.append([0.9 * old + 0.1 * new for old, new in zip(running[layer], (mean, unbiased))])
            x = (x - mean) * (jax.lax.rsqrt(variance + EPS) * scale[0])
        x = activation(x + bias)
        if workload.dropout:
            kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - workload.dropout, x.shape)
            x = jnp.where(kept, x / (1 - workload.dropout), 0)
    return x @ parameters[-1][0] + parameters[-1][1], after


class Jax:
    """One call an epoch."""

    name = "JAX scan"

    def __init__(self, problem: Problem):
        self.problem = problem
        workload = problem.workload
        batches = (workload.steps, workload.batch)
        self.x = jnp.asarray(problem.x).reshape(*batches, -1)
        self.y = jnp.asarray(problem.y).reshape(*batches, *problem.y.shape[1:])
        self.optimizer = {"sgd": optax.sgd, "adam": optax.adam}[workload.optimizer](workload.learning_rate)

        def loss(parameters, running, x, y, key):
            out, running = forward_in_training(workload, parameters, running, x, key)
            if workload.loss == "mse":
                return jnp.mean((out - y) ** 2), running
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1)), running

        def step(carry, batch):
            parameters, running, state, key = carry
            key, drawn = jax.random.split(key) if workload.dropout else (key, key)
            (value, running), gradient = jax.value_and_grad(loss, has_aux=True)(parameters, running, *batch, drawn)
            updates, state = self.optimizer.update(gradient, state, parameters)
            return (optax.apply_updates(parameters, updates), running, state, key), value

        @partial(jax.jit, donate_argnums=0)
        def epoch(carry, x, y):
            return jax.lax.scan(step, carry, (x, y))

        self._epoch = epoch

    def reset(self) -> None:
        parameters = parameters_of(self.problem)
        hidden = self.problem.workload.widths[1:-1] if self.problem.workload.batch_norm else ()
        running = [[jnp.zeros(width), jnp.ones(width)] for width in hidden]
        self.carry = parameters, running, self.optimizer.init(parameters), jax.random.key(0)

    def epochs(self, count: int) -> None:
        losses = None
        for _ in range(count):
            self.carry, losses = self._epoch(self.carry, self.x, self.y)
        jax.block_until_ready((self.carry, losses))

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(array).T for layer in self.carry[0] for array in layer]


class JaxMany:
    """Many networks by `vmap`: all epochs in one call, of steps that each take all networks."""

    name = "JAX vmap"

    def __init__(self, problems: list[Problem]):
        self.problems, one = problems, Jax(problems[0])
        self.x, self.y, self.optimizer = one.x, one.y, one.optimizer
        every = jax.vmap(one._epoch.__wrapped__, in_axes=((0, None, 0, None), None, None), out_axes=((0, None, 0, None), 0))

        @partial(jax.jit, donate_argnums=0)
        def train(carry, x, y, count):
            return jax.lax.fori_loop(0, count, lambda _, carry: every(carry, x, y)[0], carry)

        self._train = train

    def reset(self) -> None:
        each = [parameters_of(problem) for problem in self.problems]
        stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *each)
        self.carry = stacked, [], jax.vmap(self.optimizer.init)(stacked), jax.random.key(0)

    def epochs(self, count: int) -> None:
        self.carry = jax.block_until_ready(self._train(self.carry, self.x, self.y, count))

    def weights(self) -> list[list[np.ndarray]]:
        layers = [array for layer in self.carry[0] for array in layer]
        return [[np.asarray(array[number]).T for array in layers] for number in range(len(self.problems))]


def predictors(problem: Problem, x: np.ndarray) -> list[Predictor]:
    """One compiled call."""
    parameters, rows = parameters_of(problem), jnp.asarray(x)
    predict = jax.jit(partial(forward, problem.workload))
    return [Predictor("JAX jit", lambda: predict(parameters, rows).block_until_ready())]
