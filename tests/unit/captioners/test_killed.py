from __future__ import annotations

from pathlib import Path

from tests.captions_killed import kill_series

FAULTS = '{"429": 0.05, "500": 0.03, "truncated": 0.01, "broken": 0.03, "schema": 0.02}'


def test_a_writer_that_is_killed_asks_nothing_again_that_it_was_answered(tmp_path: Path) -> None:
    server = ("--service-ms", "40", "--rates", FAULTS, "--lies", '{"class": 0.05, "hedge": 0.05}')
    left = kill_series(tmp_path, chips=48, kills=3, concurrency=8, server=server)
    assert left.kills == 3
    assert left.chips == 48
    assert left.asked_again == 0
    assert left.in_doubt > 0
    assert left.duplicates <= left.in_doubt
    assert left.different == 0
