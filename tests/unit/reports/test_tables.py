from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import shapely

from reports import charts, tables
from reports.html import ReportInputs, render_report
from reports.outcomes import outcome_rows
from shards.tables import chips_table


def test_class_shares_are_means_over_the_chips_of_a_split() -> None:
    fractions = [[("Tree", 1.0)], [("Tree", 0.5), ("Water", 0.5)], [("Water", 1.0)]]
    chips = pa.table(
        {
            "split": ["train", "train", "val"],
            "label.fractions": pa.array(fractions, pa.map_(pa.string(), pa.float64())),
        }
    )
    legend = {"classes": [{"name": "Water", "colour": "#0064c8"}, {"name": "Tree", "colour": "#006400"}]}
    rows = {row.name: dict(row.shares) for row in tables.class_shares(chips, legend)}
    assert list(rows) == ["Water", "Tree"]
    assert rows == {"Water": {"train": 0.25, "val": 1.0}, "Tree": {"train": 0.75, "val": 0.0}}


def test_class_shares_of_a_split_add_up_where_nothing_is_known_of_some_chips() -> None:
    fractions = [[("Tree", 0.5), ("Water", 0.5)], None, [], [("Tree", 1.0)], None]
    chips = pa.table(
        {
            "split": ["train", "train", "train", "train", "test"],
            "label.fractions": pa.array(fractions, pa.map_(pa.string(), pa.float64())),
        }
    )
    rows = {row.name: dict(row.shares) for row in tables.class_shares(chips, {})}
    assert rows == {"Tree": {"train": 0.75, "test": 0.0}, "Water": {"train": 0.25, "test": 0.0}}


def test_a_colour_that_is_no_hex_becomes_grey() -> None:
    legend = {"classes": [{"name": "Tree", "colour": "red;} body{display:none"}]}
    assert tables.legend_colours(legend) == {"Tree": "#888888"}


def test_unreliable_shifts_stay_out_of_the_histogram() -> None:
    chips = pa.table(
        {
            "s1.shift_dx_m": [[3.0, 300.0], [0.0]],
            "s1.shift_dy_m": [[4.0, 400.0], [1.0]],
            "s1.registered": [["measured", "unreliable"], ["corrected"]],
        }
    )
    (chart,) = tables.shift_histograms(chips)
    assert chart.count == 2
    assert chart.median == pytest.approx(3.0)  # of 5 and 1


def test_the_reference_against_itself_is_no_shift_of_zero() -> None:
    chips = pa.table(
        {
            "s2.shift_dx_m": [[0.0, 3.0], [0.0, 0.0]],
            "s2.shift_dy_m": [[0.0, 4.0], [1.0, 0.0]],
            "s2.shift_sigma_m": [[0.0, 0.5], [0.4, 0.0]],
            "s2.registered": [["measured"] * 2] * 2,
        }
    )
    (chart,) = tables.shift_histograms(chips)
    assert chart.count == 2
    assert chart.median == pytest.approx(3.0)  # of 5 and 1
    assert tables.shift_histograms(chips.slice(0, 0)) == []


def test_modality_rows_count_chips_without_the_modality(inputs: ReportInputs) -> None:
    rows = {row.modality: row for row in tables.modality_rows(inputs.chips)}
    assert rows["landsat"].chips == 25
    assert rows["s2"].dates == 3 * 26
    assert rows["s1"].statuses == {"measured": 26, "unreliable": 26}
    assert rows["s1"].references == ("s2 2022-06-16",)


def test_outcome_rows_sum_to_the_planned_chips(inputs: ReportInputs) -> None:
    rows = [(row.state, row.why, row.chips) for row in outcome_rows(inputs.outcomes)]
    assert rows == [("kept", "", 26), ("rejected", "too_cloudy", 3), ("failed", "AssetMissingError", 1)]
    assert sum(count for _, _, count in rows) == len(inputs.outcomes)


def test_an_outcome_says_what_was_measured_and_names_a_chip(inputs: ReportInputs) -> None:
    outcomes = pa.table(
        {
            "chip_id": ["d", "c", "b", "a", "e"],
            "state": ["kept", "rejected", "rejected", "failed", "failed"],
            "reason": ["", "s2.min_dates", "s2.min_dates", "HTTP 404", "HTTP 410"],
            "measured": [None, 0.0, 3.0, None, None],
            "limit": [None, 4.0, 4.0, None, None],
            "error_class": ["", "", "", "AssetMissingError", "AssetMissingError"],
        }
    )
    kept, rejected, failed = outcome_rows(outcomes)
    assert (kept.chips, kept.measured, kept.limit, kept.example) == (1, "", "", "")
    assert (rejected.chips, rejected.measured, rejected.limit, rejected.example) == (2, "0 to 3", "4", "b")
    assert (failed.chips, failed.why, failed.example) == (2, "AssetMissingError", "a: HTTP 404")
    assert "a: HTTP 404" in render_report(dataclasses.replace(inputs, outcomes=outcomes))


