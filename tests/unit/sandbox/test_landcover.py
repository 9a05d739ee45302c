"""Errors of the land-cover products are those that were pinned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sandbox.landcover import WORLDCOVER_ACCURACY, WORLDCOVER_CODES, confused, confusion_matrix, luck_by_look
from sandbox.spectra import VARIANTS

SHARES = np.array([0.2, 0.02, 0.2, 0.5, 0.03, 0.01, 0.03, 0.01])


@pytest.mark.parametrize("accuracy", [0.744, 0.767, 0.9])
def test_matrix_has_the_wanted_accuracy_and_rows_of_one(accuracy: float) -> None:
    matrix = confusion_matrix(SHARES, accuracy)
    assert SHARES @ np.diag(matrix) == pytest.approx(accuracy, abs=1e-6)
    assert matrix.sum(axis=1) == pytest.approx(1.0)
    assert matrix.min() >= 0


def test_confused_pixels_follow_the_matrix() -> None:
    rng = np.random.default_rng(5)
    truth = rng.choice(np.array(WORLDCOVER_CODES, dtype=np.uint8), size=(300, 401), p=SHARES)
    luck, choice = (rng.random(truth.shape, dtype=np.float32) for _ in range(2))
    matrix = confusion_matrix(SHARES, 0.744)
    mapped = confused(truth, matrix, luck, choice)
    for i, code in enumerate(WORLDCOVER_CODES):
        row = np.array([(mapped[truth == code] == other).mean() for other in WORLDCOVER_CODES])
        assert np.abs(row - matrix[i]).max() < 0.035


def test_mapped_accuracy_is_near_the_published_one(truth: dict[str, Any]) -> None:
    entries = {k: v for k, v in truth["labels"].items() if k.startswith("ESA_WorldCover")}
    assert len(entries) == 6
    for year, accuracy in WORLDCOVER_ACCURACY.items():
        counts = sum(np.array(v["counts"]) for k, v in entries.items() if f"_{year}_" in k and v["region"] == "north")
        assert np.trace(counts) / counts.sum() == pytest.approx(accuracy, abs=0.03)


def test_errors_come_in_patches(tiny: Any, items: list[dict[str, Any]]) -> None:
    import rasterio

    one = next(i for i in items if i["id"] == "ESA_WorldCover_10m_2021_v200_N45E009")
    other = next(i for i in items if i["id"] == "ESA_WorldCover_10m_2020_v100_N45E009")
    maps = []
    for item in (one, other):
        with rasterio.open(tiny.root / "files" / item["assets"]["map"]["href"]) as data:
            maps.append(data.read(1))
    differ = (maps[0] != maps[1]).astype(float)
    beside = np.corrcoef(differ[:, :-1].ravel(), differ[:, 1:].ravel())[0, 1]
    assert beside > 0.4


def test_errors_by_look_follow_the_variant_and_no_class_errs_more() -> None:
    rng = np.random.default_rng(3)
    subclass = rng.integers(0, 6, (700, 701))
    stratum = subclass * VARIANTS + rng.integers(0, VARIANTS, subclass.shape)
    truth = np.array(WORLDCOVER_CODES, dtype=np.uint8)[subclass]
    field = rng.standard_normal(truth.shape).astype(np.float32)
    rates = {}
    for share in (0.1, 0.5):
        luck = luck_by_look(field, truth, stratum, share, 11)
        wrong = luck > 0.75
        by_class = np.array([wrong[subclass == one].mean() for one in range(6)])
        assert np.abs(by_class - 0.25).max() < 0.01
        rates[share] = np.array([wrong[stratum == one].mean() for one in range(6 * VARIANTS)]).reshape(6, VARIANTS)
    assert (rates[0.5].std(axis=1) > 2 * rates[0.1].std(axis=1)).all()
    assert (rates[0.5].max(axis=1) > 0.5).all(), "one look of every class is mostly taken for another class"
    other = luck_by_look(field, truth, stratum, 0.5, 12) > 0.75
    looks = np.array([other[stratum == one].mean() for one in range(6 * VARIANTS)]).reshape(6, VARIANTS)
    assert (looks.argmax(axis=1) != rates[0.5].argmax(axis=1)).any(), "another map errs elsewhere"


def test_corine_misses_the_truth_modestly(truth: dict[str, Any]) -> None:
    entry = truth["labels"]["clc2018_v2020_20u1"]
    assert entry["minimum_unit_ha"] == 25
    assert entry["miscoded_area"] < 0.25
