"""docs/design.md says what is so: its steps work, its listing is printed, its words and items are all there."""

import re
import shutil
from pathlib import Path

import numpy as np
from helpers import jit_only, make_net, run_python

import fastmlp as fm
from fastmlp import program as program_file
from fastmlp.kernels.blocks.gradients import Gradients
from fastmlp.kernels.op import TASKS
from fastmlp.program import Program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/design.md").read_text()


def test_steps_for_an_activation_work(tmp_path):
    """Followed in a copy of the package: the file of the page, and one line in each of two files."""
    steps = TEXT[TEXT.index("## Add an activation") : TEXT.index("## Add a loss")]
    code = re.search(r"```python\n(.*?)```", steps, re.DOTALL).group(1)
    code = "\n".join(line.removeprefix("   ") for line in code.splitlines()) + "\n"
    file = re.match(r"# fastmlp/(\S+)\n", code).group(1)
    name = re.search(r"class (\w+)\(Activation\)", code).group(1)
    assert not hasattr(fm, name), f"{name} is in the package: the page needs another example"
    shutil.copytree(ROOT / "fastmlp", tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "fastmlp" / file).write_text(code)
    module = "fastmlp." + file.removesuffix(".py").replace("/", ".")
    for place, line in (
        ("modules/__init__.py", f"from {module} import {name}"),
        ("__init__.py", f"from fastmlp.modules import {name}"),
    ):
        init = tmp_path / "fastmlp" / place
        text = init.read_text()
        assert text.count("__all__ = [") == 1
        init.write_text(text.replace("__all__ = [", f'{line}\n\n__all__ = ["{name}", '))

    program = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import doctest, numpy as np, fastmlp as fm
from fastmlp import registry
import {module} as module
assert fm.__file__.startswith({str(tmp_path)!r})
assert registry.activations()[{name!r}] is fm.{name}
assert doctest.testmod(module).attempted > 0 and not doctest.testmod(module).failed
x, dy = np.random.default_rng(0).standard_normal((2, 5, 7))
layer = fm.{name}()
y, dx, h = layer(x), layer.backward(dy), 1e-6
layer.eval()
numbers = dy * (layer(x + h) - layer(x - h)) / (2 * h)
assert np.abs(dx - numbers).max() < 1e-8, np.abs(dx - numbers).max()
def trained(how, threads=None):
    model = fm.Sequential(fm.Linear(7, 9, rng=0), fm.{name}(), fm.Linear(9, 7, rng=1), dtype=np.float64)
    optimizer, criterion = fm.Adam(model.parameters()), fm.MSELoss()
    if how == "fit":
        fm.fit(model, criterion, optimizer, x, dy, epochs=3, batch_size=2, shuffle=False, threads=threads)
    else:
        for step in range(9):
            rows = slice(step % 3 * 2, step % 3 * 2 + 2)
            criterion(model(x[rows]), dy[rows])
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
    return model.storage.data
for threads in (1, 2):
    assert np.array_equal(trained("fit", threads), trained("by hand"))
print("followed")
"""
    assert run_python(program).strip() == "followed"


def printed(widths, batch, *, parts=False, threads=1):
    """What the program of a training prints, with steps in parts or without."""
    model = make_net(widths, "relu")
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    program = Program.training(
        model._route_now().ops(widths[0]),
        fm.CrossEntropyLoss()._op(widths[-1]),
        optimizer._updates_of(optimizer._spans()) if parts else optimizer._updates(),
        lambda _: 0,
        np.dtype(np.float32),
        batch=batch,
        threads=threads,
        between=[Gradients(model.storage.data.size)] if parts else [],
    )
    return str(program)


def test_listing_is_what_a_program_prints(monkeypatch):
    disc, in_parts, shared, wide = re.findall(r"```\n((?:units|each thread) once:.*?)\n```", TEXT, re.DOTALL)
    monkeypatch.setattr(program_file, "level_2_bytes", lambda: 2**19)
    assert printed([2, 25, 25, 25, 2], 100) == disc
    assert printed([2, 25, 25, 25, 2], 100, parts=True) == in_parts
    assert printed([64, 256, 256, 10], 128, threads=2) == shared
    assert printed([784, 1024, 1024, 10], 256) == wide


def test_every_file_and_task_is_named():
    kernels = ROOT / "fastmlp/kernels"
    for block in (kernels / "blocks").glob("[a-z]*.py"):
        assert block.stem in TEXT, block.name
    for folder in ("compiler", "products", "blocks"):
        assert f"{folder}/" in TEXT
    for task in TASKS:
        assert task in TEXT, task
    for part in (ROOT / "fastmlp").glob("[a-z]*"):
        if part.name not in ("py.typed", "_version.py"):
            assert re.search(rf"`?\b{part.stem}\b", TEXT), part.name


@jit_only
def test_words_are_few():
    words = TEXT[TEXT.index("## Words") : TEXT.index("## Add an activation")]
    assert 18 <= words.count("\n| ") - 2 <= 26
