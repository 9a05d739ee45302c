"""Worker processes that are forked of one that has imported everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from flows import forking
from flows.build import build
from schemas.errors import UserError

PROGRAM = """
    import os, sys
    from pathlib import Path
    from flows.forking import get_ready

    def tell():
        import gc
        assert gc.get_freeze_count() > 50_000, "what was imported is not passed over"
        import dask
        parent = os.getppid()
        threads = {Path(task, "comm").read_text().strip() for task in Path(f"/proc/{parent}/task").iterdir()}
        imported = Path(f"/proc/{parent}/cmdline").read_text()
        return parent, threads, imported, dict(os.environ)

    if __name__ == "__main__":
        get_ready()
        os.environ["OF_LATER"] = "there"
        from flows.cluster import dask_client
        with dask_client(None, 2, Path(sys.argv[1])) as client:
            told = list(client.run(tell).values())
        assert len({parent for parent, *_ in told}) == 1
        for parent, threads, imported, variables in told:
            assert parent != os.getpid(), "not forked"
            assert "flows.realign" in imported
            assert threads <= {Path(sys.executable).resolve().name, "python", "jemalloc_bg_thd"}, threads
            assert variables["OF_LATER"] == "there"
            assert variables["OMP_NUM_THREADS"] == "1"
        print("through")
"""


ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


def run(program: str, folder: Path, cwd: Path = ROOT, start_new_session: bool = False, **variables: str) -> Any:
    """A program, given a folder for scratch, that ended."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, str(path), str(folder)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        start_new_session=start_new_session,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@linux
def test_workers_are_forked_of_one_process_without_threads_and_have_the_variables_of_now(tmp_path: Path) -> None:
    """No library that starts threads when it is imported may be among them, but jemalloc, which knows of forks."""
    done = run(PROGRAM, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


@linux
def test_a_forked_worker_looks_for_garbage_as_often_as_ever_from_its_first_tile_on(tmp_path: Path) -> None:
    """The process that it is forked of looks seldom while it imports, as a command does."""
    program = """
        import gc, sys
        from pathlib import Path
        from flows.collector import SELDOM_OBJECTS, USUAL
        from flows.forking import get_ready

        def thresholds():
            from flows.cluster import freeze_imports
            before = gc.get_threshold()
            freeze_imports()
            return before, gc.get_threshold()

        if __name__ == "__main__":
            assert USUAL == gc.get_threshold()
            get_ready()
            from flows.cluster import dask_client
            with dask_client(None, 1, Path(sys.argv[1])) as client:
                (told,) = client.run(thresholds).values()
            assert told == ((SELDOM_OBJECTS, *USUAL[1:]), USUAL), told
            print("through")
    """
    done = run(program, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


def started(environment: dict[str, str], process: int = 0) -> Any:
    return forking._Start(process or os.getpid(), environment, forking._limits())


@linux
def test_workers_are_not_forked_where_a_variable_is_gone_or_was_read_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_has_socket", lambda: True)
    monkeypatch.setattr(forking, "_start", started({"TOKEN": "a", "GDAL_DATA": "here"}))
    here = {"TOKEN": "b", "GDAL_DATA": "here", "NEW": "c"}
    assert forking.can_fork(here)
    assert forking.can_fork(here | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "6640"}), "Dask's own, of the last build"
    assert forking.can_fork(here | {"GDAL_CURL_CA_BUNDLE": "/certificates"})
    assert not forking.can_fork(here | {"OMP_NUM_THREADS": "4"})
    assert not forking.can_fork(here | {"LD_PRELOAD": "other.so"})
    assert not forking.can_fork({"GDAL_DATA": "here"})
    assert not forking.can_fork({"TOKEN": "a", "GDAL_DATA": "there"})
    monkeypatch.setattr(forking, "_start", None)
    assert not forking.can_fork({})


@linux
def test_workers_are_not_forked_where_what_they_would_have_of_it_is_not_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forking, "_has_socket", lambda: True)
    monkeypatch.setattr(forking, "_start", started({}))
    assert forking.can_fork({})
    before = os.umask(0o027)
    try:
        assert not forking.can_fork({})
    finally:
        os.umask(before)
    monkeypatch.setattr(forking, "_has_socket", lambda: False)
    assert not forking.can_fork({}), "its socket is gone"
    monkeypatch.setattr(forking, "_has_socket", lambda: True)
    monkeypatch.setattr(forking, "_start", started({}, os.getppid()))
    assert not forking.can_fork({}), "of another process"


