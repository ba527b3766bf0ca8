from __future__ import annotations

import _thread
import threading

import numpy as np
import pytest
from helpers import LOSSES, assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net, small

import fastmlp as fm


def trained(X, y, *, widths=(3, 9, 4), loss="cross_entropy", dtype=np.float32, lr=0.1, momentum=0.9, **keywords):
    model = make_net(list(widths), dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=lr, momentum=momentum)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0} | keywords
    return model, fm.fit(model, LOSSES[loss](), optimizer, X, y, **keywords), optimizer


def test_history_holds_the_mean_loss_of_each_epoch(dtype):
    """With a learning rate of 0 every batch is seen by the same model."""
    for loss in LOSSES:
        X, y = make_data(11, 3, 4, loss, dtype=dtype)
        model, history, _ = trained(X, y, loss=loss, dtype=dtype, lr=0)
        expected = LOSSES[loss]()(model.predict(X), y)
        assert_within(history.loss, [expected] * 3, 11 * eps(dtype) * expected)
        assert all(type(value) is float for value in history.loss)
        assert history.validation_loss == []
        assert not history.interrupted
        assert len(history.seconds) == 3
        assert min(history.seconds) > 0


def test_validation_loss_is_that_of_the_model_after_each_epoch(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    Xv, yv = make_data(7, 3, 4, dtype=dtype, rng=1)
    model, history, _ = trained(X, y, dtype=dtype, validation=(Xv, yv))
    without, plain, _ = trained(X, y, dtype=dtype)
    assert_same_bits(flat(model), flat(without))
    assert history.loss == plain.loss
    expected = [fm.CrossEntropyLoss()(trained(X, y, dtype=dtype, epochs=n)[0].predict(Xv), yv) for n in (1, 2, 3)]
    assert history.validation_loss == expected
    assert len(set(expected)) == 3


def test_fit_is_deterministic(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    first, second, other = (trained(X, y, dtype=dtype, rng=rng)[0] for rng in (5, 5, 6))
    assert_same_bits(flat(first), flat(second))
    assert not np.array_equal(flat(first), flat(other))
    generator = np.random.default_rng(5)
    assert_same_bits(flat(trained(X, y, dtype=dtype, rng=generator)[0]), flat(first))
    assert not np.array_equal(flat(trained(X, y, dtype=dtype, rng=generator)[0]), flat(first)), "a Generator moves on"


def test_fit_without_a_seed_shuffles_differently_each_time():
    X, y = make_data(50, 3, 4)
    assert not np.array_equal(flat(trained(X, y, rng=None)[0]), flat(trained(X, y, rng=None)[0]))


def test_fit_leaves_gradients_and_data_alone(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    before = X.copy(), y.copy()
    model = make_net([3, 9, 4], dtype=dtype)
    for parameter in model.parameters():
        parameter.grad = np.full(parameter.shape, 7)
    gradient = model.storage.grad.copy()
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=2, batch_size=4)
    assert_same_bits(model.storage.grad, gradient)
    assert_same_bits(X, before[0])
    assert_same_bits(y, before[1])


def test_fit_leaves_the_model_in_training_mode():
    X, y = make_data(5, 3, 4)
    model = make_net([3, 4]).eval()
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1, validation=(X, y))
    assert all(module.training for module in model.modules())


def test_last_smaller_batch_is_trained_on_unless_dropped(dtype):
    X, y = make_data(10, 3, 4, dtype=dtype)
    keywords = {"shuffle": False, "epochs": 2, "dtype": dtype}
    assert_same_bits(flat(trained(X, y, drop_last=True, **keywords)[0]), flat(trained(X[:8], y[:8], **keywords)[0]))
    kept, _, optimizer = trained(X, y, **keywords)
    assert optimizer.steps == 2 * 3
    assert trained(X, y, drop_last=True, **keywords)[2].steps == 2 * 2
    # The last batch of two rows by itself, after the first epoch without it.
    apart, _, optimizer = trained(X[:8], y[:8], shuffle=False, epochs=1, dtype=dtype)
    fm.fit(apart, fm.CrossEntropyLoss(), optimizer, X[8:], y[8:], epochs=1, batch_size=4, shuffle=False)
    assert_same_bits(flat(apart), flat(trained(X, y, shuffle=False, epochs=1, dtype=dtype)[0]))
    assert not np.array_equal(flat(kept), flat(apart))


def test_fit_that_is_done_does_nothing():
    X, y = make_data(5, 3, 4)
    model, history, optimizer = trained(X, y, epochs=3, initial_epoch=3)
    assert history.loss == []
    assert optimizer.steps == 0
    assert_same_bits(flat(model), flat(make_net([3, 9, 4])))


def test_fit_of_one_row_and_one_feature(dtype):
    model, history, _ = trained([[2.0]], [0.5], widths=(1, 1), loss="mse", dtype=dtype, epochs=20, momentum=0)
    assert history.loss[-1] < history.loss[0]
    assert model.predict([[2]]) == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize("given", [np.int8, np.uint64, np.float32, ">i4", list])
def test_labels_of_any_dtype_give_the_same(given):
    X, y = make_data(11, 3, 4)
    converted = y.tolist() if given is list else y.astype(given)
    assert_same_bits(flat(trained(X, converted)[0]), flat(trained(X, y)[0]))


@pytest.mark.parametrize("name", ["fortran", "strided", "read_only", "big_endian"])
def test_targets_of_any_layout_give_the_same(name, dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    wide = np.zeros((22, 12), dtype)
    wide[::2, ::3] = y
    read_only = y.copy()
    read_only.flags.writeable = False
    other = {
        "fortran": np.asfortranarray(y),
        "strided": wide[::2, ::3],
        "read_only": read_only,
        "big_endian": y.astype(dtype.newbyteorder(">")),
    }[name]
    assert_same_bits(
        flat(trained(X, other, loss="mse", dtype=dtype)[0]),
        flat(trained(X, y, loss="mse", dtype=dtype)[0]),
    )


def test_float64_data_trains_a_float32_model():
    X, y = make_data(11, 3, 4, dtype=np.float64)
    model, _, _ = trained(X, y)
    assert model.dtype == np.float32
    assert_same_bits(flat(model), flat(trained(X.astype(np.float32), y)[0]))


def test_two_trainings_at_once():
    """Two threads of a program, each with a model of its own, one of them on two threads."""
    data = [make_data(small(200, 9), 3, 4, dtype=dtype) for dtype in (np.float32, np.float64)]
    keywords = [{"dtype": np.float32, "threads": 2}, {"dtype": np.float64, "threads": 1}]
    epochs = small(200, 2)
    alone = [flat(trained(*data[i], epochs=epochs, **keywords[i])[0]) for i in range(2)]
    results = [None, None]

    def work(i):
        results[i] = flat(trained(*data[i], epochs=epochs, **keywords[i])[0])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    for result, expected in zip(results, alone):
        assert_same_bits(result, expected)


def test_prediction_while_training():
    """Whatever it sees of the parameters, nothing crashes and nothing is disturbed."""
    X, y = make_data(small(200, 9), 3, 4)
    model = make_net([3, 9, 4])
    done = threading.Event()
    seen = []

    def look():
        while not done.is_set():
            seen.append(np.isfinite(model.predict(X)).all())

    looker = threading.Thread(target=look)
    looker.start()
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1, momentum=0.9), X, y, epochs=3, batch_size=4, rng=0)
    done.set()
    looker.join(60)
    assert all(seen)
    assert_same_bits(flat(model), flat(trained(X, y)[0]))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("threads", [1, 2])
