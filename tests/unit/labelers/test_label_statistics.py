"""Counts of label layers: exact by chip, summed by split, and disagreement pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from labelers.label_statistics import entropy_bits, label_statistics, layer_columns, pair_disagreement
from labelers.voters import setup_of
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.recipe import Labels

GRID = GeoRef(32632, 0.0, 0.0, 10.0, (3, 4))


def fused(values: list[list[int]]) -> LabelLayer:
    classes = np.array(values, np.uint8)
    return LabelLayer("fused", classes, GRID, 255, "worldcover-11", "", "")


def test_columns_count_what_is_known() -> None:
    columns = layer_columns("label", fused([[0, 0, 2, 255], [2, 7, 255, 0], [0, 0, 0, 0]]), by="index")
    assert columns["label.known_pixels"] == 10
    assert columns["label.fractions"] == {"Tree cover": 0.7, "Grassland": 0.2, "Permanent water bodies": 0.1}
    nothing = layer_columns("clc", LabelLayer("clc", np.full((3, 4), 999, np.uint16), GRID, 999, "corine-44", "", ""))
    assert nothing == {"label.clc.known_pixels": 0, "label.clc.fractions": {}}


def test_sums_of_a_split_are_those_of_its_chips() -> None:
    first = layer_columns("label", fused([[0, 0, 2, 255], [2, 7, 255, 0], [0, 0, 0, 0]]), by="index")
    second = layer_columns("label", fused([[0, 0, 0, 0]] * 3), by="index")
    product = {"label.wc.known_pixels": 4, "label.wc.fractions": {"Cropland": 1.0}}
    rows = [{"split": "train"} | first | product, {"split": "train"} | second, {"split": "val"} | second]
    found = label_statistics(rows)
    train = found["label"]["train"]
    assert (train["chips"], train["pixels"]) == (2, 22)
    assert train["classes"]["Tree cover"] == {"pixels": 19, "chips": 2}
    assert train["classes"]["Permanent water bodies"] == {"pixels": 1, "chips": 1}
    assert train["entropy_bits"] == pytest.approx(entropy_bits([19 / 22, 2 / 22, 1 / 22]), abs=1e-4)
    assert train["chip_entropy_bits"] == pytest.approx(entropy_bits([0.7, 0.2, 0.1]) / 2, abs=1e-4)
    assert found["label"]["val"]["entropy_bits"] == 0
    assert found["wc"] == {"train": found["wc"]["train"]}
    assert label_statistics([{"split": "train", "chip_id": "a"}]) == {}


def test_two_sources_disagree_where_no_class_is_common() -> None:
    sources = {
        "wc": {"kind": "worldcover", "href": "a"}, "clc": {"kind": "corine", "href": "b"},
        "osm": {"kind": "osm", "href": "c"},
    }  # fmt: skip
    setup = setup_of(Labels.model_validate({"sources": sources, "fuse": {}}))
    wc = LabelLayer("wc", np.array([[40, 10, 30, 0]] * 3, np.uint8), GRID, 0, "worldcover", "", "")
    clc = LabelLayer("clc", np.full((3, 4), 211, np.uint16), GRID, 999, "corine-44", "", "")
    osm = LabelLayer("osm", np.zeros((3, 4), np.uint8), GRID, 0, "osm", "", "")
    assert pair_disagreement([wc, clc, osm], setup) == {"wc|clc": pytest.approx(1 / 3, abs=1e-6)}
