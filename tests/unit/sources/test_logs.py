"""What the HTTP libraries log of our requests, to whoever listens."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sources.documents import read_document
from sources.fetch import fetch_range
from sources.openers import PlainOpener

OPENER = PlainOpener(allow_local=True)


def test_no_log_of_a_library_holds_a_signature(loopback: Any, caplog: pytest.LogCaptureFixture) -> None:
    (loopback.root / "a.json").write_text("{}")
    loopback.faults["/far.json"] = [(302, {"Location": f"{loopback.url}/a.json?page=2&sig=canary"})]
    with caplog.at_level(logging.DEBUG):
        read_document(f"{loopback.url}/far.json?key=canary", OPENER, 100)
        fetch_range(f"{loopback.url}/a.json?page=3&X-Amz-Signature=canary", OPENER, 0, 2)
    told = [record.getMessage() for record in caplog.records if record.name in ("httpx", "urllib3.connectionpool")]
    assert any("a.json?page=2&sig=<secret>" in line for line in told), "the redirect's target is told"
    assert any("a.json?page=3&X-Amz-Signature=<secret>" in line for line in told), "and the range"
    assert "canary" not in caplog.text