def test_frozen_parameters_stay_and_the_others_are_trained_as_by_hand(threads, activation, dtype):
    """By their flag, by a rate of 0, or left out of the optimizer; whole layers, weights and biases alone."""
    X, y = make_data(21, 3, 4, dtype=dtype)

    def frozen_in(model):
        return {
            "first": [*model[0].parameters()],
            "last": [*model[4].parameters()],
            "weights": [model[0].weight, model[2].weight],
            "biases": [model[2].bias, model[4].bias],
            "all but one": [p for p in model.parameters() if p is not model[2].bias],
        }

    for name in frozen_in(make_net([3, 40, 17, 4])):
        left = []
        for way in ("flag", "rate", "left out", "by hand"):
            model = make_net([3, 40, 17, 4], activation, dtype=dtype)
            chosen = frozen_in(model)[name]
            others = [p for p in model.parameters() if all(p is not q for q in chosen)]
            groups = [{"params": others}] + ([{"params": chosen, "lr": 0}] if way == "rate" else [])
            if way in ("flag", "by hand"):
                for parameter in chosen:
                    parameter.requires_grad = False
                groups = [{"params": list(model.parameters())}]
            before = [p.data.copy() for p in chosen], [p.data.copy() for p in others]
            optimizer = fm.Adam(groups, lr=0.1, weight_decay=0.1)
            if way == "by hand":
                eager_train(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=8)
                assert not any(p.grad.any() for p in chosen)
            else:
                fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=8, rng=0, threads=threads)
            for parameter, values in zip(chosen, before[0]):
                assert_same_bits(parameter.data, values)
            assert all((p.data != values).any() for p, values in zip(others, before[1]))
            left.append(flat(model))
        for other in left[1:]:
            assert_same_bits(left[0], other)


