"""Whether a Deflate-coded block is what its writer stored, by the checksum at its end: `holds`.

libtiff asks libdeflate for no more bytes than a block has, and takes a stream that would give more: its checksum is
then never looked at. Many damaged blocks come back as wrong pixels, without an error.

The checksum (Adler-32, RFC 1950) is of the bytes before their predictor was undone (TIFF 6.0, section 14; TIFF
Technical Note 3), so pixels are predicted again, and what that cannot tell, an inflation does.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sources.tiff_header import COMPRESSION, DEFLATE, PREDICTOR, TiffHeader

NONE, DIFFERENCES, FLOATS = 1, 2, 3
"""Predictors."""


def holds(header: TiffHeader, block: bytes | memoryview, pixels: NDArray[Any]) -> bool:
    """Whether a block is whole; true where it is not coded by Deflate, of which nobody can say it.

    Args:
        header: of its file.
        block: as stored.
        pixels: (bands, rows, columns) decoded, all bands that it holds or some of them.
    """
    if header.decoding_value(COMPRESSION) not in DEFLATE:
        return True
    samples = 1 if header.planar else header.bands
    predictor = header.decoding_value(PREDICTOR) or NONE
    if len(pixels) == samples and predictor in (NONE, DIFFERENCES, FLOATS):
        stored = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        if zlib.adler32(_predicted(stored, predictor, header.order).data) == int.from_bytes(block[-4:], "big"):
            return True
    return inflates(block, samples * pixels[0].nbytes)


def _predicted(stored: NDArray[Any], predictor: int, order: str) -> NDArray[Any]:
    """The bytes that were compressed, of (rows, columns, samples) pixels."""
    rows, columns, samples = stored.shape
    size = stored.dtype.itemsize
    if predictor == FLOATS:  # of each row the first bytes of all numbers, then the second: each less the one before
        planes = stored.astype(stored.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, columns * samples, size)
        line = np.ascontiguousarray(planes.transpose(0, 2, 1)).reshape(rows, -1)
        found = line.copy()
        np.subtract(line[:, samples:], line[:, :-samples], out=found[:, samples:])
        return found
    whole = stored.view(f"u{size}")
    if predictor == DIFFERENCES:
        found = np.empty_like(whole)
        found[:, 0] = whole[:, 0]
        np.subtract(whole[:, 1:], whole[:, :-1], out=found[:, 1:])
        whole = found
    return whole.astype(f"{order}u{size}", copy=False)


def inflates(block: bytes | memoryview, size: int) -> bool:
    """Whether a stream ends in its own checksum; some writers store more than a block has, which GDAL leaves away."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(block, 2 * size + 1)
    except zlib.error:
        return False
    return stream.eof
