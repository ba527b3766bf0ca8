"""What counts as a change of structure, and what follows from one."""

from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, make_net

import fastmlp as fm
from fastmlp import structure


def changes(action):
    before = structure.version()
    action()
    return structure.version() != before


def test_new_parts_and_parameters_are_noted_and_numbers_are_not():
    model = make_net([2, 3, 1])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    x = np.ones((4, 2))
    assert changes(lambda: setattr(model[0], "weight", fm.Parameter((3, 2))))
    assert changes(lambda: setattr(model[0], "bias", None))
    assert changes(lambda: setattr(model, "head", fm.Linear(1, 1)))

    optimizer = fm.SGD(model.parameters(), lr=0.1)
    model(x)
    model.backward(np.ones((4, 1)))
    optimizer.step()

    layer = model[0]
    assert changes(lambda: setattr(layer, "more", [fm.Parameter((1,))]))
    assert changes(lambda: setattr(layer, "more", []))
    assert changes(lambda: delattr(model, "head"))
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    model(x)
    model.backward(np.ones((4, 1)))
    optimizer.step()

    def work():
        model(x)
        model.backward(np.ones((4, 1)))
        model.predict(x)
        optimizer.step()
        optimizer.zero_grad()
        optimizer.lr = 0.2
        model[0].weight.data[:] = 1
        model[0].weight.data = np.zeros((3, 2))
        model.note = "text"
        layer.saved = [x, {"more": (x, None)}]  # what a module in Python keeps for its way back
        layer.saved = ()
        model.load_state_dict(model.state_dict())

    assert not changes(work)


def test_networks_look_again_after_others_have_changed(dtype):
    """One number counts for all networks: what they had is still theirs."""
    models = [make_net([2, 3, 1], dtype=dtype, rng=i) for i in range(2)]
    x = np.ones((4, 2), dtype)
    right = [model(x) for model in models]
    routes = [model._route for model in models]
    structure.changed()
    for model, out, route in zip(models, right, routes):
        assert_same_bits(model.predict(x), out)
        assert model._route is route, "laid out anew for nothing"
        dx = model.backward(np.ones((4, 1)))  # and what the last pass kept is there
        assert dx.any()
