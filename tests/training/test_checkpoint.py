"""Files of models and trainings. That a training goes on bit for bit: tests/test_promises.py; broken files: tests/saving."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net, run_python
from saving.mutants import signed, split

import fastmlp as fm
from fastmlp.saving.tensors import CHECK_SUM, METADATA, TEXT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def changed(path, how):
    """Change the description in a file, which keeps a check sum that fits."""
    header, numbers = split(path.read_bytes())
    described = json.loads(header[METADATA][TEXT])
    how(described)
    path.write_bytes(signed(header, numbers, json.dumps(described)))


def assert_same_model(one, other):
    assert repr(one) == repr(other)
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert_same_bits(array, second[name])
    for (name, part), (other_name, twin) in zip(one.named_modules(), other.named_modules(), strict=True):
        assert (name, type(part), part.training) == (other_name, type(twin), twin.training)
    frozen, others = ([p.requires_grad for p in model.parameters()] for model in (one, other))
    assert frozen == others


def double(x):
    return 2 * x


class Gate(fm.Module):
    """A module of a user's, with a parameter, a part that is given and one that is made."""

    def __init__(self, width, inner, *, names=("a", "b"), scales=None, options=None):
        self.width, self.inner, self.names, self.scales, self.options = width, inner, names, scales, options
        self.gain, self.own = fm.Parameter((width,)), [fm.Linear(width, width), {"x": fm.ReLU()}]

    def forward(self, x):
        return x * self.gain.data

    def backward(self, dy):
        return dy * self.gain.data


class Descent(fm.Optimizer):
    """An optimizer of a user's: a formula with an option that is none of a group's."""

    state = ("sum",)

    def __init__(self, params, lr=0.1, *, power=2, rate=0.5):
        super().__init__(params, lr=lr, rate=rate)
        self.power = power

    def scalars(self, group, t, lr):
        return lr / t**self.power, group["rate"]

    @staticmethod
    def update(p, g, sum_, lr, rate):
        sum_ = rate * sum_ + g
        return p - lr * sum_, sum_


