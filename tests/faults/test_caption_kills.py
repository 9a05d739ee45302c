"""A writer of paid captions is killed at random points: nothing received is asked again, nothing paid twice unseen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.captions_killed import kill_series

if TYPE_CHECKING:
    from tests.faults.conftest import Tally

FAULT = "kill -9 of a writer of paid captions, 64 calls in flight"
CHIPS_PER_KILL = 40


def test_writers_killed_at_random_points(tmp_path: Path, tally: Tally, trials: int) -> None:
    server = (
        "--service-ms", "400", "--slots", "64", "--lies", '{"class": 0.03, "number": 0.03, "hedge": 0.02}',
        "--rates", '{"429": 0.02, "500": 0.02, "reset": 0.005, "truncated": 0.005, "broken": 0.02, "schema": 0.01}',
    )  # fmt: skip
    left = kill_series(tmp_path, chips=CHIPS_PER_KILL * trials, kills=trials, concurrency=64, server=server)
    remark = (
        f"{left.chips} chips, {left.kills} kills: {left.asked_again} received answers asked again; the server made"
        f" {left.duplicates} answers twice, {left.in_doubt} rows in doubt; {left.given_up} chips in doubt twice,"
        f" written by the template; records of {left.different} others differ from those of a run that was never killed"
    )
    for _ in range(left.kills):
        tally.note(FAULT, left.holds, remark=remark)
    assert left.kills == trials
    assert left.holds, remark
