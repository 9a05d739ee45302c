"""The items of a run, frozen as a stac-geoparquet index: `freeze_items` fills it, `FrozenItems` makes scenes of it.

Whatever catalogs a recipe names, a run reads its items from this one file: what the catalogs gave, every field, but for
signatures in addresses. A recipe that names the file as its catalog makes the same dataset again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from flows.catalogs import Catalogs, opener_of
from schemas.errors import RecipeError, SourceError, UserError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource, LonLatBox, Modality, Recipe, Time, fill
from schemas.scene import Opener, SceneItem
from sources.assets import asset_bands, is_refused
from sources.choose import why_none_is_wanted
from sources.duplicates import near_twins, resolve_duplicates
from sources.items import Item, content_hash, frozen_item
from sources.labels_raster import choose_of, stated_georef, to_label_item
from sources.openers import without_signature
from sources.placing import placed_scene
from sources.scenes import DEPRECATED
from sources.search import Provider, mend_of, providers_of, search_in_order
from sources.sentinel1_grd import with_heights
from sources.stac_index import IndexCatalog
from sources.stac_index_columns import CATALOG_COLUMN, Selection
from sources.stac_index_write import IndexWriter

log = logging.getLogger(__name__)

ITEMS = "items.parquet"
"""Name of the file in a plan's folder."""
JUDGED = 250
"""So many items of a modality are looked at whole while planning; the others when a tile needs them."""
KEPT_SCENES = 4096
"""Scenes kept in memory: tiles that are neighbours share them."""
ALWAYS = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Label products are chosen by vintage, not by the time window."""


def window_of(window: Time) -> tuple[datetime, datetime]:
    """First and last moment that is searched for."""
    return datetime.combine(window.start, time.min, UTC), datetime.combine(window.end, time.max, UTC)


@dataclass(frozen=True)
class Place:
    """Where items are searched for."""

    catalog: str
    """Name in the recipe."""
    collection: str
    """STAC collection id."""
    window: tuple[datetime, datetime]
    """First and last moment."""
    where: Mapping[str, str | int | float | bool]
    """Property filters."""


class FrozenItems:
    """The frozen items of a run as scenes, each made when it is asked for.

    Args:
        path: the index.
        recipe: the recipe.
        variables: values of ``${TERRAWEFT_...}``.
        opener: for items that only the headers of their files place; made for this machine where absent.
    """

    def __init__(self, path: Path, recipe: Recipe, variables: Mapping[str, str], opener: Opener | None = None) -> None:
        self.opener = opener or opener_of(recipe)
        self.path, self.recipe, self.variables = path, recipe, dict(variables)
        self.refused: dict[tuple[str, int], str] = {}
        """(modality or label source, row) -> why the item is not read."""
        self.heights: dict[str, Selection] = {}
        """Modality -> elevation rasters that its terrain is corrected with."""
        self._indexes: dict[str, IndexCatalog] = {}
        self._scenes: OrderedDict[tuple[str, int], SceneItem | None] = OrderedDict()
        self._catalogs: NDArray[np.object_] | None = None

    def catalog_of(self, row: int) -> str:
        """Name of the catalog that gave an item."""
        if self._catalogs is None:
            column = pq.read_table(self.path, columns=[CATALOG_COLUMN])[CATALOG_COLUMN]
            self._catalogs = column.to_numpy(zero_copy_only=False)
        return str(self._catalogs[row])

    def rows_of(self, item_ids: set[str]) -> set[int]:
        """Rows of items by their ids."""
        ids = pq.read_table(self.path, columns=["id"])["id"].to_pylist()
        return {row for row, item_id in enumerate(ids) if item_id in item_ids}

    def index(self, catalog: str) -> IndexCatalog:
        """The items that a catalog gave."""
        if catalog not in self._indexes:
            known = self.recipe.catalogs[catalog]
            allow = known.allow_local or (known.kind == "static" and not _is_web(known.href, self.variables))
            self._indexes[catalog] = IndexCatalog(str(self.path), allow, catalog, self.variables, known.alternate)
        return self._indexes[catalog]

    def scene(self, name: str, row: int) -> SceneItem | None:
        """The scene of a row as a modality or label source sees it; None where it is refused (`refused` says why)."""
        key = (name, int(row))
        if key in self._scenes:
            self._scenes.move_to_end(key)
            return self._scenes[key]
        try:
            scene = self._made(name, int(row))
        except SourceError as error:
            log.warning("%s: %s", name, error.what)
            self.refused[key] = error.what
            scene = None
        self._scenes[key] = scene
        if len(self._scenes) > KEPT_SCENES:
            self._scenes.popitem(last=False)
        return scene

    def file_bands(self, name: str, row: int) -> dict[str, int]:
        """Address of an item's files -> bands that they hold, wanted or not; no entry where the item does not say."""
        scene = self.scene(name, row)
        assets = next(self.index(self.catalog_of(row)).delivered([row]))["assets"]
        refs = scene.refs if scene is not None else ()
        keys = {ref.href: ref.asset_key for ref in refs}  # a file of EnMAP is that of 224 bands
        listed = {href: asset_bands(key, assets.get(key, {})) for href, key in keys.items()}
        return {href: len(bands) for href, bands in listed.items() if bands}

    def _made(self, name: str, row: int) -> SceneItem:
        catalog = self.catalog_of(row)
        index = self.index(catalog)
        item = index.as_found(next(index.delivered([row])))
        if name in self.recipe.modalities:
            scene = placed_scene(item, name, self.recipe.modalities[name], catalog, self.opener)
            return self._with_terrain(name, scene) if scene.refs[0].needs else scene
        source = self.recipe.labels.sources[name] if self.recipe.labels else None
        return to_label_item(item, name, _known(source), catalog)

    def _with_terrain(self, name: str, scene: SceneItem) -> SceneItem:
        """The scene with the elevation rasters over it, where the recipe corrects terrain."""
        ground_range = self.recipe.modalities[name].ground_range
        terrain = ground_range.terrain if ground_range else None
        if terrain is None:
            return scene
        where = f"modalities.{name}.ground_range.terrain"
        settings = {
            "geoid": fill(terrain.geoid, self.variables, f"{where}.geoid"),
            "missing_heights": terrain.missing,
        }
        if terrain.href is not None:
            return with_heights(scene, settings, [(fill(terrain.href, self.variables, f"{where}.href"), terrain.href)])
        found = self.heights[name]
        over = shapely.intersects(found.footprint, shapely.from_wkb(scene.footprint_wkb))
        index = self.index(str(terrain.catalog))
        items = [index.as_found(item) for item in index.delivered(found.rows[over])]
        usable = [item for item in items if terrain.asset in item["assets"]]
        closed = [reason for item in usable if (reason := is_refused(item["assets"][terrain.asset]))]
        if closed:
            raise RecipeError(f"elevation refused: {closed[0]}", where=where)
        ordered = sorted(usable, key=lambda item: str(item["id"]))
        return with_heights(scene, settings, [(i["assets"][terrain.asset]["href"], content_hash(i)) for i in ordered])

    def find_heights(self, came_from: Mapping[str, Place], boxes: Sequence[LonLatBox]) -> None:
        """Find the elevation rasters that modalities are corrected with; before any scene is asked for.

        Raises:
            RecipeError: there is no elevation here.
        """
        for name, modality in self.recipe.modalities.items():
            terrain = modality.ground_range.terrain if modality.ground_range else None
            place = came_from.get(terrain_of(name))
            if terrain is None or place is None:
                continue
            self.heights[name] = self.index(place.catalog).select(place.collection, boxes, *ALWAYS)
            if not len(self.heights[name]) and terrain.missing == "nodata":
                raise RecipeError(
                    f"no item of {place.collection} lies here",
                    where=f"modalities.{name}.ground_range.terrain",
                    mend="check collection and asset; over the sea missing: sea_level",
                )

    def take_heights(self, rows: Mapping[str, Sequence[int]]) -> None:
        """Elevation rasters as a stored plan names them."""
        for name, numbers in rows.items():
            index = IndexCatalog(str(self.path))
            self.heights[name] = index.columns(np.array(numbers, np.int64))

    def height_lattice(self, name: str) -> tuple[GeoRef, float] | None:
        """Lattice and GSD in metres of a modality's first elevation raster, as far as its item says them; else of no
        shape and 0. None where no item has one.
        """
        ground_range, found = self.recipe.modalities[name].ground_range, self.heights.get(name)
        terrain = ground_range.terrain if ground_range else None
        if terrain is None or found is None or not len(found):
            return None
        index = self.index(str(terrain.catalog))
        item = index.as_found(next(index.delivered(found.rows[:1])))
        gsd_m = item["properties"].get("gsd")
        lattice = stated_georef(item, item["assets"].get(terrain.asset, {}))
        return lattice, float(gsd_m) if isinstance(gsd_m, int | float) else 0.0

    def offered_to(self, name: str, place: Place, boxes: Sequence[LonLatBox], notes: list[str]) -> Selection:
        """The items that a modality or label source is to be read from, in their order of preference.

        Items that no sensor module reads, older processings and (for labels) other vintages are left out, and notes
        say so. Of more than `JUDGED` items those are looked at that could be another's processing, and a sample.

        Raises:
            RecipeError: every item was refused.
        """
        found = self.index(place.catalog).select(place.collection, boxes, *place.window, place.where)
        if name not in self.recipe.modalities:
            return self._label_items(name, place, found, notes)
        judged = self._refuse(name, self.recipe.modalities[name], found, notes)
        kept, dropped = self._without_duplicates(name, judged)
        notes += [f"{name}: {line}" for line in dropped]
        return kept

    def _refuse(self, name: str, modality: Modality, found: Selection, notes: list[str]) -> Selection:
        looked = np.unique(np.linspace(0, max(0, len(found) - 1), min(JUDGED, len(found))).astype(int))
        fits = np.ones(len(found), dtype=bool)
        for place in looked[np.argsort(found.rows[looked])]:  # as they lie in the file: every row group is read once
            fits[place] = self.scene(name, int(found.rows[place])) is not None
        reasons = [self.refused[name, int(found.rows[place])] for place in looked if not fits[place]]
        if reasons and not fits[looked].any():
            raise RecipeError(
                f"all {len(reasons)} items were refused, the first: {reasons[0]}",
                where=f"modalities.{name}",
                mend=f"another collection; for this machine's own files catalogs.{modality.catalog}.allow_local: true",
            )
        notes += [f"{name}: {reason}" for reason in reasons]
        scenes = [self.scene(name, int(row)) for row in found.rows[looked[fits[looked]]]]
        old = [scene.item_id for scene in scenes if scene is not None and DEPRECATED in dict(scene.extra)]
        if old:
            notes.append(f"{name}: its catalog calls {len(old)} of the items deprecated, the first: {old[0]}")
        notes += self._refuse_unwanted(name, modality, found, looked[fits[looked]])
        if len(found) > len(looked):
            notes.append(f"{name}: {len(looked)} of {len(found):,} items were looked at; the others when they are read")
        return found.take(fits)

    def _refuse_unwanted(self, name: str, modality: Modality, found: Selection, looked: NDArray[np.int64]) -> list[str]:
        scenes = [self.scene(name, int(row)) for row in found.rows[looked]]
        if (why := why_none_is_wanted([scene for scene in scenes if scene is not None], modality)) is None:
            return []
        key, what = why
        if modality.optional or len(found) > JUDGED:
            return [f"{name}: {what}"]
        raise RecipeError(what, where=f"modalities.{name}.{key}", mend="ask for what they have, or leave it out")

    def _without_duplicates(self, name: str, found: Selection) -> tuple[Selection, list[str]]:
        rows = {}
        for place in near_twins(found):
            scene = self.scene(name, int(found.rows[place]))
            if scene is not None:
                rows[scene] = place
        kept, lines = resolve_duplicates(list(rows))
        left = np.ones(len(found), dtype=bool)
        left[list(rows.values())] = False
        left[[rows[scene] for scene in kept]] = True
        return found.take(left), lines

    def _label_items(self, name: str, place: Place, found: Selection, notes: list[str]) -> Selection:
        places, scenes = [], []
        for at, row in enumerate(found.rows.tolist()):
            scene = self.scene(name, row)
            if scene is None:
                notes.append(f"{name}: {self.refused[name, row]}")
            else:
                places.append(at)
                scenes.append(scene)
        source = _known(self.recipe.labels.sources[name] if self.recipe.labels else None)
        chosen = choose_of(scenes, source)
        if not chosen:
            year = f" of {source.year}" if source.year is not None else ""
            notes.append(f"{name}: no item of {place.collection}{year} lies here; the layer will hold no data")
        at_of = {scene.item_id: at for scene, at in zip(scenes, places, strict=True)}
        return found.take(np.array([at_of[scene.item_id] for scene in chosen], dtype=np.int64))


