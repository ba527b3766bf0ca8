"""Training: whole epochs by `fit`, and single steps in eager mode."""

from __future__ import annotations

from .workloads import WORKLOADS, stepper, trainer

#: Epochs that make a body of a few milliseconds or more.
EPOCHS = {"disc-b100": 50, "disc-b10": 20, "disc-b1": 5, "disc-tanh-b100": 50, "tabular": 5, "mnist-512": 2}


class Epochs:
    """EPOCHS[workload] epochs of `fit`, shuffled, from the call to the return."""

    params = (list(WORKLOADS), [1, 2])
    param_names = ("workload", "threads")

    def setup(self, workload, threads):
        self.train, self.epochs = trainer(workload, threads), EPOCHS[workload]

    def time_epochs(self, workload, threads):
        self.train(self.epochs)


class EagerSteps:
    """100 steps, module by module: forward, loss, zero_grad, backward, step."""

    params = (["disc-b100", "disc-b1"],)
    param_names = ("workload",)

    def setup(self, workload):
        self.step = stepper(workload)

    def time_100_steps(self, workload):
        for _ in range(100):
            self.step()
