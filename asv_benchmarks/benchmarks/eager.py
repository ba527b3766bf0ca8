"""Training by hand, step by step."""

from __future__ import annotations

from .networks import stepper
from .setting import Timed, pin


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
