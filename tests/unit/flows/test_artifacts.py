"""Progress on Prefect's pages: throttled, with rate and time left, and never in the way."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import artifacts
from flows.artifacts import ArtifactProgress, key_of, outcome_rows, quietly
from flows.progress import Silent


class Counting(Silent):
    """A watcher that counts."""

    def __init__(self) -> None:
        self.units = 0

    def advance(self, stage: str, units: int = 1) -> None:
        self.units += units


def test_other_watchers_are_told_where_the_api_is_away(caplog: pytest.LogCaptureFixture) -> None:
    counting = Counting()
    away = {PREFECT_API_URL: "http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away):
        progress = ArtifactProgress("alps_inn", counting, now=lambda: 0.0)
        progress.start("read", 3)
        for _ in range(3):
            progress.advance("read")
        progress.finish("read")
    assert counting.units == 3
    assert "create_progress_artifact" in caplog.text


def test_rate_and_time_left_count_what_this_run_did() -> None:
    from flows.artifacts import _Stage

    assert _Stage(None, 100, 50, 60, began=0.0, shown=0.0).said(20.0) == "60 of 100, 0.5 per second, 80 s left"
    assert _Stage(None, 100, 50, 50, began=0.0, shown=0.0).said(20.0) == "50 of 100"


def test_outcomes_are_rows_with_reasons() -> None:
    rows = outcome_rows({"planned": 4, "kept": 2, "rejected": {"clear": 1}, "failed": {"AssetMissingError": 1}})
    assert sum(row["chips"] for row in rows if row["state"] != "planned") == 4
    assert {"state": "failed", "why": "AssetMissingError", "chips": 1} in rows


def test_keys_hold_what_prefect_allows() -> None:
    assert key_of("Alps_Inn", "first pass") == "alps-inn-first-pass"


def test_what_an_api_refuses_is_none() -> None:
    def refused() -> None:
        raise RuntimeError("no")

    assert quietly(refused) is None


@pytest.mark.parametrize("uri", ["/data/inn", "s3://datasets/inn"])
def test_the_report_of_a_folder_or_a_bucket_is_an_address_and_no_link(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser takes a link to a path for one on Prefect's server, and opens no s3:// at all."""
    shown: dict[str, str] = {}
    monkeypatch.setattr(artifacts, "quietly", lambda make, text, key, *_: shown.update({key: text}))
    artifacts.show_result("alps-inn", uri, "v1", True, (), "0")
    assert shown["alps-inn-report"] == f"`{uri}/versions/v1/report/index.html`"
