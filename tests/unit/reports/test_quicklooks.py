from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from chips.render import INVALID_RGB, render
from reports.quicklooks import EDGE_PX, MOST_DATES, quicklooks, sample_pictures
from schemas.dataset import BandTable, LayerTable
from schemas.georef import GeoRef
from schemas.legend import load_legend
from schemas.sample import LayerArrays, Sample

TIMES = np.array(["2022-06-16T10:00:00", "2022-07-01T10:00:00"], dtype="datetime64[ns]")


def table(group: str, modality: str, bands: list[BandTable], gsd_m: float, unit: str) -> LayerTable:
    return LayerTable(
        group=group,
        modality=modality,
        sensor=modality,
        gsd_m=gsd_m,
        dtype="uint16",
        unit=unit,
        nodata=0,
        bands=tuple(bands),
        max_dates=2,
        shape_yx=(6, 8),
    )


def layer(bands: int, shape_yx: tuple[int, int], dates: int = 2, scale: float = 1e-4) -> LayerArrays:
    rng = np.random.default_rng(3)
    return LayerArrays(
        data=rng.integers(500, 3000, (dates, bands, *shape_yx)).astype(np.uint16),
        valid=np.ones((dates, *shape_yx), np.uint8),
        time_utc=TIMES[:dates],
        scale=np.full(dates, scale),
        offset=np.zeros(dates),
        georef=GeoRef(32632, 300000.0, 5300000.0, 10.0, shape_yx),
    )


OPTICAL = [
    BandTable(name="B02", common_name="blue", centre_nm=492.7),
    BandTable(name="B03", common_name="green", centre_nm=559.8),
    BandTable(name="B04", common_name="red", centre_nm=664.6),
]
SAR = [BandTable(name="VV", polarisation="VV"), BandTable(name="VH", polarisation="VH")]


@pytest.fixture
def sample() -> Sample:
    codes = np.full((6, 8), 40, np.uint8)
    codes[:2] = 80
    return Sample(
        chip_id="u32-0001",
        split="train",
        layers={"s2_10m": layer(3, (6, 8)), "s2_20m": layer(1, (3, 4)), "s1": layer(2, (6, 8), 1, 1e-4)},
        labels={"worldcover": codes},
        label=np.where(codes == 80, 7, 3).astype(np.uint8),
    )


@pytest.fixture
def layers() -> list[LayerTable]:
    swir = [BandTable(name="B11", common_name="swir16", centre_nm=1613.7)]
    return [
        table("s2_10m", "s2", OPTICAL, 10.0, "reflectance"),
        table("s2_20m", "s2", swir, 20.0, "reflectance"),
        table("s1", "s1", SAR, 10.0, "linear"),
    ]


@pytest.fixture
def legends() -> dict[str, object]:
    names = {"worldcover": "worldcover", "label": "worldcover-11"}
    return {key: load_legend(name).model_dump(mode="json") for key, name in names.items()}


def test_each_date_of_each_modality_has_one_picture_then_each_label(
    sample: Sample, layers: list[LayerTable], legends: dict[str, object]
) -> None:
    titles = [title for title, _ in sample_pictures(sample, layers, legends)]
    assert titles == ["s2 2022-06-16", "s2 2022-07-01", "s1 2022-06-16", "worldcover", "label"]


def test_product_codes_and_fused_indices_show_the_same_colours(
    sample: Sample, layers: list[LayerTable], legends: dict[str, object]
) -> None:
    pictures = dict(sample_pictures(sample, layers, legends))
    assert pictures["worldcover"].shape == (6, 8, 3)
    assert np.array_equal(pictures["worldcover"], pictures["label"])
    assert tuple(pictures["label"][0, 0]) == (0x00, 0x64, 0xC8)  # water, official colour


def test_pictures_become_png_with_their_proportions(
    sample: Sample, layers: list[LayerTable], legends: dict[str, object]
) -> None:
    for picture in quicklooks(sample, layers, legends):
        columns, rows = Image.open(io.BytesIO(picture.png)).size
        assert max(columns, rows) <= EDGE_PX
        assert columns * 6 == rows * 8


