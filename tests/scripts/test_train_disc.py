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


@pytest.fixture
def disc_figures(train_disc):
    import disc_figures

    return disc_figures


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
    command = [sys.executable, "-W", "error", SCRIPTS / "train_disc.py", *SMALL, "--models", "tiny", "--output", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8", timeout=250, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Best by validation: tiny" in done.stdout
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_train_disc_prints_a_line_for_every_model(train_disc, disc_models, capsys):
    assert train_disc.main([*SMALL, "--no-figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("11 models, 1 seed, 2 epochs, 40 points to train on, as many others") for line in lines)
    head = next(i for i, line in enumerate(lines) if line.startswith("model "))
    rows = lines[head + 2 : head + 2 + len(disc_models.MODELS)]
    assert [line.split()[0] for line in rows] == [model.name for model in disc_models.MODELS]
    assert {len(line) for line in rows} == {len(lines[head]), len(lines[head + 1])} == {len(lines[head])}
    assert lines[head + 2 + len(rows)] == ""
    assert lines[head + 3 + len(rows)].startswith("Best by validation: ")
    assert not any("±" in line for line in lines)  # one seed has no deviation


def test_train_disc_shows_the_options_in_the_table(train_disc, capsys):
    options = ["--lr", "0.03", "--batch-size", "7", "--seeds", "2", "--points", "30", "--epochs", "1", "--no-figures"]
    assert train_disc.main([*options, "--models", "wide", "tiny", "--threads", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    wide = next(line for line in lines if line.startswith("wide"))
    assert "SGD 0.03 cosine, Nesterov 0.9      7 " in wide
    assert wide.count("±") == 3
    assert any(line.startswith("tiny") for line in lines)
    assert not any(line.startswith("relu") for line in lines)


def test_train_disc_chooses_by_validation_and_shows_both_errors(train_disc, disc_models, monkeypatch, capsys):
    # Errors of tanh and of tiny by seed: tiny is better on the test points, which nobody may know before the choice.
    errors = {"tanh": [(1.0, 3.0), (0.5, 9.0), (3.0, 1.0)], "tiny": [(2.0, 0.0)] * 3}

    def train(model, seed, points, epochs, threads):
        return train_disc.Training(seed, None, np.ones(3), 0.0, *errors[model.name][seed], 0.1)

    monkeypatch.setattr(train_disc, "train", train)
    assert train_disc.main(["--models", "tiny", "tanh", "--seeds", "3", "--no-figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Best by validation: tanh, wrong on 1.50 % of the validation points and on 4.33 % of the test points." in lines
    head, row = (next(line for line in lines if line.startswith(name)) for name in ("model ", "tanh "))
    validation, test = head.index("validation"), head.index(" test ")
    assert row[: validation + len("validation")].endswith("1.50 ± 1.32")
    assert row[: test + len(" test")].endswith("4.33 ± 4.16")
    model = next(model for model in disc_models.MODELS if model.name == "tanh")
    trainings = [train(model, seed, 1, 1, 1) for seed in range(3)]
    assert train_disc.Result(model, trainings).typical.validation_error == 1.0


@pytest.mark.parametrize("options", [["--models", "tiny"], ["--models", "mse", "tanh", "report", "--seeds", "2"]])
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


def test_train_disc_compares_ensembles_with_their_members(train_disc, capsys, tmp_path):
    options = ["--models", "mse", "tiny", "--ensemble", "3", "--seeds", "2", "--points", "200", "--epochs", "150"]
    assert train_disc.main([*options, "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("2 models, 2 seeds, 150 epochs, 200 points to train on") for line in lines)
    assert any(line.startswith("Ensembles of 3 networks; ") for line in lines)
    head = next(line for line in lines if line.startswith("model "))
    rows = [line for line in lines if line.startswith(("mse", "tiny"))]
    assert head.split()[-5:] == ["one", "member", "validation", "test", "seconds"]
    assert [row.count("±") for row in rows] == [3, 3]
    assert {len(row) for row in rows} == {len(head)}
    (alone,) = [line for line in lines if line.startswith("One of its 3 members by itself is wrong on ")]
    best = next(line for line in lines if line.startswith("Best by validation: ")).split()[3].rstrip(",")
    place = head.index(" one member") + len(" one member")
    assert float(alone.split()[-6]) == float(next(row for row in rows if row.startswith(best))[:place].split()[-3])
    (path,) = tmp_path.iterdir()
    assert path.name == "disc_ensemble.png"
    assert all(500 < pixels < 2000 for pixels in png_size(path))
    assert path.stat().st_size < 150_000


@pytest.mark.parametrize("name", ["mse", "tiny"])
def test_train_ensemble_judges_the_mean_of_its_members(train_disc, disc_models, name):
    from disc_ensemble import train_ensemble

    model = next(model for model in disc_models.MODELS if model.name == name)
    data = train_disc.make_data(0, 200)
    trained, again = (train_ensemble(model, 0, data, members=4, epochs=20, threads=threads) for threads in (1, 2))
    assert trained.test_error == again.test_error
    points, labels = data[2]
    inside = trained.probabilities(points)
    assert inside.shape == (4, 200)
    assert np.array_equal(inside, again.probabilities(points))
    assert ((inside >= 0) & (inside <= 1)).all()
    scaled = disc_models.centre_and_scale(points)
    errors = [100 * np.mean(network.predict(scaled).argmax(axis=1) != labels) for network in trained.ensemble.models]
    assert trained.member_error == pytest.approx(np.mean(errors), abs=0.1)
    assert trained.test_error == pytest.approx(100 * np.mean(np.where(inside.mean(axis=0) > 0.5, 1, 0) != labels))
    assert 0 < trained.test_error < 25
    assert len(set(errors)) > 1


@pytest.mark.parametrize("chosen", [["pdf"], ["svg", "png", "svg"]])
def test_train_disc_writes_other_formats(train_disc, tmp_path, chosen):
    begins = {".pdf": b"%PDF-", ".svg": b"<?xml", ".png": b"\x89PNG"}
    for folder in (tmp_path / "one", tmp_path / "two"):
        options = ["--models", "mse", "gelu", "--format", *chosen, "--output", str(folder)]
        assert train_disc.main([*SMALL, *options]) == 0
    found = sorted((tmp_path / "one").iterdir())
    assert [path.suffix for path in found] == sorted({f".{kind}" for kind in chosen}) * 3
    assert sorted({path.stem for path in found}) == ["disc_data", "disc_loss", "disc_predictions"]
    for path in found:
        assert path.read_bytes().startswith(begins[path.suffix])
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), f"{path.name} differs from run to run"


@pytest.mark.parametrize("points", ["1", "3000"])
def test_train_disc_draws_any_number_of_points(train_disc, tmp_path, points):
    options = ["--points", points, "--seeds", "1", "--epochs", "1", "--models", "tiny", "--output", str(tmp_path)]
    assert train_disc.main(options) == 0


def test_train_disc_no_figures_writes_nothing(train_disc, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train_disc.main([*SMALL, "--models", "tiny", "--no-figures"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_train_disc_help_names_options_and_models(train_disc, disc_models, capsys):
    assert train_disc.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for option in (
        "models",
        "epochs",
        "batch-size",
        "lr",
        "seeds",
        "first-seed",
        "points",
        "ensemble",
        "threads",
        "output",
        "format",
        "no-figures",
    ):
        assert f"--{option}" in printed
    for model in disc_models.MODELS:
        assert f"\n  {model.name} " in printed
    assert printed.count("default:") == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "nonesuch"], "unknown model 'nonesuch'; the models are report, relu, tanh, "),
        (["--models", "gelu", "tanh,relu"], "unknown model 'tanh,relu'"),
        (["--models"], "--models: expected at least one argument"),
        (["--format", "jpg"], "--format: invalid choice: 'jpg'"),
        (["--points", "101"], "batchnorm cannot be trained on 101 in batches of 100: a batch of one point has no variance"),
        (["--batch-size", "1", "--models", "batchnorm"], "batchnorm cannot be trained on 1000 in batches of 1: "),
        (["--seeds", "0"], "--seeds: must be from 1 to 1000000; got 0"),
        (["--epochs", "2.5"], "--epochs: must be a whole number; got '2.5'"),
        (["--epochs", "9" * 30], "--epochs: must be from 1 to"),
        (["--batch-size", "0"], "--batch-size: must be from 1 to"),
        (["--points", "-5"], "--points: must be from 1 to"),
        (["--threads", "0"], "--threads: must be from 1 to"),
        (["--ensemble", "1"], "--ensemble: must be from 2 to 1000; got 1"),
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
    assert train_disc.main([*SMALL, "--models", "tiny", "--no-figures"]) == 0


def test_train_disc_says_when_a_model_diverges(train_disc, capsys):
    assert train_disc.main([*SMALL, "--models", "relu", "--lr", "1e30", "--batch-size", "4", "--no-figures"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("train_disc: relu diverged in epoch 1, at learning rate 1e+30 (seed 0)")
    assert message.count("\n") == 1


def test_train_disc_says_when_a_figure_cannot_be_written(train_disc, capsys, tmp_path):
    (tmp_path / "disc_data.png").mkdir()
    assert train_disc.main([*SMALL, "--models", "tiny", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_train_disc_ends_when_a_training_is_interrupted(train_disc, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_disc.fm, "fit", interrupted)
    assert train_disc.main([*SMALL, "--no-figures"]) == 130
    assert capsys.readouterr().err == "train_disc: interrupted\n"


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


def test_make_data_differs_for_train_validation_test_and_seeds(train_disc):
    (X, _), (X_validation, _), (X_test, _) = train_disc.make_data(0, 100)
    (X_other, _), *_ = train_disc.make_data(1, 100)
    (X_again, _), *_ = train_disc.make_data(0, 100)
    for others in (X_validation, X_test, X_other):
        assert not np.intersect1d(X, others).size
    assert not np.intersect1d(X_validation, X_test).size
    assert np.array_equal(X, X_again)


def test_train_is_deterministic(train_disc, disc_models):
    first, again = (train_disc.train(disc_models.MODELS[2], 5, points=50, epochs=3, threads=1) for _ in range(2))
    assert np.array_equal(first.losses, again.losses)
    for errors in ((each.train_error, each.validation_error, each.test_error) for each in (first, again)):
        assert errors == (first.train_error, first.validation_error, first.test_error)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes hours in plain Python")
def test_models_reach_the_accuracy_they_are_listed_for(train_disc, disc_models):
    errors = {
        model.name: np.mean([train_disc.train(model, seed, points=1000, epochs=250, threads=1).test_error for seed in range(5)])
        for model in disc_models.MODELS
    }
    assert min(errors.values()) <= 0.8
    assert max(errors.values()) <= 4.0  # 3 over 20 seeds; the mean of 5 spreads by 0.6


def test_models_differ(disc_models):
    models = disc_models.MODELS
    assert len(models) >= 6
    assert len({model.name for model in models}) == len(models)
    assert {model.activation for model in models} == set(disc_models.ACTIVATIONS)
    assert {model.optimizer for model in models} == set(disc_models.OPTIMIZERS)
    assert any(model.batch_norm for model in models)
    assert any(model.residual for model in models)
    assert {model.loss for model in models} == {"CE", "MSE"}
    report = models[0]
    assert (report.name, report.widths, report.momentum, report.cosine) == ("report", (2, 25, 25, 25, 2), 0.0, False)


def test_centre_and_scale_gives_mean_zero_and_variance_one(train_disc, disc_models):
    (X, _), *_ = train_disc.make_data(0, 100_000)
    scaled = disc_models.centre_and_scale(X)
    assert scaled.dtype == np.float32
    assert scaled.shape == X.shape
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(scaled.var(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("heights", [[0.5], [0.1, 0.5, 0.9], [0.5, 0.5, 0.5], [0.1, 0.11, 0.16, 0.4, 0.41]])
def test_apart_keeps_order_and_gap(disc_figures, heights):
    places = disc_figures._apart(heights, 0.05)
    assert (np.diff(places) >= 0.05 - 1e-12).all()
    assert np.mean(places) == pytest.approx(np.mean(heights))


def test_smoothed_keeps_ends_and_straight_lines(disc_figures):
    np.testing.assert_allclose(disc_figures.smoothed(np.array([3.0]), 0), [3.0], rtol=1e-12)
    line = np.exp(-0.1 * np.arange(50))  # straight on a logarithmic axis
    np.testing.assert_allclose(disc_figures.smoothed(line, 9)[:46], line[:46], rtol=1e-12)
    rough = line * np.where(np.arange(50) % 2, 2.0, 0.5)
    smooth = disc_figures.smoothed(rough, 9)
    np.testing.assert_allclose(smooth[0], rough[0], rtol=1e-12)
    np.testing.assert_allclose(smooth[4:46], line[4:46], rtol=0.2)
    np.testing.assert_allclose(smooth[-1], np.exp(np.log(rough[-5:]).mean()), rtol=1e-12)


def test_draw_losses_has_a_panel_for_each_kind_of_loss_with_plain_ticks(disc_figures, disc_models, monkeypatch):
    figures = []
    monkeypatch.setattr(disc_figures, "_save", lambda figure, paths: figures.append(figure) or [])
    losses = [(model, np.geomspace(0.7, 0.003, 30)[None].repeat(2, axis=0)) for model in disc_models.MODELS]
    disc_figures.draw_losses([], losses)
    disc_figures.draw_losses([], [(disc_models.MODELS[0], np.geomspace(0.7, 0.5, 30)[None])])
    disc_figures.draw_losses([], [(disc_models.MODELS[0], np.zeros((1, 1)))])
    assert [[axes.get_title(loc="left") for axes in figure.axes] for figure in figures] == [
        ["Cross-entropy", "Mean squared error"],
        ["Cross-entropy"],
        ["Cross-entropy"],
    ]
    shown = []
    for figure in figures[:2]:
        figure.canvas.draw()
        axes = figure.axes[0]
        low, high = axes.get_ylim()
        shown.append([label.get_text() for at, label in zip(axes.get_yticks(), axes.get_yticklabels()) if low <= at <= high])
    assert shown == [["0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5"], ["0.5", "0.6", "0.7"]]
    curves = [disc_figures._curve_style(i) for i in range(len(losses))]
    assert len({str(style) for style in curves}) == len(losses)


def test_draw_predictions_draws_the_learnt_boundary_in_black(disc_figures, monkeypatch):
    figures = []
    monkeypatch.setattr(disc_figures, "_save", lambda figure, paths: figures.append(figure) or [])
    points = np.random.default_rng(0).random((50, 2), dtype=np.float32)
    labels = (points[:, 0] > 0.5).astype(int)
    disc_figures.draw_predictions([], points, labels, scores=lambda x: np.stack([0.4 - x[:, 0], x[:, 0] - 0.4], 1), name="it")
    legend = figures[0].axes[0].get_legend()
    colours = {text.get_text(): handle.get_color() for text, handle in zip(legend.get_texts(), legend.legend_handles)}
    assert colours["learnt boundary"] == "#000000" != colours["true circle"]
    drawn = [tuple(edge[:3]) for each in figures[0].axes[0].collections for edge in np.atleast_2d(each.get_edgecolor())]
    assert (0.0, 0.0, 0.0) in drawn


def test_draw_ensemble_draws_each_boundary_that_there_is(disc_figures, monkeypatch):
    figures = []
    monkeypatch.setattr(disc_figures, "_save", lambda figure, paths: figures.append(figure) or [])
    X = np.random.default_rng(0).random((50, 2), dtype=np.float32)
    y = (X[:, 0] > 0.5).astype(int)

    def probabilities(points):  # the third is sure of one side everywhere
        return np.stack([1 / (1 + np.exp(-20 * (points[:, 0] - edge))) for edge in (0.4, 0.55, -1)])

    disc_figures.draw_ensemble([], (X, y), (X, y), probabilities=probabilities, name="it")
    left, right, *_ = figures[0].axes
    widths = [np.ravel(each.get_linewidth())[0] for each in left.collections]
    assert widths.count(0.7) == 2
    assert widths.count(2.2) == 1
    texts = [text.get_text() for axes in (left, right) for text in axes.get_legend().get_texts()]
    wrong = int(((probabilities(X).mean(axis=0) > 0.5) != y).sum())
    assert f"wrong, {wrong} of 50 test points" in texts
    assert f"learnt as inside ({y.sum()})" in texts
    assert left.get_title(loc="left") == "3 networks “it” together"
    disc_figures.draw_ensemble([], (X, y), (X, y), probabilities=lambda points: np.ones((2, len(points))), name="sure")
