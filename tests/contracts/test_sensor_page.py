"""The page about sensors says what the code says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.sensor_page import COMMAND, PAGE, rendered


@pytest.mark.realdata
def test_the_page_of_sensors_is_what_tables_and_real_items_give(realdata: Path) -> None:
    assert PAGE.read_text(encoding="utf-8") == rendered(realdata), f"docs/sensors.md is out of date: run {COMMAND}"
