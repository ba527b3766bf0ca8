"""JAX as an expert writes it: a whole epoch in one `jit(lax.scan)`, parameters donated."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .workloads import LEARNING_RATE, Problem

__all__ = ["Jax"]


class Jax:
    """One call an epoch."""

    name = "JAX scan"

    def __init__(self, problem: Problem):
        self.problem = problem
        workload = problem.workload
        activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[workload.activation]
        batches = (workload.steps, workload.batch)
        self.x = jnp.asarray(problem.x).reshape(*batches, -1)
        self.y = jnp.asarray(problem.y).reshape(*batches, *problem.y.shape[1:])

        def loss(parameters, x, y):
            for weight, bias in parameters[:-1]:
                x = activation(x @ weight + bias)
            out = x @ parameters[-1][0] + parameters[-1][1]
            if workload.loss == "mse":
                return jnp.mean((out - y) ** 2)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1))

        def step(parameters, batch):
            value, gradient = jax.value_and_grad(loss)(parameters, *batch)
            return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradient), value

        @partial(jax.jit, donate_argnums=0)
        def epoch(parameters, x, y):
            return jax.lax.scan(step, parameters, (x, y))

        self._epoch = epoch

    def reset(self) -> None:
        self.parameters = [(jnp.asarray(weight.T.copy()), jnp.asarray(bias.copy())) for weight, bias in self.problem.parameters]

    def epochs(self, count: int) -> None:
        losses = None
        for _ in range(count):
            self.parameters, losses = self._epoch(self.parameters, self.x, self.y)
        jax.block_until_ready((self.parameters, losses))

    def weights(self) -> list[np.ndarray]:
        return [array for weight, bias in self.parameters for array in (np.asarray(weight).T, np.asarray(bias))]
