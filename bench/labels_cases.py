"""Worlds whose true land cover is known, as label sources see them: drawn from a seed, no imagery.

The landscape, both WorldCover editions, CORINE and the OSM extract are the sandbox's own files, read by the readers of
a build onto the chips' grid. Other noise levels are put on the same truth with the sandbox's own error model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers import fuse
from labelers.base import make_labeler
from labelers.dawid_skene import _Estimation
from labelers.marks import FusionStatistics, added, distinct, to_marks
from labelers.osm import tags_wanted
from labelers.voters import FusionSetup, setup_of
from sandbox import landcover, noise, osm
from sandbox.place import Grid, Region, inner_bbox, regions_of
from sandbox.world import Landscape, build_landscape, open_landscape
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Labels, LabelSource
from sources.features import to_crs
from sources.labels_raster import read_label_raster, to_label_item_of_file
from sources.openers import PlainOpener
from sources.osm import read_extract

OPENER = PlainOpener(allow_local=True)
SOURCES: dict[str, dict[str, Any]] = {
    "worldcover": {"kind": "worldcover", "year": 2021},
    "worldcover_2020": {"kind": "worldcover", "year": 2020},
    "corine": {"kind": "corine", "year": 2018},
    "osm": {"kind": "osm"},
}
"""The label sources of `recipes/sandbox.yaml`, in its order."""

SEEDS = (11, 12, 13, 14, 15)
"""Worlds that no choice in the estimator was made on."""

SIZE = "demo"
FOLDER = Path(__file__).parents[1] / "build" / "bench" / "labels"
"""Where they are kept."""

CODES = np.array([entry.code for entry in load_legend("worldcover-11").classes])
"""Codes of the fused classes, in their order."""

CHIP_PX = 96
"""Chips of the experiment: 960 m."""

GSD_M = 10.0


@dataclass(frozen=True, eq=False)
class Place:
    """One region: the truth and every source on one 10 m grid."""

    region: str
    """``north`` or ``south``."""
    georef: GeoRef
    """The grid."""
    truth: NDArray[np.uint8]
    """(H, W) WorldCover code that covers most of a pixel."""
    layers: Mapping[str, LabelLayer]
    """Source -> layer."""

    @property
    def chips(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the chips, whole ones only."""
        rows, columns = self.georef.shape_yx
        return [
            (slice(r, r + CHIP_PX), slice(c, c + CHIP_PX))
            for r in range(0, rows - CHIP_PX + 1, CHIP_PX)
            for c in range(0, columns - CHIP_PX + 1, CHIP_PX)
        ]

    def votes(self, chip: tuple[slice, slice], names: Sequence[str]) -> list[LabelLayer]:
        """The layers of one chip."""
        return [cut(self.layers[name], chip) for name in names if name in self.layers]


@dataclass(frozen=True, eq=False)
class World:
    """Both regions of one seed."""

    seed: int
    """What it was drawn from."""
    places: tuple[Place, ...]
    """North and south."""

    @cached_property
    def truth(self) -> NDArray[np.uint8]:
        """(pixels,) true codes of all chips, in order."""
        return np.concatenate([place.truth[chip].ravel() for place in self.places for chip in place.chips])

    def codes(self, name: str) -> NDArray[np.int64]:
        """(pixels,) codes of a source in the same order; 0 where it has none."""
        parts = []
        for place in self.places:
            for chip in place.chips:
                layer = place.layers.get(name)
                held = np.zeros(CHIP_PX * CHIP_PX) if layer is None else layer.classes[chip].ravel()
                parts.append(np.where(layer is not None and held == layer.nodata, 0, held))
        return np.concatenate(parts).astype(np.int64)


def cut(layer: LabelLayer, chip: tuple[slice, slice]) -> LabelLayer:
    """A layer's part."""
    rows, columns = chip
    classes = layer.classes[chip]
    x0, y0 = layer.georef.x0 + columns.start * GSD_M, layer.georef.y0 - rows.start * GSD_M
    return replace(layer, classes=classes, georef=GeoRef(layer.georef.epsg, x0, y0, GSD_M, classes.shape))


