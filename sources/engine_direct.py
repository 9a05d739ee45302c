"""The default engine: blocks of GeoTIFFs, each fetched and decoded once for all that needs it.

Files of which GDAL alone knows where their pixels lie and which of them count (no EPSG code, masks inside) are opened
by it and read in whole windows, by their blocks all the same (`sources.block_window`). Those that are not read by
blocks (JPEG 2000, strips without a checksum), and those in object stores that are addressed by bucket, it reads itself,
each file opened once and all its bands in one read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.block_cuts import Piece, cut_of
from sources.block_store import BlockStore, KnownFile, gather, shared_store
from sources.block_window import read_mask, read_window
from sources.engine import blank, outside_values
from sources.faults import READ_ERRORS, as_source_error
from sources.fetch import is_fetchable
from sources.gdal_reads import gdal_reads
from sources.lattice import common_window, unions
from sources.openers import driver_of, unsigned
from sources.own_lattice import check_bands, file_georef, mark_masked, mark_missing, own_georef
from sources.raster_limits import check_open_file
from sources.tiff_header import NotBlocked, TiffHeader
from sources.warp import hull, needed_window, warp_into

log = logging.getLogger(__name__)

WINDOWS_AT_ONCE = 8
"""Files that GDAL reads at the same time."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """The pixels of a window of a file."""

    pixels: NDArray[Any]
    """(bands, rows, columns)."""
    near: GeoRef
    """The file's lattice."""
    window: Window
    """Which part of it."""

    @property
    def georef(self) -> GeoRef:
        """Where the pixels lie."""
        return _georef_of(self.near, self.window)


@dataclass(frozen=True)
class _Group:
    """Targets on one lattice."""

    union: GeoRef
    """The grid that holds them all."""
    members: tuple[int, ...]
    """Which of the targets."""


@dataclass(frozen=True)
class _Read:
    """What is asked of the engine in one call."""

    refs: Sequence[SceneRef]
    """Bands."""
    targets: Sequence[GeoRef]
    """Grids."""
    resampling: str
    """Where lattices differ."""
    opener: Opener
    """How addresses are opened."""
    fill: float | None
    """Value outside, where it is given."""
    outside: Sequence[float]
    """Value outside, for each of the bands."""
    groups: Sequence[_Group]
    """The targets by lattice."""
    files: Mapping[str, Sequence[int]]
    """Address -> which of the bands it holds."""

    def of(self, href: str) -> list[SceneRef]:
        """The bands that a file holds."""
        return [self.refs[place] for place in self.files[href]]


@dataclass(frozen=True)
class _Wanted:
    """What is needed of one file."""

    file: KnownFile
    """What is known of it."""
    georef: GeoRef
    """Its lattice, in the catalog's coordinate system where the file names none."""
    numbers: tuple[int, ...]
    """Blocks."""
    bands: tuple[int, ...]
    """1-based bands for which a block of a file with interleaved bands is decoded."""

    @property
    def nbytes(self) -> int:
        """Of the blocks when they are decoded."""
        return len(self.numbers) * self.file.header.block_bytes(len(self.bands))


@dataclass(frozen=True)
class _Blocks:
    """One file's blocks, on their way."""

    wanted: _Wanted
    """What was asked for."""
    pixels: Mapping[int, Future[NDArray[Any]]]
    """Number of the block -> its bands."""

    def copy(
        self,
        answer: NDArray[Any],
        places: Sequence[int],
        refs: Sequence[SceneRef],
        pieces: Sequence[Piece],
        fill: float | None,
    ) -> None:
        """Copy pieces of the blocks into layers of an answer.

        Args:
            answer: (layers, y, x) on the target that was cut; changed.
            places: which layers.
            refs: their bands.
            pieces: what the file holds of the target.
            fill: what stands outside the raster, where it is given.
        """
        header = self.wanted.file.header
        for place, ref in zip(places, refs, strict=True):
            first = header.block_of(0, 0, ref.band_index)
            band = 0 if header.planar else self.wanted.bands.index(ref.band_index)
            for piece in pieces:
                block = self.pixels[first + piece.number].result()
                part = answer[place, piece.target_rows, piece.target_columns]
                part[...] = block[band, piece.source_rows, piece.source_columns]
                mark_missing(part, header.nodata, ref, fill)


