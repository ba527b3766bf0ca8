"""The disc job: its table, its figures, and what it says about bad options."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = ["--seeds", "1", "--points", "40", "--epochs", "2"]


@pytest.fixture
def train_disc(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import train_disc

    return train_disc


@pytest.fixture
def disc_models(train_disc):
    import disc_models

    return disc_models


def refused(train_disc, capsys, *arguments):
    """The one line with which bad options are refused."""
    assert train_disc.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("train_disc: ")
    assert printed.err.count("\n") == 1
    return printed.err


def png_size(path):
    """Width and height of a PNG file in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:])


def test_train_disc_runs_as_a_command(tmp_path):
    command = [sys.executable, "-W", "error", SCRIPTS / "train_disc.py", *SMALL, "--model", "tiny", "--output", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=250, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Best: tiny" in done.stdout
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_train_disc_prints_a_line_for_every_model(train_disc, disc_models, capsys):
    assert train_disc.main([*SMALL, "--no-figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "7 models, 1 seed, 2 epochs, 40 points to train on, 40 others to test on." in lines
    head = next(i for i, line in enumerate(lines) if line.startswith("model "))
    rows = lines[head + 2 : head + 2 + len(disc_models.MODELS)]
    assert [line.split()[0] for line in rows] == [model.name for model in disc_models.MODELS]
    assert {len(line) for line in rows} == {len(lines[head]), len(lines[head + 1])} == {len(lines[head])}
    assert lines[head + 2 + len(rows)] == ""
    assert lines[head + 3 + len(rows)].startswith("Best: ")
    assert not any("±" in line for line in lines)  # one seed has no deviation


def test_train_disc_shows_the_options_in_the_table(train_disc, capsys):
    options = ["--lr", "0.03", "--batch-size", "7", "--seeds", "2", "--points", "30", "--epochs", "1", "--no-figures"]
    assert train_disc.main([*options, "--model", "wide", "tiny", "--threads", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    wide = next(line for line in lines if line.startswith("wide"))
    assert "0.03 cosine, Nesterov 0.9      7 " in wide
    assert wide.count("±") == 2
    assert any(line.startswith("tiny") for line in lines)
    assert not any(line.startswith("relu") for line in lines)


def test_train_disc_names_the_best_model(train_disc, disc_models):
    def result(name, *errors):
        model = next(model for model in disc_models.MODELS if model.name == name)
        return train_disc.Result(model, [train_disc.Training(0, None, np.ones(3), 0.0, error, 0.1) for error in errors])

    tanh, tiny = result("tanh", 3.0, 1.0, 0.5), result("tiny", 2.0, 2.0)
    assert tanh.test_error == 1.5
    assert tanh.typical.test_error == 1.0
    assert "1.50 ± 1.32" in train_disc.result_row(tanh)
    assert min((tiny, tanh), key=lambda each: each.test_error) is tanh


@pytest.mark.parametrize("options", [["--model", "tiny"], ["--model", "mse", "tanh", "report", "--seeds", "2"]])
def test_train_disc_writes_three_figures(train_disc, capsys, tmp_path, options):
    folder = tmp_path / "new" / "folder"
    assert train_disc.main([*SMALL, *options, "--output", str(folder)]) == 0
    names = ["disc_data.png", "disc_loss.png", "disc_predictions.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    printed = capsys.readouterr().out
    for path in folder.iterdir():
        assert str(path) in printed
        assert all(500 < pixels < 2000 for pixels in png_size(path))
        assert path.stat().st_size < 150_000


@pytest.mark.parametrize("points", ["1", "3000"])
def test_train_disc_draws_any_number_of_points(train_disc, tmp_path, points):
    options = ["--points", points, "--seeds", "1", "--epochs", "1", "--model", "tiny", "--output", str(tmp_path)]
    assert train_disc.main(options) == 0


def test_train_disc_no_figures_writes_nothing(train_disc, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train_disc.main([*SMALL, "--model", "tiny", "--no-figures"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_train_disc_help_names_options_and_models(train_disc, disc_models, capsys):
    assert train_disc.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for option in ("model", "epochs", "batch-size", "lr", "seeds", "first-seed", "points", "threads", "output", "no-figures"):
        assert f"--{option}" in printed
    for model in disc_models.MODELS:
        assert f"\n  {model.name} " in printed
    assert printed.count("default:") == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nonesuch"], "unknown model 'nonesuch'; the models are report, relu, tanh"),
        (["--seeds", "0"], "--seeds: must be from 1 to 1000000; got 0"),
        (["--epochs", "2.5"], "--epochs: must be a whole number; got '2.5'"),
        (["--epochs", "9" * 30], "--epochs: must be from 1 to"),
        (["--batch-size", "0"], "--batch-size: must be from 1 to"),
        (["--points", "-5"], "--points: must be from 1 to"),
        (["--threads", "0"], "--threads: must be from 1 to"),
        (["--first-seed", "-1"], "--first-seed: must be from 0 to"),
        (["--lr", "nan"], "--lr: must be above 0 and at most 1e+38; got nan"),
        (["--lr", "inf"], "--lr: must be above 0 and at most 1e+38; got inf"),
        (["--lr", "0"], "--lr: must be above 0"),
        (["--lr", "fast"], "--lr: must be a number; got 'fast'"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_train_disc_rejects_bad_options(train_disc, capsys, options, message):
    assert message in refused(train_disc, capsys, *options)


def test_train_disc_rejects_an_output_that_is_a_file(train_disc, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot write to the output folder" in refused(train_disc, capsys, "--output", str(tmp_path / "file"))
    assert "cannot write to the output folder" in refused(train_disc, capsys, "--output", str(tmp_path / "file" / "under"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_train_disc_rejects_an_output_that_is_read_only(train_disc, capsys, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(train_disc, capsys, "--output", str(tmp_path))


def test_train_disc_says_how_to_get_matplotlib(train_disc, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "fastmlp[plot]"' in refused(train_disc, capsys, "--output", str(tmp_path))
    assert train_disc.main([*SMALL, "--model", "tiny", "--no-figures"]) == 0


def test_train_disc_says_when_a_model_diverges(train_disc, capsys):
    assert train_disc.main([*SMALL, "--model", "relu", "--lr", "1e30", "--batch-size", "4", "--no-figures"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("train_disc: relu diverged in epoch 1, at learning rate 1e+30 (seed 0)")
    assert message.count("\n") == 1


def test_train_disc_says_when_a_figure_cannot_be_written(train_disc, capsys, tmp_path):
    (tmp_path / "disc_data.png").mkdir()
    assert train_disc.main([*SMALL, "--model", "tiny", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_train_disc_ends_when_a_training_is_interrupted(train_disc, capsys, monkeypatch):
    import fastmlp as fm

    monkeypatch.setattr(train_disc.fm, "fit", lambda *_, **__: fm.training.History(interrupted=True))
    assert train_disc.main([*SMALL, "--no-figures"]) == 130


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_train_disc_ends_on_ctrl_c():
    command = [sys.executable, SCRIPTS / "train_disc.py", "--epochs", "1000000", "--no-figures"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    signal.signal(signal.SIGINT, before)
    try:
        job.stdout.readline()  # the header is out: the job has begun
        time.sleep(1)
        job.send_signal(signal.SIGINT)
        _, message = job.communicate(timeout=200)
    finally:
        job.kill()
        job.communicate()
    assert job.returncode == 130
    assert message.splitlines()[-1].split(":")[0] in ("fastmlp", "train_disc")
    assert "interrupted" in message
    assert "Traceback" not in message


def test_make_data_differs_for_train_test_and_seeds(train_disc):
    (X, _), (X_test, _) = train_disc.make_data(0, 100)
    (X_other, _), _ = train_disc.make_data(1, 100)
    (X_again, _), _ = train_disc.make_data(0, 100)
    assert not np.intersect1d(X, X_test).size
    assert not np.intersect1d(X, X_other).size
    assert np.array_equal(X, X_again)


def test_train_is_deterministic(train_disc, disc_models):
    first, again = (train_disc.train(disc_models.MODELS[2], 5, points=50, epochs=3, threads=1) for _ in range(2))
    assert np.array_equal(first.losses, again.losses)
    assert (first.train_error, first.test_error) == (again.train_error, again.test_error)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes hours in plain Python")
def test_models_reach_the_accuracy_they_are_listed_for(train_disc, disc_models):
    errors = {
        model.name: np.mean([train_disc.train(model, seed, points=1000, epochs=250, threads=1).test_error for seed in range(5)])
        for model in disc_models.MODELS
    }
    assert min(errors.values()) <= 1.3
    assert max(errors.values()) <= 4.0  # 3 over 20 seeds; the mean of 5 spreads by 0.6


def test_models_differ(disc_models):
    models = disc_models.MODELS
    assert len(models) >= 6
    assert len({model.name for model in models}) == len(models)
    assert {model.activation for model in models} == set(disc_models.ACTIVATIONS)
    assert {model.loss for model in models} == {"CE", "MSE"}
    report = models[0]
    assert (report.name, report.widths, report.momentum, report.cosine) == ("report", (2, 25, 25, 25, 2), 0.0, False)


def test_centre_and_scale_gives_mean_zero_and_variance_one(train_disc, disc_models):
    (X, _), _ = train_disc.make_data(0, 100_000)
    scaled = disc_models.centre_and_scale(X)
    assert scaled.dtype == np.float32
    assert scaled.shape == X.shape
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(scaled.var(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("heights", [[0.5], [0.1, 0.5, 0.9], [0.5, 0.5, 0.5], [0.1, 0.11, 0.16, 0.4, 0.41]])
def test_apart_keeps_order_and_gap(train_disc, heights):
    import disc_figures

    places = disc_figures._apart(heights, 0.05)
    assert (np.diff(places) >= 0.05 - 1e-12).all()
    assert np.mean(places) == pytest.approx(np.mean(heights))
