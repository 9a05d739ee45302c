"""The named views: what each shows, its formula, its fixed stretch and a guide for reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Role:
    """What a view asks for: a band by its common name or, where names do not tell, by its wavelength."""

    names: tuple[str, ...]
    """Common names (STAC eo) and polarisations that fill it, the best first."""
    centre_nm: float = 0.0
    """Wavelength wanted; 0 for what has none (SAR, elevation)."""
    reach_nm: float = 0.0
    """How far a band's centre may lie from it."""


ROLES: dict[str, Role] = {
    "blue": Role(("blue",), 485.0, 25.0),
    "green": Role(("green",), 560.0, 25.0),
    "red": Role(("red",), 660.0, 25.0),
    "red_or_edge": Role(("red", "rededge071", "rededge"), 680.0, 30.0),
    "nir": Role(("nir", "nir08"), 850.0, 30.0),
    "swir16": Role(("swir16",), 1620.0, 50.0),
    "swir22": Role(("swir22",), 2200.0, 60.0),
    "vv": Role(("vv", "VV")),
    "vh": Role(("vh", "VH")),
    "elevation": Role(("elevation", "dem", "data")),
}


@dataclass(frozen=True, slots=True)
class View:
    """A named way to look at a chip."""

    title: str
    """For people."""
    kind: Literal["composite", "index", "sar", "elevation"]
    """How channels are made."""
    roles: tuple[str, ...]
    """What it needs, keys of `ROLES`; composites: red, green, blue channel."""
    formula: str
    """Each channel in symbols."""
    stretch: tuple[tuple[float, float], ...]
    """(low, high) physical values shown black and full, per channel or for the index."""
    guide: str
    """How to read it, in words that a prompt can quote."""
    gamma: float = 1.0
    """Shown value = stretched ** (1 / gamma)."""


_GREY = "Neutral grey pixels carry no data."

