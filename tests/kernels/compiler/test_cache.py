"""Where machine code lies: whose code is run, what becomes of it, and what happens when it cannot be kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import JIT, jit_only, run_python

import fastmlp
from fastmlp.kernels import scan
from fastmlp.kernels.compiler import cache, jit, lock
from fastmlp.kernels.compiler.jit import kernel
from fastmlp.kernels.compiler.lock import Lock

pytestmark = pytest.mark.once

PACKAGE = Path(fastmlp.__file__).parent
SOURCES = sorted(path for folder in ("kernels", "modules", "criterion", "optim") for path in (PACKAGE / folder).rglob("*.py"))

# A process with a cache of its own, which prints what it has made ready.
PREPARE = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
import numpy as np
from fastmlp.kernels.compiler import cache, jit
from fastmlp.kernels.scan import all_finite
assert cache.cache_folder.startswith(sys.argv[1]), cache.cache_folder
"""
SHOW = """
assert all_finite(np.ones(3))
print([entry.compiled for entry in jit.history])
"""


def twice(x):
    return x + x


def no_kernel(x):
    return x.no_such_thing


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    monkeypatch.setattr(cache, "cache_folder", str(folder))
    monkeypatch.setattr(cache, "cache_is_writable", True)
    monkeypatch.setattr(cache.CacheFile, "complained", False)
    monkeypatch.setattr(jit, "history", [])
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A cache that one process has filled."""
    folder = tmp_path_factory.mktemp("prepared")
    assert run_python(PREPARE + SHOW, folder).strip() == "[True]"
    return folder


@jit_only
def test_machine_code_is_compiled_once(prepared):
    assert run_python(PREPARE + SHOW, prepared).strip() == "[False]"
    assert len(list(prepared.rglob("*.nbc"))) == 1


@jit_only
def test_signatures_have_files_of_their_own(folder):
    for value in (1, 1.0, np.float32(1)):
        assert kernel(twice)(value) == 2
    again = kernel(twice)
    assert [again(value) for value in (1.5, 3)] == [3.0, 6]
    assert [entry.compiled for entry in jit.history] == [True] * 3 + [False] * 2
    assert len(list(folder.glob("*.nbc"))) == 3


@jit_only
def test_file_that_was_cut_off_is_written_anew(folder):
    kernel(twice)(1.0)
    (file,) = folder.glob("*.nbc")
    whole = file.read_bytes()
    for left in (0, 1, 100, -1):
        jit.history.clear()
        file.write_bytes(whole[:left])
        assert kernel(twice)(1.0) == 2
        assert len(file.read_bytes()) > len(whole) // 2
        assert kernel(twice)(2.0) == 4
        assert [entry.compiled for entry in jit.history] == [True, False], f"cut off at {left}"


@jit_only
def test_damaged_file_is_compiled_and_written_anew(folder):
    kernel(twice)(1.0)
    (file,) = folder.glob("*.nbc")
    whole = file.read_bytes()
    places = [0, cache.CHECK_BYTES - 1, cache.CHECK_BYTES, *range(100, len(whole), len(whole) // 8), len(whole) - 1]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        assert kernel(twice)(1.0) == 2
        assert kernel(twice)(1.0) == 2
    assert [entry.compiled for entry in jit.history] == [True] + len(places) * [True, False]


def test_each_byte_of_a_file_counts(folder):
    file = cache.CacheFile("a name", "key")
    file.write(b"machine code")
    assert file.read() == b"machine code"
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            assert file.read() is None
        path.write_bytes(whole[:place])
        assert file.read() is None
    for content in (whole + b"x", b"x" * 1000):
        path.write_bytes(content)
        assert file.read() is None
    path.unlink()
    path.mkdir()
    assert file.read() is None


def test_file_of_another_kernel_is_not_taken(folder):
    one, other = cache.CacheFile("one", "key"), cache.CacheFile("one", "other key")
    one.write(b"code of one")
    (path,) = folder.iterdir()
    other.write(b"code of the other")
    (other_path,) = set(folder.iterdir()) - {path}
    other_path.write_bytes(path.read_bytes())
    assert one.read() == b"code of one"
    assert other.read() is None


@jit_only
def test_whole_file_that_numba_cannot_read_is_written_anew(folder):
    kernel(twice)(1.0)
    (path,) = folder.glob("*.nbc")
    payload = b"no pickle"
    path.write_bytes(cache._check_sum(path.name, payload) + payload)
    assert [kernel(twice)(1.0) for _ in range(2)] == [2, 2]
    assert [entry.compiled for entry in jit.history] == [True, True, False]


@jit_only
@pytest.mark.skipif(os.name == "nt", reason="folders have other permissions there")
def test_cache_that_may_only_be_read_is_read(prepared, tmp_path):
    """Also where root runs the tests: without the right to overrule permissions."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    (lock_file,) = tmp_path.rglob("*.lock")
    lock_file.chmod(0)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        if path.is_dir():
            path.chmod(0o555)
    drop = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root can write everywhere")
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    again = """
assert not cache.cache_is_writable
assert all_finite(np.ones(3, np.float32))  # not there: compiled, and not kept
"""
    command = [*drop, sys.executable, "-W", "error", "-c", PREPARE + SHOW + again, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o755)
    assert (done.stdout.strip(), done.stderr) == ("[False]", "")


