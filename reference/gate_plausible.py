"""Gate *plausible*: what is stored is what ground, sun and sensors can give.

What all chips of a dataset share teaches a model as well as what is right: bands under each other's names, decibels
called power, reflectance ten times too high, pictures upside down with labels upside down pass every gate that trains,
and the model fails on anybody else's pictures. Physics tells. Each check has a control, the same numbers spoilt; one
that would let its control through (brightness over the open sea, the sun at the equator) says nothing of this dataset,
and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.findings import Finding, not_here, rounded
from reference.plausible import Edges, Floats, Gathered, Spectrum, gather
from schemas.recipe_gates import PlausibleGate
from shards.reader import Dataset

ABSORBED_NM = ((750.0, 775.0), (890.0, 990.0), (1340.0, 1460.0), (1790.0, 1990.0), (2300.0, 3000.0))
"""Where oxygen and water vapour leave little light, or sensors little signal: such bands are not compared."""
SHAPE_NM = (400.0, 1000.0)
"""Where spectra of ground are judged by their shape."""
PEAK_FACTOR, PEAK_REFLECTANCE = 2.0, 0.2
"""No ground is twice as bright in one band as in both beside it, nor half as bright, where the brighter reflect a
fifth: leaves, soil, water, ice and clouds change slower from one to the next of the bands that satellites have."""
RED_NM, RED_EDGE_NM = 640.0, (680.0, 780.0)
"""From the first on air adds little, so that bands agree whether or not it was taken off; but for where leaves turn
from dark to bright within a few nanometres."""
SAME_BAND = 0.04
"""Bands whose centres differ by less of their wavelength see the same."""
SAME_DAYS = 8.0
"""Two sensors are compared where their dates lie so near."""
LEAST_PAIRS, LEAST_NEIGHBOURS = 3, 8
"""Pairs of acquisitions, and of neighbours, that a comparison needs: a seam or two may lie along a road or a shore."""
GAP, GAP_SHARE = 0.03, 0.35
"""Reflectance, and share of the brighter, by which sensors may differ: dates, angles, and air. Sentinel-2 and Landsat 8
of one day over Wervik differ by 0.052 of 0.248 at the most."""
EITHER = 0.02
"""Reflectance that counts for nothing where names are compared: bands that look alike cannot be told apart."""
DB_RANGE = (-45.0, -0.5)
"""Mean backscatter of a chip: calm water to the densest city."""
CROSS = {"VH": "VV", "HV": "HH"}
"""Polarisation of which less comes back -> that of which more does."""
FAR = 1.5
"""A seam is judged where the far side of a chip differs by so many times more than the next pixel."""
SUN_OFF_DEG = 12.0
"""Items tell the sun's height in the middle of their scene, up to two degrees from a chip's."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, of one modality."""

    name: str
    """Of `PlausibleGate`."""
    of: str
    """Modality, or several."""
    found: float
    """Measured; above ``limit`` is refused."""
    control: float
    """The same of what was spoilt."""
    limit: float
    """Threshold."""
    wrong: str
    """What is wrong where it is refused."""

    @property
    def is_refused(self) -> bool:
        """Whether the dataset fails it."""
        return self.found > self.limit

    @property
    def says(self) -> bool:
        """Whether it says anything of this dataset."""
        return self.is_refused or self.control > self.limit


