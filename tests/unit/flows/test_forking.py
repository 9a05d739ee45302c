"""Worker processes that are forked of one that has imported everything."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flows import forking

PROGRAM = """
    import os, sys
    from pathlib import Path
    from flows.forking import get_ready

    def tell():
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


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_are_forked_of_one_process_without_threads_and_have_the_variables_of_now(tmp_path: Path) -> None:
    """No library that starts threads when it is imported may be among them, but jemalloc, which knows of forks."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("through\n", "", 0)


def test_workers_are_not_forked_where_a_variable_is_gone_or_was_read_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_environment", {"TOKEN": "a", "GDAL_DATA": "here"})
    assert forking.can_fork({"TOKEN": "b", "GDAL_DATA": "here", "NEW": "c"})
    assert not forking.can_fork({"GDAL_DATA": "here"})
    assert not forking.can_fork({"TOKEN": "a", "GDAL_DATA": "there"})
    monkeypatch.setattr(forking, "_environment", None)
    assert not forking.can_fork({})


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_the_callers_variables_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(forking, "_environment", None)
    monkeypatch.setattr(forking.forkserver, "ensure_running", lambda: started.append(dict(os.environ)))
    monkeypatch.setattr(forking.forkserver, "set_forkserver_preload", lambda names: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    forking.get_ready()
    forking.get_ready()
    assert dict(os.environ) == before
    (given,) = started
    assert (given["OMP_NUM_THREADS"], given["MKL_NUM_THREADS"]) == ("3", "1")
