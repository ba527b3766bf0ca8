"""Teach networks which points of the unit square lie inside a disc, compare them, and draw what they learnt.

``python scripts/train_disc.py`` trains every model of disc_models.py; ``--help`` lists them and the options.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

try:
    import numpy as np
    from disc_ensemble import TrainedEnsemble, train_ensemble
    from disc_models import MODELS, DiscModel, centre_and_scale

    import fastmlp as fm
except KeyboardInterrupt:  # they take half a second
    print("train_disc: interrupted", file=sys.stderr)
    sys.exit(130)

#: Within float32.
LARGEST_RATE = 1e38

FORMATS = ("png", "pdf", "svg")

ABOUT = ("model", "hidden layers", "loss", "optimizer", "batch")
COLUMNS = (*ABOUT, "training", "validation", "test", "seconds")
ENSEMBLE_COLUMNS = (*ABOUT, "one member", "validation", "test", "seconds")
WIDTHS = (9, 23, 4, 29, 5, 11, 11, 11, 7)


@dataclass
class Training:
    """One network, trained and judged on the points of one seed; errors are per cents of points."""

    seed: int
    network: fm.Sequential
    losses: np.ndarray
    train_error: float
    validation_error: float
    test_error: float
    seconds: float

    @property
    def first_error(self) -> float:
        """What the table has first."""
        return self.train_error


@dataclass
class Result:
    """All trainings of one model, or of its ensembles."""

    model: DiscModel
    trainings: Sequence[Training | TrainedEnsemble]

    @property
    def typical(self) -> Any:
        """The training with the median validation error."""
        return sorted(self.trainings, key=lambda training: training.validation_error)[len(self.trainings) // 2]

    @property
    def validation_error(self) -> float:
        """The mean validation error over the seeds: by it models are chosen."""
        return float(np.mean([training.validation_error for training in self.trainings]))

    @property
    def test_error(self) -> float:
        """The mean test error over the seeds, which has no say in any choice."""
        return float(np.mean([training.test_error for training in self.trainings]))


class Diverged(Exception):  # noqa: N818
    """A loss became infinite."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"train_disc: {message}\n")


