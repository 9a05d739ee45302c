"""A Prefect API that goes away under a run is one line; what others do not answer stays what it is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from flows.prefect_api import prefect_api
from schemas.errors import UserError
from tests.made_once import prefect_home

NOBODY = "http://127.0.0.1:1/api"


def test_an_api_that_is_lost_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the Prefect API was lost"), prefect_api({"PREFECT_API_URL": NOBODY}, tmp_path):
        httpx.get(f"{NOBODY}/health")


def test_an_api_that_is_lost_at_once_is_one_line(tmp_path: Path) -> None:
    """As Prefect's client tells it."""

    def ask() -> None:
        try:
            httpx.get(f"{NOBODY}/admin/version")
        except httpx.HTTPError as error:
            raise RuntimeError("Failed to reach API") from error

    with pytest.raises(UserError, match="the Prefect API was lost"), prefect_api({"PREFECT_API_URL": NOBODY}, tmp_path):
        ask()


def test_errors_of_others_pass_through(tmp_path: Path) -> None:
    with pytest.raises(httpx.ConnectError), prefect_api({"PREFECT_API_URL": NOBODY}, tmp_path):
        httpx.get("http://127.0.0.1:2/elsewhere")
    with pytest.raises(RuntimeError, match="mine"), prefect_api({"PREFECT_API_URL": NOBODY}, tmp_path):
        raise RuntimeError("mine")


def test_a_home_that_cannot_be_written_to_is_one_line_with_the_mend(tmp_path: Path) -> None:
    """A container's user without a home of its own was told `/.cache: Permission denied` alone."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"), prefect_api({}, tmp_path / "file" / "prefect"):
        pass


def test_a_private_server_is_started_without_the_hooks_of_a_fork(tmp_path: Path) -> None:
    """Where they ran, a Ctrl-C at that moment was dropped, and the build waited for the lock of logging for ever."""
    ran: list[int] = []
    os.register_at_fork(before=lambda: ran.append(os.getpid()))
    with pytest.raises(ModuleNotFoundError), prefect_api({}, tmp_path, wanted="that_is_not_there"):
        pass
    assert ran == []
    assert (tmp_path / "server.log").exists()


def test_runs_of_one_process_have_a_private_server_each_and_leave_its_variables(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A second build asked the first one's server, which was gone; of two at once, one lost the server of both."""
    program = """
        import os, sys, threading
        from pathlib import Path
        from flows.prefect_api import prefect_api

        def run(together, found):
            with prefect_api(os.environ, Path(sys.argv[1]), wanted="prefect") as api:
                from prefect import flow
                from prefect.settings import PREFECT_API_URL

                @flow(persist_result=False)
                def asked():
                    together.wait(60)
                    return PREFECT_API_URL.value() == api["PREFECT_API_URL"]

                found[api["PREFECT_API_URL"]] = asked()

        before, found = dict(os.environ), {}
        run(threading.Barrier(1), found)
        pair = threading.Barrier(2)
        threads = [threading.Thread(target=run, args=(pair, found)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dict(os.environ) == before
        print(list(found.values()))
    """
    home = prefect_home(tmp_path_factory)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(home)],
        env={**os.environ, "PREFECT_API_URL": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[True, True, True]\n", "", 0)