VIEWS: dict[str, View] = {
    "true_colour": View(
        title="True colour",
        kind="composite",
        roles=("red", "green", "blue"),
        formula="R = red, G = green, B = blue; reflectance 0..0.3, gamma 1.5",
        stretch=((0.0, 0.3), (0.0, 0.3), (0.0, 0.3)),
        gamma=1.5,
        guide="Natural colours as from an aircraft: woods dark green, crops and grass lighter green, bare "
        "soil brown to cream, water dark blue to black, roofs and roads grey, reddish or white, "
        "clouds white. " + _GREY,
    ),
    "colour_infrared": View(
        title="Colour infrared",
        kind="composite",
        roles=("nir", "red", "green"),
        formula="R = near infrared 0..0.5, G = red 0..0.3, B = green 0..0.3; gamma 1.3",
        stretch=((0.0, 0.5), (0.0, 0.3), (0.0, 0.3)),
        gamma=1.3,
        guide="Near infrared is shown as red: living vegetation is red, the denser the stronger; bare soil "
        "is tan to greenish, built-up land blue-grey to white, water dark blue to black. " + _GREY,
    ),
    "swir": View(
        title="Short-wave infrared",
        kind="composite",
        roles=("swir22", "nir", "red_or_edge"),
        formula="R = 2.2 um 0..0.4, G = near infrared 0..0.5, B = red, or red edge if red is absent, 0..0.3; gamma 1.3",
        stretch=((0.0, 0.4), (0.0, 0.5), (0.0, 0.3)),
        gamma=1.3,
        guide="Vegetation is green, dry soil and built-up land pink to violet, moist ground darker, water "
        "black, snow and ice cyan to blue; haze hardly shows. " + _GREY,
    ),
    "ndvi": View(
        title="NDVI",
        kind="index",
        roles=("nir", "red"),
        formula="(nir - red) / (nir + red), -0.2..0.9",
        stretch=((-0.2, 0.9),),
        guide="Vegetation index: blue-grey below 0 (water, wet or man-made surfaces), sand-coloured from 0 "
        "to 0.2 (bare ground, built-up land), yellow-green at 0.4, dark green above 0.7 (dense living "
        "vegetation). " + _GREY,
    ),
    "ndwi": View(
        title="NDWI",
        kind="index",
        roles=("green", "nir"),
        formula="(green - nir) / (green + nir), -0.8..0.8",
        stretch=((-0.8, 0.8),),
        guide="Water index: blue above 0 (open water), white near 0, brown below 0 (land, darker brown with "
        "denser vegetation). " + _GREY,
    ),
    "sar": View(
        title="Radar",
        kind="sar",
        roles=("vv", "vh"),
        formula="R = VV -20..0 dB, G = VH -27..-7 dB, B = VV/VH 0..18 dB",
        stretch=((-20.0, 0.0), (-27.0, -7.0), (0.0, 18.0)),
        guide="Radar backscatter, by day and night and through clouds: buildings very bright, woods yellow- "
        "green (volume scattering), fields of many tones, smooth ground blue-violet, calm water dark "
        "blue to black. Fine grain is speckle, not texture of the ground. " + _GREY,
    ),
    "enmap_true_colour": View(
        title="EnMAP true colour",
        kind="composite",
        roles=("red", "green", "blue"),
        formula="R, G, B = bands nearest 660, 560, 485 nm; reflectance 0..0.3, gamma 1.5",
        stretch=((0.0, 0.3), (0.0, 0.3), (0.0, 0.3)),
        gamma=1.5,
        guide="Natural colours from three of the sensor's narrow bands, 30 m pixels: woods dark green, "
        "crops lighter green, soil brown, water black, built-up land grey to white. " + _GREY,
    ),
    "enmap_swir": View(
        title="EnMAP short-wave infrared",
        kind="composite",
        roles=("swir22", "swir16", "nir"),
        formula="R, G, B = bands nearest 2200, 1620, 850 nm; reflectance 0..0.4, 0..0.4, 0..0.5; gamma 1.3",
        stretch=((0.0, 0.4), (0.0, 0.4), (0.0, 0.5)),
        gamma=1.3,
        guide="Vegetation is blue, dry soil and roofs yellow to white (clay darkens the red channel near "
        "2.2 um), water black. " + _GREY,
    ),
    "elevation": View(
        title="Elevation",
        kind="elevation",
        roles=("elevation",),
        formula="tint by metres above sea level, 0..3000 on a root scale; shaded by a sun in the north-west",
        stretch=((0.0, 3000.0),),
        guide="Height of the ground: green lowland, yellow and brown hills, white high mountains, blue at "
        "or below sea level; slopes facing north-west are lit, those facing south-east lie in shade. " + _GREY,
    ),
}
"""Name -> view, in the order in which a page shows them."""

RAMPS: dict[str, tuple[tuple[float, tuple[int, int, int]], ...]] = {
    "ndvi": (
        (0.00, (64, 78, 110)),
        (0.18, (150, 156, 164)),
        (0.20, (190, 172, 140)),
        (0.36, (224, 206, 152)),
        (0.55, (186, 204, 92)),
        (0.75, (84, 152, 52)),
        (1.00, (6, 74, 28)),
    ),
    "ndwi": (
        (0.00, (110, 72, 36)),
        (0.30, (176, 136, 84)),
        (0.50, (246, 244, 238)),
        (0.65, (120, 178, 220)),
        (1.00, (10, 52, 128)),
    ),
    "elevation": (
        (0.000, (70, 110, 160)),
        (0.001, (92, 138, 82)),
        (0.250, (146, 172, 96)),
        (0.450, (216, 200, 128)),
        (0.650, (170, 126, 80)),
        (0.850, (150, 130, 120)),
        (1.000, (250, 250, 250)),
    ),
}
"""View -> (position 0..1 along its stretch, colour), linear in between; chosen to fit the guides' words."""