def source_of(name: str) -> LabelSource:
    """The recipe's entry of a source."""
    return LabelSource.model_validate(SOURCES[name] | {"catalog": "sandbox", "collection": "x"})


def draw(seed: int, size: str, folder: Path) -> tuple[list[Landscape], Path]:
    """Landscapes and label products of a seed, below a folder."""
    files = folder / "files"
    lands = []
    for region in regions_of(size):
        told = folder / f"{region.name}.json"
        if told.exists():
            lands.append(open_landscape(region, folder / "truth"))
            continue
        land = build_landscape(region, seed, folder / "truth")
        lands.append(land)
        made = landcover.write_land_cover(land, seed, files) + osm.write_extract(land, seed, files)
        told.write_text(json.dumps([one.truth for one in made], indent=1))
    return lands, files


def load(seed: int, size: str, folder: Path) -> World:
    """The world of a seed; drawn on the first call, kept as arrays for the next."""
    kept = folder / f"{size}-{seed}.npz"
    if not kept.exists():
        lands, files = draw(seed, size, folder / f"{size}-{seed}")
        arrays: dict[str, Any] = {}
        for land in lands:
            place = read_place(land, files)
            arrays |= {f"{place.region}/{name}": layer.classes for name, layer in place.layers.items()}
            grid = place.georef
            arrays[f"{place.region}/truth"] = place.truth
            arrays[f"{place.region}/grid"] = np.array([grid.epsg, grid.x0, grid.y0])
        np.savez_compressed(kept, **arrays)
    held = np.load(kept)
    return World(seed, tuple(_unpacked(held, region.name) for region in regions_of(size)))


def _unpacked(held: Any, region: str) -> Place:
    truth = held[f"{region}/truth"]
    epsg, x0, y0 = held[f"{region}/grid"].tolist()
    georef = GeoRef(int(epsg), x0, y0, GSD_M, truth.shape)
    layers = {
        name: layer_of(name, held[f"{region}/{name}"], georef) for name in SOURCES if f"{region}/{name}" in held.files
    }
    return Place(region, georef, truth, layers)


def layer_of(name: str, classes: NDArray[Any], georef: GeoRef) -> LabelLayer:
    """A source's layer of given codes."""
    labeler = make_labeler(source_of(name))
    legend = labeler.legend  # type: ignore[attr-defined]
    return LabelLayer(name, classes, georef, legend.nodata[0], legend.name, "", "")


def read_place(land: Landscape, files: Path) -> Place:
    """A region read as a build reads it, over what all its products cover."""
    georef, rows, columns = inner_grid(land.region, land.grid)
    truth = landcover.majority_worldcover(land, slice(rows.start * 2, rows.stop * 2), slice(None))[:, columns]
    layers: dict[str, LabelLayer] = {}
    for name, source in ((name, source_of(name)) for name in SOURCES):
        if source.kind == "osm":
            extract = files / "osm-extract" / f"osm-{land.region.name}" / f"{land.region.name}.osm.pbf"
            table = to_crs(read_extract(extract, inner_bbox(land.region), tags_wanted()), georef.epsg)
            layers[name] = make_labeler(source).label(table, georef)
            continue
        folder, pattern = {"worldcover": ("esa-worldcover", f"*_{source.year}_*"), "corine": ("corine-clc2018", "*")}[
            source.kind
        ]
        paths = sorted((files / folder).glob(f"{pattern}/*.tif"))
        items = [to_label_item_of_file(str(path), name, source, OPENER) for path in paths]
        found = read_label_raster(items, georef, OPENER, legend=source.legend_name())
        if found is not None:
            layers[name] = make_labeler(source).label(found, georef)
    return Place(land.region.name, georef, truth, layers)


