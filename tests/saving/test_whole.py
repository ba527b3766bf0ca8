from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest

from fastmlp.saving.whole import write_whole


def test_pieces_become_a_file(tmp_path):
    path = tmp_path / "file"
    write_whole(path, [b"one ", memoryview(b"two")])
    assert path.read_bytes() == b"one two"
    write_whole(str(path), [b"other"])
    assert path.read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["file"]
    long = tmp_path / ("x" * 255)
    write_whole(long, [b"long"])
    assert long.read_bytes() == b"long"


def test_links_stay_links_and_modes_stay(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, [b"after"])
    assert link.is_symlink()
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", [b""])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


class OtherError(Exception):
    pass


def failing(error):
    yield b"a part of it"
    raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OtherError("other"), KeyboardInterrupt()])
def test_what_was_there_stays_when_writing_fails(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(type(error)) as caught:
        write_whole(path, failing(error))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]
    if isinstance(error, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert f"cannot save to {str(path)!r}: No space left on device (a file there is as it was)" in str(caught.value)


@pytest.mark.once
def test_full_disk_is_a_clear_error(tmp_path):
    """A disk of 256 KiB, where this process may mount one."""
    mount = shutil.which("mount") or "false"
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=False, capture_output=True
    ).returncode:
        pytest.skip("no right to mount a file system")
    try:
        path = tmp_path / "file"
        write_whole(path, [b"before"])
        with pytest.raises(OSError, match=r"cannot save to .*: No space left on device \(a file there is as it was\)"):
            write_whole(path, [bytes(100_000)] * 10)
        assert path.read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["file"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_places_that_cannot_be_written_are_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot save to '.*nowhere/file': No such file or directory"):
        write_whole(tmp_path / "nowhere" / "file", [b""])
    with pytest.raises(OSError, match="it is there and is no file"):
        write_whole(tmp_path, [b""])
    with pytest.raises(OSError, match="it is there and is no file"):
        write_whole(os.devnull, [b""])
    if os.geteuid():  # root may write everywhere
        folder = tmp_path / "locked"
        folder.mkdir(0o500)
        with pytest.raises(PermissionError, match=r"cannot save to .*: Permission denied"):
            write_whole(folder / "file", [b""])


KILLED = """
import sys, time
from fastmlp.saving.whole import write_whole
def pieces(number):
    for _ in range(50):
        yield bytes([number]) * 100_000
for number in range(1, 250):
    write_whole(sys.argv[1], pieces(number))
    if number == 1:
        print("begun", flush=True)
"""


@pytest.mark.once
def test_kill_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    for trial in range(3):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.01 + 0.017 * trial)
            process.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert len(content) == 5_000_000
        assert len(set(content)) == 1