def test_frozen_layers_before_the_first_that_is_trained_cost_no_way_back():
    model = make_net([3, 5, 7, 4])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    model[0].requires_grad_(False)
    X, y = make_data(6, 3, 4)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, threads=1)
    (program,) = model._route._training.values()
    assert "B linear" in str(program)
    assert [record.dx for record in program.records[1:5]][:3] == [-1, -1, -1]
    assert str(program).splitlines()[-1] == "units: U linear x2"
    model[0].requires_grad_(True)  # thawed again
    before = model[0].weight.data.copy()
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, threads=1)
    assert (model[0].weight.data != before).any()


def test_limit_of_threads_holds_in_every_phase(monkeypatch):
    """``threads=1`` starts none, in training and in validation; nor do sizes that are too small for two."""
    started = []

    def start(*arguments, real=_thread.start_new_thread):
        started.append(1)
        return real(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start)
    X, y = make_data(small(4000, 20), small(784, 3), 10)
    model = make_net([X.shape[1], small(128, 4), 10], "relu")
    optimizer = fm.SGD(model.parameters(), lr=0.01)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X[:64], y[:64], epochs=2, threads=1, validation=(X, y))
    model.predict(X, threads=1)
    model.predict(X[:2])
    assert started == []


def test_number_of_threads_has_a_bound():
    """A typo does not start a hundred thousand of them, and the results are the same."""
    X, y = make_data(64, 3, 4)
    right, _, _ = trained(X, y, batch_size=32, epochs=1)
    for threads in (100_000, 2**62):
        model, _, _ = trained(X, y, batch_size=32, epochs=1, threads=threads)
        assert_same_bits(flat(model), flat(right))
        assert_same_bits(model.predict(X, threads=threads), right.predict(X))
    for threads, error in ((2**62 + 1, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="threads must be"):
            trained(X, y, threads=threads)
        with pytest.raises(error, match="threads must be"):
            right.predict(X, threads=threads)


def test_fit_where_no_thread_can_be_started(monkeypatch):
    """A container's limit on processes: fewer threads, the same result."""
    X, y = make_data(small(300, 40), small(100, 3), 4)
    keywords = {"widths": (X.shape[1], small(300, 4), 4), "batch_size": 32, "epochs": 1, "threads": 2}
    right, _, _ = trained(X, y, **keywords)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    model, history, _ = trained(X, y, **keywords)
    assert len(history.loss) == 1
    assert_same_bits(flat(model), flat(right))
    assert_same_bits(model.predict(X, threads=2), right.predict(X, threads=2))


def test_fit_does_not_heed_numpys_error_state(dtype):
    X, y = make_data(11, 3, 4, "mse", dtype=dtype)
    X[0], y[0] = 1e-40, 1e-40
    right, history, _ = trained(X, y, loss="mse", dtype=dtype)
    with np.errstate(all="raise"):
        model, other, _ = trained(X, y, loss="mse", dtype=dtype)
        with pytest.raises(fm.NonFiniteLossError):
            trained(X, y, loss="mse", dtype=dtype, lr=1e30)
    assert_same_bits(flat(model), flat(right))
    assert other.loss == history.loss


def test_masked_data_are_refused():
    X, y = make_data(11, 3, 4, "mse")
    for name in ("X", "y"):
        masked = {"X": X, "y": y}
        masked[name] = np.ma.masked_array(masked[name], masked[name] > 1)
        with pytest.raises(ValueError, match=rf"{name} has masked entries, the first in row \d+, column \d"):
            trained(masked["X"], masked["y"], loss="mse")
        held_out = masked["X"], masked["y"]
        with pytest.raises(ValueError, match=rf"validation {name} has masked entries"):
            trained(X, y, loss="mse", validation=held_out)
    labels = np.ma.masked_array([0, 1, 2], mask=[0, 0, 1])
    with pytest.raises(ValueError, match="y has masked entries, the first in row 2"):
        trained(X[:3], labels)


def test_removed_and_replaced_parameters_are_trained_as_they_are(dtype):
    """A network that was changed after it was built: `fit`, the loop by hand and a network built so are the same."""
    X, y = make_data(11, 3, 4, dtype=dtype)
    results = []
    for way in ("fit", "hand", "built"):
        model = make_net([3, 9, 4], dtype=dtype, bias=way != "built")
        if way != "built":
            model(X)
            model.predict(X)
            model[0].bias = None
            del model[2].bias
        model[2].weight = weight = fm.Parameter((4, 9), np.float64)
        weight.data = np.arange(36).reshape(4, 9) / 36
        model[0].weight.data = np.arange(27).reshape(9, 3) / 27
        optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if way == "hand":
            eager_train(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=4, rng=0)
        else:
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=4, rng=0)
        results.append(flat(model))
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])


