"""Fingerprints of pictures, and pairs of chips that show the same place twice.

A fingerprint is 256 bits: the signs of the low spatial frequencies of one date (a perceptual hash by cosine
transform). A picture resampled, moved by a pixel, made brighter or noisy keeps most bits; two places share about half
of them. Pairs are found without comparing all with all: of 16 words of 16 bits at least one is equal where at most 15
bits differ (multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import fft

from chips.convert import is_missing
from chips.screen import is_clear

BITS = 256
WORDS = 16
"""Words of 16 bits."""
SIDE = 64
"""The picture is averaged to so many pixels along an edge first."""
FREQUENCIES = 17
"""Cosines along an edge; the mean is left out."""
MIN_KNOWN = 0.8
"""Less of a picture known: no fingerprint."""
MAX_BUCKET = 2000
"""Words that more prints share than this are of no use (flat pictures) and are not followed."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """256 bits of one date."""

    chip_id: str
    """Which chip."""
    modality: str
    """Which modality."""
    bits: str
    """64 hex digits."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Two chips that look alike."""

    kept: str
    """The smaller id."""
    other: str
    """The larger id."""
    modality: str
    """Where they do."""
    similarity: float
    """Share of equal bits, 0..1, of the two dates most alike."""


def fingerprints(chip_id: str, layers: Mapping[str, xr.Dataset]) -> list[Fingerprint]:
    """One per date of the finest layer of each modality that shows structure.

    Args:
        chip_id: the chip.
        layers: group name -> layer (`schemas.chip.check_layer`).
    """
    finest: dict[str, xr.Dataset] = {}
    for group in sorted(layers, key=lambda name: (float(layers[name].attrs["gsd_m"]), name)):
        finest.setdefault(layers[group].attrs["modality"], layers[group])
    found = []
    for modality, layer in sorted(finest.items()):
        data, valid = layer.variables["data"].values, layer.variables["valid"].values
        for date in range(valid.shape[0]):
            band = data[date, -1]
            bits = fingerprint(band, is_clear(valid[date]) & ~is_missing(band, layer.attrs["nodata"]))
            if bits:
                found.append(Fingerprint(chip_id, modality, bits))
    return found


def fingerprint(picture: NDArray[np.generic], known: NDArray[np.bool_]) -> str:
    """64 hex digits; empty where too little is known or nothing is to be seen.

    Args:
        picture: (y, x) one band as stored.
        known: (y, x) where the ground is seen.
    """
    count = np.count_nonzero(known)
    if min(picture.shape) < FREQUENCIES or count < MIN_KNOWN * known.size:
        return ""
    if count == known.size and picture.dtype.kind in "iu" and picture.dtype.itemsize <= 4:
        if picture.min() == picture.max():
            return ""
        averaged = _averaged_whole(picture)
    else:
        values = picture.astype(np.float64)
        if count < known.size:
            values = np.where(known, values, values[known].mean())
        if values.std() == 0.0:
            return ""
        averaged = _averaged(values)
    low = fft.dctn(averaged, norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()[_order()]
    return np.packbits(low > np.median(low)).tobytes().hex()


def find_twins(prints: Iterable[Fingerprint], max_similarity: float) -> list[Twins]:
    """Pairs of chips with dates that share more than ``max_similarity`` of their bits, by ids.

    Args:
        prints: of all chips, in any order.
        max_similarity: 0..1; below 241 of 256 bits (0.94) some pairs are missed.
    """
    ordered = sorted(prints, key=lambda p: (p.modality, p.chip_id, p.bits))
    found: dict[tuple[str, str, str], float] = {}
    limit = int(np.ceil((1.0 - max_similarity) * BITS)) - 1
    for modality in sorted({p.modality for p in ordered}):
        chips = [p.chip_id for p in ordered if p.modality == modality]
        bits = np.frombuffer(bytes.fromhex("".join(p.bits for p in ordered if p.modality == modality)), np.uint8)
        bits = bits.reshape(-1, BITS // 8)
        for one, other, distance in _alike(bits, limit):
            if chips[one] != chips[other]:
                first, second = sorted((chips[one], chips[other]))
                key = (first, second, modality)
                found[key] = max(found.get(key, 0.0), 1.0 - distance / BITS)
    return [Twins(*key, similarity=round(found[key], 4)) for key in sorted(found)]


def to_reject(twins: Sequence[Twins]) -> dict[str, Twins]:
    """Chip id -> why it goes: walking up the ids, a chip goes that looks like one which stays."""
    gone: dict[str, Twins] = {}
    for pair in sorted(twins, key=lambda t: (t.other, t.kept, t.modality)):
        if pair.kept not in gone and pair.other not in gone:
            gone[pair.other] = pair
    return gone


def _averaged(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over blocks, at most 64 along an edge."""
    rows, columns = (max(1, size // SIDE) for size in values.shape)
    cut = values[: values.shape[0] // rows * rows, : values.shape[1] // columns * columns]
    blocks = cut.reshape(cut.shape[0] // rows, rows, cut.shape[1] // columns, columns)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _averaged_whole(values: NDArray[Any]) -> NDArray[np.float64]:
    """`_averaged` of whole numbers of at most 32 bits: their sums are exact, so rows may be added before columns."""
    rows, columns = (max(1, size // SIDE) for size in values.shape)
    down, right = values.shape[0] // rows, values.shape[1] // columns
    cut = values[: down * rows, : right * columns]
    is_short = values.dtype.kind == "u" and values.dtype.itemsize <= 2 and rows * columns <= 1 << 16
    lines: NDArray[np.integer[Any]] = cut[::rows].astype(np.uint32 if is_short else np.int64)
    for row in range(1, rows):
        lines += cut[row::rows]
    sums = lines[:, ::columns].copy()
    for column in range(1, columns):
        sums += lines[:, column::columns]
    return np.asarray(sums / float(rows * columns))


def _alike(bits: NDArray[np.uint8], limit: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of rows with at least one equal word and at most ``limit`` different bits, with these; some repeatedly."""
    words = bits.view(">u2").reshape(len(bits), WORDS)
    for column in range(WORDS):
        order = np.argsort(words[:, column], kind="stable")
        ranked = words[order, column]
        for step in range(1, min(MAX_BUCKET, len(bits))):
            equal = np.flatnonzero(ranked[step:] == ranked[:-step])
            if equal.size == 0:
                break
            one, other = order[equal], order[equal + step]
            distance = np.bitwise_count(bits[one] ^ bits[other]).sum(axis=1)
            for index in np.flatnonzero(distance <= limit):
                yield int(one[index]), int(other[index]), int(distance[index])


@cache
def _order() -> NDArray[np.intp]:
    """Places of the 256 lowest frequencies in a flat (17, 17) array, the mean left out."""
    down, right = np.indices((FREQUENCIES, FREQUENCIES))
    return np.lexsort((down.ravel(), (down + right).ravel()))[1 : BITS + 1]
