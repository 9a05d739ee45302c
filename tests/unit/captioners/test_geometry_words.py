from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiLineString

from captioners.geometry_words import (
    course,
    elongation,
    hull_area,
    longest_line,
    orientation_word,
    position_word,
    shape_word,
    sinuosity,
    sinuosity_word,
    size_word,
)

BOUNDS = (0.0, 0.0, 160.0, 120.0)


def mask(rows: slice, columns: slice) -> np.ndarray:
    out = np.zeros((24, 32), dtype=bool)
    out[rows, columns] = True
    return out


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (0.1, 0.1, "north-west"),
        (0.5, 0.5, "centre"),
        (0.9, 0.5, "east"),
        (0.5, 0.99, "south"),
        (1.0, 1.0, "south-east"),
    ],
)
def test_positions_of_the_nine_fields(x: float, y: float, word: str) -> None:
    assert position_word(x, y) == word


@pytest.mark.parametrize(
    ("fraction", "word"),
    [(0.005, "tiny"), (0.01, "small"), (0.1, "medium-sized"), (0.3, "large"), (0.5, "vast"), (1.0, "vast")],
)
def test_size_words_begin_at_their_limits(fraction: float, word: str) -> None:
    assert size_word(fraction) == word


def test_a_square_is_compact_a_strip_elongated_a_frame_a_ring_a_cross_irregular() -> None:
    assert shape_word(mask(slice(4, 14), slice(4, 14))) == "compact"
    assert shape_word(mask(slice(4, 7), slice(2, 30))) == "elongated"
    frame = mask(slice(2, 20), slice(4, 26))
    frame[5:17, 7:23] = False
    assert shape_word(frame) == "ring-shaped"
    cross = mask(slice(2, 22), slice(10, 12)) | mask(slice(11, 13), slice(1, 21))
    assert shape_word(cross) == "irregular"
    assert shape_word(mask(slice(0, 0), slice(0, 0))) == ""


def test_a_diagonal_of_pixels_is_elongated_along_the_diagonal() -> None:
    diagonal = np.zeros((24, 32), dtype=bool)
    for i in range(20):
        diagonal[i, i : i + 2] = True
    assert shape_word(diagonal) == "elongated"
    assert orientation_word(elongation(diagonal)[1]) == "north-west to south-east"
    assert orientation_word(elongation(diagonal[:, ::-1])[1]) == "north-east to south-west"


def test_axes_of_strips() -> None:
    assert orientation_word(elongation(mask(slice(4, 7), slice(2, 30)))[1]) == "east to west"
    assert orientation_word(elongation(mask(slice(1, 23), slice(5, 8)))[1]) == "north to south"


@given(st.floats(0, 360))
def test_an_axis_reads_the_same_from_both_ends(degrees: float) -> None:
    assert orientation_word(degrees) == orientation_word(degrees + 180)


def test_the_hull_of_a_rectangle_is_the_rectangle() -> None:
    assert hull_area(mask(slice(3, 8), slice(2, 13))) == pytest.approx(55.0)


def test_courses_between_edges() -> None:
    assert course(LineString([(0, 50), (160, 60)]), BOUNDS) == "w-e"
    assert course(LineString([(80, 0), (70, 120)]), BOUNDS) == "n-s"
    assert course(LineString([(160, 60), (80, 0)]), BOUNDS) == "s-e"
    assert course(LineString([(0, 50), (100, 60)]), BOUNDS) == "", "it ends inside"
    assert course(LineString([(20, 120), (60, 40), (90, 120)]), BOUNDS) == "", "it returns to the same edge"


def test_pieces_that_meet_are_one_line() -> None:
    pieces = MultiLineString([[(0, 50), (80, 50)], [(80, 50), (160, 60)], [(10, 10), (20, 10)]])
    line = longest_line(pieces)
    assert line is not None
    assert course(line, BOUNDS) == "w-e"


def test_sinuosity_of_a_straight_and_a_winding_line() -> None:
    assert sinuosity_word(sinuosity(LineString([(0, 0), (100, 0)]))) == "straight"
    assert sinuosity(LineString([(0, 0), (30, 40), (60, 0)])) == pytest.approx(100 / 60)
    assert sinuosity_word(sinuosity(LineString([(0, 0), (30, 40), (60, 0)]))) == "winding"
    assert sinuosity(LineString([(0, 0), (10, 0), (10, 10), (0, 0)])) == float("inf")
