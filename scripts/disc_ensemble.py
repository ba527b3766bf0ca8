"""Ensembles of train_disc.py: networks of one model that learn the same points from other first values, and vote."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from disc_models import DiscModel, centre_and_scale

import fastmlp as fm

__all__ = ["TrainedEnsemble", "train_ensemble"]


@dataclass
class TrainedEnsemble:
    """An ensemble, trained and judged on the points of one seed; errors are per cents of points."""

    seed: int
    model: DiscModel
    ensemble: fm.Ensemble
    member_error: float  # of one member on the test points, the mean over the members
    validation_error: float
    test_error: float
    seconds: float

    @property
    def first_error(self) -> float:
        """What the table has first."""
        return self.member_error

    def probabilities(self, points: np.ndarray) -> np.ndarray:
        """How likely each member thinks it that each point is inside, (members, points)."""
        scaled = centre_and_scale(points)
        if self.model.loss == "CE":
            return np.stack([network.predict_proba(scaled)[:, 1] for network in self.ensemble.models])
        outputs = np.stack([network.predict(scaled) for network in self.ensemble.models])  # near 0 and 1, for each label
        return np.clip((1 + outputs[..., 1] - outputs[..., 0]) / 2, 0, 1)


def train_ensemble(
    model: DiscModel,
    seed: int,
    data: tuple[tuple[np.ndarray, np.ndarray], ...],
    *,
    members: int,
    epochs: int,
    threads: int | None,
) -> TrainedEnsemble:
    """Train the members at the same time, on the points of a seed to train, to choose by, and to test on.

    Raises
    ------
    fastmlp.NonFiniteLossError
        When one diverges.
    """
    (X, y), validation, test = data

    def build(rng: np.random.Generator) -> fm.Sequential:
        network = model.build()
        network.reset_parameters(rng=rng)
        return network

    initial, order = np.random.default_rng([seed, members]).spawn(2)
    ensemble = fm.Ensemble(build, members, rng=initial)
    began = time.perf_counter()
    ensemble.fit(
        model.criterion(),
        model.make_optimizer,
        centre_and_scale(X),
        model.targets(y),
        epochs=epochs,
        batch_size=model.batch_size,
        rng=order,
        schedule=(lambda optimizer: model.schedule(optimizer, epochs)) if model.cosine else None,
        threads=threads,
        progress=False,
    )
    seconds = time.perf_counter() - began
    trained = TrainedEnsemble(seed, model, ensemble, 0.0, 0.0, 0.0, seconds)
    trained.validation_error = wrong(trained.probabilities(validation[0]).mean(axis=0), validation[1])
    inside = trained.probabilities(test[0])
    trained.test_error, trained.member_error = wrong(inside.mean(axis=0), test[1]), wrong(inside, test[1])
    return trained


def wrong(inside: np.ndarray, labels: np.ndarray) -> float:
    """Percentage of points on the wrong side of one half; of many networks, the mean."""
    return 100 * float(np.mean((inside > 0.5) != labels))
