"""Prediction from Python: one row, a batch, many rows."""

from __future__ import annotations

from .networks import predictor
from .setting import Timed, pin
from .workloads import DISC, MNIST_512

NETWORKS = {"2-25-25-25-2": DISC, "784-512-512-10": MNIST_512}


class Predict(Timed):
    """As many predictions of `rows` rows as take ten milliseconds or so, on one thread."""

    CALLS = {
        ("2-25-25-25-2", 1): 3000,
        ("2-25-25-25-2", 32): 2000,
        ("2-25-25-25-2", 10_000): 10,
        ("784-512-512-10", 1): 200,
        ("784-512-512-10", 32): 15,
        ("784-512-512-10", 10_000): 1,
    }
    params = (list(NETWORKS), [1, 32, 10_000])
    param_names = ("network", "rows")

    def setup(self, network, rows):
        pin(1)
        self.predict, self.calls = predictor(NETWORKS[network], rows, 1), range(self.CALLS[network, rows])

    def time_predict(self, network, rows):
        for _ in self.calls:
            self.predict()


class PredictOnTwoThreads(Timed):
    """One prediction of many rows by two threads."""

    ROWS = {"2-25-25-25-2": 100_000, "784-512-512-10": 10_000}
    params = (list(NETWORKS),)
    param_names = ("network",)
    repeat = Timed.repeat_together

    def setup(self, network):
        pin(2)
        self.predict = predictor(NETWORKS[network], self.ROWS[network], 2)

    def time_predict_many_rows(self, network):
        self.predict()


class PredictInARow(Timed):
    """A hundred predictions of a few rows, one after the other, with the help of a thread that spins between them."""

    params = ([1, 8, 32],)
    param_names = ("rows",)
    covers = ("together.predict_beside",)
    repeat = Timed.repeat_together

    def setup(self, rows):
        pin(2)
        self.predict = predictor(MNIST_512, rows, 2)
        self.time_predict(rows)

    def time_predict(self, rows):
        for _ in range(100):
            self.predict()