def inner_grid(region: Region, truth: Grid) -> tuple[GeoRef, slice, slice]:
    """The part of the truth's 10 m lattice that all products cover, and its rows and columns."""
    import pyproj

    west, south, east, north = inner_bbox(region)
    to_metres = pyproj.Transformer.from_crs(4326, truth.epsg, always_xy=True)
    x, y = to_metres.transform([west, west, east, east], [south, north, south, north])
    left, right = max(x[0], x[1]), min(x[2], x[3])
    bottom, top = max(y[0], y[2]), min(y[1], y[3])
    columns = slice(int(np.ceil((left - truth.left) / GSD_M)), int((right - truth.left) // GSD_M))
    rows = slice(int(np.ceil((truth.top - top) / GSD_M)), int((truth.top - bottom) // GSD_M))
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    x0, y0 = truth.left + columns.start * GSD_M, truth.top - rows.start * GSD_M
    return GeoRef(truth.epsg, x0, y0, GSD_M, shape), rows, columns


def noisy(world: World, accuracy: float, together: float, seed: int) -> World:
    """The world with WorldCover made anew: errors at another rate, and shared by both editions.

    Args:
        world: whose truth, CORINE and OSM stay.
        accuracy: overall accuracy of the newer edition; the older one has 0.023 less, as the published ones.
        together: 0..1, share of the variance of where and how they err that both editions have in common.
        seed: of the errors.
    """
    places = []
    for place in world.places:
        rows, columns = place.truth.shape
        xs, ys = np.arange(columns) * GSD_M, np.arange(rows) * GSD_M
        counts = np.array([(place.truth == code).sum() for code in landcover.WORLDCOVER_CODES], dtype=np.float64)
        layers = dict(place.layers)
        shared = [_field(xs, ys, seed * 977 + i) for i in range(2)]
        for number, (name, less) in enumerate({"worldcover": 0.0, "worldcover_2020": 0.023}.items(), start=1):
            own = [_field(xs, ys, seed * 977 + 10 * number + i) for i in range(2)]
            luck, choice = (
                _ranks(np.sqrt(together) * common + np.sqrt(1 - together) * alone)
                for common, alone in zip(shared, own, strict=True)
            )
            matrix = landcover.confusion_matrix(counts / counts.sum(), accuracy - less)
            layers[name] = layer_of(name, landcover.confused(place.truth, matrix, luck, choice), place.georef)
        places.append(replace(place, layers=layers))
    return World(world.seed, tuple(places))


def _field(xs: NDArray[Any], ys: NDArray[Any], seed: int) -> NDArray[np.float32]:
    """The sandbox's field of WorldCover's errors (`sandbox.landcover`)."""
    reach = landcover.ERROR_REACH_M
    return np.asarray(0.8 * noise.plane(xs, ys, reach, seed) + 0.6 * noise.plane(xs, ys, reach / 3, seed + 1))


def _ranks(field: NDArray[Any]) -> NDArray[np.float32]:
    order = np.sort(field.ravel()[:: max(1, field.size // 40_000)])
    return np.interp(field, order, np.linspace(0, 1, order.size)).astype(np.float32)


def adversarial(world: World, seed: int) -> World:
    """The world with the newer WorldCover replaced by one that is wrong nearly always, and in patches."""
    rng = np.random.default_rng(seed)
    codes = np.array(landcover.WORLDCOVER_CODES, dtype=np.uint8)
    turned = np.roll(codes, 3)
    places = []
    for place in world.places:
        xs, ys = np.arange(place.truth.shape[1]) * GSD_M, np.arange(place.truth.shape[0]) * GSD_M
        wrong = turned[np.searchsorted(codes, place.truth)]
        luck = _ranks(_field(xs, ys, int(rng.integers(1 << 30))))
        random = codes[np.minimum((luck * len(codes)).astype(int), len(codes) - 1)]
        bad = np.where(rng.random(place.truth.shape) < 0.5, wrong, random).astype(np.uint8)
        places.append(
            replace(place, layers=dict(place.layers) | {"worldcover": layer_of("worldcover", bad, place.georef)})
        )
    return World(world.seed, tuple(places))


def mirrored(world: World) -> World:
    """The world with the newer WorldCover turned left to right: right class shares and shapes at wrong places."""
    places = []
    for place in world.places:
        classes = np.ascontiguousarray(place.layers["worldcover"].classes[:, ::-1])
        layers = dict(place.layers) | {"worldcover": layer_of("worldcover", classes, place.georef)}
        places.append(replace(place, layers=layers))
    return World(world.seed, tuple(places))


def read_apart(world: World) -> World:
    """The world with grass and shrubs read apart: all of both is shrubs to the newer WorldCover, grass to the older."""
    places = []
    for place in world.places:
        layers = dict(place.layers)
        for name, code in (("worldcover", 20), ("worldcover_2020", 30)):
            classes = layers[name].classes
            layers[name] = layer_of(name, np.where(np.isin(classes, (20, 30)), np.uint8(code), classes), place.georef)
        places.append(replace(place, layers=layers))
    return World(world.seed, tuple(places))


def halved(world: World) -> World:
    """The world with WorldCover in every second chip alone."""
    places = []
    for place in world.places:
        layers = dict(place.layers)
        for name in ("worldcover", "worldcover_2020"):
            classes = layers[name].classes.copy()
            for chip in place.chips[1::2]:
                classes[chip] = layers[name].nodata
            layers[name] = replace(layers[name], classes=classes)
        places.append(replace(place, layers=layers))
    return World(world.seed, tuple(places))


class Known(_Estimation):
    """What the same model would be worth if the truth of every counted pixel were known: its tables, counted."""

    def __init__(self, stats: FusionStatistics, setup: FusionSetup, world: World, names: Sequence[str]) -> None:
        super().__init__(stats, setup)
        starts = np.cumsum([0, *(len(stats.regions[name][0]) for name in self.regions)])
        counts = np.zeros((int(starts[-1]), self.classes))
        for place in world.places:
            at, keys = self.regions.index(place.region), stats.regions[place.region][0]
            for chip in place.chips:
                here, which = distinct(to_marks(place.votes(chip, names), setup), stats.sizes)
                rows = np.minimum(np.searchsorted(keys, here), len(keys) - 1)
                met = (keys[rows] == here)[which]  # pixels at which nobody speaks are not counted
                truth = np.searchsorted(CODES, place.truth[chip].ravel())
                np.add.at(counts, (starts[at] + rows[which[met]], truth[met]), 1)
        self.shares_of_rows = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def _posterior(self, at: slice | NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shares = self.shares_of_rows[at]
        return shares, np.zeros(len(shares))

    def _fitted(self, position: int, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._normalised(position, expected)


def fused_of(world: World, names: Sequence[str], method: str) -> tuple[Any, NDArray[Any], NDArray[np.float64]]:
    """The model, and (pixels,) fused codes (0 where no source speaks) and confidence of all chips; method ``known`` is
    `Known`.
    """
    sources = {name: SOURCES[name] | {"catalog": "sandbox", "collection": "x"} for name in names}
    is_known, method = method == "known", method.replace("known", "dawid-skene")
    fusion = {"method": method, "abstain_below": 0.0, "priority": ["osm"] if "osm" in names else []}
    setup = setup_of(Labels.model_validate({"sources": sources, "fuse": fusion}), 2021)
    chips = [(place, chip) for place in world.places for chip in place.chips]
    counted = added(fuse.statistics(place.votes(chip, names), setup, place.region) for place, chip in chips)
    if counted is None:
        raise SystemExit("nothing was counted")
    model = fuse.FusionModel.from_dict(fuse.estimate(counted, setup).to_dict())
    if is_known:
        model = replace(model, estimate=Known(counted, setup, world, names).run())
    silent = np.full((CHIP_PX, CHIP_PX), fuse.ABSTAINED), np.zeros((CHIP_PX, CHIP_PX))
    voted = [(place.votes(chip, names), place.region) for place, chip in chips]
    made = [fuse.apply(model, votes, region) if votes else silent for votes, region in voted]
    classes = np.concatenate([label.ravel() for label, _ in made])
    return (
        model,
        np.append(CODES, 0)[np.minimum(classes, len(CODES))],
        np.concatenate([confidence.ravel() for _, confidence in made]) / 255,
    )
