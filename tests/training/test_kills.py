"""Runs that are killed, interrupted or terminated at random moments, and whose disk is full: processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import jit_only, run_python

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends POSIX signals")]

#: A training with all that has a state, begun anew each time as by a script; and what it leaves, to be compared to the bit.
TRAIN = """
import json, os, random, signal, sys, time, traceback
import numpy as np
import fastmlp as fm

X, y = fm.datasets.make_disc(100, rng=0)


class Run:
    def __init__(self, path, epochs=40):
        self.path, self.epochs = path, epochs
        self.model = fm.Sequential(
            fm.Standardize(2).fit(X), fm.Linear(2, 9), fm.BatchNorm1d(9), fm.Tanh(), fm.Dropout(0.1), fm.Linear(9, 2)
        )
        self.model.reset_parameters(rng=0)
        self.optimizer = fm.Adam(self.model.parameters(), lr=0.1)
        self.optimizer.average(0.9)
        self.schedule = fm.OneCycleLR(self.optimizer, max_lr=0.1, epochs=epochs, steps_per_epoch=8)
        self.stop = fm.EarlyStopping(patience=epochs)

    def fit(self, *callbacks, **options):
        listeners = [self.stop, fm.CSVLogger(self.path + ".csv"), *callbacks]
        options = {"epochs": self.epochs, "validation": 0.2, "metrics": "accuracy", "threads": 1} | options
        criterion = fm.CrossEntropyLoss()
        self.history = fm.fit(
            self.model, criterion, self.optimizer, X, y, batch_size=10, rng=0, schedule=self.schedule, callbacks=listeners,
            progress=False, **options
        )
        return self

    def left(self):
        arrays = dict(self.model.state_dict())
        rule = self.optimizer.state_dict()
        for i, state in rule.pop("state").items():
            arrays |= {f"{i}/{name}": array for name, array in state.items()}
        with open(self.path + ".csv") as file:
            lines = [line.split(",") for line in file.read().splitlines()]
        seconds = lines[0].index("seconds")
        lines = [[cell for i, cell in enumerate(line) if i != seconds] for line in lines]
        history = self.history.to_dict() | {"seconds": None, "interrupted": None}
        numbers = [rule, self.schedule.state_dict(), self.stop.best, self.stop.best_epoch, history, lines]
        return {name: array.tobytes().hex() for name, array in arrays.items()} | {"numbers": repr(numbers)}
"""

KILL = (
    TRAIN
    + """
folder, kills, every = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
random.seed(int(sys.argv[4]))
whole = Run(folder + "/whole").fit().left()  # without a checkpoint; compiles, too
count = runs = halves = begins = 0
while count < kills:
    runs += 1
    path = f"{folder}/{runs}"
    while True:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                left = Run(path).fit(checkpoint=path, every=every, resume=True).left()
                with open(path + ".left", "w") as file:
                    json.dump(left, file)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        time.sleep(random.random() * 0.2)
        done, status = os.waitpid(child, os.WNOHANG if count < kills else 0)
        if done:
            assert status == 0, status
            break
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if status == 0:  # it has ended at the last moment
            break
        assert status == signal.SIGKILL, status
        count += 1
        names = os.listdir(path) if os.path.isdir(path) else []
        halves += any(name.endswith(".part") for name in names)
        begins += not any(name.endswith(".safetensors") for name in names)
        assert len(names) <= 4, names  # two, the newest, and a half
    with open(path + ".left") as file:
        assert json.load(file) == whole, runs
    assert 2 <= len(os.listdir(path)) <= 3, os.listdir(path)  # a kill may have left one more
print(f"{count} kills of {runs} runs, {halves} while a file was written, {begins} before the first one")
"""
)


def killed(folder, kills, every, seed):
    """Kill runs until that has been done so often; each is resumed until it ends, as the unbroken one."""
    out = run_python(KILL, folder, kills, json.dumps(every), seed, timeout=1200).strip()
    assert out.startswith(f"{kills} kills of ")
    return out


@jit_only
@pytest.mark.parametrize("every", [None, 3])
def test_killed_run_ends_as_the_unbroken_one(tmp_path, every):
    killed(tmp_path, 6, every, seed=1)


@jit_only
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_200_kills_at_random_moments(tmp_path):
    for every, seed in ((None, 2), (3, 3)):
        (tmp_path / str(seed)).mkdir()
        print(killed(tmp_path / str(seed), 100, every, seed))


SIGNALLED = (
    TRAIN
    + """
folder, kind = sys.argv[1], sys.argv[2]
random.seed(4)
EPOCHS = 10**6


class Telling(fm.Callback):
    every = 1

    def on_steps(self, step, history):
        if step == 1:
            os.write(writer, b"x")


class Terminated(Exception):
    pass


def terminate(number, frame):
    raise Terminated


def of_steps(steps):
    # What an unbroken run has after so many steps.
    run = Run(folder + "/unbroken", EPOCHS)
    run.stop.on_end = lambda history: None  # the newest network, not the best

    class Ending(fm.Callback):
        every = steps
        def on_steps(self, step, history):
            return True

    return run.fit(Ending())