class Halving(fm.LRScheduler):
    def __init__(self, optimizer, every):
        self.every = every
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.base_lr * 0.5 ** (epoch // self.every)


class Network(fm.Sequential):
    """A network whose constructor makes its row."""

    def __init__(self, hidden, depth=1):
        self.__dict__.update(hidden=hidden, depth=depth)
        super().__init__(fm.Linear(2, hidden), *(fm.Tanh() for _ in range(depth)), fm.Linear(hidden, 2))


class Labelled(fm.Sequential):
    """A network that is given its row, and something beside."""

    def __init__(self, *modules, label="", dtype=None):
        super().__init__(*modules, dtype=dtype)
        self.label = label


def test_models_come_back(path, dtype):
    embedding = fm.Embedding({1: 4, 2: 3}, {1: 2, 3 - 1: 1}, in_features=3)
    models = [
        fm.Linear(2, 3, dtype=dtype),
        fm.Sequential(fm.Linear(2, 3, bias=False), dtype=dtype),
        fm.Sequential(fm.ReLU(), dtype=dtype),
        fm.Sequential(embedding, fm.Linear(4, 2), dtype=dtype),
        fm.Sequential(fm.Flatten(), fm.Linear(4, 3), fm.Residual(fm.Sequential(fm.Linear(3, 3)), fm.Identity()), dtype=dtype),
        fm.Sequential(fm.Dropout(0.25, rng=3), fm.AlphaDropout(0.5), fm.BatchNorm1d(2, momentum=None), dtype=dtype),
        make_net([3, 5, 4, 2], dtype=dtype)[1:3],
    ]
    for model in models:
        fm.save(path, model)
        again = fm.load(path)
        assert_same_model(model, again)
        assert again.dtype == model.dtype
        assert fm.load_checkpoint(path)._replace(model=None) == (None, None, None, None)
    x = np.array([[0.5, 1, 2], [-0.5, 3, 0]])
    fm.save(str(path), models[3])
    assert_same_bits(fm.load(str(path)).predict(x), models[3].predict(x))


def test_what_was_changed_since_it_was_made_comes_back(path):
    norms = [fm.LayerNorm(3), fm.LayerNorm(3), fm.BatchNorm1d(3), fm.BatchNorm1d(3), fm.RMSNorm(3)]
    norms[0].weight = norms[1].bias = norms[2].weight = norms[3].bias = norms[4].weight = None
    model = fm.Sequential(fm.Linear(3, 3), *norms, fm.Linear(3, 3), fm.Dropout(0.1))
    model[0].bias = None
    model[-1].p, model[-1].calls = 0.2, 7
    model.head = fm.Linear(3, 2)
    del model.__dict__["_modules"]["6"]
    model[2].eval()
    model[3].bias.requires_grad = False
    model.head.weight.requires_grad = False
    model[1].eps = 0.25
    model[3].running_mean.data = [1, 2, 3]
    model[3].num_batches_tracked = 5
    fm.save(path, model)
    again = fm.load(path)
    assert_same_model(model, again)
    assert [name for name, _ in again.named_children()] == ["0", "1", "2", "3", "4", "5", "7", "head"]
    assert (again[1].weight, again[2].bias, again[3].weight, again[4].bias, again[5].weight) == (None,) * 5
    assert again[1].bias is not None
    assert (again[1].eps, again[-2].calls) == (0.25, 7)


def test_classes_and_functions_of_the_users_own_are_asked_for_by_name(path):
    options = {"mean": float("nan"), 3: (np.float32(0.5), [None]), "in": {"custom": "x", "array": "y"}, "alone": {"array": "y"}}
    gate = Gate(3, fm.Residual(fm.Linear(3, 3)), scales=np.arange(3.0), options=options)
    model = Labelled(
        *(fm.Linear(2, 3), gate, fm.Activation(double), fm.Activation(lambda x, a: a * x, constants={"a": 2.5})),
        *(fm.Activation(lambda x: x + 1, lambda y: y - y + 1), fm.Linear(3, 2), Network(5, depth=2)),
        label="mine",
    )
    model.reset_parameters(0)
    gate.own[0].weight.requires_grad = False
    model[2].eval()
    optimizer = Descent(model.parameters(), power=1)
    schedule = fm.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    fm.save(path, model, optimizer, schedule)
    with pytest.raises(fm.LoadError) as caught:
        fm.load(path)
    assert (
        "classes and functions that are not in it: Labelled, "
        "Gate, double, model/3/value, model/4/value, model/4/slope, Network. "
        'Give them by name, custom={"Labelled": Labelled, "Gate": Gate, "double": double, "model/3/value": ..., "model/4'
    ) in str(caught.value)
    custom = {kind.__name__: kind for kind in (Labelled, Gate, Network, double)}
    custom |= {"model/3/value": model[3].value, "model/4/value": model[4].value, "model/4/slope": model[4].slope}
    again = fm.load(path, custom)
    assert_same_model(model, again)
    twin = again[1]
    assert (again.label, twin.width, twin.names, twin.inner.dtype) == ("mine", 3, ("a", "b"), np.float32)
    assert_same_bits(twin.scales, gate.scales)
    assert np.isnan(twin.options["mean"])
    assert twin.options[3] == (0.5, [None])
    assert (twin.options["in"], twin.options["alone"]) == (options["in"], options["alone"])
    with pytest.raises(fm.LoadError, match=r"not in it: Descent, schedule/lr_lambda\. Give them"):
        fm.load_checkpoint(path, custom)
    custom |= {"Descent": Descent, "schedule/lr_lambda": lambda epoch: 0.5}
    again = fm.load_checkpoint(path, custom)
    assert (again.optimizer.power, again.optimizer.lr, again.schedule.get_last_lr()) == (1, 0.1, [0.1])
    again.schedule.step()
    assert again.optimizer.lr == 0.05
    # A list names by __name__; a function that builds does in place of a class.
    gates = []
    model = fm.Sequential(fm.Linear(2, 3), Gate(3, fm.ReLU()), fm.Activation(double))
    fm.save(path, model)
    assert_same_model(model, fm.load(path, custom=[Gate, double]))
    fm.load(path, custom={"Gate": lambda **given: gates.append(given) or Gate(**given), "double": double})
    assert gates[0].keys() == {"width", "inner", "names", "scales", "options"}
    for wrong, message in (
        (3, "must be a dictionary or a list"),
        ([3], "must hold classes"),
        ({"Gate": 3}, "of classes and functions"),
    ):
        with pytest.raises(TypeError, match=message):
            fm.load(path, custom=wrong)
    with pytest.raises(fm.LoadError, match=r"Gate must give a Module; got 'no'"):
        fm.load(path, custom={"Gate": lambda **_: "no", "double": double})
    with pytest.raises(fm.LoadError, match=r"TypeError: ReLU\(\) takes no arguments"):
        fm.load(path, custom={"Gate": fm.ReLU, "double": double})


def test_trainings_go_on_with_classes_of_the_users_own(path):
    X, y = make_data(40, 2, 2)
    run = partial(fm.fit, criterion=fm.CrossEntropyLoss(), X=X, y=y, batch_size=8, rng=0, progress=False)

    def begun():
        model = Network(7)
        model.reset_parameters(0)
        parameters = list(model.parameters())
        optimizer = Descent([{"params": parameters[:2], "rate": 0.25}, {"params": parameters[2:]}], lr=0.5, power=0.25)
        optimizer.average(0.75)
        return model, optimizer, Halving(optimizer, 2)

    live, made = begun(), begun()
    history = run(live[0], optimizer=live[1], schedule=live[2], epochs=6)
    first = run(made[0], optimizer=made[1], schedule=made[2], epochs=3)
    fm.save(path, *made, first)
    again = fm.load_checkpoint(path, [Network, Descent, Halving])
    assert again.history == first
    rest = run(again.model, optimizer=again.optimizer, schedule=again.schedule, epochs=6, initial_epoch=3)
    assert_same_bits(flat(again.model), flat(live[0]))
    assert again.history.loss + rest.loss == history.loss
    for one, other in zip(again.optimizer.state_dict()["state"].values(), live[1].state_dict()["state"].values(), strict=True):
        assert one.keys() == {"sum", "ema"}
        assert all(np.array_equal(one[name], other[name]) for name in one)
    again.optimizer.add_param_group({"params": [fm.Parameter((1,))]})  # with what groups have that do not say otherwise
    assert again.optimizer.param_groups[-1]["lr"] == 0.5


def test_rates_that_were_set_by_hand_are_in_force_again(path):
    model = make_net([2, 3])
    optimizer = fm.SGD(model.parameters(), lr=0.5, momentum=0.9)
    schedule = fm.OneCycleLR(optimizer, 0.25, total_steps=10)
    schedule.step(3)
    optimizer.param_groups[0]["lr"] = 0.125
    fm.save(path, model, optimizer, schedule)
    again = fm.load_checkpoint(path)
    assert again.optimizer.param_groups[0] | {"params": ()} == optimizer.param_groups[0] | {"params": ()}
    schedule.step()
    again.schedule.step()
    assert again.optimizer.lr == optimizer.lr


def test_what_cannot_be_saved_is_refused_at_once(path):
    model = make_net([2, 3, 2])
    optimizer = fm.SGD(model.parameters())
    other = fm.SGD(make_net([2, 3]).parameters())
    for arguments, message in (
        ((3,), "model must be a Module of fastmlp; got 3"),
        ((model, 3), "optimizer must be an Optimizer of fastmlp; got 3"),
        ((model, optimizer, optimizer), "schedule must be a LRScheduler of fastmlp"),
        ((model, None, None, [0.5]), "history must be a History"),
        ((model, other), "the optimizer has a parameter that the model lacks"),
        ((model, None, fm.StepLR(optimizer, 1)), "a schedule is saved with its own optimizer"),
        ((model, optimizer, fm.StepLR(other, 1)), "a schedule is saved with its own optimizer"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fm.save(path, *arguments)

    class Forgetful(fm.Module):
        def __init__(self, width):
            self.weight = fm.Parameter((width,))

    class Other(fm.Module):
        def __init__(self, width=2):
            self.width = width

    class Starred(fm.Module):
        def __init__(self, *parts):
            self.parts = parts

    class Unsaid(fm.Module):
        def get_config(self):
            return [1]

    changed_since, of_a_generator = Other(), Other(np.random.default_rng())
    changed_since.more = fm.Parameter((3,))
    swapped = Gate(3, fm.ReLU())
    swapped.own[0] = fm.Linear(3, 4)
    added, with_list = fm.Linear(2, 2), make_net([2, 2])
    added.more = fm.Parameter((2,))
    with_list.parts = [fm.ReLU()]
    same_name = type("Gate", (Other,), {})
    deep = fm.Linear(2, 2)
    for _ in range(52):
        deep = fm.Sequential(deep)
    for module, message in (
        (Forgetful(3), r"takes width, but it has no attribute of that name\. Keep it, self\.width = width"),
        (Starred(), r"takes \*parts, so it needs a get_config"),
        (Unsaid(), r"get_config must return a dictionary"),
        (of_a_generator, r"model/0/width is .*, which a file cannot hold"),
        (changed_since, r"Other cannot be saved: another one made by its get_config\(\) has other parameters or parts"),
        (swapped, r"Gate cannot be saved: another one"),
        (added, r"more has been added to Linear\(2, 2\) \(model/0\), whose constructor knows nothing of it"),
        (with_list, r"parts\.0 has been added to Sequential"),
        (fm.Sequential(Gate(2, fm.ReLU()), same_name()), "two classes are called Gate"),
        (deep, "room for 50 modules within each other"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fm.save(path, fm.Sequential(module))
    assert not path.exists()


def test_files_that_are_none_are_refused(path):
    model = make_net([2, 3, 2])
    optimizer = fm.Adam(model.parameters())
    fm.save(path, model, optimizer, fm.StepLR(optimizer, 2), fm.History([0.5]))
    content = path.read_bytes()

    def damage(described):
        described["version"] = 2
        described["fastmlp"] = "9.9"

    for how, message in (
        (damage, r"it was written by fastmlp 9\.9, in a newer format than fastmlp .* knows: update fastmlp"),
        (lambda d: d.pop("version"), "its description has no version"),
        (lambda d: d.update(version=True), "its description has no version"),
        (lambda d: d["model"].update({"class": "system"}), "has no module 'system'"),
        (lambda d: d["model"].update({"class": "Adam"}), "has no module 'Adam'"),
        (lambda d: d["model"].update({"custom": "os.system"}), r"no class or function 'os\.system'"),
        (lambda d: d["needs"].append("os.system"), r"not in it: os\.system\. Give"),
        (lambda d: d["model"]["modules"].append(d["model"]["modules"][1]), "two modules of one name"),
        (lambda d: d["model"]["modules"][0][1]["arguments"].update(out_features=2**40), "more numbers than are left"),
        (lambda d: d["model"]["modules"][0][1]["arguments"].update(out_features=4), "widths don't chain"),
        (lambda d: d["model"]["modules"][0][1]["arguments"].update(bias=False), "the array '0.bias' is none of the model"),
        (lambda d: d["model"]["arguments"].update(dtype={"dtype": "float64"}), "must be float64 of shape"),
        (lambda d: d["optimizer"]["groups"][0].append("nothing"), "parameters that the model lacks"),
        (lambda d: d["optimizer"]["arguments"].update(lr=-1.0), "lr must be at least 0"),
        (lambda d: d.pop("optimizer"), "a schedule and no optimizer"),
        (lambda d: d["schedule"]["state"]["dict"].update(last_epoch=-1), "last_epoch must be at least 0"),
        (lambda d: d["values"]["history"]["dict"].update(nothing=3), "its history is none"),
        (lambda d: d["frozen"].append("nothing"), "KeyError: 'nothing'"),
    ):
        path.write_bytes(content)
        changed(path, how)
        with pytest.raises(fm.LoadError, match=message) as caught:
            fm.load_checkpoint(path)
        assert str(caught.value).startswith(str(path))
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for load in (fm.load, fm.load_checkpoint):
        with pytest.raises(fm.LoadError, match="damaged, or changed by another program: its check sum does not fit"):
            load(path)
    assert fm.load_arrays(path)
    header, numbers = split(content)
    del header[METADATA][CHECK_SUM]
    path.write_bytes(signed(header, numbers, header[METADATA][TEXT])[:-1])
    with pytest.raises(fm.LoadError, match="cut off"):
        fm.load(path)
    path.write_text("a text")
    with pytest.raises(fm.LoadError, match="no safetensors file"):
        fm.load(path)
    with pytest.raises(FileNotFoundError):
        fm.load(path.with_name("nowhere"))


def test_file_of_arrays_says_how_to_load_it(path):
    numpy = pytest.importorskip("safetensors.numpy")
    model, other = make_net([2, 3, 2]), make_net([2, 3, 2], rng=1)
    numpy.save_file(model.state_dict(), path)
    with pytest.raises(fm.LoadError, match=r"it holds arrays and no model of fastmlp: model\.load_state_dict\(fm\.load_arrays"):
        fm.load(path)
    other.load_state_dict(fm.load_arrays(path))
    assert_same_model(model, other)


def test_file_that_another_program_has_written_again_is_loaded(path):
    """The check sum does not depend on the order of the arrays."""
    header, numbers = None, b""
    model = make_net([2, 3, 2])
    fm.save(path, model)
    content = path.read_bytes()
    header, numbers = split(content)
    arrays = {name: numbers[slice(*header[name]["data_offsets"])] for name in header if name != METADATA}
    place = 0
    for name in reversed(arrays):
        header[name]["data_offsets"] = [place, place + len(arrays[name])]
        place += len(arrays[name])
    text = json.dumps(header, indent=1).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(reversed(arrays.values())))
    assert_same_model(fm.load(path), model)


def test_names_of_arrays_are_those_of_the_state_dict(path):
    model = fm.Sequential(fm.Linear(2, 3), fm.BatchNorm1d(3), fm.Dropout())
    fm.save(path, model)
    arrays, state = fm.load_arrays(path), model.state_dict()
    assert arrays.keys() == state.keys() - {"2.seed", "2.calls"}  # PyTorch's layers have none
    assert all(np.array_equal(array, state[name]) for name, array in arrays.items())


def test_failure_leaves_the_file_before_and_the_training_in_memory(path, monkeypatch):
    model = make_net([2, 3, 2])
    fm.save(path, model)
    before, kept = path.read_bytes(), flat(model)

    def failing(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastmlp.saving.whole.os.fsync", failing)
    with pytest.raises(OSError, match=r"cannot save to .*: No space left on device \(a file there is as it was\)"):
        fm.save(path, make_net([2, 40, 2]))
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert_same_bits(flat(model), kept)


def test_loading_draws_from_no_generator_of_the_users(path):
    model = fm.Sequential(fm.Linear(2, 3), fm.Dropout())
    fm.save(path, model)
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    fm.load(path)
    assert np.random.random() == expected


@pytest.mark.once
def test_another_process_loads_it(path):
    model, x = make_net([3, 5, 2]), np.ones((2, 3), np.float32)
    fm.save(path, model)
    code = "import sys, numpy as np, fastmlp as fm; print(fm.load(sys.argv[1]).predict(np.ones((2, 3))).tobytes().hex())"
    assert run_python(code, path).strip() == model.predict(x).tobytes().hex()
