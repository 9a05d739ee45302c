"""The first directory of a GeoTIFF or COG: where its blocks lie, how they are stored, and where on Earth.

`parse_header` reads TIFF and BigTIFF in both byte orders. What it does not take on (odd bit depths, strips that are not
coded by Deflate) it says by `NotBlocked`, and GDAL reads the file instead. Of grids that are given by matrices or
control points, of files with a mask and of coordinate systems without an EPSG code it knows the blocks, and not where
they lie: `TiffHeader.placed` says so.

Sources: TIFF 6.0; TIFF Technical Notes 2 and 3; OGC 19-008r4 (GeoTIFF 1.1); OGC 21-026 (COG).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.georef import GeoRef

SUBFILE_TYPE, MASK = 254, 4
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANAR, PREDICTOR = 256, 257, 258, 259, 277, 284, 317
BLOCK_WIDTH, BLOCK_HEIGHT, OFFSETS, COUNTS, EXTRA_SAMPLES, FORMAT = 322, 323, 324, 325, 338, 339
STRIP_OFFSETS, STRIP_HEIGHT, STRIP_COUNTS = 273, 278, 279
DEFLATE = (8, 32946)
"""Values of `COMPRESSION`: the registered one, and that of before."""
PIXEL_SCALE, TIEPOINT, MATRIX, GEOKEYS, NODATA = 33550, 33922, 34264, 34735, 42113
DECODING_TAGS = (BITS, COMPRESSION, FORMAT, EXTRA_SAMPLES, PREDICTOR, 262, 320, 347, 530, 531, 532, 50674)
"""The last: photometric, colour map, JPEG tables, YCbCr sampling, positioning, reference, LERC version."""
RASTER_TYPE, MODEL_TYPE, GEOGRAPHIC_CRS, PROJECTED_CRS, VERTICAL_CRS = 1025, 1024, 2048, 3072, 4096
POINT = 2
MAX_BLOCKS = 4_000_000
"""A raster of more blocks is refused: 2 million pixels a side in blocks of 1024."""
MAX_BLOCK_BYTES = 256 << 20
"""A block that would decode to more is refused, and so is one that is stored in more."""
MAX_ENTRIES = 4096
MAX_DIRECTORIES = 64

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q"}
_SIZES = {kind: struct.calcsize(f"<{form}") for kind, form in _TYPES.items()}
_NUMPY = {kind: np.dtype(form).str[1:] for kind, form in _TYPES.items() if kind not in (2, 5)}
_WANTED = {
    WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANAR, BLOCK_WIDTH, BLOCK_HEIGHT, OFFSETS, COUNTS, FORMAT,
    STRIP_OFFSETS, STRIP_HEIGHT, STRIP_COUNTS, EXTRA_SAMPLES, PIXEL_SCALE, TIEPOINT, MATRIX, GEOKEYS, NODATA,
    *DECODING_TAGS,
}  # fmt: skip
_KINDS = {1: "u", 2: "i", 3: "f"}
_NUMBER = re.compile(r"(?!-?1\.#)[-+]?(\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|nan|inf)", re.IGNORECASE)
"""How the tag of no data begins: some writers name a value for each band (``0 0 0``), of which GDAL takes the first;
``-1.#IND`` was no number on Windows."""

More = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the file; fewer where it ends."""


class NotBlocked(Exception):
    """No file that is read block by block; the message says why."""


class BrokenHeader(Exception):
    """A TIFF whose directory does not hold together."""


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """One raster's layout."""

    georef: GeoRef | str
    """Lattice, or why it is not known: see `placed`."""
    shape_yx: tuple[int, int]
    """Rows and columns."""
    block_yx: tuple[int, int]
    """Rows and columns of a block; those at the edges are padded, but the last strip is short."""
    bands: int
    """Samples per pixel."""
    dtype: str
    """NumPy name of the stored type."""
    planar: bool
    """Whether each band has blocks of its own."""
    nodata: float | None
    """GDAL's no-data tag."""
    offsets: NDArray[np.uint64]
    """(blocks,) first byte of each; plane by plane where `planar`."""
    counts: NDArray[np.uint64]
    """(blocks,) bytes of each; 0 where the block is not stored and all no-data."""
    order: str
    """``<`` or ``>``: byte order of the file, and of its blocks."""
    decoding: tuple[tuple[int, int, int, bytes], ...]
    """(tag, type, count, value as stored): what a decoder must know."""
    in_strips: bool = False
    """Whether blocks are strips."""
    mask: TiffHeader | None = None
    """Of a mask beside the pixels that has a checksum; its samples are single bits, whatever its `dtype` says."""

    def placed(self) -> GeoRef:
        """Where the pixels lie.

        Raises:
            NotBlocked: this header does not tell it, or a mask says which of them count: GDAL must be asked.
        """
        if isinstance(self.georef, str):
            raise NotBlocked(self.georef)
        return self.georef

    @property
    def storage(self) -> tuple[Any, ...]:
        """Equal where blocks of two files, of so many rows each, can be decoded together."""
        return self.block_yx, self.bands, self.dtype, self.planar, self.order, self.decoding, self.in_strips

    def rows_of(self, number: int) -> int:
        """Rows that a block holds."""
        height = self.block_yx[0]
        if not self.in_strips:
            return height
        return min(height, self.shape_yx[0] - number % self.grid_yx[0] * height)

    def decoding_value(self, tag: int) -> int | None:
        """First value of one of `DECODING_TAGS`; None where the file does not have it."""
        for name, kind, _, raw in self.decoding:
            if name == tag and kind in _NUMPY and len(raw):
                return int(np.frombuffer(raw, self.order + _NUMPY[kind], 1)[0])
        return None

    def place_of(self, number: int) -> tuple[int, int]:
        """Where a block lies in the file: its first byte, and how many it has."""
        return int(self.offsets[number]), int(self.counts[number])

    def block_bytes(self, bands: int) -> int:
        """Bytes of so many decoded bands of a block."""
        return math.prod(self.block_yx) * bands * np.dtype(self.dtype).itemsize

    @property
    def grid_yx(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        rows, columns = self.shape_yx
        return math.ceil(rows / self.block_yx[0]), math.ceil(columns / self.block_yx[1])

    def block_of(self, row: int, column: int, band: int) -> int:
        """Number of a block; ``band`` (1-based) matters where `planar`."""
        rows, columns = self.grid_yx
        return row * columns + column + (rows * columns * (band - 1) if self.planar else 0)

    def blocks_under(self, rows: slice, columns: slice) -> list[tuple[int, int]]:
        """(row, column) of the blocks that a window touches, in file order."""
        height, width = self.block_yx
        return [
            (row, column)
            for row in range(rows.start // height, -(-rows.stop // height))
            for column in range(columns.start // width, -(-columns.stop // width))
        ]


def parse_header(head: bytes, more: More) -> TiffHeader:
    """The layout in the first bytes of a file.

    Args:
        head: the file's beginning, some kilobytes.
        more: fetches what lies beyond.

    Raises:
        NotBlocked: a file for GDAL.
        BrokenHeader: no TIFF, or one that contradicts itself.
    """
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise NotBlocked("not a TIFF")
    source = _Source(head, more, "<" if head[:2] == b"II" else ">")
    try:
        is_big = head[2:4] in (b"+\0", b"\0+")
        start = int(source.unpack("Q", 8)[0] if is_big else source.unpack("I", 4)[0])
        entries, following = _entries(source, is_big, start)
        header = _header(source, entries)
        if mask := _mask_directory(source, following, is_big):
            return replace(header, georef="a mask beside its pixels", mask=_mask(source, is_big, mask))
        return header
    except (struct.error, IndexError, OverflowError) as error:
        raise BrokenHeader(f"its directory is torn: {error}") from error


@dataclass
class _Source:
    head: bytes
    more: More
    order: str

    def bytes_at(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        found = self.more(offset, length)
        if len(found) < length:
            raise BrokenHeader(f"the file ends before byte {offset + length}")
        return found[:length]

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        form = self.order + form
        return struct.unpack(form, self.bytes_at(offset, struct.calcsize(form)))


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    raw: bytes


def _entries(source: _Source, is_big: bool, start: int) -> tuple[dict[int, _Entry], int]:
    """Tag -> entry of a directory, and where the next one begins (0: nowhere); long values are fetched, those that
    nobody needs are not.
    """
    (number,) = source.unpack("Q" if is_big else "H", start)
    if not 0 < number <= MAX_ENTRIES:
        raise BrokenHeader(f"a directory of {number} entries")
    form, head = ("HHQ8s", 8) if is_big else ("HHI4s", 2)
    pointer, size = source.order + ("Q" if is_big else "I"), number * struct.calcsize(source.order + form)
    table = source.bytes_at(start + head, size + struct.calcsize(pointer))
    entries = {}
    for tag, kind, count, value in struct.iter_unpack(source.order + form, table[:size]):
        if tag not in _WANTED or kind not in _TYPES:
            continue
        length = count * _SIZES[kind]
        if length > MAX_BLOCKS * 8:
            raise BrokenHeader(f"tag {tag} of {length} bytes")
        if length > len(value):
            (offset,) = struct.unpack(pointer, value)
            value = source.bytes_at(offset, length)
        entries[tag] = _Entry(kind, count, value[:length])
    return entries, int(struct.unpack(pointer, table[size:])[0])


def _mask_directory(source: _Source, start: int, is_big: bool) -> int:
    """Where a mask's directory lies among those from ``start`` on, 0 if none: known by its first tag, the lowest. Most
    files have it before their overviews; one that was given its mask later has it behind them.
    """
    form, head, size, pointer = ("QHHQI", 8, 20, "Q") if is_big else ("HHHII", 2, 12, "I")
    for _ in range(MAX_DIRECTORIES):
        if not start:
            break
        number, tag, kind, _, value = source.unpack(form, start)
        if tag == SUBFILE_TYPE and kind == 4 and value & MASK:
            return start
        if not 0 < number <= MAX_ENTRIES:
            raise BrokenHeader(f"a directory of {number} entries")
        (start,) = source.unpack(pointer, start + head + size * number)
    return 0


def _mask(source: _Source, is_big: bool, start: int) -> TiffHeader | None:
    """Where the blocks of a mask lie; None where it has no checksum, or is left to GDAL."""
    try:
        mask = _header(source, _entries(source, is_big, start)[0], is_mask=True)
    except (NotBlocked, BrokenHeader):
        return None
    return mask if mask.decoding_value(COMPRESSION) in DEFLATE else None


def _header(source: _Source, entries: dict[int, _Entry], is_mask: bool = False) -> TiffHeader:
    def numbers(tag: int) -> NDArray[Any] | None:
        entry = entries.get(tag)
        if entry is None or entry.kind in (2, 5):
            return None
        return np.frombuffer(entry.raw, source.order + _NUMPY[entry.kind])

    def number(tag: int, default: int | None = None) -> int:
        found = numbers(tag)
        if found is None or not found.size:
            if default is None:
                raise BrokenHeader(f"tag {tag} is missing")
            return default
        return int(found[0])

    in_strips = OFFSETS not in entries or BLOCK_WIDTH not in entries
    if in_strips and number(COMPRESSION, 1) not in DEFLATE:
        raise NotBlocked("no tiles")  # nor a checksum, for which alone strips are read here
    shape_yx = number(HEIGHT), number(WIDTH)
    if in_strips:
        block_yx = min(number(STRIP_HEIGHT, shape_yx[0]), shape_yx[0]), shape_yx[1]
    else:
        block_yx = number(BLOCK_HEIGHT), number(BLOCK_WIDTH)
    bands, planar = number(SAMPLES, 1), number(PLANAR, 1) == 2
    if min(*shape_yx, *block_yx, bands) < 1:
        raise BrokenHeader(f"a raster of {shape_yx} pixels in blocks of {block_yx}, {bands} bands")
    dtype = "uint8" if is_mask else _dtype(numbers(BITS), numbers(FORMAT), bands)
    across = math.ceil(shape_yx[0] / block_yx[0]) * math.ceil(shape_yx[1] / block_yx[1]) * (bands if planar else 1)
    if across > MAX_BLOCKS:
        raise BrokenHeader(f"{across} blocks are more than {MAX_BLOCKS}")
    if math.prod(block_yx) * (1 if planar else bands) * np.dtype(dtype).itemsize > MAX_BLOCK_BYTES:
        raise BrokenHeader(f"a block of {block_yx} pixels and {bands} bands is more than {MAX_BLOCK_BYTES >> 20} MiB")
    offsets = numbers(STRIP_OFFSETS if in_strips else OFFSETS)
    counts = numbers(STRIP_COUNTS if in_strips else COUNTS)
    if offsets is None or counts is None or len(offsets) != across or len(counts) != across:
        if in_strips:
            raise NotBlocked("strips whose lists do not fit")  # libtiff helps itself
        raise BrokenHeader(f"the lists of blocks do not hold {across} entries")
    if int(counts.max()) > MAX_BLOCK_BYTES:
        raise BrokenHeader(f"a block of {counts.max()} bytes is more than {MAX_BLOCK_BYTES >> 20} MiB")
    nodata = _nodata(entries.get(NODATA), dtype)
    decoding = [(tag, entries[tag]) for tag in DECODING_TAGS if tag in entries]
    return TiffHeader(
        georef=_georef(numbers(PIXEL_SCALE), numbers(TIEPOINT), MATRIX in entries, numbers(GEOKEYS), shape_yx),
        shape_yx=shape_yx,
        block_yx=block_yx,
        bands=bands,
        dtype=dtype,
        planar=planar,
        nodata=nodata,
        offsets=offsets.astype(np.uint64),
        counts=counts.astype(np.uint64),
        order=source.order,
        decoding=tuple((tag, entry.kind, entry.count, entry.raw) for tag, entry in decoding),
        in_strips=in_strips,
    )


def _dtype(bits: NDArray[Any] | None, formats: NDArray[Any] | None, bands: int) -> str:
    depths = {1} if bits is None else set(bits.tolist())
    kinds = {1} if formats is None else set(formats.tolist())
    if len(depths) != 1 or len(kinds) != 1:
        raise NotBlocked("bands of several types")
    depth, kind = depths.pop(), _KINDS.get(kinds.pop(), "")
    if kind == "" or depth not in ((32, 64) if kind == "f" else (8, 16, 32, 64)):
        raise NotBlocked(f"samples of {depth} bits")
    return np.dtype(f"{kind}{depth // 8}").name


def _nodata(entry: _Entry | None, dtype: str) -> float | None:
    if entry is None:
        return None
    found = _NUMBER.match(entry.raw.split(b"\0")[0].decode("ascii", "replace").strip())
    if found is None:
        return None
    value = float(found[0])
    limits = np.iinfo(dtype) if np.dtype(dtype).kind != "f" else None
    return None if limits is not None and not limits.min <= value <= limits.max else value


def _georef(
    scale: NDArray[Any] | None,
    tiepoints: NDArray[Any] | None,
    has_matrix: bool,
    keys: NDArray[Any] | None,
    shape_yx: tuple[int, int],
) -> GeoRef | str:
    """The lattice, or why this header does not tell it."""
    if has_matrix or scale is None or tiepoints is None or len(scale) < 2 or len(tiepoints) != 6:
        return "its grid is not one tie point and a pixel size"
    if scale[0] <= 0 or abs(scale[0] - scale[1]) > 1e-6 * scale[0]:
        return "pixels that are not square"
    known = _geokeys(keys)
    if VERTICAL_CRS in known or keys is None:
        return "a coordinate system of another kind"
    code = known.get(PROJECTED_CRS) or (known.get(GEOGRAPHIC_CRS) if known.get(MODEL_TYPE) == 2 else None)
    if code is None or not 1024 <= code < 32767:
        return "no EPSG code"
    size = float(scale[0])
    shift = 0.5 if known.get(RASTER_TYPE) == POINT else 0.0
    x0 = float(tiepoints[3]) - (float(tiepoints[0]) + shift) * size
    y0 = float(tiepoints[4]) + (float(tiepoints[1]) + shift) * float(scale[1])
    return GeoRef(int(code), x0, y0, size, shape_yx)


def _geokeys(keys: NDArray[Any] | None) -> dict[int, int]:
    """Short values of the GeoKey directory."""
    if keys is None or len(keys) < 4:
        return {}
    rows: Sequence[Sequence[int]] = keys[4 : 4 + 4 * int(keys[3])].reshape(-1, 4).tolist()
    return {key: value for key, location, _, value in rows if location == 0}
