"""An image filtered by a network, through ``scipy.ndimage.generic_filter``, which calls it for each pixel without Python.

The network takes the 5 x 5 pixels around one and gives what that one would be without noise; it has learnt that from other
images of the same kind.

``python examples/image.py --output figures`` prints a comparison and draws the image before and after.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pictures import figure, save
from scipy import ndimage

import fastmlp as fm

WIDTH = 5
NOISE = 0.2


def picture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Overlapping discs and bars of even brightness."""
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.full((size, size), rng.uniform(0, 1))
    for shape in range(14):
        (cx, cy), turn, width = rng.uniform(0, 1, 2), rng.uniform(0, np.pi), rng.uniform(0.04, 0.16)
        along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        inside = np.hypot(x - cx, y - cy) < width if shape % 2 else np.abs(along) < 0.3 * width
        image[inside] = rng.uniform(0, 1)
    return image


def learnt(epochs: int, size: int) -> fm.Sequential:
    """A network that has seen noisy images beside clean ones."""
    rng, windows, centres = np.random.default_rng(0), [], []
    for _ in range(4):
        clean = picture(rng, size)
        noisy = clean + NOISE * rng.standard_normal(clean.shape)
        windows.append(sliding_window_view(noisy, (WIDTH, WIDTH)).reshape(-1, WIDTH * WIDTH))
        centres.append(clean[2:-2, 2:-2].reshape(-1, 1))
    model = fm.Sequential(fm.Linear(WIDTH * WIDTH, 48), fm.ReLU(), fm.Linear(48, 24), fm.ReLU(), fm.Linear(24, 1))
    model.reset_parameters(rng=0)
    optimizer = fm.Adam(model.parameters(), lr=0.003)
    schedule = fm.CosineAnnealingLR(optimizer, T_max=epochs)
    x, y = np.concatenate(windows), np.concatenate(centres)
    fm.fit(model, fm.MSELoss(), optimizer, x, y, epochs=epochs, batch_size=256, schedule=schedule, rng=0, progress=False)
    return model


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder for the figure (default: figures)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training (default: 20)")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side (default: 256)")
    chosen = parser.parse_args(arguments)

    model = learnt(chosen.epochs, chosen.size)
    denoise = fm.compiled(model)
    rng = np.random.default_rng(1)
    clean = picture(rng, chosen.size)
    noisy = clean + NOISE * rng.standard_normal(clean.shape)

    began = time.perf_counter()
    filtered = ndimage.generic_filter(noisy, denoise.low_level("generic_filter"), size=WIDTH)
    ours = (time.perf_counter() - began) / noisy.size
    part = noisy[:64, :64]
    denoise.predict(np.zeros(WIDTH * WIDTH, np.float32))  # loads what Python calls
    began = time.perf_counter()
    again = ndimage.generic_filter(part, lambda window: denoise.predict(window.astype(np.float32))[0], size=WIDTH)
    theirs = (time.perf_counter() - began) / part.size
    inner = (slice(0, len(part) - 2),) * 2  # beyond the edge of the part there are other pixels in it than in the whole
    apart = np.abs(filtered[inner] - again[inner]).max()

    def error(image: np.ndarray) -> float:
        return float(np.sqrt(((image - clean) ** 2).mean()))

    median = error(ndimage.median_filter(noisy, WIDTH))
    print(f"error of {error(noisy):.3f} before, {error(filtered):.3f} after; {median:.3f} by a median filter")
    times = f"{theirs / ours:.0f} times"
    print(f"a pixel takes {ours * 1e9:.0f} ns compiled, {theirs * 1e9:,.0f} ns with calls back to Python: {times}")
    print(f"the two differ by at most {apart:.1e}")
    print(f"wrote {draw(chosen.output / 'image.png', noisy, filtered)}")
    return 0


def draw(path: Path, noisy: np.ndarray, filtered: np.ndarray) -> Path:
    """Both images, side by side."""
    fig, axes = figure("Pixels with noise, and filtered by a network of 5 x 5 of them", "", "", width=8, height=4.3)
    gap = np.full((len(noisy), len(noisy) // 20), 1.0)
    axes.imshow(np.hstack([noisy, gap, filtered]), cmap="gray", vmin=-0.1, vmax=1.1, interpolation="nearest")
    axes.set_axis_off()
    return save(fig, path)


if __name__ == "__main__":
    raise SystemExit(main())
