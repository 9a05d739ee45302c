"""Pictures of label layers for docs/labels.md, read as a build reads them: real products, and a fusion of the sandbox.

    python bench/labels_pictures.py         writes docs/labels_*.png; needs TERRAWEFT_REALDATA

WorldCover (c) ESA WorldCover project 2020 / 2021; CORINE (c) European Union, Copernicus Land Monitoring Service 2018,
EEA; OpenStreetMap (c) its contributors, ODbL; Wervik: parcels of Agentschap Landbouw en Zeevisserij (Flanders).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.labels_cases import CHIP_PX, FOLDER, OPENER, SIZE, SOURCES, fused_of, load  # noqa: E402
from chips.render import fit, render_labels  # noqa: E402
from labelers.base import make_labeler  # noqa: E402
from labelers.osm import tags_wanted  # noqa: E402
from schemas.georef import GeoRef  # noqa: E402
from schemas.labels import LabelLayer  # noqa: E402
from schemas.legend import load_legend  # noqa: E402
from schemas.recipe import LabelSource  # noqa: E402
from sources.features import to_crs  # noqa: E402
from sources.labels_raster import read_label_raster, to_label_item_of_file  # noqa: E402
from sources.labels_vector import read_label_vector  # noqa: E402
from sources.osm import read_extract  # noqa: E402

DOCS = ROOT / "docs"
SIDE = 300
"""Longest edge of a panel."""
MARGIN, LINE = 8, 15
LARGEST_BYTES = 200_000

Panel = tuple[str, NDArray[np.uint8]]


def entry(kind: str, **more: Any) -> LabelSource:
    """A label source as a recipe has it."""
    return LabelSource.model_validate({"kind": kind, "catalog": "c", "collection": "x"} | more)


def raster_panel(title: str, path: Path, source: LabelSource, grid: GeoRef) -> tuple[Panel, LabelLayer]:
    """A class raster on a grid."""
    item = to_label_item_of_file(str(path), "labels", source, OPENER)
    layer = read_label_raster([item], grid, OPENER, legend=source.legend_name())
    if layer is None:
        raise SystemExit(f"{path} does not cover {grid}")
    label = make_labeler(source).label(layer, grid)
    return panel(title, label), label


def panel(title: str, label: LabelLayer) -> Panel:
    """A layer in its official colours."""
    return title, fit(render_labels(label.classes, load_legend(label.legend)), SIDE, classes=True)


def square(path: Path, lon: float, lat: float, epsg: int, gsd: float, shape: tuple[int, int]) -> GeoRef:
    """A grid around a place."""
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    x0, y0 = round(x / gsd) * gsd - shape[1] // 2 * gsd, round(y / gsd) * gsd + shape[0] // 2 * gsd
    return GeoRef(epsg, x0, y0, gsd, shape)


def worldcover(root: Path) -> tuple[list[Panel], list[LabelLayer]]:
    """Sao Tome: the town and the woods behind it, both editions and where they differ."""
    grid = square(root, 6.70, 0.33, 32632, 10.0, (300, 300))
    made = []
    for year, version in ((2020, "v100"), (2021, "v200")):
        path = root / f"ESA_WorldCover_10m_{year}_{version}_N00E006_Map_SaoTome.tif"
        made.append(raster_panel(f"WorldCover {year} {version}", path, entry("worldcover", year=year), grid))
    layers = [label for _, label in made]
    differ = layers[0].classes != layers[1].classes
    shown = np.where(differ[..., None], np.uint8([190, 30, 30]), np.uint8([235, 235, 230])).astype(np.uint8)
    return [
        *(p for p, _ in made),
        (f"differ at {differ.mean():.0%}: not change", fit(shown, SIDE, classes=True)),
    ], layers


def corine(root: Path) -> tuple[list[Panel], list[LabelLayer]]:
    """Lanjaron: CORINE's own raster and its polygons by CODE_18."""
    grid = GeoRef(32630, 456_000.0, 4_096_000.0, 25.0, (300, 400))
    first, raster = raster_panel("CORINE 2018, raster", root / "clc.tif", entry("corine", year=2018), grid)
    source = entry("corine", href="clc.gpkg", column="CODE_18", layer="clc", year=2018)
    found = read_label_vector(root / "clc.gpkg", grid, "clc", source)
    if found is None:
        raise SystemExit("the polygons do not cover the grid")
    vector = make_labeler(source).label(found, grid)
    return [first, panel("CORINE 2018, polygons by CODE_18", vector)], [raster, vector]


def osm(path: Path, title: str, gsd: float, epsg: int) -> tuple[list[Panel], list[LabelLayer]]:
    """An extract painted by the rules."""
    table = to_crs(read_extract(path, (-180, -90, 180, 90), tags_wanted()), epsg)
    shapes = np.array([feature.geometry.bounds for feature in table.features if "building" in feature.tags])
    left, bottom = np.percentile(shapes[:, 0], 2), np.percentile(shapes[:, 1], 2)
    right, top = np.percentile(shapes[:, 2], 98), np.percentile(shapes[:, 3], 98)
    shape = (int((top - bottom) / gsd), int((right - left) / gsd))
    grid = GeoRef(epsg, float(left), float(top), gsd, shape)
    label = make_labeler(entry("osm")).label(table, grid)
    return [panel(f"{title}, {gsd:g} m", label)], [label]


