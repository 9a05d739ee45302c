from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from reports.html import ReportInputs
from reports.terminal import RESET, describe, half_blocks


def cells(line: str) -> list[tuple[int, ...]]:
    """The six numbers of each cell: upper and lower colour."""
    pattern = r"\x1b\[38;2;(\d+);(\d+);(\d+)m\x1b\[48;2;(\d+);(\d+);(\d+)m\u2580"
    return [tuple(map(int, found)) for found in re.findall(pattern, line)]


def test_a_small_picture_keeps_every_pixel() -> None:
    rgb = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    lines = half_blocks(rgb, width=80).split("\n")
    assert len(lines) == 2
    seen = np.array([cells(line) for line in lines])  # (2, 3, 6)
    assert np.array_equal(seen[:, :, :3], rgb[0::2])
    assert np.array_equal(seen[:, :, 3:], rgb[1::2])


def test_an_odd_last_row_has_no_lower_half() -> None:
    rgb = np.zeros((3, 2, 3), np.uint8)
    last = half_blocks(rgb).split("\n")[-1]
    assert "48;2" not in last
    assert last.endswith(RESET)


def test_a_large_picture_is_averaged_to_the_width() -> None:
    rgb = np.zeros((8, 12, 3), np.uint8)
    rgb[:, ::2] = 200
    lines = half_blocks(rgb, width=6).split("\n")
    assert len(lines) == 2
    assert cells(lines[0]) == [(100,) * 6] * 6


def test_of_a_map_of_classes_a_cell_has_one_class() -> None:
    rgb = np.zeros((8, 12, 3), np.uint8)
    rgb[:, 1::2] = 200
    assert cells(half_blocks(rgb, width=6, classes=True).split("\n")[0]) == [(200,) * 6] * 6


@pytest.mark.parametrize("rgb", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(rgb: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        half_blocks(rgb)


def shown(document: dict[str, Any], width: int = 160) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None).print(describe(document))
    return buffer.getvalue()


def test_describe_names_counts_layers_and_sources(inputs: ReportInputs) -> None:
    text = shown(dict(inputs.dataset_json))
    assert "30 planned = 26 kept + 3 rejected + 1 failed" in text
    assert "does not add up" not in text
    for word in ("s2_10m", "B02", "10.0 m", "uint16", "osm-extract", "ODbL-1.0", "caption/short 1"):
        assert word in text, word


def test_a_narrow_terminal_cuts_nothing(inputs: ReportInputs) -> None:
    text = shown(dict(inputs.dataset_json), width=40)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "s2_10m" in text


def test_a_name_cannot_steer_the_terminal(inputs: ReportInputs) -> None:
    text = shown({**inputs.dataset_json, "title": "evil\x1b[2J [red]title[/red]\r\n"})
    assert "\x1b" not in text
    assert "[red]title[/red]" in text