def _known(source: LabelSource | None) -> LabelSource:
    if source is None:
        raise RecipeError("the plan names a label source that the recipe does not have", mend="plan again")
    return source


def _is_web(href: str, variables: Mapping[str, str]) -> bool:
    return urlsplit(fill(href, variables)).scheme in ("http", "https")


def terrain_of(name: str) -> str:
    """Under which name the elevation of a modality is searched."""
    return f"{name}.terrain"


def places_of(recipe: Recipe, name: str) -> list[Place]:
    """Where the items of a modality or label source may be had, in order of preference; none for files."""
    if name in recipe.modalities:
        modality = recipe.modalities[name]
        window = window_of(modality.time or recipe.time)
        return [Place(p.catalog, p.collection, window, p.where) for p in providers_of(modality)]
    if name.endswith(".terrain"):
        ground_range = recipe.modalities[name.removesuffix(".terrain")].ground_range
        terrain = ground_range.terrain if ground_range else None
        if terrain is None or terrain.catalog is None or terrain.collection is None:
            return []
        return [Place(terrain.catalog, terrain.collection, ALWAYS, {})]
    source = _known(recipe.labels.sources[name] if recipe.labels else None)
    return [Place(source.catalog, source.collection, ALWAYS, {})] if source.catalog and source.collection else []


