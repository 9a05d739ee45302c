"""OpenStreetMap features from a ``.osm.pbf`` (or XML) extract.

`sources.overpass` gives the same `FeatureTable` for an area from an Overpass server.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import osmium
import osmium.filter
import osmium.geom
import shapely
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from schemas.errors import AssetMissingError, DecodeError
from schemas.georef import Bounds
from schemas.labels import Feature, FeatureTable
from schemas.scene import Opener, SceneItem
from sources.documents import blocks_of
from sources.features import WGS84, TagsWanted, has_wanted, id_order, is_area, shaped_geometries
from sources.openers import unsigned, without_signature

log = logging.getLogger(__name__)

SHA256_MULTIHASH = "1220"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Of filesystems that have none."""
LARGEST_EXTRACT = 200 << 30
"""Bytes; the whole planet has 90 GB."""

TOGETHER = 20_000
"""So many geometries are looked at at once: one by one costs several times as much, and extracts hold millions."""

AREA_RELATIONS = ("multipolygon", "boundary")
"""Relations that are areas."""


def read_extract(path: Path, bbox_lonlat: Bounds, tags_wanted: TagsWanted, *, source: str = "osm") -> FeatureTable:
    """Features of an extract that meet a box, whole (not clipped to it), in EPSG:4326.

    Nodes become points, ways lines or polygons, multipolygon and boundary relations polygons. A ring that
    crosses itself is repaired; a way with missing nodes keeps the nodes that are there if it is a line, and
    is left out if it is an area; a relation with missing members is left out. What is left out is counted
    in the log. What the file calls deleted is not there.

    Args:
        path: ``.osm.pbf``, ``.osm``, ``.osm.gz`` or ``.osm.bz2``.
        bbox_lonlat: west, south, east, north in degrees.
        tags_wanted: features that have one of these.
        source: name of the label source in the recipe.

    Returns:
        The table. Its date is the file's replication time if the header states one, else the newest edit of
        any feature with a wanted tag, else empty.

    Raises:
        AssetMissingError: there is no such file.
        DecodeError: it is no OSM file, one of changes or of all versions of things, or its ways come before their
            nodes.
    """
    if not path.is_file():
        raise AssetMissingError("no such extract", path.name)
    collected = _Collected(shapely.box(*bbox_lonlat), tags_wanted)
    key_filter = osmium.filter.KeyFilter(*sorted(tags_wanted))
    try:
        processor = osmium.FileProcessor(str(path)).with_areas(key_filter).with_filter(key_filter)
        if processor.header.has_multiple_object_versions:  # ways would be drawn through the latest place of each node
            what = "holds changes, or things in all their versions"
            raise DecodeError(f"{what}: make an extract of one day (osmium apply-changes, time-filter)", path.name)
        for found in processor:
            collected.add(found)
        header_date = processor.header.get("osmosis_replication_timestamp")
    except (RuntimeError, ValueError, osmium.InvalidLocationError) as error:
        raise DecodeError(f"not an OSM file that can be read: {error}", path.name) from error
    if collected.bare > collected.ways / 2:
        what = f"no node of {collected.bare} of {collected.ways} ways is known when the way is read"
        mend = "nodes must come before ways (osmium sort) and have positive ids (osmium renumber)"
        raise DecodeError(f"{what}: {mend}", path.name)
    features = collected.finish()
    return FeatureTable(source, WGS84, features, header_date or collected.newest)


class _Collected:
    """Features as they come from the file, and the areas that are still awaited."""

    def __init__(self, box: BaseGeometry, tags_wanted: TagsWanted) -> None:
        self.box, self.tags_wanted = box, tags_wanted
        shapely.prepare(box)
        self.newest = ""
        self.features: list[Feature] = []
        self.found: list[_Found] = []
        self.awaited: dict[str, _Found] = {}
        self.left_out = 0
        self.ways = self.bare = 0  # all, and those of which no node is known: few in a sound extract
        self.wkb = osmium.geom.WKBFactory()

    def add(self, found: Any) -> None:
        """One object of the file: a node, a way, an area (a relation itself says nothing more)."""
        if found.is_area() and found.from_way():
            self._add_area(found, self.awaited.get(f"way/{found.orig_id()}"))
            return
        if not found.visible:
            return
        tags = dict(islice(found.tags, len(found.tags)))  # one more is an exception in C++, which costs more than all
        if not has_wanted(tags, self.tags_wanted):
            return
        timestamp = _iso(found.timestamp)
        self.newest = max(self.newest, timestamp)
        if found.is_node():
            if found.location.valid():
                self._keep(_Found(f"node/{found.id}", self.wkb.create_point(found), tags, timestamp))
        elif found.is_way():
            self._add_way(found, tags, timestamp)
        elif found.is_area():
            self._add_area(found, _Found(f"relation/{found.orig_id()}", "", tags, timestamp))
        elif tags.get("type") in AREA_RELATIONS:
            self.awaited[f"relation/{found.id}"] = _Found(f"relation/{found.id}", "", tags, timestamp)

    def finish(self) -> tuple[Feature, ...]:
        """All features by id; areas that could not be assembled are repaired from their ring or left out."""
        for one in self.awaited.values():
            ring = shapely.get_coordinates(shapely.from_wkb(one.wkb)) if one.wkb else ()
            if len(ring) >= 4:
                self._keep(one._replace(wkb=shapely.to_wkb(Polygon(ring), hex=True)))
            else:
                self.left_out += 1
        self._finish_some()
        if self.left_out:
            log.warning("%d features left out: their nodes or members are not in the extract", self.left_out)
        return tuple(sorted(self.features, key=lambda feature: id_order(feature.feature_id)))

    def _add_way(self, way: Any, tags: dict[str, str], timestamp: str) -> None:
        self.ways += 1
        try:
            line = self.wkb.create_linestring(way, osmium.geom.use_nodes.ALL)
        except (RuntimeError, osmium.InvalidLocationError):  # nodes are missing, or there is only one
            line = ""
            self.bare += not any(node.location.valid() for node in way.nodes)
        feature_id = f"way/{way.id}"
        if way.is_closed() and is_area(tags):
            self.awaited[feature_id] = _Found(feature_id, line, tags, timestamp)
            return
        if not line:
            places = [(node.location.lon, node.location.lat) for node in way.nodes if node.location.valid()]
            line = shapely.to_wkb(LineString(places), hex=True) if len(places) >= 2 else ""
        if line:
            self._keep(_Found(feature_id, line, tags, timestamp))
        else:
            self.left_out += 1

    def _add_area(self, area: Any, known: _Found | None) -> None:
        """An area of a way, which came before it (None where that one is no area), or of a relation."""
        if known is None:
            return
        try:
            wkb = self.wkb.create_multipolygon(area)
        except RuntimeError:  # rings that cannot be assembled: `finish` repairs what it can
            return
        self.awaited.pop(known.feature_id, None)
        self._keep(_Found(known.feature_id, wkb, known.tags, known.timestamp))

    def _keep(self, found: _Found) -> None:
        self.found.append(found)
        if len(self.found) >= TOGETHER:
            self._finish_some()

    def _finish_some(self) -> None:
        """What was found since the last time becomes features: geometries of many at once."""
        geometries = shapely.from_wkb(np.array([bytes.fromhex(one.wkb) for one in self.found], dtype=object))
        shaped = shaped_geometries(geometries)
        meets = shapely.intersects(self.box, shaped)
        self.features += [
            Feature(one.feature_id, geometry, dict(sorted(one.tags.items())), one.timestamp)
            for one, geometry, here in zip(self.found, shaped, meets, strict=True)
            if here
        ]
        self.found.clear()


