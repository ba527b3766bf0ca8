"""Training by ``fit``: whole epochs, and the call for a single step."""

from __future__ import annotations

from .networks import trainer
from .setting import Timed, pin
from .workloads import WORKLOADS


class Epochs(Timed):
    """``WORKLOADS[workload].epochs`` epochs of ``fit``, from the call to the return."""

    params = (list(WORKLOADS), [1, 2])
    param_names = ("workload", "threads")
    # Where the layers are narrow, two threads take a relay.
    covers = ("engine.run", "threads.next_task", "blocks.linear_relay", "blocks.relay", "threads.hand_on", "threads.wait_for")
    covers += ("threads.call_off", "threads.is_called_off")

    def setup(self, workload, threads):
        pin(threads)
        self.repeat = Timed.repeat if threads == 1 else Timed.repeat_together
        self.train, self.work = trainer(workload, threads), WORKLOADS[workload]

    def time_epochs(self, workload, threads):
        self.train(self.work.epochs, self.work.rows)


class OneStep(Timed):
    """``fit`` for one step: what a call costs beside the work. As many calls as take ten milliseconds or so."""

    CALLS = {"disc-b100": 50, "tabular": 10, "mnist-512": 2}
    params = (list(CALLS),)
    param_names = ("workload",)

    def setup(self, workload):
        pin(1)
        self.train, self.batch, self.calls = trainer(workload, 1), WORKLOADS[workload].batch, range(self.CALLS[workload])

    def time_fits_of_one_step(self, workload):
        for _ in self.calls:
            self.train(1, self.batch)


class OneStepOnTwoThreads(OneStep):
    """The same on two threads, where there is work for two."""

    CALLS = {"tabular": 10, "mnist-512": 2}
    params = (list(CALLS),)
    repeat = Timed.repeat_together

    def setup(self, workload):
        pin(2)
        self.train, self.batch, self.calls = trainer(workload, 2), WORKLOADS[workload].batch, range(self.CALLS[workload])