def make_data(seed: int, points: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Points and labels to train on, as many others to choose a model by (validation), and as many others to test it on."""
    train, test, _, _, validation = np.random.default_rng(seed).spawn(5)
    return tuple(fm.datasets.make_disc(points, rng=rng) for rng in (train, validation, test))


def train(model: DiscModel, seed: int, points: int, epochs: int, threads: int) -> Training:
    """Train a model on the points of a seed. No other model, and no other seed, has a say in the result.

    Raises
    ------
    fastmlp.NonFiniteLossError
        When it diverges.
    """
    (X, y), validation, test = make_data(seed, points)
    _, _, initial, order, _ = np.random.default_rng(seed).spawn(5)
    network = model.build()
    network.reset_parameters(rng=initial)
    optimizer = model.make_optimizer(network.parameters())
    history = fm.fit(
        network,
        model.criterion(),
        optimizer,
        centre_and_scale(X),
        model.targets(y),
        epochs=epochs,
        batch_size=model.batch_size,
        rng=order,
        schedule=model.schedule(optimizer, epochs),
        threads=threads,
        progress=False,
    )
    return Training(
        seed,
        network,
        np.array(history.loss),
        error(network, X, y),
        error(network, *validation),
        error(network, *test),
        sum(history.seconds),
    )


def error(network: fm.Sequential, X: np.ndarray, y: np.ndarray) -> float:
    """Percentage of points whose label the network gets wrong."""
    return 100 * float(np.mean(network.predict(centre_and_scale(X)).argmax(axis=1) != y))


def train_all(model: DiscModel, options: argparse.Namespace) -> Result:
    """Train a model on all seeds; on a terminal, say how far it is."""
    trainings: list[Any] = []
    for count in range(options.seeds):
        if sys.stdout.isatty():  # the table's line for this model, or Ctrl-C's message, is written over it
            print(f"{model.name:{WIDTHS[0]}}  {count} of {options.seeds}", end="\r", flush=True)
        seed = options.first_seed + count
        try:
            if options.ensemble:
                how = {"members": options.ensemble, "epochs": options.epochs, "threads": options.threads}
                trainings.append(train_ensemble(model, seed, make_data(seed, options.points), **how))
            else:
                trainings.append(train(model, seed, options.points, options.epochs, options.threads or 1))
        except fm.NonFiniteLossError as reason:
            where = f"in epoch {reason.epoch + 1}, at learning rate {model.lr:g} (seed {seed})"
            raise Diverged(f"{model.name} diverged {where}: try a smaller --lr") from None
    return Result(model, trainings)


def header(options: argparse.Namespace) -> str:
    """What is about to happen, and the head of the table."""
    models, seeds = plural(len(options.models), "model"), plural(options.seeds, "seed")
    spread = ", mean ± standard deviation over the seeds" if options.seeds > 1 else ""
    points = f"{plural(options.points, 'point')} to train on, as many others to choose the best model by, as many to test it on"
    errors = f"Training, validation and test errors in %{spread}; the seconds are those of one training."
    if options.ensemble:
        errors = (
            f"Ensembles of {options.ensemble} networks; the seconds are those of one. Errors in %{spread}:\n"
            "of one member on the test points, of the ensemble on the validation points and on the test points."
        )
    lines = [
        "Which points of the unit square lie inside a disc that covers half of it?",
        f"{models}, {seeds}, {plural(options.epochs, 'epoch')}, {points}.",
        errors,
        "",
        row(ENSEMBLE_COLUMNS if options.ensemble else COLUMNS),
        row(["─" * width for width in WIDTHS]),
    ]
    return "\n".join(lines)


def row(cells: Sequence[str]) -> str:
    """One line of the table: words to the left, numbers to the right."""
    return "  ".join(f"{cell:{'<' if i < 4 else '>'}{width}}" for i, (cell, width) in enumerate(zip(cells, WIDTHS)))


def result_row(result: Result) -> str:
    """The line of the table for a model."""
    model, trainings = result.model, result.trainings
    seconds = np.mean([training.seconds for training in trainings])
    return row(
        [
            model.name,
            model.network_text,
            model.loss,
            model.optimizer_text,
            str(model.batch_size),
            mean_and_deviation([training.first_error for training in trainings]),
            mean_and_deviation([training.validation_error for training in trainings]),
            mean_and_deviation([training.test_error for training in trainings]),
            f"{seconds:.3f}",
        ]
    )


def mean_and_deviation(values: Sequence[float]) -> str:
    """``mean ± standard deviation``; the mean alone where there is one value."""
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``20 seeds``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def draw(results: Sequence[Result], best: Result, options: argparse.Namespace) -> list[Path]:
    """Write the figures: of data, predictions and losses, or of an ensemble.

    What is predicted are the test points of a training with the median validation error.
    """
    import disc_figures

    shown = best.typical
    data, _, test = make_data(shown.seed, options.points)

    def paths(name: str) -> list[Path]:
        return [options.output / f"{name}.{kind}" for kind in options.format]

    if options.ensemble:
        how = {"probabilities": shown.probabilities, "name": best.model.name}
        return disc_figures.draw_ensemble(paths("disc_ensemble"), data, test, **how)
    losses = [(result.model, np.array([training.losses for training in result.trainings])) for result in results]

    def scores(points: np.ndarray) -> np.ndarray:
        return shown.network.predict(centre_and_scale(points))

    return [
        *disc_figures.draw_data(paths("disc_data"), *data),
        *disc_figures.draw_predictions(paths("disc_predictions"), *test, scores=scores, name=best.model.name),
        *disc_figures.draw_losses(paths("disc_loss"), losses),
    ]


def run(options: argparse.Namespace) -> None:
    """Train, print the table, draw."""
    began = time.perf_counter()
    for model in options.models:  # compiling is nobody's training time
        train(replace(model, lr=1e-3, batch_size=2), 0, points=2, epochs=1, threads=options.threads or 1)
    print(header(options), flush=True)
    results = []
    for model in options.models:
        results.append(train_all(model, options))
        print(result_row(results[-1]), flush=True)
    best = min(results, key=lambda result: result.validation_error)
    validation, test = f"{best.validation_error:.2f} % of the validation points", f"{best.test_error:.2f} % of the test points"
    print(f"\nBest by validation: {best.model.name}, wrong on {validation} and on {test}.")
    if options.ensemble:
        alone = float(np.mean([training.first_error for training in best.trainings]))
        print(f"One of its {options.ensemble} members by itself is wrong on {alone:.2f} % of the test points.")
    if options.figures:
        paths = draw(results, best, options)
        print("Figures: " + "\n         ".join(map(str, paths)))
    print(f"Done in {time.perf_counter() - began:.1f} s.", flush=True)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`, for argparse."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number; got {text!r}") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}; got {text}")
        return value

    return read


def learning_rate(text: str) -> float:
    """A learning rate, for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number; got {text!r}") from None
    if not 0 < value <= LARGEST_RATE:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {LARGEST_RATE:g}; got {text}")
    return value


def model_named(name: str) -> DiscModel:
    """The model of that name, for argparse."""
    for model in MODELS:
        if model.name == name:
            return model
    known = ", ".join(model.name for model in MODELS)
    raise argparse.ArgumentTypeError(f"unknown model {name!r}; the models are {known}")


def parser() -> argparse.ArgumentParser:
    """The options."""
    models = "\n".join(
        f"  {model.name:11}{model.network_text:25}{model.loss:5}{model.optimizer_text}, batches of {model.batch_size}"
        for model in MODELS
    )
    made = _Parser(
        prog="train_disc",
        description="Teach networks which points of the unit square lie inside a disc: train the\n"
        "models below, print a table of their errors, and draw the data, the predictions\n"
        "of the model that is best on validation points, and all loss curves.",
        epilog=f"models (CE is cross-entropy, MSE the mean squared error to one-hot targets):\n{models}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    million = 1_000_000
    add("--models", nargs="+", type=model_named, metavar="NAME", help="models to train (default: all)")
    add("--epochs", type=whole_number(1, million), default=250, metavar="N", help="passes over the points (default: 250)")
    add("--batch-size", type=whole_number(1, million), metavar="N", help="points of a step (default: each model's own)")
    add("--lr", type=learning_rate, metavar="RATE", help="learning rate (default: each model's own)")
    about = "trainings of each model, each on new points and from new initial weights (default: 20)"
    add("--seeds", type=whole_number(1, million), default=20, metavar="N", help=about)
    add("--first-seed", type=whole_number(0, 2**62), default=0, metavar="N", help="the seeds are N, N + 1, ... (default: 0)")
    about = "points to train on; as many others for validation, and for the test (default: 1000)"
    add("--points", type=whole_number(1, million), default=1000, metavar="N", help=about)
    about = "train ensembles of N networks, compare them with their members, and draw how sure one is of each point"
    add("--ensemble", type=whole_number(2, 1000), metavar="N", help=about)
    about = (
        "threads of a training; networks this small are fastest on one (default: 1; of an ensemble all cores, a network each)"
    )
    add("--threads", type=whole_number(1, 256), metavar="N", help=about)
    add("--output", type=Path, default=Path("figures"), metavar="FOLDER", help="where the figures go (default: figures)")
    about = "formats of the figures, one or several of png, pdf, svg (default: png)"
    add("--format", nargs="+", choices=FORMATS, default=["png"], metavar="FORMAT", help=about)
    add("--no-figures", dest="figures", action="store_false", help="print the table only")
    return made


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options that have been checked, with the models as they will be trained."""
    read = parser()
    options = read.parse_args(arguments)
    own = {"lr": options.lr, "batch_size": options.batch_size}
    changes = {name: value for name, value in own.items() if value is not None}
    options.models = [replace(model, **changes) for model in dict.fromkeys(options.models or MODELS)]
    options.format = list(dict.fromkeys(options.format))
    for model in options.models:
        batch = min(model.batch_size, options.points)
        if model.batch_norm and (options.points % batch or batch) == 1:
            why = "a batch of one point has no variance, and this one normalises over batches"
            read.error(f"{model.name} cannot be trained on {options.points} in batches of {batch}: {why}")
    if options.figures:
        if importlib.util.find_spec("matplotlib") is None:
            read.error('the figures need matplotlib: pip install "fastmlp[plot]", or leave them out with --no-figures')
        try:
            options.output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=options.output):
                pass
        except OSError as reason:
            why = "it is a file" if isinstance(reason, FileExistsError) else reason.strerror
            read.error(f"cannot write to the output folder {options.output}: {why}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job; the exit status: 0 done, 1 failed, 2 bad options, 130 interrupted."""
    try:
        run(read_options(arguments))
    except SystemExit as ended:  # --help, or a bad option
        return int(ended.code or 0)
    except KeyboardInterrupt:
        print("train_disc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Diverged, MemoryError, OSError) as reason:
        print(f"train_disc: {reason or 'not enough memory'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # ± and ─, where standard output is ASCII
    sys.exit(main())
