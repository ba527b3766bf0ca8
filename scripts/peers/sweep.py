"""Section: prediction from one row to a million, narrow and wide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .cell import INPUTS, OUTPUTS, Cell
from .predict import check_agreement, predictors
from .rounds import Contender, repeated, take_turns
from .setting import Setting, note
from .tables import NOTHING, microseconds
from .workloads import Problem, Workload

__all__ = ["CAPTION", "INPUTS", "OUTPUTS", "ROWS", "TITLE", "WIDTHS", "Cell", "measure", "rows"]

#: What is measured unless the options say otherwise.
ROWS = (1, 4, 16, 64, 256, 1_000, 10_000, 100_000, 1_000_000)
WIDTHS = (8, 25, 64, 128, 256, 512, 1024)

#: No call takes more than so many flops: a third of a second at 200 GFLOP/s.
MOST_FLOPS = 60e9

TITLE = "Prediction by rows and width"
CAPTION = f"""\
`predict(X)` of {INPUTS}-width-width-{OUTPUTS} with ReLU, float32, again and again: microseconds per call, and in brackets
fastmlp's time over that of the fastest of the others (below 1: fastmlp is faster), which is named. They are those of the
section predict but for scikit-learn, in all their ways. Not measured are calls of more than {MOST_FLOPS / 1e9:.0f} GFLOP."""


def measure(setting: Setting) -> dict[tuple[int, int], Cell]:
    """A cell for each number of rows and each width that is not too much work."""
    setting = replace(setting, seconds=setting.seconds / 2, peers=[peer for peer in setting.peers if peer != "scikit-learn"])
    found = {}
    for width in setting.widths:
        workload = Workload("sweep", (INPUTS, width, width, OUTPUTS), 1, 1)
        sizes = [size for size in setting.rows if size * flops_of_row(workload) <= MOST_FLOPS]
        problem = Problem(replace(workload, rows=max(sizes, default=1)))
        for size in sizes:
            note(f"prediction, width {width:,}, {size:,} row{'s' if size > 1 else ''}")
            found[size, width] = _cell(problem, size, setting)
    return found


def flops_of_row(workload: Workload) -> int:
    """Of a prediction."""
    return 2 * sum(wide * narrow for wide, narrow in zip(workload.widths, workload.widths[1:]))


def _cell(problem: Problem, size: int, setting: Setting) -> Cell:
    x = problem.x[:size]
    everybody = [each for each in predictors(problem, x, setting) if each.name != "fastmlp, out="]
    check_agreement(problem, x, everybody)
    times = take_turns([Contender(each.name, repeated(each.predict), each.prepare) for each in everybody], setting)
    ours = times.pop("fastmlp")
    if not times:
        return Cell(ours)
    peer = min(times, key=lambda name: times[name])
    return Cell(ours, times[peer], peer)


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table; and the picture, where one is asked for."""
    found = measure(setting)
    yield ["rows", *(f"width {width:,}" for width in setting.widths)]
    for size in setting.rows:
        cells = [found.get((size, width)) for width in setting.widths]
        yield [f"{size:,}", *(NOTHING if cell is None else described(cell) for cell in cells)]
    if setting.picture is not None:
        from .picture import draw_sweep

        draw_sweep(setting.picture, found)


def described(cell: Cell) -> str:
    """``1.20 (0.17, onnxruntime)``."""
    time = microseconds(cell.ours)
    return time if cell.ratio is None else f"{time} ({cell.ratio:.2f}, {cell.peer})"
