"""Prediction: one row, a batch, many rows."""

from __future__ import annotations

from .workloads import predictor


class Predict:
    """Predictions for 100,000 rows in all, `rows` at a time up to 1000 calls."""

    params = (["disc-b100", "tabular"], [1, 32, 100_000])
    param_names = ("workload", "rows")

    def setup(self, workload, rows):
        self.model, self.x = predictor(workload, rows)
        self.calls = range(min(1000, max(1, 100_000 // rows)))

    def time_predict(self, workload, rows):
        for _ in self.calls:
            self.model.predict(self.x)
