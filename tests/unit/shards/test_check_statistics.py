"""What counts in a band's statistics, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.dataset import DatasetDocument
from schemas.sample import Sample
from shards.check_statistics import StatisticsCheck
from shards.reader import open_dataset
from tests.unit.shards import made_up

VALUES = np.array([[1000, 2000, 0], [3000, 0, 0]], "uint16")
"""(band, pixel) of the one date of `sample`; the last pixel has no data in either band."""


def sample() -> Sample:
    """A sample of the train split that has one layer, of few clear pixels."""
    made = made_up.sample(0)
    layer = made.layers["s2_10m"]
    data, valid = layer.data.copy(), np.zeros_like(layer.valid)
    data[0, :, 5, :3], valid[0, 5, :3] = VALUES, 1
    return replace(made, layers={"s2_10m": replace(layer, data=data, valid=valid)})


def faults(document: DatasetDocument, one: Sample, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Of a document that says so of the two bands, and of no pixel in all others."""
    groups = []
    for table in document.modalities:
        told = [first, second] if table.group == "s2_10m" else [{"mean": None, "std": None, "count": 0}] * 2
        bands = tuple(band.model_copy(update=more) for band, more in zip(table.bands, told, strict=False))
        groups.append(table.model_copy(update={"bands": bands}))
    check = StatisticsCheck(document.model_copy(update={"modalities": tuple(groups)}))
    check.add(one)
    return list(check.faults())


@pytest.fixture
def document(published: Path) -> DatasetDocument:
    return open_dataset(published).document


FIRST = {"mean": 0.05, "std": 0.05, "count": 2}
SECOND = {"mean": 0.2, "std": 0.0, "count": 1}
"""Of reflectance: ten thousandths of `VALUES`, less a tenth."""


def test_a_bands_no_data_does_not_count_and_a_layer_may_be_missing(document: DatasetDocument) -> None:
    assert faults(document, sample(), FIRST, SECOND) == []


def test_a_bands_missing_mean_is_told_but_of_no_pixel_there_is_none(document: DatasetDocument) -> None:
    for missing in ("mean", "std"):
        told = faults(document, sample(), FIRST, SECOND | {missing: None})
        assert told == ["s2_10m B04: no mean and deviation, but 1 clear pixels in train"]
    none = {"mean": None, "std": None, "count": 0}
    assert faults(document, replace(sample(), split="val"), none, none) == []


@pytest.mark.parametrize("off", [{"mean": 0.050002}, {"std": 0.049998}])
def test_a_mean_or_deviation_off_by_more_than_the_tolerance_is_told(
    document: DatasetDocument, off: dict[str, float]
) -> None:
    (told,) = faults(document, sample(), FIRST | off, SECOND)
    assert told.startswith("s2_10m B02: mean 0.05, deviation 0.05; dataset.json says 0.0")
