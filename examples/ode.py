"""An ordinary differential equation whose right-hand side is a network, solved inside compiled code.

The network learns the field of a predator-prey model from noisy samples of it. Its solutions are then computed from many
starts in one compiled loop, by numbalsoda's LSODA, and once more by SciPy's LSODA with the network called from Python.

``python examples/ode.py --output figures`` prints a comparison and draws the phase portrait; numbalsoda has to be installed
(``pip install numbalsoda``; it needs a Fortran compiler).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numba
import numpy as np
from pictures import INK, PALETTE, figure, save
from scipy.integrate import solve_ivp

import fastmlp as fm

try:
    from numbalsoda import lsoda, lsoda_sig
except ImportError:
    raise SystemExit("ode.py needs numbalsoda: pip install numbalsoda (it needs a Fortran compiler)") from None

TOLERANCE = 1e-8
TIMES = np.linspace(0, 12, 120)


def predators_and_prey(u: np.ndarray) -> np.ndarray:
    """Lotka and Volterra's field, at rows (prey, predators)."""
    prey, predators = u[..., 0], u[..., 1]
    return np.stack([prey * (1 - predators), predators * (prey - 1)], axis=-1)


def learnt(samples: int, epochs: int) -> fm.Sequential:
    """A network that has seen the field at some points, with noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.05, 3.5, (samples, 2))
    y = predators_and_prey(x) + 0.01 * rng.standard_normal((samples, 2))
    layers = fm.Linear(2, 32), fm.Tanh(), fm.Linear(32, 32), fm.Tanh(), fm.Linear(32, 2)
    model = fm.Sequential(fm.Standardize(2).fit(x), *layers, dtype=np.float64)
    model.reset_parameters(rng=0)
    optimizer = fm.Adam(model.parameters(), lr=0.01)
    schedule = fm.CosineAnnealingLR(optimizer, T_max=epochs)
    fm.fit(model, fm.MSELoss(), optimizer, x, y, epochs=epochs, batch_size=100, schedule=schedule, rng=0, progress=False)
    return model


@numba.cfunc(lsoda_sig)
def right_hand_side(t, u, du, data):
    """What the solver calls: compiled once, for whatever network comes as data."""
    field = fm.predictor_at(data, np.float64)
    field(numba.carray(u, (2,)), numba.carray(du, (2,)))


@numba.njit
def solutions(address, field, starts, times):
    """One solution after the other; nothing in here comes back to Python."""
    paths = np.empty((len(starts), len(times), 2))
    for i in range(len(starts)):
        paths[i], success = lsoda(address, starts[i], times, field.header, 1e-8, 1e-8)
        if not success:
            paths[i] = np.nan
    return paths


def solutions_from_python(field: fm.Predictor, starts: np.ndarray) -> np.ndarray:
    """The same by SciPy, whose solver calls back."""
    options = {"t_eval": TIMES, "method": "LSODA", "rtol": TOLERANCE, "atol": TOLERANCE}
    return np.stack([solve_ivp(lambda t, u: field.predict(u), (0, TIMES[-1]), start, **options).y.T for start in starts])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder for the figure (default: figures)")
    parser.add_argument("--epochs", type=int, default=300, help="epochs of training (default: 300)")
    parser.add_argument("--starts", type=int, default=40, help="how many solutions (default: 40)")
    chosen = parser.parse_args(arguments)

    model = learnt(2000, chosen.epochs)
    field = fm.compiled(model)
    starts = np.stack([np.linspace(1.15, 2.2, chosen.starts), np.ones(chosen.starts)], axis=1)
    solutions(right_hand_side.address, field, starts[:1], TIMES)  # compiles
    began = time.perf_counter()
    paths = solutions(right_hand_side.address, field, starts, TIMES)
    ours = (time.perf_counter() - began) / len(starts)
    few = starts[:: max(1, len(starts) // 8)]
    field.predict(few[0])  # loads what Python calls
    began = time.perf_counter()
    theirs_paths = solutions_from_python(field, few)
    theirs = (time.perf_counter() - began) / len(few)
    apart = np.abs(paths[:: max(1, len(starts) // 8)] - theirs_paths).max()
    error = np.abs(model.predict(starts) - predators_and_prey(starts)).max()

    print(f"field learnt to {error:.3f} of what it is at the starts")
    times = f"{theirs / ours:.0f} times"
    print(f"a solution takes {ours * 1e6:.0f} us compiled, {theirs * 1e6:.0f} us with calls back to Python: {times}")
    print(f"the two differ by at most {apart:.1e}")
    print(f"wrote {draw(chosen.output / 'ode.png', paths, starts)}")
    return 0


def draw(path: Path, paths: np.ndarray, starts: np.ndarray) -> Path:
    """Some solutions of the network's field, and the true ones dashed."""
    fig, axes = figure("Solutions of a learnt field, and the true ones dashed", "prey", "predators")
    for n, i in enumerate(np.linspace(0, len(starts) - 1, min(5, len(starts))).astype(int)):
        truth = solve_ivp(lambda t, u: predators_and_prey(u), (0, 12), starts[i], t_eval=TIMES, rtol=1e-9, atol=1e-9).y.T
        axes.plot(*paths[i].T, color=PALETTE[n % len(PALETTE)], linewidth=2.2)
        axes.plot(*truth.T, color=INK, linewidth=1, dashes=(3, 3))
    axes.set_aspect("equal")
    return save(fig, path)


if __name__ == "__main__":
    raise SystemExit(main())
