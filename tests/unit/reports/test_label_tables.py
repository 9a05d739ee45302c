"""What the report shows of labels: every count, matrix and map from the manifest and the table of chips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import shapely

from reports.label_tables import fusion_facts, label_sections
from reports.tables import region_maps
from shards.tables import chips_table

LEGEND = {"classes": [{"name": "Wood", "colour": "#006400"}, {"name": "<b>Field", "colour": "#f096ff"}]}
STATISTICS = {
    "chips": 2, "pixels": 1000, "entropy_bits": 0.5, "chip_entropy_bits": 0.25,
    "classes": {"Wood": {"pixels": 900, "chips": 2}, "<b>Field": {"pixels": 100, "chips": 1}},
}  # fmt: skip
FUSION = {
    "method": "dawid-skene",
    "priors": {"": {"Wood": 0.9, "<b>Field": 0.099, "Never": 0.001}},
    "confusion": {
        "wc": {"codes": [10, 40], "classes": ["Wood", "<b>Field", "Never"],
               "regions": {"": [[0.8, 0.2], [0.004, 0.996], [0.5, 0.5]]}}
    },
    "disagreement": [{"first": "wc", "second": "osm", "pixels": 12345, "disagree": 1, "share": 0.125}],
    "statistics": {"label": {"val": STATISTICS, "train": STATISTICS}},
}  # fmt: skip


def chips() -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"chip_id": "a", "split": "train", "label.fractions": {"Wood": 0.9}, "label.agreement": 1.0},
        {"chip_id": "b", "split": "val", "label.fractions": {"<b>Field": 1.0}, "label.agreement": 0.4},
        {"chip_id": "c", "split": "val", "label.fractions": None, "label.agreement": None},
    ]
    for i, row in enumerate(rows):
        shape = shapely.box(12 + i * 0.01, 48, 12.01 + i * 0.01, 48.01)
        row |= {"region": "r", "geometry_wkb": shapely.to_wkb(shape)}
    return chips_table(rows)


def sections(fusion: Mapping[str, Any], table: pa.Table, legend: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    return label_sections(fusion, table, legend, region_maps(table))


def test_classes_are_counted_by_split_in_their_order() -> None:
    (block,) = sections(FUSION, chips(), LEGEND)["label_statistics"]
    assert block.columns == ("class", "train", "val")
    assert block.rows[0] == ("Wood", "900 px, 2 chips", "900 px, 2 chips")
    assert [row[0] for row in block.rows[-3:]] == ["all known", "entropy, bits", "mean entropy of a chip, bits"]


def test_disagreement_is_a_row_for_each_pair() -> None:
    (block,) = sections(FUSION, chips(), LEGEND)["label_disagreement"]
    assert block.rows == (("wc", "osm", "12,345", "12.5 %"),)


def test_estimated_shares_are_a_row_for_the_whole_dataset_and_each_region_the_largest_first() -> None:
    priors = {"north": {"Wood": 0.2, "<b>Field": 0.8}, **FUSION["priors"]}
    (block,) = sections({**FUSION, "priors": priors}, chips(), LEGEND)["label_shares"]
    assert [(name, text.translate({0x2068: None, 0x2069: None})) for name, text in block.rows] == [
        ("whole dataset", "Wood 90.0 %, <b>Field 9.9 %"),
        ("north", "<b>Field 80.0 %, Wood 20.0 %"),
    ]
    assert "priors" not in fusion_facts({**FUSION, "priors": priors})


def test_matrices_leave_out_what_hardly_occurs() -> None:
    (matrix,) = sections(FUSION, chips(), LEGEND)["label_confusion"]
    assert [name for name, _ in matrix.rows] == ["Wood", "<b>Field"]
    assert matrix.rows[1][1] == (("", 0.004), ("1.00", 0.996))


def test_maps_show_the_commonest_class_and_the_disagreement_of_every_chip() -> None:
    classes, dispute = sections(FUSION, chips(), LEGEND)["label_maps"]
    assert classes.fills == (("#006400", "Wood, 90%"), ("#f096ff", "<b>Field, 100%"), ("#888888", "nothing known"))
    assert [text for _, text in dispute.fills] == ["0%", "60%", "fewer than two sources"]
    assert classes.title == "commonest class; grey: nothing known"
    assert dispute.title.endswith("dark 60 % and more; grey: fewer than two sources")
    known = sections(FUSION, chips()[:2], LEGEND)["label_maps"]
    assert not any("grey" in one.title for one in known)
    assert dispute.fills[1][0] == "#a0141e"
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour, _ in dispute.fills)


def test_an_agreement_that_is_no_number_is_unknown() -> None:
    table = chips()
    place = table.column_names.index("label.agreement")
    odd = table.set_column(place, "label.agreement", pa.array([1.0, float("nan"), None]))
    _, dispute = sections(FUSION, odd, LEGEND)["label_maps"]
    assert [text for _, text in dispute.fills] == ["0%", "fewer than two sources", "fewer than two sources"]


def test_a_version_without_labels_has_none_of_it() -> None:
    bare = chips().select(["chip_id", "split", "region", "geometry", "bbox"])
    assert not any(sections({}, bare, {}).values())