Run(folder + "/first").fit()  # compiles
for trial in range(4):
    path = f"{folder}/{trial}"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind != "default":
            signal.signal(signal.SIGTERM, terminate)
        run = Run(path, EPOCHS)
        status = 1
        try:
            try:
                run.fit(Telling(), checkpoint=path, every=[None, 5][trial % 2])
            except (KeyboardInterrupt, Terminated) as error:
                history = error.history
            newest = fm.load_checkpoint(max(f"{path}/{name}" for name in os.listdir(path)))
            assert newest.optimizer.steps == run.optimizer.steps, (os.listdir(path), run.optimizer.steps)
            assert (newest.model.storage.data == run.model.storage.data).all()
            assert newest.history.loss == history.loss and len(history.loss) == run.optimizer.steps // 8, history
            twin = of_steps(run.optimizer.steps)
            assert (twin.model.storage.data == run.model.storage.data).all()
            assert twin.history.loss == history.loss
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.read(reader, 1) == b"x"
    time.sleep(0.05 + 0.3 * random.random())
    os.kill(child, signal.SIGINT if kind == "INT" else signal.SIGTERM)
    status = os.waitpid(child, 0)[1]
    assert status == (signal.SIGTERM if kind == "default" else 0), status
    steps = [fm.load_checkpoint(f"{path}/{name}").optimizer.steps for name in sorted(os.listdir(path)) if name[0] != "."]
    assert 0 < len(steps) <= 3, steps
    # It goes on, for an epoch more than there were.
    epochs = steps[-1] // 8 + 1
    again = Run(path, EPOCHS)
    again.fit(checkpoint=path, every=[None, 5][trial % 2], resume=True, epochs=epochs)
    unbroken = Run(path + "unbroken", EPOCHS).fit(epochs=epochs)
    assert again.left() == unbroken.left()
print("alike")
"""
)


@jit_only
@pytest.mark.parametrize("kind", ["INT", "TERM", "default"])
def test_signal_leaves_model_history_and_checkpoint_of_the_last_finished_step(tmp_path, kind):
    """Ctrl-C, SIGTERM with a handler of the program; and without one, where the process ends at once, as by a kill."""
    assert run_python(SIGNALLED, tmp_path, kind).strip() == "alike"


FULL = (
    TRAIN
    + """
import errno
folder, kind = sys.argv[1], sys.argv[2]
path = folder + "/run"
if kind == "limit":
    import resource
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)


class Filling(fm.Callback):
    every = 20

    def on_steps(self, step, history):
        if step == 60 and kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        elif step == 60:
            with open(folder + "/filler", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass


run = Run(sys.argv[3] + "/log")
whole = Run(sys.argv[3] + "/whole").fit().left()
try:
    run.fit(Filling(), checkpoint=path, every=25)
except OSError as error:
    message, history = str(error), error.history
    assert error.errno in (errno.ENOSPC, errno.EFBIG), error.errno
if kind == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
assert "cannot save to " in message and "step-000000075.safetensors" in message and "is as it was" in message, message
assert run.optimizer.steps == 75 and len(history.loss) == 9, (run.optimizer.steps, history)


class Ending(fm.Callback):
    every = 75

    def on_steps(self, step, history):
        return True


twin = Run(sys.argv[3] + "/twin")
twin.stop.on_end = lambda history: None  # the newest network, not the best
twin.fit(Ending())
assert (twin.model.storage.data == run.model.storage.data).all()
assert twin.history.loss == history.loss
assert sorted(os.listdir(path)) == ["step-000000025.safetensors", "step-000000050.safetensors"], os.listdir(path)
if kind != "limit":
    os.unlink(folder + "/filler")
assert Run(sys.argv[3] + "/log").fit(checkpoint=path, every=25, resume=True).left() == whole
print("alike")
"""
)


@jit_only
def test_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    """A disk of 256 KiB, where this process may mount one."""
    (tmp_path / "disk").mkdir()
    mount = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path / "disk"]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        assert run_python(FULL, tmp_path / "disk", "disk", tmp_path).strip() == "alike"
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


@jit_only
def test_limit_of_the_size_of_files_is_a_clear_error_and_loses_nothing(tmp_path):
    assert run_python(FULL, tmp_path, "limit", tmp_path).strip() == "alike"


LOCKED = (
    TRAIN
    + """
folder, path = sys.argv[1], sys.argv[1] + "/run"
whole = Run(folder + "/whole").fit().left()  # compiles
os.chmod(folder, 0o777)


def lock(epoch, history):
    if epoch == 3:
        os.chmod(path, 0o555)


root = os.geteuid() == 0
if root:
    os.seteuid(65534)  # root may write everywhere
try:
    run = Run(folder + "/log")
    run.fit(lock, checkpoint=path)
except PermissionError as error:
    assert "cannot save to " in str(error) and path in str(error) and "Permission denied" in str(error), error
    assert error.history.epochs == 4 and run.optimizer.steps == 32
assert sorted(os.listdir(path)) == ["step-000000016.safetensors", "step-000000024.safetensors"], os.listdir(path)
os.chmod(path, 0o755)
assert Run(folder + "/log").fit(checkpoint=path, resume=True).left() == whole
if root:
    os.seteuid(0)
os.chmod(folder, 0o555)
if root:
    os.seteuid(65534)
for place in (folder + "/other", folder + "/other/inside"):
    run = Run(folder + "/log")
    before = run.model.storage.data.copy()
    try:
        run.fit(checkpoint=place)
    except PermissionError as error:
        assert f"cannot make the folder '{place}': Permission denied" in str(error), error
    assert run.optimizer.steps == 0 and (run.model.storage.data == before).all()
print("alike")
"""
)


@jit_only
def test_folder_that_cannot_be_written_is_a_clear_error_and_loses_nothing():
    folder = Path(tempfile.mkdtemp())  # which others than root may enter
    try:
        assert run_python(LOCKED, folder).strip() == "alike"
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)
