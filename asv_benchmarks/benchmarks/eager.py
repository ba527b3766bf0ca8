"""Training by hand, step by step."""

from __future__ import annotations

from .networks import build, stepper
from .setting import Timed, pin
from .workloads import WORKLOADS


class Steps(Timed):
    """Steps by hand: forward, loss, zero_grad, backward, step."""

    STEPS = {"disc-b100": 100, "disc-b1": 200, "disc-tanh-b100": 100, "tabular": 10, "mnist-512": 2}
    params = (list(STEPS),)
    param_names = ("workload",)

    def setup(self, workload):
        pin(1)
        self.step, self.steps = stepper(workload), range(self.STEPS[workload])

    def time_steps(self, workload):
        for _ in self.steps:
            self.step()


class ZeroGrad(Timed):
    """The gradients of a network set to zero, as ``model.zero_grad()``: the disc's seven modules, 2-25-25-25-2."""

    def setup(self):
        pin(1)
        self.model, self.calls = build(WORKLOADS["disc-b100"].widths), range(2000)

    def time_zero_grad(self):
        for _ in self.calls:
            self.model.zero_grad()
