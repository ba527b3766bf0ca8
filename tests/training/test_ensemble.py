from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net

import fastmlp as fm


def test_ensemble_averages_its_members(dtype):
    X, y = make_data(34, 3, 4, dtype=dtype)

    def build(rng):
        model = make_net([3, 5, 4], dtype=dtype)
        model.reset_parameters(rng)
        return model

    ensemble = fm.Ensemble(build, 3, rng=0)
    assert len(ensemble) == 3
    assert repr(ensemble).startswith("Ensemble of 3: Sequential(")
    assert len({model[0].weight.data.tobytes() for model in ensemble.models}) == 3
    histories = ensemble.fit(fm.CrossEntropyLoss(), lambda p: fm.SGD(p, lr=0.1), X, y, epochs=2, rng=1)
    assert [history.epochs for history in histories] == [2, 2, 2]
    outputs = np.stack([model.predict(X) for model in ensemble.models])
    mean, spread = ensemble.predict(X, spread=True)
    assert_same_bits(mean, outputs.mean(0))
    assert_same_bits(spread, outputs.std(0))
    proba = ensemble.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(ensemble.predict_labels(X), proba.argmax(1))
    again = fm.Ensemble(build, 3, rng=0)
    again.fit(fm.CrossEntropyLoss(), lambda p: fm.SGD(p, lr=0.1), X, y, epochs=2, rng=1, threads=1)
    for one, other in zip(ensemble.models, again.models):
        assert_same_bits(flat(one), flat(other))
    made = []

    def schedule(optimizer):
        made.append(fm.StepLR(optimizer, 1, gamma=0.5))
        return made[-1]

    histories = again.fit(fm.CrossEntropyLoss(), fm.SGD, X, y, epochs=2, rng=1, schedule=schedule)
    assert len(made) == 3
    assert all(history.rate[1] == history.rate[0] / 2 for history in histories)
    with pytest.raises(TypeError, match="schedule must make a schedule from an optimizer"):
        again.fit(fm.CrossEntropyLoss(), fm.SGD, X, y, epochs=2, schedule=made)
    with pytest.raises(TypeError, match="build must return a Sequential"):
        fm.Ensemble(lambda rng: None, 2)
