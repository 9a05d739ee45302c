"""Fingerprints of pictures, and pairs of chips that show the same place twice.

A fingerprint is 256 bits: the signs of the low spatial frequencies of one date (a perceptual hash by cosine
transform). A picture resampled, moved by a pixel, made brighter or noisy keeps most bits; two places share about half
of them. Twins are found without comparing all with all: of 16 words of 16 bits at least one is equal where at most 15
bits differ (multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
MAX_FLAT = 0.95
"""A picture of which a larger share holds one single value has no fingerprint: its bits would be the place of the few
other pixels. In a map of classes, sea with a rock then was the twin of wood with a clearing."""
MAX_BUCKET = 2000
"""Words that more prints of staying chips share than this are of no use (flat pictures) and are not followed."""


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
    """The smaller id: the first chip that stays and looks like the other."""
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
    if _is_flat(picture.ravel() if count == known.size else picture[known]):
        return ""
    if count == known.size and picture.dtype.kind in "iu" and picture.dtype.itemsize <= 4:
        averaged = _averaged_whole(picture)
    else:
        values = picture.astype(np.float64)
        if count < known.size:
            values = np.where(known, values, values[known].mean())
        averaged = _averaged(values)
    low = fft.dctn(averaged, norm="ortho")[:FREQUENCIES, :FREQUENCIES].ravel()[_order()]
    return np.packbits(low > np.median(low)).tobytes().hex()


def find_twins(prints: Iterable[Fingerprint], max_similarity: float) -> list[Twins]:
    """Chips with a date that shares more than ``max_similarity`` of its bits with one of a chip before them, by ids.

    Walking up the ids, a chip stays that looks like none which stays; each of the others comes once, beside the first
    that it looks like. So five hundred chips of one place are 499 pairs, found in as many steps.

    Args:
        prints: of all chips, in any order.
        max_similarity: 0..1; below 241 of 256 bits (0.94) some twins are missed.
    """
    of_chips: dict[str, list[Fingerprint]] = defaultdict(list)
    for one in prints:
        of_chips[one.chip_id].append(one)
    limit = int(np.ceil((1.0 - max_similarity) * BITS)) - 1
    staying: dict[str, _Staying] = defaultdict(_Staying)
    found = []
    for chip_id in sorted(of_chips):
        nearest: dict[tuple[str, str], int] = {}
        for one in of_chips[chip_id]:
            for kept, distance in staying[one.modality].like(one, limit):
                pair = kept, one.modality
                nearest[pair] = min(distance, nearest.get(pair, BITS))
        if nearest:
            kept, modality = min(nearest)
            found.append(Twins(kept, chip_id, modality, round(1.0 - nearest[kept, modality] / BITS, 4)))
            continue
        for one in of_chips[chip_id]:
            staying[one.modality].add(one)
    return found


def to_reject(twins: Iterable[Twins]) -> dict[str, Twins]:
    """Chip id -> why it goes: of what `find_twins` found, or of all pairs, as versions made before have them."""
    gone: dict[str, Twins] = {}
    for pair in sorted(twins, key=lambda t: (t.other, t.kept, t.modality)):
        if pair.kept not in gone and pair.other not in gone:
            gone[pair.other] = pair
    return gone


class _Staying:
    """Prints of chips that stay, of one modality, by the words that they hold."""

    def __init__(self) -> None:
        self._chips: list[str] = []
        self._rows = np.empty((1024, BITS // 64), np.uint64)
        self._holding: list[dict[int, array[int]]] = [{} for _ in range(WORDS)]

    def add(self, one: Fingerprint) -> None:
        """Take one in."""
        number, row = len(self._chips), _row(one)
        if number == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[number] = row
        self._chips.append(one.chip_id)
        for holding, word in zip(self._holding, row.view(np.uint16).tolist(), strict=True):
            if word not in holding:
                holding[word] = array("L")
            holding[word].append(number)

    def like(self, one: Fingerprint, limit: int) -> Iterator[tuple[str, int]]:
        """Chip and different bits of those that share a word, and differ in ``limit`` bits at most."""
        row = _row(one)
        words = zip(self._holding, row.view(np.uint16).tolist(), strict=True)
        sharing = [part for holding, word in words if (part := holding.get(word)) and len(part) <= MAX_BUCKET]
        if not sharing:
            return
        numbers = np.concatenate([np.frombuffer(part, np.dtype("L")) for part in sharing])
        distances = np.bitwise_count(self._rows[numbers] ^ row).sum(axis=1)
        for place in np.flatnonzero(distances <= limit).tolist():
            yield self._chips[numbers[place]], int(distances[place])


def _row(one: Fingerprint) -> NDArray[np.uint64]:
    return np.frombuffer(bytes.fromhex(one.bits), np.uint64)


def _is_flat(values: NDArray[np.generic]) -> bool:
    """Whether more than `MAX_FLAT` of some values are the same: that one then is the median of a few of them."""
    few = values[:: values.size // 512 | 1]  # an odd step: no column of a picture is looked at alone
    middle = np.partition(few, few.size // 2)[few.size // 2]
    if np.count_nonzero(few == middle) < 0.8 * few.size:
        return False
    return bool(np.count_nonzero(values == middle) > MAX_FLAT * values.size)


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


@cache
def _order() -> NDArray[np.intp]:
    """Places of the 256 lowest frequencies in a flat (17, 17) array, the mean left out."""
    down, right = np.indices((FREQUENCIES, FREQUENCIES))
    return np.lexsort((down.ravel(), (down + right).ravel()))[1 : BITS + 1]