@jit_only
def test_cache_folder_stays_where_it_was_when_the_program_began(tmp_path):
    code = """
import os, sys
os.chdir(sys.argv[1])
os.environ["NUMBA_CACHE_DIR"] = "cache"
import numpy as np
from fastmlp.kernels.compiler import cache, jit
os.mkdir("elsewhere")
os.chdir("elsewhere")
from fastmlp.kernels.scan import all_finite
all_finite(np.ones(3))
assert os.path.isabs(cache.cache_folder)
"""
    run_python(code, tmp_path)
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


@jit_only
def test_disk_that_takes_nothing_does_not_end_the_program(folder, capsys):
    folder.rmdir()
    folder.write_text("")  # a file where the folder was: not even root can write there

    assert [kernel(twice)(value) for value in (1.0, 1)] == [2, 2]
    assert capsys.readouterr().err.count("cannot keep compiled kernels") == 1


@jit_only
def test_folder_that_was_pruned_is_made_anew(folder):
    folder.rmdir()
    assert kernel(twice)(1.0) == 2
    assert len(list(folder.glob("*.nbc"))) == 1


@jit_only
def test_lock_is_let_go_where_compilation_fails(folder):
    dispatcher = kernel(no_kernel)
    with pytest.raises(cache.numba.TypingError):
        dispatcher(1.0)
    assert list(folder.glob("*.lock"))
    assert dispatcher._cache._file is None


@jit_only
def test_kernel_that_another_process_compiles_is_waited_for_and_loaded(folder):
    kernel(twice)(1.0)
    (file,) = folder.glob("*.nbc")
    aside = file.rename(folder / "aside")
    other = Lock(file.with_suffix(".lock"))
    assert not other.acquire()
    waited = []

    def done():
        waited.append(True)
        aside.rename(file)
        other.release()

    dispatcher = kernel(twice)
    dispatcher._cache._on_wait = done
    assert dispatcher(2.0) == 4
    assert waited == [True]
    assert not jit.history[-1].compiled


@jit_only
def test_user_is_told_once_that_another_process_compiles(folder, capsys, monkeypatch):
    monkeypatch.setattr(jit._Announcer, "said", False)
    monkeypatch.setattr(jit._Announcer, "functions", {twice})
    monkeypatch.setattr(lock, "LIMIT_SECONDS", 0.0)
    kernel(twice)(1.0)
    (file,) = folder.glob("*.nbc")
    file.unlink()
    other = Lock(file.with_suffix(".lock"))
    assert not other.acquire()
    jit._Announcer.said = False
    capsys.readouterr()
    for _ in range(2):
        assert kernel(twice)(2.0) == 4  # it was in vain
        file.unlink()
    assert capsys.readouterr().err == "fastmlp: waiting for another process that is compiling kernels ...\n"
    other.release()


