"""A control policy in a compiled environment, trained by an evolution strategy over its flat vector of parameters.

A pole stands on a cart that is pushed; a network of 4-16-1 neurons decides how hard, 50 times a second. Each member of the
population has a vector of parameters and plays some episodes, all members in one ``prange``; the mean moves towards those that
kept the pole up for longer (T. Salimans et al., "Evolution strategies as a scalable alternative to reinforcement learning",
arXiv:1703.03864).

``python examples/policy.py --output figures`` prints how it goes and draws an episode before and after.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numba
import numpy as np
from numba.typed import List
from pictures import GREY, PALETTE, figure, save

import fastmlp as fm

STEPS = 500
SIGMA, RATE = 0.1, 0.05


@numba.njit(cache=True)
def push(state, force):
    """A fiftieth of a second of A. Barto, R. Sutton and C. Anderson's cart and pole (1983); state: x, x', angle, angle'."""
    _, speed, angle, turning = state
    inner = (force + 0.05 * turning * turning * math.sin(angle)) / 1.1
    turn = (9.8 * math.sin(angle) - math.cos(angle) * inner) / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1))
    pull = inner - 0.05 * turn * math.cos(angle) / 1.1
    state[0] += 0.02 * speed
    state[1] += 0.02 * pull
    state[2] += 0.02 * turning
    state[3] += 0.02 * turn


@numba.njit(cache=True)
def episode(policy, state, action, trace):
    """Steps until the pole has fallen or the cart is off; the angles go to `trace`, as far as it reaches."""
    for step in range(STEPS):
        if step < len(trace):
            trace[step] = state[2]
        policy(state, action)
        push(state, 10 * math.tanh(action[0]))
        if abs(state[2]) > 0.6 or abs(state[0]) > 2.4:
            return step
    return STEPS


@numba.njit(parallel=True)
def generation(policies, vectors, centre, noise, starts, scores):
    """Every member's mean number of steps; `vectors` are the parameters that `policies` compute with."""
    for i in numba.prange(len(scores)):
        policy, vector = policies[np.int64(i)], vectors[np.int64(i)]
        for j in range(len(vector)):
            vector[j] = centre[j] + SIGMA * noise[i, j]
        state, action, nothing, total = np.empty(4), np.empty(1), np.empty(0), 0
        for start in range(len(starts)):
            state[:] = starts[start]
            total += episode(policy, state, action, nothing)
        scores[i] = total / len(starts)


def some_starts(rng: np.random.Generator, count: int) -> np.ndarray:
    """States near the upright one."""
    return rng.uniform(-0.2, 0.2, (count, 4))


def evolve(model: fm.Sequential, generations: int, members: int, rng: np.random.Generator) -> list[float]:
    """Train the parameters of `model`; the mean number of steps of each generation."""
    models = [copy.deepcopy(model) for _ in range(members)]
    policies, vectors = List(), List()
    for member in models:
        policies.append(fm.compiled(member))
        vectors.append(member.storage.data)
    centre, scores, history = model.storage.data, np.empty(members), []
    for _ in range(generations):
        half = rng.standard_normal((members // 2, len(centre)))
        noise = np.concatenate([half, -half])
        generation(policies, vectors, centre, noise, some_starts(rng, 4), scores)
        ranks = scores.argsort().argsort() / (members - 1) - 0.5
        centre += RATE / SIGMA * (ranks @ noise) / members * 2
        history.append(float(scores.mean()))
    return history


def seconds_of_a_step_from_python(model: fm.Sequential) -> float:
    """The same step, its network called from Python."""
    state, action, began = np.zeros((1, 4)), np.empty((1, 1)), time.perf_counter()
    for step in range(2000):
        model.predict(state, out=action)
        push(state[0], 10 * math.tanh(action[0, 0]))
        if step % 100 == 0:
            state[:] = 0.01
    return (time.perf_counter() - began) / 2000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder for the figure (default: figures)")
    parser.add_argument("--generations", type=int, default=60, help="how often the mean moves (default: 60)")
    parser.add_argument("--members", type=int, default=64, help="of the population, an even number (default: 64)")
    chosen = parser.parse_args(arguments)

    rng = np.random.default_rng(0)
    model = fm.Sequential(fm.Linear(4, 16), fm.Tanh(), fm.Linear(16, 1), dtype=np.float64)
    model.reset_parameters(rng=0)
    policy = fm.compiled(model)  # follows the model

    def angles() -> np.ndarray:
        trace = np.full(STEPS, np.nan)
        episode(policy, np.array([0.0, 0.0, 0.15, 0.0]), np.empty(1), trace)
        return trace

    evolve(copy.deepcopy(model), 1, chosen.members, np.random.default_rng(1))  # compiles
    before, began = angles(), time.perf_counter()
    history = evolve(model, chosen.generations, chosen.members, rng)
    seconds = time.perf_counter() - began
    steps = sum(history) * chosen.members * 4
    ours, theirs = seconds / steps, seconds_of_a_step_from_python(model)

    print(f"steps of {STEPS}: {history[0]:.0f} in the first generation, {history[-1]:.0f} in the last")
    print(f"{steps:,.0f} steps in {seconds:.2f} s, all of training in it")
    times = f"{theirs / ours:.0f} times"
    print(f"a step takes {ours * 1e9:.0f} ns compiled, {theirs * 1e9:,.0f} ns with the network called from Python: {times}")
    print(f"wrote {draw(chosen.output / 'policy.png', before, angles(), history)}")
    return 0


def draw(path: Path, before: np.ndarray, after: np.ndarray, history: list[float]) -> Path:
    """The angle of the pole in one episode, before and after."""
    seconds = np.arange(STEPS) / 50
    fig, axes = figure("Angle of the pole, by a policy of 97 parameters", "seconds", "degrees", height=3.6)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(seconds, np.degrees(before), color=PALETTE[3], linewidth=2, label="untrained, until it falls")
    axes.plot(seconds, np.degrees(after), color=PALETTE[0], linewidth=2, label=f"after {len(history)} generations")
    axes.legend(frameon=False)
    return save(fig, path)


if __name__ == "__main__":
    raise SystemExit(main())