def plausible(dataset: Dataset, rule: PlausibleGate) -> Finding:
    """Scale and order of bands, agreement of sensors, backscatter, the sun's height, and seams of neighbours."""
    gathered = gather(dataset)
    checks = list(checks_of(gathered, rule))
    judged = [check for check in checks if check.says]
    if not checks:
        return not_here("plausible", "no sensor that there is a check for has a clear pixel in the chips looked at")
    if not judged:
        return not_here("plausible", "no check would see its own control in these modalities")
    refused = [check for check in judged if check.is_refused]
    said = f"{len(judged)} checks of {', '.join(dict.fromkeys(check.name for check in judged))}"
    said += "".join(f"; {check.of}: {check.wrong} ({check.found:.3g}, {check.limit:g} at most)" for check in refused)
    return Finding(
        "plausible",
        not refused,
        said,
        {f"{check.name} {check.of}": rounded(check.found) for check in judged},
        rule.model_dump(),
        "reflectance ten and a hundred times off, bands and polarisations exchanged, decibels for power, the other "
        "hemisphere's sun, pictures upside down",
        {f"{check.name} {check.of}": rounded(check.control) for check in judged},
        all(check.control > check.limit or check.is_refused for check in judged),
        tuple(
            {
                "check": check.name,
                "of": check.of,
                "found": rounded(check.found),
                "control": rounded(check.control),
                "limit": check.limit,
                "said": "refused" if check.is_refused else "holds" if check.says else "says nothing here",
            }
            for check in checks
        ),
    )


def checks_of(gathered: Gathered, rule: PlausibleGate) -> Iterator[Check]:
    """All checks that there are pixels for."""
    for modality, spectra in gathered.spectra.items():
        light = brightness(spectra)
        yield Check("max_reflectance", modality, light, 10.0 * light, rule.max_reflectance, "brighter than snow")
        dark = rule.min_reflectance / max(light, 1e-9)
        yield Check("min_reflectance", modality, dark, 100.0 * dark, 1.0, "darker than the sea")
        if spoilt := exchanged(spectra):
            broken, control = broken_share(spectra), broken_share(spoilt)
            wrong = "spectra leap from band to band, as where bands bear each other's names"
            yield Check("max_broken_spectra", modality, broken, control, rule.max_broken_spectra, wrong)
    yield from _agreement(gathered.spectra, rule)
    yield from _backscatter(gathered, rule)
    for modality in dict.fromkeys(entry[0] for entry in gathered.sun):
        _, lon, lat, time, stated = zip(*(e for e in gathered.sun if e[0] == modality), strict=True)
        place = np.array(lon), np.array(lat), np.array(time, "datetime64[ns]"), np.array(stated)
        found, control = sun_off(*place), sun_off(place[0], -place[1], *place[2:])
        wrong = "the sun stands elsewhere at these places and times"
        yield Check("max_sun_off", modality, found, control, rule.max_sun_off, wrong)
    for group in dict.fromkeys(key[0] for key in gathered.edges):
        pictures = [chips for key, chips in gathered.edges.items() if key[0] == group]
        steps = [_size(key) for key in gathered.edges if key[0] == group]
        upside_down = [{at: edges.mirrored() for at, edges in chips.items()} for chips in pictures]
        seam, control = seams(pictures, steps), seams(upside_down, steps)
        if np.isfinite(seam) and np.isfinite(control):
            wrong = "pictures of one date do not go on in the next chip: turned, mirrored, or of another place"
            yield Check("max_seam", group, seam, control, rule.max_seam, wrong)


def brightness(spectra: Sequence[Spectrum]) -> float:
    """Median over chips and dates of the brightest band."""
    return float(np.median([np.nanmax(one.means) for one in spectra]))


def absorbed(nm: Floats) -> NDArray[np.bool_]:
    """Which bands see little but air."""
    found: NDArray[np.bool_] = np.any([(nm >= low) & (nm <= high) for low, high in ABSORBED_NM], axis=0)
    return found


def _shaped(one: Spectrum) -> NDArray[np.intp]:
    """Bands that are judged by the shape of the spectrum."""
    within = (one.nm >= SHAPE_NM[0]) & (one.nm <= SHAPE_NM[1]) & ~absorbed(one.nm)
    return np.flatnonzero(within & np.isfinite(one.means))


