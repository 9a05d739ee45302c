"""What a version says of the run that made it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows.publishing import _failed_at, _limits, _paid_rows, _run_summary
from schemas.chip import Outcome
from tests.unit.chips.test_inputs import recipe


def limits(outcomes: list[Outcome], **sections: Any) -> list[str]:
    job: Any = SimpleNamespace(recipe=recipe(**sections))
    return [line.partition(" ")[0] for line in _limits(job, outcomes)]


def test_a_version_tells_its_limits_and_no_others() -> None:
    kept, failed = Outcome("a", "kept"), Outcome("b", "failed", error_class="AssetMissingError")
    assert limits([kept], labels=None, captions=None) == []
    assert limits([kept, failed, failed], labels=None, captions=None) == ["2"]
    assert limits([kept], captions=None) == ["Labels"]
    assert limits([kept]) == ["Labels", "Captions"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://host/a/b.tif?sig=secret", "https://host/a/b.tif"),
        ("http://127.0.0.1:8000/a/b.tif", "http://127.0.0.1:8000/a/b.tif"),
        ("/home/somebody/a/b.tif", "b.tif"),
    ],
)
def test_where_a_read_failed_is_told_without_signature_or_folder(url: str, told: str) -> None:
    assert _failed_at(url) == told


def test_what_a_chip_cost_stands_in_its_row_and_not_in_the_document() -> None:
    spent = {"calls": 2, "tokens_in": 30, "tokens_out": 5, "cost": 0.25}
    run = {"seconds": 3, "texts": {"asked": 1, "chips": {"c1": spent}}}
    (row,) = _paid_rows(run)
    assert (row["chip_id"], row["step"], row["attempts"], row["tokens"], row["cost"]) == ("c1", "caption", 2, 35, 0.25)
    assert _run_summary(run) == {"seconds": 3, "texts": {"asked": 1}}
    assert list(_paid_rows({})) == []
