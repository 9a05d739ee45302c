"""What is told while a run goes on is what then happens."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from terraweft.console import Bars


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def drawn(clock: Clock, is_terminal: bool) -> tuple[Bars, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=120, color_system=None, highlight=False)
    return Bars(console, clock), file


@pytest.mark.parametrize("tile_s", [20.0, 90.0])
def test_time_left_is_that_of_workers_who_begin_and_end_their_tiles_together(tile_s: float) -> None:
    """Of 200 tiles 40 were done before; four workers end theirs within a second: 40 rounds of four."""
    clock = Clock()
    bars, file = drawn(clock, True)
    with bars:
        bars.start("read", 200, 40)
        clock.now_s = tile_s
        for _ in range(4):
            bars.advance("read")
            clock.now_s += 0.25
    last = [line for line in file.getvalue().splitlines() if "read" in line][-1]
    left_s = 39 * (tile_s + 1)
    assert f"{4 / (tile_s + 1):.3g}/s" in last
    assert f"left {int(left_s) // 3600}:{int(left_s) // 60 % 60:02}:{int(left_s) % 60:02}" in last


def test_a_log_without_a_terminal_gets_a_line_a_minute() -> None:
    clock = Clock()
    bars, file = drawn(clock, False)
    with bars:
        bars.start("read", 100)
        for _ in range(30):
            clock.now_s += 5.0
            bars.advance("read")
        assert file.getvalue().splitlines() == [
            "read: 12 of 100, 0.2 per second, about 7 min left",
            "read: 24 of 100, 0.2 per second, about 6 min left",
        ]