def broken_share(spectra: Sequence[Spectrum]) -> float:
    """Share of the spectra in which a band leaps from both beside it.

    >>> nm = np.array([490.0, 560.0, 665.0, 842.0])
    >>> leaf = Spectrum("a", 0.0, nm, np.array([0.03, 0.06, 0.04, 0.40]))
    >>> swapped = Spectrum("a", 0.0, nm, np.array([0.03, 0.06, 0.40, 0.04]))
    >>> broken_share([leaf]), broken_share([leaf, swapped])
    (0.0, 0.5)
    """
    return float(np.mean([_is_broken(one.means[_shaped(one)]) for one in spectra])) if spectra else 0.0


def _is_broken(means: Floats) -> bool:
    own, before, after = means[1:-1], means[:-2], means[2:]
    least, most = np.minimum(before, after), np.maximum(before, after)
    peak = (own > PEAK_REFLECTANCE) & (own > PEAK_FACTOR * most)
    dip = (least > PEAK_REFLECTANCE) & (own < least / PEAK_FACTOR)
    return bool((peak | dip).any())


def exchanged(spectra: Sequence[Spectrum]) -> list[Spectrum]:
    """The same with two bands under each other's names: those most apart, one of them with a neighbour on both sides;
    none where there are not three bands to be judged.
    """
    bands = [_shaped(one) for one in spectra]
    if max(map(len, bands), default=0) < LEAST_PAIRS:
        return []
    which = max(bands, key=len)
    middle = np.nanmedian([one.means[which] for one in spectra], axis=0)
    apart = np.abs(middle[1:-1, None] - middle[None])
    inner, other = np.unravel_index(int(np.nanargmax(apart)), apart.shape)
    order = np.arange(len(spectra[0].means))
    a, b = which[int(inner) + 1], which[int(other)]
    order[a], order[b] = b, a
    return [replace(one, means=one.means[order]) for one in spectra]


def _agreement(spectra: Mapping[str, Sequence[Spectrum]], rule: PlausibleGate) -> Iterator[Check]:
    """Bands of nearly one wavelength, of one sensor on one date and of two sensors on near ones."""
    for one, other in combinations_with_replacement(spectra, 2):
        pairs = list(near_pairs(spectra[one], spectra[other], one == other))
        bands = same_bands(pairs[0][0].nm, pairs[0][1].nm, one == other) if pairs else []
        if len(pairs) < LEAST_PAIRS or not bands:
            continue
        found = disagreement(pairs, bands)
        if one == other:
            spoilt = exchanged(spectra[one])
            control = disagreement([(s, s) for s in spoilt], bands) if spoilt else 0.0
        else:
            control = disagreement([(a, replace(b, means=10.0 * b.means)) for a, b in pairs], bands)
        of, wrong = one if one == other else f"{one} and {other}", "bands of one wavelength do not see the same"
        yield Check("max_disagreement", of, found, control, rule.max_disagreement, wrong)
        if one != other:
            found, control = misnamed(pairs)
            wrong = f"bands of the two agree better where two of {one} exchange their names"
            yield Check("max_misnamed", of, found, control, rule.max_misnamed, wrong)


def near_pairs(one: Sequence[Spectrum], other: Sequence[Spectrum], same: bool) -> Iterator[tuple[Spectrum, Spectrum]]:
    """Acquisitions of one chip within `SAME_DAYS`; each with itself where the two are the ``same``."""
    if same:
        yield from ((spectrum, spectrum) for spectrum in one)
        return
    of_chip: dict[str, list[Spectrum]] = {}
    for spectrum in other:
        of_chip.setdefault(spectrum.chip_id, []).append(spectrum)
    for a in one:
        yield from ((a, b) for b in of_chip.get(a.chip_id, ()) if abs(a.day - b.day) <= SAME_DAYS)


def same_bands(one: Floats, other: Floats, same: bool) -> list[tuple[int, int]]:
    """Places of bands that see the same, beyond what the air scatters and outside of what it absorbs."""
    near = np.abs(one[:, None] - other[None]) <= SAME_BAND * np.minimum(one[:, None], other[None])
    near &= _is_steady(one)[:, None] & _is_steady(other)[None]
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(near, 1) if same else near), strict=True)]


