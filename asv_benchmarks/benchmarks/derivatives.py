"""The Jacobian of a network, by ways back and by ways forward."""

from __future__ import annotations

from functools import cache

import numpy as np

import fastmlp as fm

from .networks import build
from .setting import Timed, pin

#: Rows, and Jacobians of a body; of fewer inputs than outputs, which goes forward, and the other way round.
NETWORKS = {"2-25-25-25-10": (1000, 80), "10-25-25-25-2": (1000, 60), "784-512-512-10": (32, 3)}


@cache
def differentiator(network: str):
    """A function that computes the Jacobians of some rows on one thread; run once."""
    widths = tuple(map(int, network.split("-")))
    model, rows = build(widths), NETWORKS[network][0]
    x = np.random.default_rng(1).standard_normal((rows, widths[0]), dtype=np.float32)

    def differentiate() -> None:
        fm.jacobian(model, x, threads=1)

    differentiate()
    return differentiate


class Jacobian(Timed):
    """As many Jacobians as take ten milliseconds or so, on one thread."""

    params = (list(NETWORKS),)
    param_names = ("network",)
    covers = ("blocks.jacobian",)

    def setup(self, network):
        pin(1)
        if not hasattr(fm, "jacobian"):
            raise NotImplementedError("there is no Jacobian at this commit")
        self.differentiate, self.calls = differentiator(network), range(NETWORKS[network][1])

    def time_jacobian(self, network):
        for _ in self.calls:
            self.differentiate()