class _Found(NamedTuple):
    """One object of the file."""

    feature_id: str
    """``way/123``."""
    wkb: str
    """Its geometry, hexadecimal; of an area that is awaited its ring, empty where that is not whole."""
    tags: dict[str, str]
    """As found."""
    timestamp: str
    """Last edit."""


def kept_extract(href: str, cache: Path, *, edition: str | None = None) -> Path:
    """Where `fetch_extract` keeps what it fetches of an address on another machine."""
    name = hashlib.sha256(f"{edition or ''} {without_signature(href)}".encode()).hexdigest()
    return cache / f"{name}{''.join(Path(urlsplit(href).path).suffixes[-2:])}"


def edition_of(item: SceneItem) -> str:
    """What tells an item's file from another one at the same address: its checksum, else the item itself."""
    return dict(item.extra).get("checksum") or f"item-{item.content_hash}"


def fetch_extract(href: str, cache: Path, opener: Opener, *, edition: str | None = None) -> Path:
    """A whole extract as a local file: itself where it is local, else fetched once into a folder.

    The file's name in the folder is the hash of its address and edition. It appears there whole or not at all. Of
    processes that want it at once one fetches it, and the others wait: an extract of a country has gigabytes.

    Args:
        href: local path, ``file://``, ``http(s)://`` or any address that fsspec opens.
        cache: folder that the caller keeps; made if need be.
        opener: signs the address.
        edition: what tells it from another file at the same address. A ``file:checksum`` of the STAC asset (a sha256
            multihash, ``1220`` and 64 hexadecimal digits) is checked.

    Raises:
        AssetMissingError, AccessDeniedError, ThrottledError, TransientSourceError: by the answer of the
        server.
        DecodeError: the bytes are not what the checksum says.
    """
    address = opener.resolve(href)
    if "://" not in address:
        if not Path(address).is_file():
            raise AssetMissingError("no such extract", href)
        return Path(address)
    target = kept_extract(href, cache, edition=edition)
    if target.is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / f"part-{target.name}") as part:
        if target.is_file():  # fetched while this one waited
            return target
        digest = _copy(href, opener, part)
        if edition and edition.startswith(SHA256_MULTIHASH) and digest != edition[4:].lower():
            raise DecodeError(f"sha256 is {digest}, the item says {edition[4:]}", unsigned(href))
        Path(part.name).replace(target)
    return target


@contextmanager
def _alone(path: Path) -> Iterator[IO[bytes]]:
    """An empty file to write into, of which this is the one writer on this machine: whoever else wants it waits. Gone
    afterwards, unless it was renamed; what a killed process left of it is taken over.
    """
    file = _locked(path)
    if file is None:
        file = path.with_name(f"part-{secrets.token_hex(8)}").open("xb")  # no tempfile, whose files are for one user
    with file:
        file.truncate(0)
        try:
            yield file
        finally:
            if _is_at(file, Path(file.name)):
                Path(file.name).unlink()


def _locked(path: Path) -> IO[bytes] | None:
    """The file, held alone; None where that cannot be: a filesystem without locks, a file of another user's."""
    while True:
        try:
            file = path.open("ab")
        except PermissionError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            file.close()
            if error.errno not in NO_LOCKS:
                raise
            return None
        if _is_at(file, path):
            return file
        file.close()  # who held it has renamed or removed it


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _copy(href: str, opener: Opener, target: IO[bytes]) -> str:
    """Copies what lies at an address; returns its sha256."""
    digest = hashlib.sha256()
    for block in blocks_of(href, opener, LARGEST_EXTRACT):
        digest.update(block)
        target.write(block)
    target.flush()
    return digest.hexdigest()


@lru_cache(maxsize=65536)
def _iso(moment: datetime) -> str:
    """ISO time in UTC; empty for the epoch, which stands for unknown."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.timestamp() > 0 else ""
