from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import DatasetError
from shards.lock import DatasetLock

HOLD = (
    "import sys; from pathlib import Path; from shards.lock import DatasetLock;"
    "lock = DatasetLock(Path(sys.argv[1]), 'build of another'); lock.acquire();"
    "sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()"
)


def test_a_second_build_is_told_who_holds_it(tmp_path: Path) -> None:
    with DatasetLock(tmp_path, "build of x"), pytest.raises(DatasetError) as caught:
        DatasetLock(tmp_path, "other").acquire()
    line = caught.value.line()
    assert f"build of x, process {os.getpid()} on " in line
    assert "\n" not in line


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    lock = DatasetLock(tmp_path, "first")
    for _ in range(2):
        with lock, pytest.raises(DatasetError):
            DatasetLock(tmp_path, "other").acquire()
    with pytest.raises(RuntimeError, match="inside"), DatasetLock(tmp_path, "x"):
        raise RuntimeError("inside")
    with DatasetLock(tmp_path, "y"):
        pass
    assert (tmp_path / "work/lock.json").read_text() == ""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(DatasetError, match=f"build of another, process {process.pid}"):
        DatasetLock(tmp_path, "mine").acquire()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    with DatasetLock(tmp_path, "mine"):
        assert '"owner": "mine"' in (tmp_path / "work/lock.json").read_text()
        with pytest.raises(DatasetError, match=f"dataset: mine, process {os.getpid()} on "):
            DatasetLock(tmp_path, "third").acquire()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_is_not_another_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(DatasetError, match=rf"gives no lock: {os.strerror(number)}"):
        DatasetLock(tmp_path, "build").acquire()
