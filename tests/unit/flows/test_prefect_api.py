"""A Prefect API that goes away under a run is one line; what others do not answer stays what it is."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from flows.prefect_api import prefect_api
from schemas.errors import UserError

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