@jit_only
def test_user_is_told_once_that_there_is_no_cache(capsys, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", "")
    monkeypatch.setattr(jit, "cache_is_writable", False)
    monkeypatch.setattr(jit._Announcer, "said", False)
    monkeypatch.setattr(jit._Announcer, "functions", {twice})
    dispatcher = kernel(twice)
    assert dispatcher(1.0) == 2
    assert dispatcher(np.float32(1)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "compiling" in said
    assert "no cache folder can be written" in said


def test_fingerprint_depends_on_every_source_that_is_compiled(tmp_path, monkeypatch):
    shutil.copytree(PACKAGE, tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "fastmlp/kernels/compiler/cache.py"))
    seen = {cache._fingerprint()}
    (tmp_path / "fastmlp/team.py").write_text("# nothing in here is compiled")
    assert cache._fingerprint() in seen
    for path in SOURCES:
        copy = tmp_path / path.relative_to(PACKAGE.parent)
        copy.write_text(copy.read_text() + "\n# changed\n")
        seen.add(cache._fingerprint())
    assert len(seen) == len(SOURCES) + 1
    copy.rename(copy.with_name("renamed.py"))
    assert cache._fingerprint() not in seen


def test_fingerprint_depends_on_numba_and_its_settings(monkeypatch):
    seen = {cache._fingerprint()}
    monkeypatch.setattr(cache.numba, "__version__", "0.0")
    seen.add(cache._fingerprint())
    monkeypatch.setattr(cache.numba.config, "BOUNDSCHECK", 1)
    seen.add(cache._fingerprint())
    assert len(seen) == 3


def test_package_without_sources_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "kernels" / "compiler" / "cache.pyc"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert cache._place() == ("", False)


@jit_only
def test_change_in_a_callee_is_never_served_stale_code(tmp_path):
    """Of the entry point in engine.py, and of the block in elementwise_loss.py: Numba's own cache would not notice."""
    shutil.copytree(PACKAGE, tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
os.environ["NUMBA_CACHE_DIR"] = sys.path[0] + "/cache"
import numpy as np, fastmlp as fm
from fastmlp.kernels.compiler import jit
assert fm.__file__.startswith(sys.path[0])
print(fm.MSELoss()(np.array([[3.0]]), np.array([[1.0]])), any(entry.compiled for entry in jit.history))
"""
    assert [run_python(code) for _ in range(2)] == ["4.0 True\n", "4.0 False\n"]
    changes = {
        "kernels/scan.py": ("return (a + b) + (c + d)", "return (a + b) + (c + d) + 1.0"),  # the engine adds 1
        "criterion/mse.py": ("return d * d", "return d * d * d"),  # the block gives 8 instead of 4
    }
    originals = {}
    for name, (before, after) in changes.items():
        path = tmp_path / "fastmlp" / name
        originals[path] = path.read_text()
        assert originals[path].count(before) == 1
        path.write_text(originals[path].replace(before, after))
    assert run_python(code) == "9.0 True\n"
    for path, text in originals.items():
        path.write_text(text)
    assert run_python(code) == "4.0 False\n"


def test_place_that_cannot_be_written_means_no_cache(tmp_path, monkeypatch):
    """A file stands where the folder should be: not even root can write there."""
    (tmp_path / "file").write_text("")
    code = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = os.path.join(sys.argv[1], "file")
import numpy as np
from fastmlp.kernels.compiler import cache
from fastmlp.kernels.scan import all_finite
assert cache.cache_folder == "", cache.cache_folder
assert all_finite(np.ones(3))
"""
    run_python(code, tmp_path)
    if os.name != "nt":
        for variable in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
        assert cache._place() == ("", False)


def test_prune_removes_other_versions_that_are_not_used(tmp_path):
    names = ["0" * 16, "1" * 16, "2" * 16, "mine", "3" * 15]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.nbc").write_text("x")
    (tmp_path / ("4" * 16)).symlink_to(tmp_path / "mine")
    (tmp_path / ("5" * 16)).write_text("a file")
    for name in ["0" * 16, "1" * 16, "mine", "3" * 15]:
        os.utime(tmp_path / name, (0, 0))
    cache.prune(tmp_path / ("0" * 16))
    assert {path.name for path in tmp_path.iterdir()} == {*names, "4" * 16, "5" * 16} - {"1" * 16}


def test_prune_takes_part_in_races(tmp_path):
    for i in range(200):
        (tmp_path / f"{i:016x}").mkdir()
        os.utime(tmp_path / f"{i:016x}", (0, 0))
    threads = [threading.Thread(target=cache.prune, args=(tmp_path / "f",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not list(tmp_path.iterdir())
    cache.prune(tmp_path / "gone" / "f")


def test_a_folder_has_locks_that_nobody_waits_for(folder):
    one = cache.folder_lock("one")
    assert one is not None
    assert cache.folder_lock("one") is None
    one.release()


@jit_only
def test_code_that_is_read_counts_as_used(folder):
    kernel(twice)(1.0)
    os.utime(folder, (0, 0))
    kernel(twice)(1.0)
    assert time.time() - folder.stat().st_mtime < 60


def test_history_says_what_was_made_ready():
    scan.all_finite(np.ones(3))
    if JIT:
        assert any(entry.name == "scan.all_finite" and entry.seconds > 0 for entry in jit.history)
    else:
        assert jit.history == []


EIGHT = """
import os, sys
os.environ["NUMBA_CACHE_DIR"], dtype = sys.argv[1:3]
import numpy as np, fastmlp as fm
from fastmlp.kernels.compiler import jit
X, y = fm.datasets.make_disc(40, rng=0)
model = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2), dtype=dtype)
model.reset_parameters(rng=0)
fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=3, batch_size=8, rng=0)
print(model.storage.data.tobytes().hex(), *(entry.name for entry in jit.history if entry.compiled))
"""


@jit_only
def test_eight_processes_that_start_cold_share_the_work(tmp_path):
    command = [sys.executable, "-W", "error", "-c", EIGHT, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, dtype], **pipes) for dtype in ["float32", "float64"] * 4]
    said = [(*process.communicate(timeout=200), process.returncode) for process in processes]
    results = []
    for out, errors, code in said:
        assert code == 0, errors
        results.append(out.split())
        assert errors.count("fastmlp:") == 1 or (errors == "" and "engine.run" not in results[-1])
    for dtype in (0, 1):
        assert len({parameters for parameters, *_ in results[dtype::2]}) == 1
        compiled = [name for _, *names in results[dtype::2] for name in names]
        assert "linear" in compiled  # or it was a helper (fastmlp.beside), as for most of the rest
        assert len(set(compiled)) == len(compiled), "something was compiled twice"
    assert len(list(tmp_path.rglob("engine.run-*.nbc"))) == 2
    assert not list(tmp_path.rglob("*.nbc.*"))