@linux
def test_the_callers_variables_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []
    monkeypatch.setattr(forking, "_start", None)
    monkeypatch.setattr(forking.forkserver, "ensure_running", lambda: environments.append(dict(os.environ)))
    monkeypatch.setattr(forking.forkserver, "set_forkserver_preload", lambda names: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    forking.get_ready()
    forking.get_ready()
    assert dict(os.environ) == before
    (given,) = environments
    assert (given["OMP_NUM_THREADS"], given["MKL_NUM_THREADS"]) == ("3", "1")


SIGNALLED = """
    import os, signal, sys, time
    from pathlib import Path
    from flows.forking import HELD_BACK, get_ready

    def blocked():
        return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))

    if __name__ == "__main__":
        for number in HELD_BACK:
            signal.signal(number, lambda number, frame: None)
        get_ready()
        time.sleep(0.5)  # it imports
        for number in HELD_BACK:
            os.killpg(0, number)
        from flows.cluster import dask_client
        with dask_client(None, 2, Path(sys.argv[1])) as client:
            parents = set(client.run(os.getppid).values())
            assert len(parents) == 1 and parents != {os.getpid()}
            assert all(found == [] for found in client.run(blocked).values())
            os.kill(parents.pop(), signal.SIGTERM)
            time.sleep(0.5)
            assert len(client.run(os.getpid)) == 2
        print("through", blocked())
"""


@linux
def test_signals_to_all_of_a_command_leave_the_forking_process_to_its_caller(tmp_path: Path) -> None:
    done = run(SIGNALLED, tmp_path, start_new_session=True)
    assert (done.stdout, done.stderr, done.returncode) == ("through []\n", "", 0)


SPAWNED = """
    import os, sys
    from pathlib import Path
    from flows.forking import get_ready

    if __name__ == "__main__":
        get_ready()
        from flows.cluster import dask_client
        with dask_client(None, 1, Path(sys.argv[1])) as client:
            assert client.submit(os.getppid).result() == os.getpid()
        print("through")
"""


@linux
def test_a_folder_for_temporary_files_whose_path_is_too_long_for_a_socket_has_workers_spawned(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    done = run(SPAWNED, tmp_path, TMPDIR=str(folder))
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


EARLY = """
    from flows import forking

    if __name__ == "__main__":
        forking.PRELOAD[:] = ["takes_long"]
        forking.get_ready()
        print("through")
"""


@linux
def test_a_command_that_ends_early_does_not_wait_for_what_is_imported(tmp_path: Path) -> None:
    (tmp_path / "takes_long.py").write_text("import time\ntime.sleep(300)\n")
    done = run(EARLY, tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


@linux
def test_the_folder_in_which_a_command_is_given_has_no_say_in_what_is_imported(tmp_path: Path) -> None:
    """Who uses Prefect often has a folder `flows` there."""
    theirs = tmp_path / "project" / "flows"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("")
    done = run(PROGRAM, tmp_path, cwd=theirs.parent)
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


def test_a_process_that_was_forked_of_one_that_has_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for ever for threads that a fork does not take along."""
    monkeypatch.setattr(forking, "_builder", None)
    forking.require_own_process()
    forking.require_own_process()
    monkeypatch.setattr(forking, "_builder", os.getppid())
    request: Any = None
    with pytest.raises(UserError, match=f"forked of one that has built, {os.getppid()} .*spawn"):
        build(request)


KILLED = """
    import os, signal
    from multiprocessing import util
    from flows.forking import get_ready

    if __name__ == "__main__":
        get_ready()
        print(util.get_temp_dir(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@linux
def test_a_caller_that_is_killed_leaves_no_folder_for_temporary_files(tmp_path: Path) -> None:
    done = run(KILLED, tmp_path, TMPDIR=str(tmp_path))  # ends with the last process that has its output
    folder = Path(done.stdout.strip())
    assert (folder.parent, done.returncode) == (tmp_path, -signal.SIGKILL)
    assert not folder.exists()
