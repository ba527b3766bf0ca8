from __future__ import annotations

import numpy as np
from helpers import assert_within, eps, make_net, normal

import fastmlp as fm


def test_lion_matches_reference(dtype, rng):
    """Algorithm 2 of the paper, in NumPy."""
    for beta1, beta2, decay, sign in ((0.9, 0.99, 0, 1), (0.5, 0.25, 0.1, -1), (0, 0, 0, 1)):
        model = make_net([3, 17, 2], dtype=dtype)
        optimizer = fm.Lion(model.parameters(), 0.05, (beta1, beta2), decay, maximize=sign < 0)
        expected = [parameter.data.astype(np.float64) for parameter in model.parameters()]
        momenta = [np.zeros_like(values) for values in expected]
        for _ in range(30):
            for i, parameter in enumerate(model.parameters()):
                g = normal(rng, parameter.shape, dtype)
                g[..., 0] = 0
                parameter.grad = g
                c = np.sign(beta1 * momenta[i] + (1 - beta1) * sign * g)
                expected[i] = expected[i] - 0.05 * (c + decay * expected[i])
                momenta[i] = beta2 * momenta[i] + (1 - beta2) * sign * g
            optimizer.step()
        state = optimizer.state_dict()["state"]
        for i, parameter in enumerate(model.parameters()):
            assert_within(parameter.data, expected[i], 120 * eps(dtype) * 3)
            assert_within(state[i]["exp_avg"], momenta[i], 120 * eps(dtype) * 3)
