"""`publish: {after_validation: true}`, from the recipe to the pointer: a version that passes the gates is opened by
readers, one that fails is there, and they stay with the version before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from shards.reader import open_dataset
from tests.integration.support import Terraweft

CHIP_PX, ROWS, COLUMNS = 32, 5, 6
LEFT, TOP = 480_000.0, 4_650_000.0
CODES = np.array([10, 20, 30], np.uint8)
SIGNATURE = np.array([[40, 60, 30, 190], [90, 110, 130, 150], [60, 50, 30, 20]])

TABLE = """
sensor: camera
title: Made-up camera
kind: optical
unit: reflectance
scale: 0.00392156862745098
offset: 0.0
nodata: 0
nodata_rule: all
dtype: uint8
bands:
  - {name: red, common_name: red, centre_nm: 635, fwhm_nm: 60, gsd_m: 1}
  - {name: green, common_name: green, centre_nm: 555, fwhm_nm: 70, gsd_m: 1}
  - {name: blue, common_name: blue, centre_nm: 465, fwhm_nm: 70, gsd_m: 1}
  - {name: nir, common_name: nir, centre_nm: 845, fwhm_nm: 80, gsd_m: 1}
licence: CC0-1.0
attribution: made up
source: this test
"""
LEGEND = """
name: three
title: Three covers
version: "1"
nodata: [0]
source: this test
classes:
  - {code: 10, name: Green, colour: "#00aa00"}
  - {code: 20, name: Grey, colour: "#888888"}
  - {code: 30, name: Blue, colour: "#0000ff"}
"""
RECIPE = """
format: 1
name: waits
sensors: {{camera: camera.yaml}}
legends: {{three: three.yaml}}
catalogs: {{mine: {{kind: static, href: "${{TERRAWEFT_WAITS}}/catalog.json", allow_local: true}}}}
grid:
  kind: list
  gsd_m: 1
  cells:
{cells}
time: {{start: 2023-06-01, end: 2023-08-31}}
modalities:
  camera: {{sensor: camera, catalog: mine, collection: camera}}
labels:
  sources:
    map: {{kind: raster, href: "${{TERRAWEFT_WAITS}}/{labels}", legend: three}}
register: {{mode: off}}
split: {{method: blocks, block_m: 32, buffer_m: 0, fractions: [0.6, 0.2, 0.2]}}
publish: {{after_validation: true}}
gates:
  training: {{steps: 25, batch_size: 6, crop_m: null}}
  learnable: {{min_gain_over_pixels: -0.2}}
  leak: {{max_near_gain: 1.0, max_random_gap: 1.0}}
  noise: {{folds: 2}}
