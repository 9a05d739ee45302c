"""What a plan will cost before anything is spent: bytes to read, requests, bytes on disk, time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.convert import stored_form
from chips.plan import LayerPlan, layer_georef
from chips.windows import spans_of
from schemas.chip import ChipSpec
from schemas.georef import GeoRef
from schemas.legend import load_legend
from schemas.recipe import Labels, Modality, Recipe
from schemas.recipe_targets import LABEL, DegradedTarget, FractionsTarget, MaskTarget, PairTarget, Target
from schemas.scene import SceneItem

BLOCK_PX = 512
"""Edge of a usual COG block, in pixels."""
HEAD_BYTES = 16 << 10
"""What is read of a file for its header: a smaller file is here with it."""
METRES_PER_DEGREE = 111_195.0
"""Of a great circle: how large the pixels of rasters in degrees are, about."""
READ_BYTES_PER_S = 40e6
"""Raw bytes that a worker reads, converts, checks and writes per second, about."""
GDAL_OPENS = 3
"""Requests before the first block of a file that GDAL reads: our look at its format, its size, its header."""
PIECES_PER_S = 100.0
"""Files opened and pieces of a block's size read that a worker gets through per second, several in flight, about."""
MEMBER_BYTES = 1_024
"""What a tar adds to a member: its header, that of the array, what fills the last block."""
LARGE_SHARD = 2_000_000_000
"""Bytes from which a shard is told of: a Zarr shard is made in memory as a whole, and a refresh writes whole shards."""
DOCUMENT_BYTES = {"row": 4_000, "layer": 1_200, "osm": 15_000, "kind of text": 4_000}
"""Of a chip's JSON: its row, what the row says of each layer, vectors of a square kilometre, texts of each kind;
measured on the sandbox, where towns are small."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is read beside imagery, about: no counter of a run holds it."""

    read_bytes: int = 0
    """Raw bytes of the blocks of class rasters and elevation that the windows touch."""
    requests: int = 0
    """Ranges of them to ask for."""
    files: int = 0
    """Files of other machines that are fetched whole, once a machine: OpenStreetMap extracts, vector layers."""
    file_bytes: int = 0
    """Their bytes, as far as their items say them."""
    queries: int = 0
    """To an Overpass server."""
    unknown: tuple[str, ...] = ()
    """Label sources and modalities of which something is in no figure, since nobody says it."""

    def notes(self) -> list[str]:
        """What is not known, in a line; empty where all is."""
        if not self.unknown:
            return []
        return [f"how much of {', '.join(self.unknown)} is read, nobody says before: it is in no figure"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is read and stored at most: dates that clouds rule out are neither."""

    chips: int
    """Chips planned."""
    tiles: int
    """Units of work."""
    items: int
    """Distinct items over the chips."""
    read_bytes: int
    """Raw bytes of the blocks, masks' too, that the windows touch, before compression: each once per tile, and no more
    of a file than it holds. Blocks hold all bands of their file."""
    requests: int
    """Ranges to ask for: runs of neighbouring blocks, no more than a file has blocks, and one header per file, with
    which a small file comes whole. Engines that read through GDAL share no block among tiles, and open a file in three
    requests."""
    disk_bytes: int
    """Raw bytes of the shards, all kinds together: arrays at most, documents about. Zarr packs them smaller."""
    window_bytes: int = 0
    """Raw bytes of the windows alone, what goes through the workers; like `pieces`, zero in plans of before."""
    pieces: int = 0
    """Files that tiles open, and pieces of a block's size that they take of them, from memory or not."""
    beside: Beside = Beside()
    """Labels and elevation, which are in no other figure."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Estimate:
        """What `dataclasses.asdict` made of one, by way of JSON; plans of before know nothing beside imagery."""
        beside = dict(stored.get("beside", {}))
        return cls(**{**stored, "beside": Beside(**{**beside, "unknown": tuple(beside.get("unknown", ()))})})

    def work_bytes(self, kinds: int) -> int:
        """Bytes of unfinished work beside the shards, about: what was read and labelled lies raw in ``work/`` until the
        version is published, and stays until the next run or ``gc --work``.

        Args:
            kinds: in how many forms the shards are written.
        """
        return self.disk_bytes // max(1, kinds)

    def seconds(self, workers: int) -> float:
        """About how long some workers read: asking goes on beside it. Start, labels and texts are not counted."""
        return max(self.window_bytes / READ_BYTES_PER_S, self.pieces / PIECES_PER_S) / max(1, workers)


@dataclass(frozen=True)
class Touched:
    """P pairs of a tile and an item of one modality or label source."""

    tile: NDArray[np.int64]
    """(P,) number of the tile."""
    chips: NDArray[np.int64]
    """(P,) how many of its chips the item touches."""
    item: NDArray[np.int64]
    """(P,) number of the item."""

    @property
    def items(self) -> int:
        """How many distinct items."""
        return int(np.count_nonzero(np.bincount(self.item)))


def estimate(
    recipe: Recipe,
    layers: Sequence[LayerPlan],
    chips_per_tile: NDArray[np.int64],
    touched: Mapping[str, Touched],
    examples: Mapping[str, SceneItem],
    file_bands: Mapping[str, int],
    sample: Sequence[ChipSpec],
) -> Estimate:
    """Bytes, requests and disk of a plan.

    Args:
        recipe: the recipe.
        layers: the modality groups.
        chips_per_tile: (T,) chips of each tile.
        touched: modality -> its pairs.
        examples: modality -> one of its items.
        file_bands: address of a file of these items -> bands that it holds; one where it is not named.
        sample: some chips, for their size.
    """
    chips, tiles = int(chips_per_tile.sum()), len(chips_per_tile)
    windows = pieces = 0
    disk = round(chips * float(np.mean([_beside_layers(chip, recipe) for chip in sample])))
    for layer in layers:
        pairs, modality = touched[layer.modality], recipe.modalities[layer.modality]
        pixels = float(np.mean([_pixels(chip, layer, recipe) for chip in sample]))
        amount = pairs.chips * (pixels * np.dtype(layer.dtype).itemsize)
        assets = len({ref.href for ref in examples[layer.modality].refs if ref.band in layer.bands})
        windows += int(amount.sum() * len(layer.bands))
        pieces += assets * int((1 + np.ceil(amount / (2 * BLOCK_PX**2))).sum())
        stored = np.dtype(stored_form(layer.dtype, layer.nodata, layer.unit, modality)[0]).itemsize * len(layer.bands)
        offered, wanted = np.bincount(pairs.tile, minlength=tiles), _most_dates(modality, recipe, sample)
        dates = np.full(tiles, wanted) if modality.select.keep_missing else np.minimum(offered, wanted)
        beside = 2 if modality.composite else 1  # validity, and how many dates a composite was made of
        disk += int((dates * chips_per_tile).sum() * pixels * (stored + beside))
        disk += chips * (MEMBER_BYTES * (1 + beside) + DOCUMENT_BYTES["layer"])
    items = sum(touched[name].items for name in recipe.modalities if name in touched)
    read, requests = _asked_for(recipe, layers, touched, examples, file_bands, sample)
    return Estimate(chips, tiles, items, read, requests, disk * len(recipe.write.kinds), windows, pieces)


def shard_notes(recipe: Recipe, found: Estimate, most_chips: int) -> list[str]:
    """Shards that will be far larger than anybody wants, and what makes them smaller.

    Args:
        recipe: the recipe.
        found: what its plan costs.
        most_chips: chips of the largest split.
    """
    write, kinds = recipe.write, recipe.write.kinds
    chip_bytes = found.disk_bytes / len(kinds) / max(1, found.chips)
    if chip_bytes > LARGE_SHARD:
        mend = "take a smaller grid.chip_m, fewer windows or a smaller select.max_dates"
        return [f"one chip holds up to {_gigabytes(chip_bytes)} GB, and no shard is smaller than a chip: {mend}"]
    of_tar = write.shard_chips if write.shard_chips is not None else max(1.0, write.shard_bytes / max(1.0, chip_bytes))
    sizes = {
        "tar": ("shard_bytes" if write.shard_chips is None else "shard_chips", of_tar, "a refresh writes all of it"),
        "Zarr shard": ("zarr_shard_chips", write.zarr_shard_chips, "it is made in a worker's memory"),
    }
    notes = []
    for name, (key, wanted, why) in sizes.items():
        size = min(wanted, most_chips) * chip_bytes
        if size > LARGE_SHARD and (name == "tar" or "zarr" in kinds):
            notes.append(f"a {name} holds up to {_gigabytes(size)} GB, and {why}: take a smaller write.{key}")
    return notes


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f}"


def _asked_for(
    recipe: Recipe,
    layers: Sequence[LayerPlan],
    touched: Mapping[str, Touched],
    examples: Mapping[str, SceneItem],
    file_bands: Mapping[str, int],
    sample: Sequence[ChipSpec],
) -> tuple[int, int]:
    """Raw bytes of blocks, and requests, of all modalities with their masks."""
    read = requests = 0.0
    for name in dict.fromkeys(layer.modality for layer in layers):
        files = {ref.href: ref for ref in (*examples[name].refs, *examples[name].masks)}
        layer = next(one for one in layers if one.modality == name)
        edge_m = layer.gsd_m * float(np.mean([_pixels(chip, layer, recipe) ** 0.5 for chip in sample]))
        is_shared, tile_chips = recipe.modalities[name].engine == "direct", recipe.grid.tile_chips
        for href, ref in files.items():
            pixel_m = metres_of(ref.georef)
            shape_yx = ref.georef.shape_yx
            pixels, runs = blocks_over(touched[name], edge_m, tile_chips, pixel_m, shape_yx, is_shared=is_shared)
            pixel_bytes = np.dtype(ref.dtype).itemsize * file_bands.get(href, 1)
            if math.prod(ref.georef.shape_yx) * pixel_bytes < HEAD_BYTES:
                runs = 0.0
            read += pixels * pixel_bytes
            requests += touched[name].items * (1 if is_shared else GDAL_OPENS) + runs
    return int(read), int(requests)


def metres_of(raster: GeoRef) -> float:
    """Edge of a stored pixel in metres, about: that of a raster in degrees along a meridian."""
    return raster.pixel_size * (1.0 if raster.is_in_metres else METRES_PER_DEGREE)


def blocks_over(
    pairs: Touched,
    edge_m: float,
    tile_chips: int,
    pixel_m: float,
    shape_yx: tuple[int, int] | None,
    *,
    is_shared: bool,
) -> tuple[float, float]:
    """Pixels of the blocks that the windows of tiles touch in files like one, and runs of blocks.

    A window of w pixels touches w / 512 + 1 rows of blocks on average, wherever it lies. Chips of a tile share blocks:
    there are no more than those of the whole tile. Tiles share them too, and mostly find them in a worker's memory.

    Args:
        pairs: tiles and items.
        edge_m: edge of a chip.
        tile_chips: chips along a tile's edge.
        pixel_m: edge of a pixel of one of the files, as stored.
        shape_yx: rows and columns of one of the files, where they are known.
        is_shared: whether tiles share blocks, so that no more are asked for than a file has.
    """
    of_chip, of_tile = (edge_m * count / (pixel_m * BLOCK_PX) + 1 for count in (1, tile_chips))
    blocks = np.bincount(pairs.item, weights=np.minimum(pairs.chips * of_chip**2, of_tile**2))
    runs = np.bincount(pairs.item, weights=np.minimum(pairs.chips * of_chip, of_tile))
    pixels = blocks * BLOCK_PX**2
    if shape_yx is not None:
        pixels = np.minimum(pixels, math.prod(shape_yx))
        if is_shared:
            runs = np.minimum(runs, math.prod(math.ceil(edge / BLOCK_PX) for edge in shape_yx))
    return float(pixels.sum()), float(runs.sum())


def _pixels(chip: ChipSpec, layer: LayerPlan, recipe: Recipe) -> int:
    shape = layer_georef(chip, layer, recipe.modalities[layer.modality], ()).shape_yx
    return shape[0] * shape[1]


def _most_dates(modality: Modality, recipe: Recipe, sample: Sequence[ChipSpec]) -> int:
    """Most dates of a chip: so many in each of its windows."""
    windows = max(len(spans_of(modality.time or recipe.time, chip)) for chip in sample)
    return windows * (1 if modality.composite else modality.select.max_dates)


def _beside_layers(chip: ChipSpec, recipe: Recipe) -> float:
    """Bytes of a chip's labels, targets and documents."""
    shape = chip.georef(recipe.grid.gsd_m).shape_yx
    pixels, square_km = shape[0] * shape[1], shape[0] * shape[1] * recipe.grid.gsd_m**2 / 1e6
    arrays: list[float] = []  # bytes of each for a pixel of the labels
    found = DOCUMENT_BYTES["row"]
    if recipe.labels is not None:
        sources = recipe.labels.sources.values()
        arrays += [code_bytes(one.legend_name()) for one in sources]
        arrays += [1, 1] if recipe.labels.fuse else []
        arrays += [_target_bytes(one, recipe.labels, recipe.grid.gsd_m) for one in recipe.labels.targets.values()]
        found += round(DOCUMENT_BYTES["osm"] * square_km) * any(one.kind == "osm" for one in sources)
    if recipe.captions is not None:
        found += DOCUMENT_BYTES["kind of text"] * len(recipe.captions.kinds)
    return sum(pixels * size + MEMBER_BYTES for size in arrays) + found


def code_bytes(legend: str) -> int:
    """Bytes of a pixel that holds a legend's codes, no data included."""
    known = load_legend(legend)
    return 2 if max(*known.nodata, *(entry.code for entry in known.classes)) > 255 else 1


def _target_bytes(target: Target, labels: Labels, gsd_m: float) -> float:
    """Bytes of a target's array for a pixel of the labels; 0 where it is a column or a document."""
    if isinstance(target, PairTarget):
        return 3.0
    if isinstance(target, MaskTarget | DegradedTarget):
        return 1.0
    cell_m = getattr(target, "cell_m", None)
    if cell_m is None:
        return 0.0
    layers = 1
    if isinstance(target, FractionsTarget):
        fused = labels.fuse.legend if labels.fuse else ""
        layers = len(load_legend(fused if target.of == LABEL else labels.sources[target.of].legend_name()).classes)
    return 4.0 * layers * (gsd_m / float(cell_m)) ** 2
