"""What a worker's process is set up with."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flows.cluster import quieten


def test_what_was_imported_is_passed_over_and_garbage_is_still_collected() -> None:
    program = """
        import gc, weakref
        from flows.cluster import freeze_imports

        class Node: pass

        def cycle():
            node = Node()
            node.itself = node
            return weakref.ref(node)

        before = cycle()
        often = gc.get_threshold()
        freeze_imports()
        assert before() is None
        frozen = gc.get_freeze_count()
        assert frozen > 50_000
        after = cycle()
        kept = [[] for _ in range(20 * often[0])]
        assert after() is None, "collected on its own"
        freeze_imports()
        assert gc.get_freeze_count() <= frozen, "once"
        assert gc.get_threshold() == often
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)


def test_an_interrupt_of_the_whole_terminal_leaves_the_workers_to_the_process_that_started_them(tmp_path: Path) -> None:
    program = """
        import os, signal, sys, time
        from pathlib import Path
        from flows.cluster import dask_client

        def pause(seconds):
            time.sleep(seconds)
            return "through"

        if __name__ == "__main__":
            with dask_client(None, 1, Path(sys.argv[1])) as client:
                future = client.submit(pause, 3)
                try:
                    time.sleep(1)
                    os.killpg(0, signal.SIGINT)  # as Ctrl-C does
                    time.sleep(60)
                except KeyboardInterrupt:
                    print(future.result(timeout=30), flush=True)
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr
    assert done.stderr == ""


def test_what_dask_says_of_its_own_variable_at_an_interrupt_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """As `distributed.utils.sync` does where an interrupt comes before its call has begun."""
    quieten()
    log = logging.getLogger("tornado.application")

    def sync() -> None:
        def cancel() -> object:
            return future

        with contextlib.suppress(NameError):
            try:
                cancel()
            except NameError:
                log.exception("Exception in callback")
                raise
            future = object()

    sync()
    assert caplog.messages == []
    log.error("something else")
    assert caplog.messages == ["something else"]


def test_events_that_prefect_s_pages_do_not_hear_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """As Prefect does where an interrupt comes while its server starts."""
    log = logging.getLogger("prefect._internal.concurrency")
    quieten()
    log.addHandler(caplog.handler)
    try:
        log.error("Service %r failed with %s pending items.", "EventsWorker", 2)
        log.error("Service %r failed with %s pending items.", "APILogWorker", 2)
    finally:
        log.removeHandler(caplog.handler)
    assert set(caplog.messages) == {"Service 'APILogWorker' failed with 2 pending items."}