def test_a_picture_of_labels_names_the_classes_that_are_on_it(
    sample: Sample, layers: list[LayerTable], legends: dict[str, object]
) -> None:
    on_it = {shown.title: shown.classes for shown in quicklooks(sample, layers, legends)}
    assert on_it["worldcover"] == on_it["label"] == ("Cropland", "Permanent water bodies")
    assert on_it["s2 2022-06-16"] == ()


def test_a_label_that_is_shrunk_has_the_colours_of_its_legend_and_no_mixtures(legends: dict[str, object]) -> None:
    codes = np.full((EDGE_PX + 48, EDGE_PX + 64), 40, np.uint8)
    codes[:, ::3] = 80
    large = Sample(chip_id="u32-0005", split="val", layers={}, labels={"worldcover": codes}, label=codes // 40)
    for shown in quicklooks(large, [], legends):
        pixels = np.asarray(Image.open(io.BytesIO(shown.png))).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) == 2, shown.title


def test_of_a_long_series_some_dates_are_shown_and_which_ones_is_said(
    layers: list[LayerTable], legends: dict[str, object]
) -> None:
    times = np.datetime64("2022-01-01", "ns") + np.arange(40) * np.timedelta64(5, "D")
    times[0] = np.datetime64("NaT")
    series = replace(layer(3, (6, 8), 1), time_utc=times, scale=np.full(40, 1e-4), offset=np.zeros(40))
    data = np.arange(40, dtype=np.uint16)[:, None, None, None] * np.full((40, 3, 6, 8), 50, np.uint16)
    series = replace(series, data=data, valid=np.ones((40, 6, 8), np.uint8))
    sample = Sample(chip_id="u32-0006", split="val", layers={"s2_10m": series})
    all_of_them = dict(sample_pictures(sample, layers, legends))
    shown = dict(sample_pictures(sample, layers, legends, MOST_DATES))
    assert len(all_of_them) == 40
    assert list(shown) == [f"s2 {times[t].astype('datetime64[D]')}, date {t + 1} of 40" for t in (1, 14, 26, 39)]
    assert np.array_equal(shown["s2 2022-07-15, date 40 of 40"], all_of_them["s2 2022-07-15"])
    assert len(quicklooks(sample, layers, legends)) == MOST_DATES


def test_a_modality_without_dates_has_no_picture(layers: list[LayerTable], legends: dict[str, object]) -> None:
    empty = Sample(chip_id="u32-0002", split="val", layers={"s2_10m": layer(3, (6, 8), dates=0)})
    assert list(sample_pictures(empty, layers, legends)) == []


def test_a_sensor_that_shows_no_true_colour_is_shown_otherwise(legends: dict[str, object]) -> None:
    bands = [*OPTICAL[1:], BandTable(name="B08", common_name="nir", centre_nm=832.8)]
    infrared = Sample(chip_id="u32-0003", split="val", layers={"s2_10m": layer(3, (6, 8))})
    ((title, picture), *_) = sample_pictures(infrared, [table("s2_10m", "s2", bands, 10.0, "reflectance")], legends)
    values = infrared.layers["s2_10m"].data[0] * np.float32(1e-4)
    assert title == "s2 2022-06-16, colour infrared"
    assert np.array_equal(
        picture, render("colour_infrared", dict(zip(("green", "red", "nir"), values, strict=True)), unit="reflectance")
    )


def test_a_single_band_that_no_view_is_made_for_is_shown_in_grey(legends: dict[str, object]) -> None:
    one = Sample(chip_id="u32-0004", split="val", layers={"s1": layer(1, (6, 8), 1)})
    one.layers["s1"].valid[0, 0, :3] = 0
    ((title, picture),) = sample_pictures(one, [table("s1", "s1", SAR[:1], 10.0, "linear")], legends)
    assert title == "s1 2022-06-16, VV"
    assert (picture[0, :3] == INVALID_RGB).all()
    shown = one.layers["s1"].data[0, 0].astype(float)
    dark, bright = (np.unravel_index(place, shown.shape) for place in (shown.argmin(), shown.argmax()))
    assert (tuple(picture[dark]), tuple(picture[bright])) == ((0, 0, 0), (255, 255, 255))
