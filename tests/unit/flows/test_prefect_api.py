"""A Prefect API that goes away under a run is one line; what others do not answer stays what it is."""

from __future__ import annotations

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