def misnamed(pairs: Sequence[tuple[Spectrum, Spectrum]]) -> tuple[float, float]:
    """How much farther two bands of the first sensor are from their like in the second than under each other's names,
    of those for which this is the most; and the same where the two that are most apart have exchanged names.
    """
    nm, other_nm = pairs[0][0].nm, pairs[0][1].nm
    apart = np.abs(nm[:, None] - other_nm[None])
    bands = np.flatnonzero((apart.min(axis=1) <= SAME_BAND * nm) & ~absorbed(nm))
    like = apart.argmin(axis=1)[bands]
    a = np.array([one.means[bands] for one, _ in pairs])[:, :, None]  # (pairs, bands, 1)
    b = np.array([other.means[like] for _, other in pairs])[:, None]  # (pairs, 1, bands)
    known = np.isfinite(a) & np.isfinite(b)
    enough = known.sum(axis=0) >= LEAST_PAIRS
    off = np.full(enough.shape, np.nan)  # (bands, bands)
    off[enough] = np.nanmedian(np.where(known, np.abs(a - b), np.nan)[:, enough], axis=0)
    own, crossed = np.diagonal(off)[:, None] + np.diagonal(off)[None], off + off.T
    is_known = np.isfinite(own) & np.isfinite(crossed)
    found, control = own / (crossed + EITHER), crossed / (own + EITHER)
    return float(found[is_known].max(initial=0.0)), float(control[is_known].max(initial=0.0))


def _is_steady(nm: Floats) -> NDArray[np.bool_]:
    low, high = RED_EDGE_NM
    return np.asarray((nm >= RED_NM) & ~((nm > low) & (nm < high)) & ~absorbed(nm))


def disagreement(pairs: Sequence[tuple[Spectrum, Spectrum]], bands: Sequence[tuple[int, int]]) -> float:
    """Largest over the bands of the median difference over what sensors may differ by."""
    first, second = (list(place) for place in zip(*bands, strict=True))
    a = np.array([one.means[first] for one, _ in pairs])  # (pairs, bands)
    b = np.array([other.means[second] for _, other in pairs])
    known = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(known, a, np.nan), np.where(known, b, np.nan)
    enough = known.sum(axis=0) >= LEAST_PAIRS
    if not enough.any():
        return 0.0
    allowed = GAP + GAP_SHARE * np.maximum(np.maximum(a, b), 0.0)
    return float(np.nanmedian((np.abs(a - b) / allowed)[:, enough], axis=0).max())


def _backscatter(gathered: Gathered, rule: PlausibleGate) -> Iterator[Check]:
    """Range of backscatter, and which polarisation returns more."""
    middle = {key: float(np.median(values)) for key, values in gathered.radar.items() if values}
    decibel = {(m, p): value if m in gathered.in_db else to_db(value) for (m, p), value in middle.items()}
    for (modality, polarisation), value in middle.items():
        of, is_db = f"{modality} {polarisation}", modality in gathered.in_db
        found, control = beyond_db(decibel[modality, polarisation]), beyond_db(from_db(value) if is_db else value)
        control = control if is_db else beyond_db(to_db(to_db(value)))
        wrong = f"no ground returns as much or as little, if these are {'decibels' if is_db else 'linear power'}"
        yield Check("max_beyond_db", of, found, control, rule.max_beyond_db, wrong)
        other = decibel.get((modality, CROSS.get(polarisation, "")))
        if other is not None:
            above = decibel[modality, polarisation] - other
            wrong = f"above {CROSS[polarisation]}, of which more comes back: are the two exchanged?"
            yield Check("max_cross_above_db", of, above, -above, rule.max_cross_above_db, wrong)


def to_db(power: float) -> float:
    """Decibel; -inf of what is no power."""
    return float(10.0 * np.log10(power)) if power > 0 else -np.inf


