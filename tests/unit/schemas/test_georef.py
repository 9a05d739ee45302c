"""Georeferences: unions, offsets and alignment are what the bounds say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.georef import GeoRef

GRIDS = st.builds(
    lambda column, row, rows, columns: GeoRef(
        32632, 600_000 + 10.0 * column, 5_300_000 - 10.0 * row, 10.0, (rows, columns)
    ),
    st.integers(-50, 50),
    st.integers(-50, 50),
    st.integers(1, 20),
    st.integers(1, 30),
)


@given(GRIDS, GRIDS)
def test_union_holds_both_and_nothing_more(one: GeoRef, other: GeoRef) -> None:
    both = one.union(other)
    assert both.bounds_xyxy == (
        min(one.x0, other.x0),
        min(one.bounds_xyxy[1], other.bounds_xyxy[1]),
        max(one.bounds_xyxy[2], other.bounds_xyxy[2]),
        max(one.y0, other.y0),
    )
    for part in (one, other):
        row, column = both.offset_yx(part)
        assert both.x0 + column * 10 == part.x0
        assert both.y0 - row * 10 == part.y0


@given(GRIDS)
def test_centres_lie_half_a_pixel_inside(grid: GeoRef) -> None:
    assert grid.x_centres()[0] == grid.x0 + 5
    assert grid.y_centres()[-1] == grid.bounds_xyxy[1] + 5
    assert (len(grid.y_centres()), len(grid.x_centres())) == grid.shape_yx


def test_half_a_pixel_is_not_aligned() -> None:
    one = GeoRef(32632, 600_000, 5_300_000, 10.0, (3, 4))
    assert not one.is_aligned(GeoRef(32632, 600_005, 5_300_000, 10.0, (3, 4)))
    assert not one.is_aligned(GeoRef(32633, 600_000, 5_300_000, 10.0, (3, 4)))
    with pytest.raises(ValueError, match="no common lattice"):
        one.union(GeoRef(32632, 600_005, 5_300_000, 10.0, (3, 4)))
