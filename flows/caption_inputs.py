"""What the captioner is told of a chip: facts, objects and pictures, from the fragments of the passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioners.base import CaptionInput
from captioners.elements import MapElement, find_elements
from captioners.facts import Evidence, describe
from captioners.facts_scene import DatedBands
from captioners.objects import object_of
from captioners.views import render_views
from flows.fragments import read_chip
from flows.job import Job
from flows.packing import unpack_features, unpack_layers
from schemas.facts import Fact, FactSheet
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.sample import LayerArrays
from shards.samples import to_physical

VIEW = "view/"
"""Arrays of a fragment with this prefix hold the PNGs that a model is shown."""
ABOUT_ELEMENTS = frozenset({"rsteller", "skyscript"})
"""Kinds that speak of single map features."""


def caption_input(
    job: Job,
    chip_id: str,
    facts: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    labels: Mapping[str, LabelLayer],
    fused: LabelLayer | None,
) -> CaptionInput:
    """What the captioner is told of one chip."""
    captions = job.recipe.captions
    if captions is None:
        raise ValueError("the recipe asks for no texts")
    spoken = fused if fused is not None else next(iter(labels.values()), None)
    legend = load_legend(spoken.legend) if spoken is not None else None
    layers = unpack_layers(arrays, facts["georefs"])
    scenes, (elevation, elevation_m) = _scenes(job, facts, layers), _elevation(job, facts, layers)
    table = unpack_features(facts["features"])
    georef = spoken.georef if spoken is not None else next(iter(layers.values())).georef
    by: Any = "index" if fused is not None else "code"
    evidence = Evidence(
        None if spoken is None else spoken.classes,
        legend,
        georef,
        by=by,
        label_source="label" if fused is not None or spoken is None else spoken.source,
        features=table,
        scenes=scenes,
        elevation=elevation,
        elevation_pixel_m=elevation_m,
        with_names=captions.names,
    )
    sheet, objects = describe(chip_id, evidence)
    elements: tuple[MapElement, ...] = ()
    if table is not None and ABOUT_ELEMENTS & set(captions.kinds):
        elements, more = find_elements(table, georef)
        sheet = sheet.with_facts(more)
    views = render_views(
        captions.views if captions.backend != "template" else (),
        scenes, label=evidence.label, legend=legend, by=by, elevation=elevation, size_px=captions.view_px,
    )  # fmt: skip
    maps = {spoken.source if spoken is not None else "", table.source if table is not None else ""}
    told = [layer for name, layer in labels.items() if fused is not None or name in maps]
    binding = dict.fromkeys(layer.licence for layer in told if layer.share_alike)
    licence = "+".join(binding) or (spoken.licence if spoken is not None else "")
    return CaptionInput(
        chip_id, sheet, legend=legend.name if legend else "", views=views, objects=objects, elements=elements,
        kinds=captions.kinds, licence=licence, seed=job.recipe.seed,
    )  # fmt: skip


def view_arrays(given: CaptionInput) -> dict[str, NDArray[np.uint8]]:
    """The pictures as arrays of a fragment."""
    return {f"{VIEW}{name}": np.frombuffer(png, dtype=np.uint8) for name, png in given.views.items()}


def waiting_input(given: CaptionInput) -> dict[str, Any]:
    """A chip whose texts a paid model is to write, as JSON, pictures aside. Inverse: `read_waiting`."""
    return {
        "facts": given.facts.as_dicts(),
        "legend": given.legend,
        "licence": given.licence,
        "objects": [one.as_dict() for one in given.objects],
        "elements": [asdict(one) for one in given.elements],
        "views": list(given.views),
    }


def read_waiting(job: Job, chip_id: str, waiting: Mapping[str, Any], folder: Path) -> CaptionInput:
    """A chip as its tile's fragment holds it."""
    captions = job.recipe.captions
    names = waiting["views"]
    arrays = read_chip(folder, chip_id)[1] if names else {}
    return CaptionInput(
        chip_id,
        FactSheet(chip_id, tuple(Fact(**fact) for fact in waiting["facts"])),
        legend=waiting["legend"],
        views={name: arrays[f"{VIEW}{name}"].tobytes() for name in names},
        objects=tuple(object_of(one) for one in waiting["objects"]),
        elements=tuple(MapElement.of(one) for one in waiting["elements"]),
        kinds=captions.kinds if captions else (),
        licence=waiting["licence"],
        seed=job.recipe.seed,
    )


