from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import calculate_default_transform, reproject

from reference.truth import label_grid, read_truth
from shards.reader import Dataset
from tests.unit.reference import made_dataset

CHIP = "m31_0003"
FROM_ZERO = made_dataset.LEGEND | {
    "nodata": [255],
    "classes": [entry | {"code": index} for index, entry in enumerate(made_dataset.LEGEND["classes"])],
}


def corner_of(dataset: Dataset) -> tuple[float, float]:
    """Left and top."""
    left, _, _, top = dataset.chips.set_index("chip_id").loc[CHIP]["bounds_xyxy"]
    return float(left), float(top)


def write(path: Path, codes: np.ndarray, crs: str, transform: Affine, nodata: float | None = None) -> Path:
    profile: dict[str, Any] = {"width": codes.shape[1], "height": codes.shape[0], "count": 1, "dtype": codes.dtype.name}
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, **profile) as file:
        file.write(codes, 1)
    return path


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2263", "EPSG:32632"])  # degrees, feet, the neighbouring zone
def test_a_finer_map_is_counted_out_whatever_its_unit(tmp_path: Path, crs: str) -> None:
    dataset = made_dataset.write(tmp_path / "dataset", 5)
    left, top = corner_of(dataset)
    pixel = np.full((8, 8), made_dataset.CODES[0], np.uint8)
    pixel[3:5, 3:5] = made_dataset.CODES[1]  # what lies in the middle of each label's pixel
    fine, own = np.tile(pixel, (32, 32)), from_origin(left, top, 1.25, 1.25)
    bounds = (left, top - 320.0, left + 320.0, top)
    transform, width, height = calculate_default_transform("EPSG:32631", crs, 256, 256, *bounds)
    codes = np.zeros((height, width), np.uint8)
    reproject(fine, codes, src_transform=own, src_crs="EPSG:32631", dst_transform=transform, dst_crs=crs)
    found = read_truth([write(tmp_path / "t.tif", codes, crs, transform, 0)], dataset, [CHIP])
    assert (found[CHIP] == 0).all()


@pytest.mark.parametrize(
    ("value", "nodata", "dtype"),
    [(1, None, "uint8"), (1, 255, "uint8"), (1, -9999, "int16"), (1, 65_535, "uint16"), (1, None, "float32")],
)
def test_where_a_map_says_nothing_no_class_of_code_0_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: int, nodata: float | None, dtype: str
) -> None:
    monkeypatch.setattr(made_dataset, "LEGEND", FROM_ZERO)
    dataset = made_dataset.write(tmp_path / "dataset", 5)
    left, top = corner_of(dataset)
    codes = np.full((32, 16), value, dtype)  # the western half
    codes[:4] = 0
    if nodata is not None or dtype == "float32":
        codes[4:12] = np.nan if nodata is None else nodata
    path = write(tmp_path / "t.tif", codes, "EPSG:32631", from_origin(left, top, 10.0, 10.0), nodata)
    truth = read_truth([path], dataset, [CHIP])[CHIP]
    wanted = np.full((32, 32), 255, np.uint8)
    wanted[:4, :16], wanted[4:, :16] = 0, value
    if nodata is not None or dtype == "float32":
        wanted[4:12] = 255
    assert np.array_equal(truth, wanted)


@pytest.mark.parametrize(("value", "dtype"), [(-1, "int16"), (-2, "int32"), (65_536, "int32"), (99, "uint8")])
def test_a_value_that_is_no_code_is_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: int, dtype: str
) -> None:
    monkeypatch.setattr(made_dataset, "LEGEND", FROM_ZERO)
    dataset = made_dataset.write(tmp_path / "dataset", 5)
    codes = np.full((32, 32), value, dtype)
    path = write(tmp_path / "t.tif", codes, "EPSG:32631", from_origin(*corner_of(dataset), 10.0, 10.0))
    assert read_truth([path], dataset, [CHIP]) == {}


def test_the_truth_of_a_smaller_chip_lies_on_its_own_labels() -> None:
    shapes = {"large": (32, 32), "small": (24, 12)}
    places = SimpleNamespace(number=list(shapes).index)
    dataset: Any = SimpleNamespace(
        places=places, label_shape_of=lambda number: list(shapes.values())[number], label_shape_yx=(32, 32)
    )
    grid = label_grid(dataset, {"chip_id": "small", "epsg": 32632, "bounds_xyxy": (500_000, 0, 500_120, 240)})
    assert (grid.shape_yx, grid.pixel_size, grid.x0, grid.y0) == ((24, 12), 10.0, 500_000, 240)