class DirectEngine:
    """See `sources.engine.Engine`.

    Args:
        store: headers and blocks; this process's where absent.
    """

    at_once = 32
    """Items that are worth reading at the same time: each waits twice, for headers and for blocks, while decoders want
    work. Memory is bounded by `BlockStore.room`."""

    def __init__(self, store: BlockStore | None = None) -> None:
        self._store = store
        self._windows = BoundedSemaphore(WINDOWS_AT_ONCE)

    def read(
        self,
        refs: Sequence[SceneRef],
        target: GeoRef,
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> NDArray[Any]:
        """See `sources.engine.Engine.read`."""
        return self.read_each(refs, [target], resampling, opener, fill)[0]

    def read_each(
        self,
        refs: Sequence[SceneRef],
        targets: Sequence[GeoRef],
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> list[NDArray[Any]]:
        """See `sources.engine.Engine.read_each`."""
        dtype, outside = outside_values(refs, fill)
        answers = _empty(len(refs), targets, dtype)
        groups = [
            _Group(union, tuple(int(name) for name in names))
            for union, names in unions({str(place): target for place, target in enumerate(targets)})
        ]
        files: dict[str, list[int]] = {}
        for place, ref in enumerate(refs):
            files.setdefault(ref.href, []).append(place)
        read = _Read(refs, targets, resampling, opener, fill, outside, groups, files)
        known = self._known(files, opener)
        wanted = {href: _wanted(file, read.of(href), read) for href, file in known.items() if file is not None}
        store = self._store or shared_store()
        with store.room(sum(one.nbytes for one in wanted.values())):
            coming = {
                href: _Blocks(one, store.blocks(one.file, one.numbers, one.bands, opener))
                for href, one in wanted.items()
            }
            gather(future for blocks in coming.values() for future in blocks.pixels.values())
            self._answer(answers, coming, read)
        return answers

    def _answer(self, answers: Sequence[NDArray[Any]], coming: Mapping[str, _Blocks], read: _Read) -> None:
        """Fill the answers from blocks that have come, and by GDAL from files without."""
        for group in read.groups:
            warps: dict[int, dict[GeoRef, list[tuple[Sequence[int], _Patch]]]] = {}
            for href, places in read.files.items():
                bands = read.of(href)
                patches: dict[int, _Patch | None] = {}
                if href in coming:
                    blocks = coming[href]
                    near = _near(blocks.wanted.georef, group.union)
                    if near.is_aligned(group.union):
                        for number in group.members:
                            cut = cut_of(near, blocks.wanted.file.header.block_yx, read.targets[number])
                            if not cut.is_whole:
                                _put(answers[number], places, read.outside)
                            blocks.copy(answers[number], places, bands, cut.pieces, read.fill)
                        continue
                    for number in group.members:
                        patches[number] = _patch_of(blocks, bands, near, read.targets[number], read)
                else:
                    whole = self._read_file(href, bands, group, read)
                    patches = {n: _part_of(whole, read.targets[n], read.resampling) for n in group.members}
                for number, patch in patches.items():
                    if patch is not None and not patch.georef.is_aligned(read.targets[number]):
                        warps.setdefault(number, {}).setdefault(patch.georef, []).append((places, patch))
                        continue
                    _put(answers[number], places, read.outside)
                    if patch is not None:
                        _paste(answers[number], places, patch, read.targets[number])
            for number, parts in warps.items():
                _warp(answers[number], read.targets[number], parts, read)

    def _known(self, files: Mapping[str, Sequence[int]], opener: Opener) -> dict[str, KnownFile | None]:
        """Headers, all asked for before the first is waited for; None where GDAL must read the file."""
        store = self._store or shared_store()
        asked = {href: store.header(href, opener) for href in files if is_fetchable(opener.resolve(href))}
        known: dict[str, KnownFile | None] = dict.fromkeys(files)
        for href, future in asked.items():
            try:
                file = future.result()
                file.header.placed()
                known[href] = file
            except NotBlocked as reason:
                log.debug("%s is read by GDAL: %s", unsigned(href), reason)
        return known

    def _read_file(self, href: str, refs: Sequence[SceneRef], group: _Group, read: _Read) -> _Patch | None:
        """By GDAL: the pixels of one file that the targets need; None where they do not meet."""
        opener = read.opener
        resolved = opener.resolve(href)
        try:
            with self._windows, gdal_reads(opener, [href]), _opened(resolved, href, opener) as file:
                check_open_file(file, href)
                source = file_georef(file, refs[0])
                near = _near(source, group.union)
                window = hull([needed_window(near, read.targets[n], read.resampling) for n in group.members])
                if window is None:
                    return None
                check_bands(file.count, file.dtypes[0], refs)
                pixels = read_window(file, href, [ref.band_index for ref in refs], window, opener, self._store)
                tags = [file.nodatavals[ref.band_index - 1] for ref in refs]
                is_masked = file.mask_flag_enums[0] == [MaskFlags.per_dataset]  # an alpha band may be infrared: NAIP
                mask = read_mask(file, href, window, opener) if is_masked else None
        except READ_ERRORS as error:
            raise as_source_error(error, href, resolved) from error
        check_bands(max(ref.band_index for ref in refs), pixels.dtype.name, refs)
        pixels = pixels.astype(refs[0].dtype, copy=False)
        for band, tag, ref in zip(pixels, tags, refs, strict=True):
            mark_missing(band, tag, ref, read.fill)
            if mask is not None:
                mark_masked(band, mask, ref, read.fill)
        return _Patch(pixels, near, window)


def _opened(resolved: str, href: str, opener: Opener) -> Any:
    """The file, open in rasterio; the host's slot is free again, since `read_window` takes one for each range."""
    with opener.slot(href):
        return rasterio.open(resolved, driver=driver_of(href))


def _empty(bands: int, targets: Sequence[GeoRef], dtype: np.dtype[Any]) -> list[NDArray[Any]]:
    """(bands, y, x) for each target, not yet written; of one piece of memory where all are of one shape.

    The system hands out a large piece in large pages: a page fault per 4 KiB costs as much as the copy into it.
    """
    shapes = {target.shape_yx for target in targets}
    if len(shapes) == 1:
        return list(np.empty((len(targets), bands, *shapes.pop()), dtype))
    return [np.empty((bands, *target.shape_yx), dtype) for target in targets]


def _put(answer: NDArray[Any], places: Sequence[int], outside: Sequence[float]) -> None:
    for place in places:
        answer[place] = outside[place]


def _near(source: GeoRef, target: GeoRef) -> GeoRef:
    """The lattice in the target's zone where it is one, else as it is."""
    return source.in_zone(target.epsg) or source


def _wanted(file: KnownFile, refs: Sequence[SceneRef], read: _Read) -> _Wanted:
    """The blocks that the targets need of a file."""
    header = file.header
    check_bands(header.bands, header.dtype, refs)
    source = own_georef(header.placed(), refs[0])
    cells = _cells(source, header, read)
    planes = {header.block_of(0, 0, ref.band_index) for ref in refs}
    bands = (1,) if header.planar else tuple(sorted({ref.band_index for ref in refs}))
    return _Wanted(file, source, tuple(first + cell for first in planes for cell in cells), bands)


def _cells(source: GeoRef, header: TiffHeader, read: _Read) -> list[int]:
    """Blocks of a file's first band that the targets need."""
    cells: dict[int, None] = {}
    for group in read.groups:
        near = _near(source, group.union)
        is_aligned = near.is_aligned(group.union)
        for number in group.members:
            target = read.targets[number]
            if is_aligned:
                cells |= dict.fromkeys(piece.number for piece in cut_of(near, header.block_yx, target).pieces)
            elif (window := needed_window(near, target, read.resampling)) is not None:
                under = header.blocks_under(*window.toslices())
                cells |= dict.fromkeys(header.block_of(row, column, 1) for row, column in under)
    return list(cells)


def _patch_of(blocks: _Blocks, refs: Sequence[SceneRef], near: GeoRef, target: GeoRef, read: _Read) -> _Patch | None:
    """The window of a file that a warp onto the target needs."""
    window = needed_window(near, target, read.resampling)
    if window is None:
        return None
    georef = _georef_of(near, window)
    pixels = np.empty((len(refs), *georef.shape_yx), refs[0].dtype)
    cut = cut_of(near, blocks.wanted.file.header.block_yx, georef)
    blocks.copy(pixels, range(len(refs)), refs, cut.pieces, read.fill)
    return _Patch(pixels, near, window)


def _part_of(patch: _Patch | None, target: GeoRef, resampling: str) -> _Patch | None:
    """What one target needs of a window that several need."""
    window = needed_window(patch.near, target, resampling) if patch is not None else None
    if patch is None or window is None:
        return None
    (top, bottom), (left, right) = window.toranges()
    row, column = patch.window.row_off, patch.window.col_off
    return _Patch(patch.pixels[:, top - row : bottom - row, left - column : right - column], patch.near, window)


def _warp(
    answer: NDArray[Any],
    target: GeoRef,
    parts: Mapping[GeoRef, Sequence[tuple[Sequence[int], _Patch]]],
    read: _Read,
) -> None:
    """Warp onto one target: files that were cut alike together."""
    for georef, found in parts.items():
        places = [place for some, _ in found for place in some]
        members = [read.refs[place] for place in places]
        moved = blank(members, target, read.fill)
        pixels = np.concatenate([patch.pixels for _, patch in found])
        warp_into(moved, range(len(places)), members, pixels, georef, target, read.resampling)
        answer[places] = moved


def _georef_of(near: GeoRef, window: Window) -> GeoRef:
    x0 = near.x0 + window.col_off * near.pixel_size
    y0 = near.y0 - window.row_off * near.height
    return GeoRef(near.epsg, x0, y0, near.pixel_size, (int(window.height), int(window.width)), near.pixel_height)


def _paste(answer: NDArray[Any], places: Sequence[int], patch: _Patch, target: GeoRef) -> None:
    common = common_window(patch.georef, target)
    if common is not None:
        for place, layer in zip(places, patch.pixels, strict=True):
            answer[place, common.target_rows, common.target_columns] = layer[common.source_rows, common.source_columns]
