"""Write the throughput of every commit measured, as Markdown and as one figure."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.workloads import WORKLOADS

from .paths import ASV, HERE, RESULTS
from .throughput import Throughput, throughputs

__all__ = ["main", "markdown"]

FOLDER = ASV / "report"
COLUMNS = 2
MISSING = "not measured"
COLOURS = {1: "tab:blue", 2: "tab:orange"}  # by threads

HEAD = """\
# Training throughput of fastmlp, by commit

`fit` on the workloads of `asv_benchmarks/benchmarks/workloads.py` (plain SGD, float32, batches in order), from times that asv
has measured. GFLOP/s counts useful flops alone; the peak is that of fused multiply-adds on registers, on as many cores, the
median over the runs. In brackets: threads. Two threads slow tiny steps down; `fit`, unless told to, does not share those.

![GFLOP/s of each workload over the commits, on one thread and on two](throughput.png)
"""


def markdown(found: list[Throughput]) -> str:
    """A table for each workload, the newest commit first."""
    text = [HEAD]
    for name, workload in WORKLOADS.items():
        rows = [one for one in found if one.workload == name]
        if rows:
            widths = "-".join(map(str, workload.widths))
            text += ["", f"## {name}", "", f"{widths}, batches of {workload.batch}, {workload.loss}", "", *_table(rows)]
    return "\n".join(text) + "\n"


def _table(rows: list[Throughput]) -> list[str]:
    threads = sorted({one.threads for one in rows})
    lines = {(one.commit, one.title): {} for one in reversed(rows)}
    for one in rows:
        lines[one.commit, one.title][one.threads] = f"{one.samples:,.0f} | {one.gigaflops:.3g} | {percent(one.of_peak)}"
    table = ["| commit | " + " | ".join(f"samples/s ({n}) | GFLOP/s ({n}) | of the peak ({n})" for n in threads) + " |"]
    table.append("| --- |" + " ---: |" * (3 * len(threads)))
    for (commit, title), cells in lines.items():
        text = " | ".join(cells.get(n, f"{MISSING} | {MISSING} | {MISSING}") for n in threads)
        table.append(f"| {commit} {title.replace('|', ' ')} | {text} |")
    return table


def percent(part: float | None) -> str:
    """A part of the whole, to a digit more where it is small."""
    if part is None:
        return MISSING
    return f"{part:.1%}" if part < 0.095 else f"{part:.0%}"


def figure(found: list[Throughput], path: Path) -> None:
    """A panel for each workload: GFLOP/s over the commits, a line for each number of threads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    commits = list(dict.fromkeys(one.commit for one in found))
    names = [name for name in WORKLOADS if any(one.workload == name for one in found)]
    height = -(-len(names) // COLUMNS)
    size = (11, 2.0 * height + 1.2)
    drawing, grid = plt.subplots(height, COLUMNS, figsize=size, sharex=True, squeeze=False, layout="constrained")
    for panel, name in zip(grid.flat, names):
        rows = [one for one in found if one.workload == name]
        lines = [[one for one in rows if one.threads == threads] for threads in COLOURS]
        last = [line[-1].gigaflops for line in lines if line]
        for line in filter(None, lines):
            _draw(panel, line, commits, above=line[-1].gigaflops >= max(last))
        panel.set_title(name, fontsize=10, loc="left")
        panel.set_ylim(0, 1.15 * max(one.gigaflops for one in rows))
        panel.set_xlim(-0.5, len(commits) - 0.5 + 0.12 * len(commits))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", linewidth=0.4)
    for panel in grid.flat[len(names) :]:
        panel.axis("off")
    for panel in grid.flat[max(0, len(names) - COLUMNS) : len(names)]:  # the lowest of each column
        panel.set_xticks(range(len(commits)), commits, rotation=90, fontsize=8)
        panel.tick_params(axis="x", labelbottom=True)
    for panel in grid[:, 0]:
        panel.set_ylabel("GFLOP/s")
    drawing.legend(*grid.flat[0].get_legend_handles_labels(), frameon=False, loc="outside upper right", ncols=2)
    drawing.suptitle(
        "Training, by commit: GFLOP/s, and how much of the peak the last commit reaches", fontsize=11, x=0.01, ha="left"
    )
    drawing.savefig(path, dpi=150)
    plt.close(drawing)


def _draw(panel, line: list[Throughput], commits: list[str], above: bool) -> None:
    """One line, and beside its end how much it is."""
    places, last, colour = [commits.index(one.commit) for one in line], line[-1], COLOURS[line[0].threads]
    label = f"{last.threads} thread{'s' * (last.threads > 1)}"
    panel.plot(places, [one.gigaflops for one in line], ".-", color=colour, label=label, linewidth=1)
    text, offset = f"{last.gigaflops:.3g}", (6, 4 if above else -4)
    if last.of_peak is not None:
        text += f" ({percent(last.of_peak)})"
    style = {"textcoords": "offset points", "va": "bottom" if above else "top", "fontsize": 8, "color": colour}
    panel.annotate(text, (places[-1], last.gigaflops), offset, **style)


def main(machine: str) -> int:
    """1 where nothing has been measured."""
    found = list(throughputs(machine))
    if not found:
        others = " ".join(sorted({path.parent.name for path in RESULTS.glob("*/machine.json")} - {machine}))
        hint = f", and there are results of MACHINE={others}" if others else ""
        print(f"bench-report: machine {machine!r} has measured no training yet; make bench does{hint}", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "throughput.md").write_text(markdown(found))
    figure(found, FOLDER / "throughput.png")
    print(f"wrote {FOLDER.relative_to(HERE.parent)}/throughput.md and throughput.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