def freeze(
    recipe: Recipe,
    path: Path,
    boxes: Sequence[LonLatBox],
    catalogs: Catalogs,
    sampled: Sequence[tuple[Provider, Sequence[LonLatBox]]] = (),
) -> tuple[dict[str, Place], list[str]]:
    """Ask the recipe's catalogs, and write what they gave as an index.

    Args:
        recipe: the recipe.
        path: the index to write.
        boxes: where its chips lie; a modality is searched once per box, never per chip.
        catalogs: the recipe's.
        sampled: what sampling looked at, and where: a recipe that names the index samples the same chips again.

    Returns:
        Modality or label source -> where its items came from, and notes.

    Raises:
        UserError: no place has an answer.
    """
    notes: list[str] = []
    came_from: dict[str, Place] = {}
    with IndexWriter(path) as writer:
        terrains = [terrain_of(name) for name in recipe.modalities]
        for name in [*recipe.modalities, *(recipe.labels.sources if recipe.labels else {}), *terrains]:
            places = places_of(recipe, name)
            if places:
                came_from[name], said = _collect(writer, catalogs, places, boxes)
                notes += [f"{name}: {line}" for line in said]
        for provider, where in sampled:
            _collect(writer, catalogs, [Place(provider.catalog, provider.collection, ALWAYS, {})], where)
        writer.close()
    return came_from, notes