def test_labels_may_be_text(dtype, tmp_path):
    """Trained as the numbers of the sorted names; the names come back from predict_labels, after saving too."""
    X, numbers = make_data(40, 3, 3, dtype=dtype)
    names = np.array(["hen", "ant", "bee"])
    text, order = names[numbers], np.sort(names)
    left = []
    for y in (text, text.tolist(), text.astype(object), np.searchsorted(order, text)):
        model = make_net([3, 5, 3], dtype=dtype)
        optimizer = fm.Adam(model.parameters(), lr=0.01)
        history = fm.fit(
            model,
            fm.CrossEntropyLoss(),
            optimizer,
            X,
            y,
            epochs=3,
            rng=0,
            validation=(X, y),
            metrics="accuracy",
            progress=False,
        )
        left.append((flat(model), history.loss, history.validation_loss))
        if y is not text and not isinstance(y, list):
            continue
        assert model.classes.tolist() == order.tolist()
        fm.save(tmp_path / "model", model)
        for twin in (model, fm.load(tmp_path / "model")):
            labels = twin.predict_labels(X)
            np.testing.assert_array_equal(labels, order[model.predict(X).argmax(1)])
            found = fm.evaluate(twin, fm.CrossEntropyLoss(), X, y, metrics="accuracy")
            assert found["accuracy"] == (labels == text).mean()
    for params, losses, held_out in left[1:]:
        assert_same_bits(params, left[0][0])
        assert losses == left[0][1]
        assert held_out == left[0][2]
    optimizer = fm.Adam(model.parameters())
    model.classes = [10, 20, 30]
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, 10 * (numbers + 1), epochs=1)
    for y, message in (
        (numbers, "which is none of the model's classes"),
        (np.array(["cat"] * 40), "which is none of the model's classes|y"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1)
    small = make_net([3, 2], dtype=dtype)
    with pytest.raises(ValueError, match="y has labels of 3 classes, but the model has 2 outputs"):
        fm.fit(small, fm.CrossEntropyLoss(), fm.Adam(small.parameters()), X, text, epochs=1)
    assert small.classes is None


def test_a_part_in_evaluation_mode_stays_so(dtype):
    """As by hand; where the whole network is in evaluation mode, all of it is trained."""
    X, y = make_data(24, 3, 4, dtype=dtype)

    def make():
        model = fm.Sequential(fm.Linear(3, 5), fm.BatchNorm1d(5), fm.Dropout(0.5, rng=0), fm.Linear(5, 4), dtype=dtype)
        model.reset_parameters(rng=0)
        return model

    left = []
    for way in ("fit", "by hand"):
        model = make()
        model[1].eval()
        model[2].eval()
        optimizer = fm.SGD(model.parameters(), lr=0.1)
        if way == "fit":
            fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=8, rng=0)
        else:
            eager_train(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=8)
        assert (model[1].num_batches_tracked, model[2].calls) == (0, 0)
        left.append(flat(model))
    assert_same_bits(*left)
    model = make().eval()
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=2, batch_size=8, rng=0)
    assert (model[1].num_batches_tracked, model[2].calls) == (6, 6)
    assert all(module.training for module in model.modules())
