"""A run that hangs and lives is ended: in order where an error reaches it, else with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from flows.patience import may_pass
from flows.time_limit import ended_after
from schemas.errors import CatalogError, TransientSourceError, UserError

SOON = 0.05 / 3600
WHERE = "regions.yaml: region inn: hours_at_most"


def _hang(let_go: Callable[[], None]) -> None:
    """Waits for a byte that never comes."""
    reader, writer = os.pipe()
    try:
        os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
        let_go()


def test_a_run_that_hangs_is_ended_and_says_what_ended_it() -> None:
    let_go: list[str] = []
    said = f"^{WHERE}: the run was ended: it took longer than .* the next run goes on"
    with pytest.raises(UserError, match=said), ended_after(SOON, WHERE):
        _hang(lambda: let_go.append("lock"))
    assert let_go == ["lock"]


def test_what_it_broke_on_the_way_out_hides_nothing_and_starts_nothing_again() -> None:
    """An error of a source has the run started again, to hang once more."""

    def break_off() -> None:
        raise TransientSourceError("reset", "http://catalog")

    with pytest.raises(UserError, match="hours_at_most") as caught, ended_after(SOON, WHERE):
        _hang(break_off)
    assert not may_pass(caught.value)


def test_who_is_in_time_is_left_alone() -> None:
    alarms = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    with pytest.raises(CatalogError), ended_after(0.3 / 3600, WHERE):
        raise CatalogError("its own end")
    with ended_after(None, WHERE):
        assert signal.getsignal(signal.SIGALRM) is alarms[0]
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == alarms


def test_only_the_main_thread_can_be_ended() -> None:
    said = []

    def run() -> None:
        with ended_after(SOON, WHERE):
            said.append("well")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert said == ["well"]


def test_a_run_that_no_error_reaches_ends_with_its_process() -> None:
    """As one whose disk does not answer; here it is deaf."""
    deaf = "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60)"
    code = f"from flows.time_limit import ended_after\nwith ended_after({SOON}, 'x', grace_s=0.1):\n    {deaf}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, "most recent call first" in ended.stderr) == (1, True)