def test_each_region_has_its_own_map(inputs: ReportInputs) -> None:
    north, south = tables.region_maps(inputs.chips)
    assert (north.region, north.total, south.region, south.total) == ("north", 20, "south", 6)
    assert "S" in south.centre_text
    assert "N" in north.centre_text


def test_missing_columns_and_missing_lists_are_no_error() -> None:
    chips = pa.table({"s2.clear_fraction": [[0.5, 1.0], None], "split": ["train", "val"]})
    (row,) = tables.modality_rows(chips)
    assert (row.chips, row.dates, row.clear_median) == (1, 2, 0.75)
    assert tables.gap_histograms(chips) == []
    assert np.isnan(tables.flat_numbers(pa.table({"x": [[None, 1.0]]}), "x")[0])


def test_a_large_map_keeps_the_total_and_the_extent_of_all(
    inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tables.region_maps(inputs.chips)[0]
    monkeypatch.setattr(charts, "MAX_DRAWN_CHIPS", 7)
    part = tables.region_maps(inputs.chips)[0]
    assert (part.total, len(part.outlines)) == (20, 7)
    assert part.outlines == whole.outlines[::3]
    assert (part.width, part.height, part.centre_text) == (whole.width, whole.height, whole.centre_text)


def test_many_regions_share_what_a_page_can_draw(inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MAX_DRAWN_ON_PAGE", 8)
    assert [len(chart.outlines) for chart in tables.region_maps(inputs.chips)] == [4, 3]
    monkeypatch.setattr(tables, "MAX_MAPS", 1)
    assert [chart.region for chart in tables.region_maps(inputs.chips)] == ["north"]
    assert "1 more region without a map" in render_report(inputs)


def test_the_first_texts_of_each_kind_are_shown_in_their_order() -> None:
    kinds = ["caption", "qa", "caption", "caption", None, "qa", "caption"]
    texts = pa.table({"kind": kinds, "text": [f"t{i}" for i in range(7)]})
    shown = tables.text_samples(texts, per_kind=2)
    assert [row["text"] for row in shown] == ["t0", "t1", "t2", "t4", "t5"]
    assert shown[3]["kind"] == ""


def test_a_name_on_the_map_that_looks_like_a_secret_is_not_shown() -> None:
    """The page is searched for such before it is published: one name would stop a finished build."""
    texts = pa.table({"kind": ["qa"] * 3, "text": ["A road, /home/u, runs.", "Called a?key=1.", "A road runs."]})
    shown = [row["text"] for row in tables.text_samples(texts)]
    assert shown == ["A road, <path>, runs.", "<left out>", "A road runs."]


def test_rows_are_found_by_id_and_absent_chips_have_none(inputs: ReportInputs) -> None:
    rows = tables.rows_of(inputs.chips, ["u32-0007", "none", "u32-0002"], ["region", "s2.item_ids", "no such column"])
    assert list(rows) == ["u32-0007", "u32-0002"]
    assert rows["u32-0002"] == {"region": "north", "s2.item_ids": ["s2-0", "s2-1", "s2-2"]}


def test_every_outline_lies_on_its_map(inputs: ReportInputs) -> None:
    for drawn in tables.region_maps(inputs.chips):
        corners = [tuple(map(float, pair.split(","))) for one in drawn.outlines for pair in one.points.split()]
        assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in corners), drawn.region


def test_empty_steps_of_a_series_are_no_dates_in_any_figure() -> None:
    chips = pa.table(
        {
            "s2.item_ids": [["a", "", "b", ""]],
            "s2.clear_fraction": [[0.9, 0.0, 0.8, 0.0]],
            "s2.registered": [["measured", "", "measured", ""]],
        }
    )
    (row,) = tables.modality_rows(chips)
    (chart,) = tables.clear_histograms(chips)
    assert (row.dates, row.clear_median, row.statuses) == (2, pytest.approx(0.85), {"measured": 2})
    assert (chart.count, chart.median) == (2, pytest.approx(0.85))


def test_a_region_over_the_antimeridian_has_its_centre_on_the_earth() -> None:
    def row(chip_id: str, shape: shapely.Geometry) -> dict[str, object]:
        return {"chip_id": chip_id, "split": "train", "region": "fiji", "geometry_wkb": shapely.to_wkb(shape)}

    boxes = [shapely.box(179.9, -17.0, 179.95, -16.99), shapely.box(-179.9, -17.0, -179.5, -16.99)]
    (chart,) = tables.region_maps(chips_table([row("a", boxes[0]), row("b", boxes[1])]))
    assert chart.centre_text == "16.99° S, 179.80° W"