def from_db(decibel: float) -> float:
    """Power."""
    return float(10.0 ** (decibel / 10.0))


def beyond_db(decibel: float) -> float:
    """How far outside of `DB_RANGE`, in decibel; 99 at the most."""
    low, high = DB_RANGE
    return float(min(99.0, max(low - decibel, decibel - high, 0.0)))


def sun_off(lon: Floats, lat: Floats, time: NDArray[np.datetime64], stated: Floats) -> float:
    """Share of the acquisitions whose stated height of the sun is `SUN_OFF_DEG` from where it stood."""
    return float(np.mean(np.abs(sun_elevation_deg(lon, lat, time) - stated) > SUN_OFF_DEG))


def sun_elevation_deg(lon: Floats, lat: Floats, time: NDArray[np.datetime64]) -> Floats:
    """Height of the sun, to half a degree. Source: NOAA, General Solar Position Calculations (Spencer's series).

    >>> place, noon = (np.array([0.0]), np.array([50.0])), np.array(["2021-06-21T12:00"], "datetime64[ns]")
    >>> round(float(sun_elevation_deg(*place, noon)[0]))
    63
    """
    day = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    g = 2.0 * np.pi * (day - 0.5) / 365.25
    declination = 0.006918 - 0.399912 * np.cos(g) + 0.070257 * np.sin(g) - 0.006758 * np.cos(2 * g)
    declination += 0.000907 * np.sin(2 * g) - 0.002697 * np.cos(3 * g) + 0.00148 * np.sin(3 * g)
    minutes = 229.18 * (
        0.000075 + 0.001868 * np.cos(g) - 0.032077 * np.sin(g) - 0.014615 * np.cos(2 * g) - 0.040849 * np.sin(2 * g)
    )
    hour_angle = np.radians((day % 1.0) * 360.0 + minutes / 4.0 + lon - 180.0)
    latitude = np.radians(lat)
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    return np.asarray(np.degrees(np.arcsin(sine)))


def _size(key: tuple[Any, ...]) -> float:
    return float(key[3])


def seams(pictures: Sequence[Mapping[tuple[float, float], Edges]], sizes_m: Sequence[float]) -> float:
    """How far pictures are from going on in the neighbouring chip: about 0 where they change there as from one pixel to
    the next within, 1 where as much as to its far side; the larger of both directions. NaN where there are too few
    neighbours, or where what is far differs little more than what is near.

    Args:
        pictures: of each date, upper left corner -> edges.
        sizes_m: edge of a chip, of each of these.
    """
    found = []
    for side, facing, east, south in (("east", "west", 1.0, 0.0), ("south", "north", 0.0, 1.0)):
        sums, count = np.zeros(3), 0  # across the seam, within, to the far side
        for chips, size in zip(pictures, sizes_m, strict=True):
            for (x, y), edges in chips.items():
                other = chips.get((x + east * size, y - south * size))
                if other is not None and other.lines[facing].shape == edges.lines[side].shape:
                    steps = _steps(edges, other, side, facing)
                    count += bool(steps.any())
                    sums += steps
        across, within, far = sums
        if count >= LEAST_NEIGHBOURS and far > FAR * within:
            found.append((across - within) / (far - within))
    return max(found, default=float("nan"))


def _steps(edges: Edges, other: Edges, side: str, facing: str) -> Floats:
    """(3,) sums of differences across the seam, within, and to the far sides, where all of these are clear."""
    (one, before), (two, after) = edges.lines[side], other.lines[facing]
    far_one, far_two = edges.lines[facing][0], other.lines[side][0]
    across, within = np.abs(one - two), (np.abs(one - before) + np.abs(two - after)) / 2.0
    steps = np.stack([across, within, (np.abs(one - far_two) + np.abs(two - far_one)) / 2.0])
    return np.asarray(steps[:, np.isfinite(steps).all(axis=0)].sum(axis=1))