"""


def _ground() -> np.ndarray:
    """(H, W) class index: patches of 8 px, which go on from chip to chip."""
    luck = np.random.default_rng(3)
    shares = np.full((ROWS, COLUMNS, 3), 0.15)
    for number in range(ROWS * COLUMNS):
        shares[number // COLUMNS, number % COLUMNS, number % 3] = 0.7
    chips = [[luck.choice(3, size=(4, 4), p=p) for p in row] for row in shares]
    return np.roll(np.kron(np.block(chips), np.ones((8, 8), int)), (4, 4), axis=(0, 1))


def _write(path: Path, values: np.ndarray) -> None:
    place = from_origin(LEFT, TOP, 1.0, 1.0)
    _, height, width = values.shape
    shape = {"height": height, "width": width, "count": len(values), "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", crs="EPSG:32615", transform=place, **shape) as file:
        file.write(values.astype(np.uint8))


def write_sources(folder: Path) -> None:
    """A catalog of one picture, its labels, and the same patches of labels at other places."""
    ground, luck = _ground(), np.random.default_rng(4)
    pixels = SIGNATURE[ground].transpose(2, 0, 1) * luck.normal(1.0, 0.2, (4, *ground.shape))
    _write(folder / "m.tif", np.clip(pixels, 1, 255))
    _write(folder / "right.tif", CODES[ground][None])
    patches = luck.permutation(ground[::8, ::8].ravel()).reshape(4 * ROWS, 4 * COLUMNS)
    _write(folder / "wrong.tif", CODES[np.kron(patches, np.ones((8, 8), int))][None])
    names = ("red", "green", "blue", "nir")
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "picture",
        "collection": "camera",
        "bbox": [-93.2416, 42.0003, -93.2391, 42.0018],
        "geometry": None,
        "properties": {"datetime": "2023-07-07T16:00:00Z", "proj:epsg": 32615, "gsd": 1.0},
        "assets": {
            "image": {
                "href": "./m.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "eo:bands": [{"name": name, "common_name": name} for name in names],
                "proj:transform": [1.0, 0.0, LEFT, 0.0, -1.0, TOP],
                "proj:shape": list(ground.shape),
            }
        },
        "links": [],
    }
    (folder / "item.json").write_text(json.dumps(item))
    collection = {"type": "Collection", "id": "camera", "links": [{"rel": "item", "href": "./item.json"}]}
    (folder / "collection.json").write_text(json.dumps(collection))
    root = {"type": "Catalog", "id": "root", "links": [{"rel": "child", "href": "./collection.json"}]}
    (folder / "catalog.json").write_text(json.dumps(root))
    (folder / "camera.yaml").write_text(TABLE)
    (folder / "three.yaml").write_text(LEGEND)


@dataclass(frozen=True)
class Sources:
    """What is built of."""

    folder: Path
    """Pictures, labels, and a recipe for labels that the picture shows and one for labels that it does not."""

    def recipe(self, name: str) -> Path:
        """``right`` or ``wrong``."""
        return self.folder / f"{name}.yaml"


@dataclass(frozen=True)
class Built:
    """A dataset."""

    root: Path
    """Its folder."""
    version: str
    """The version of its first build."""
    said: str
    """By that build."""

    @property
    def current(self) -> str | None:
        """The version that readers open; None where there is none."""
        pointer = self.root / "terraweft.json"
        return json.loads(pointer.read_text())["current"] if pointer.is_file() else None

    @property
    def versions(self) -> set[str]:
        """All that are there."""
        return {path.name for path in (self.root / "versions").iterdir()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    write_sources(folder)
    cells = []
    for number in range(ROWS * COLUMNS):
        row, column = divmod(number, COLUMNS)
        left, top = LEFT + CHIP_PX * column, TOP - CHIP_PX * row
        bounds = [left, top - CHIP_PX, left + CHIP_PX, top]
        cells.append(f"    - {{id: c{number:02d}, epsg: 32615, bounds: {bounds}, region: iowa}}")
    for name in ("right", "wrong"):
        (folder / f"{name}.yaml").write_text(RECIPE.format(cells="\n".join(cells), labels=f"{name}.tif"))
    return Sources(folder)


@pytest.fixture(scope="module")
def passed(on_cluster: Terraweft, sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A version whose labels the picture shows."""
    root = tmp_path_factory.mktemp("built") / "dataset"
    done = on_cluster("build", sources.recipe("right"), "--out", root, TERRAWEFT_WAITS=str(sources.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    (version,) = (path.name for path in (root / "versions").iterdir())
    return Built(root, version, done.stdout)


def test_a_version_that_passes_is_opened_by_readers(passed: Built) -> None:
    assert "planned 30 = kept 30 + rejected 0 + failed 0" in passed.said
    assert "waits for validation:" in passed.said
    assert f"nothing -> {passed.version}: readers open it now" in passed.said
    assert open_dataset(passed.root).version == passed.version


def test_a_version_that_fails_is_there_and_readers_stay_with_the_one_before(
    on_cluster: Terraweft, terraweft: Terraweft, sources: Sources, passed: Built
) -> None:
    known = passed.versions
    done = on_cluster("build", sources.recipe("wrong"), "--out", passed.root, TERRAWEFT_WAITS=str(sources.folder))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "planned 30 = kept 30 + rejected 0 + failed 0" in done.stdout
    assert "FAILED         learnable" in done.stdout
    assert "does not pass" in done.stdout
    assert "Traceback" not in done.stderr
    (second,) = passed.versions - known
    assert passed.current == passed.version
    assert open_dataset(passed.root).version == passed.version
    waiting = open_dataset(passed.root, second)
    assert waiting.document.parent_version == passed.version
    assert len(waiting.chip_ids()) == 30
    (kept,) = (passed.root / "validations" / second).glob("*.json")
    assert json.loads(kept.read_text())["passed"] is False
    again = terraweft("validate", passed.root, "--version", second, "--gate", "statistics")
    assert again.returncode == 0, again.stderr
    assert passed.current == passed.version  # some gates alone let nothing through
    edited = sources.folder / "edited.yaml"
    edited.write_text(sources.recipe("wrong").read_text().replace("steps: 25", "steps: 1"))
    done = on_cluster("build", edited, "--out", passed.root, TERRAWEFT_WAITS=str(sources.folder))
    assert done.returncode == 1, done.stdout + done.stderr
    assert passed.versions == known | {second}  # the same version, asked by the recipe as it is now
    newest = max((passed.root / "validations" / second).glob("*.json"))
    assert json.loads(newest.read_text())["thresholds"]["training"]["steps"] == 1


def test_a_first_version_that_fails_leaves_readers_nothing_and_says_so(
    on_cluster: Terraweft, terraweft: Terraweft, sources: Sources, tmp_path: Path
) -> None:
    root = tmp_path / "dataset"
    done = on_cluster("build", sources.recipe("wrong"), "--out", root, TERRAWEFT_WAITS=str(sources.folder))
    assert done.returncode == 1, done.stdout + done.stderr
    (version,) = (path.name for path in (root / "versions").iterdir())
    assert open_dataset(root, version).version == version
    shown = terraweft("check", root)
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