def _scenes(job: Job, facts: Mapping[str, Any], layers: Mapping[str, LayerArrays]) -> list[DatedBands]:
    """Every date of each modality in physical values, on the grid of its finest group.

    Bands of coarser groups with the same dates are repeated onto it where the grids are whole multiples.
    """
    scenes: list[DatedBands] = []
    for modality in job.recipe.modalities:
        groups = [plan.group for plan in job.layers if plan.modality == modality and plan.group in layers]
        if not groups:
            continue
        finest = max(groups, key=lambda name: layers[name].data.shape[-2])
        dates = dated_bands(modality, layers[finest], facts, finest)
        for group in groups:
            same = np.array_equal(layers[group].time_utc, layers[finest].time_utc)
            if group != finest and same:
                coarser = dated_bands(modality, layers[group], facts, group)
                dates = [_joined(one, other) for one, other in zip(dates, coarser, strict=True)]
        scenes += dates
    return scenes


def _joined(fine: DatedBands, coarse: DatedBands) -> DatedBands:
    """The date with the bands of a coarser grid, where that is a whole multiple."""
    shape = next(iter(fine.bands.values())).shape
    small = next(iter(coarse.bands.values())).shape
    step = shape[0] // small[0]
    if step < 1 or (small[0] * step, small[1] * step) != tuple(shape):
        return fine
    more = {n: b.repeat(step, 0).repeat(step, 1) for n, b in coarse.bands.items() if n not in fine.bands}
    wavelengths = {**(coarse.wavelengths_nm or {}), **(fine.wavelengths_nm or {})}
    return replace(fine, bands={**fine.bands, **more}, wavelengths_nm=wavelengths or None)


def _elevation(
    job: Job, facts: Mapping[str, Any], layers: Mapping[str, LayerArrays]
) -> tuple[NDArray[np.float32] | None, float]:
    """(h, w) metres of the first elevation layer, or None, and the size of its pixels in metres."""
    for plan in job.layers:
        if plan.group in layers and facts["layer_attrs"][plan.group]["kind"] == "elevation":
            dates = to_physical(layers[plan.group])
            if len(dates):
                height: NDArray[np.float32] = dates[-1, 0]
                return height, layers[plan.group].georef.pixel_size
    return None, 0.0


def dated_bands(modality: str, layer: LayerArrays, facts: Mapping[str, Any], group: str) -> list[DatedBands]:
    """The dates of a layer with physical values, bands by common name (or by wavelength where there is none)."""
    attrs = facts["layer_attrs"][group]
    if attrs["kind"] == "elevation":
        return []
    physical = to_physical(layer)
    common, bands = facts["common_names"][group], facts["bands"][group]
    names = [name or band for name, band in zip(common, bands, strict=True)]
    if len(set(names)) < len(names):
        names = bands
    wavelengths = {n: w for n, w in zip(names, facts["wavelengths_nm"][group], strict=True) if w is not None}
    days = [str(day) for day in layer.time_utc.astype("datetime64[D]")]
    used, first, last = (
        facts["row"].get(f"{modality}.{name}") or [1] * len(days)
        for name in ("dates_used", "first_datetimes", "last_datetimes")
    )
    return [
        DatedBands(
            source=modality,
            day=days[t],
            bands=dict(zip(names, physical[t], strict=True)),
            valid=layer.valid[t],
            unit=attrs["unit"],
            wavelengths_nm=wavelengths or None,
            is_composite=used[t] > 1 or first[t] != last[t],  # a provider's mosaic of a month is of no day, either
        )
        for t in range(len(days))
        if not np.isnat(layer.time_utc[t])
    ]