def fused() -> tuple[list[Panel], list[LabelLayer]]:
    """One square of the sandbox: every source, the fused map, its confidence, the truth."""
    world = load(11, SIZE, FOLDER)
    _, codes, confidence = fused_of(world, list(SOURCES), "dawid-skene")
    place = world.places[0]
    columns = len({chip[1].start for chip in place.chips})
    shape = (len(place.chips) // columns, columns)
    area = CHIP_PX * CHIP_PX * len(place.chips)

    def mosaic(flat: NDArray[Any]) -> NDArray[Any]:
        parts = flat[:area].reshape(*shape, CHIP_PX, CHIP_PX)
        return parts.transpose(0, 2, 1, 3).reshape(shape[0] * CHIP_PX, shape[1] * CHIP_PX)[96:384, 192:480]

    legend = load_legend("worldcover-11")
    window = (slice(96, 384), slice(192, 480))
    panels = [("truth (simulated)", fit(render_labels(place.truth[window], legend), SIDE, classes=True))]
    for name, layer in place.layers.items():
        shown = render_labels(layer.classes[window], load_legend(layer.legend))
        panels.append((name, fit(shown, SIDE, classes=True)))
    panels.append(("fused", fit(render_labels(mosaic(codes), legend), SIDE, classes=True)))
    grey = np.round(mosaic(confidence) * 255).astype(np.uint8)
    panels.append(("confidence (white: 1)", fit(np.repeat(grey[..., None], 3, axis=2), SIDE, classes=True)))
    wrong = mosaic(codes) != place.truth[window]
    shown = np.where(wrong[..., None], np.uint8([190, 30, 30]), np.uint8([235, 235, 230])).astype(np.uint8)
    panels.append((f"fused is wrong at {wrong.mean():.0%}", fit(shown, SIDE, classes=True)))
    return panels, [place.layers["worldcover"]]


def sheet(name: str, panels: list[Panel], layers: list[LabelLayer], columns: int = 4) -> None:
    """Panels side by side, and below them the classes that occur."""
    width = max(picture.shape[1] for _, picture in panels)
    height = max(picture.shape[0] for _, picture in panels)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    entries = legend_entries(layers)
    total_width = MARGIN + columns * (width + MARGIN)
    per_row = max(total_width // 230, 1)
    total_height = MARGIN + rows * (height + LINE + MARGIN) + -(-len(entries) // per_row) * LINE + MARGIN
    canvas = Image.new("RGB", (total_width, total_height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (title, picture) in enumerate(panels):
        x = MARGIN + number % columns * (width + MARGIN)
        y = MARGIN + number // columns * (height + LINE + MARGIN)
        draw.text((x, y), title, fill="black")
        canvas.paste(Image.fromarray(picture), (x, y + LINE))
    below = MARGIN + rows * (height + LINE + MARGIN)
    for number, (colour, text) in enumerate(entries):
        x, y = MARGIN + number % per_row * 230, below + number // per_row * LINE
        draw.rectangle((x, y + 2, x + 10, y + 12), fill=colour, outline="grey")
        draw.text((x + 15, y), text[:36], fill="black")
    path = DOCS / f"labels_{name}.png"
    canvas.quantize(128).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name}: {canvas.size[0]} x {canvas.size[1]}, {size:,} bytes")
    if size > LARGEST_BYTES:
        raise SystemExit(f"{path.name} is larger than {LARGEST_BYTES:,} bytes")


def legend_entries(layers: list[LabelLayer]) -> list[tuple[str, str]]:
    """(colour, name) of the classes that occur, the commonest first."""
    found: dict[tuple[str, str], int] = {}
    for layer in layers or []:
        for one in load_legend(layer.legend).classes:
            pixels = int((layer.classes == one.code).sum())
            if pixels:
                found[one.colour, one.name] = max(pixels, found.get((one.colour, one.name), 0))
    return sorted(found, key=lambda key: -found[key])[:16]


def main() -> None:
    """Write them all."""
    root = Path(os.environ.get("TERRAWEFT_REALDATA", ""))
    if not (root / "worldcover").is_dir():
        print("no pictures: TERRAWEFT_REALDATA names no folder of real samples")
        return
    sheet("worldcover", *worldcover(root / "worldcover"))
    sheet("corine", *corine(root / "corine"))
    helsinki = osm(root / "osm" / "Helsinki.osm.pbf", "Helsinki", 2.0, 32635)
    coarse = osm(root / "osm" / "Helsinki.osm.pbf", "Helsinki", 10.0, 32635)
    village = osm(root / "osm" / "planet_10.068,48.135_10.071,48.137.osm", "a village in Bavaria", 0.5, 32632)
    oakland = osm(root / "osm" / "West-Oakland.osm.bz2", "West Oakland", 1.0, 32610)
    every = (helsinki, coarse, village, oakland)
    sheet("osm", [p for panels, _ in every for p in panels], [one for _, layers in every for one in layers])
    lc = root / "catalog/lc-label/data/LABEL_wervik_2018/LC.tif"
    grid = GeoRef(32631, 501_360.0, 5_629_680.0, 10.0, (64, 64))
    panels, layer = raster_panel("Wervik, parcels 2018", lc, entry("raster", legend="lc-label"), grid)
    sheet("wervik", [panels], [layer])
    sheet("fused", *fused())


if __name__ == "__main__":
    main()