class _IntoIndex:
    """Writes items as they come; those of a catalog that fails in the middle are taken out again."""

    def __init__(self, writer: IndexWriter) -> None:
        self.writer = writer
        writer.mark()

    def take(self, provider: Provider, items: Sequence[Item]) -> None:
        """See `sources.search.Sink.take`."""
        self.writer.add((frozen_item(item, without_signature) for item in items), provider.catalog, provider.collection)

    def forget(self) -> None:
        """See `sources.search.Sink.forget`."""
        self.writer.undo()


def _collect(
    writer: IndexWriter, catalogs: Catalogs, places: Sequence[Place], boxes: Sequence[LonLatBox]
) -> tuple[Place, tuple[str, ...]]:
    """Items of the first place that answers into the index: columns from an index, documents from other catalogs."""
    index = catalogs[places[0].catalog]
    if isinstance(index, IndexCatalog):
        place = places[0]
        try:
            rows = index.select(place.collection, boxes, *place.window, place.where).rows
        except SourceError as error:
            if len(places) > 1:
                came_from, said = _collect(writer, catalogs, places[1:], boxes)
                return came_from, (f"catalog {place.catalog} cannot be used: {error.what}", *said)
            raise UserError(error.what, where=error.url or place.collection, mend=mend_of(error)) from error
        writer.collections.add(place.collection)
        writer.add_rows(index, rows, place.catalog, place.collection)
        return place, ()
    providers = [Provider(place.catalog, place.collection, place.where) for place in places]
    sink = _IntoIndex(writer)
    found = search_in_order(providers, catalogs.__getitem__, boxes, places[0].window, catalogs.breaker, sink)
    writer.collections.add(found.provider.collection)
    return places[providers.index(found.provider)], found.notes
