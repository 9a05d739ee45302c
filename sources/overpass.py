"""OpenStreetMap features of an area from an Overpass server, through osmnx."""

from __future__ import annotations

import json
import logging
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import osmnx
import requests
import shapely
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from schemas.errors import AccessDeniedError, SourceError, ThrottledError, TransientSourceError
from schemas.labels import Feature, FeatureTable
from sources.features import WGS84, TagsWanted, id_order, is_area, to_feature

log = logging.getLogger(__name__)

_lock = threading.Lock()
"""osmnx keeps its settings in a module: one query at a time in a process."""

QUERY_SECONDS = 180


def query_area(
    polygon_lonlat: BaseGeometry, tags: TagsWanted, overpass_url: str, *, source: str = "osm"
) -> FeatureTable:
    """Features that meet a polygon, whole, in EPSG:4326: the table that `sources.osm.read_extract`
    gives for
    the same data.

    Overpass sends no edit times unless asked in another way, so `Feature.timestamp` is empty; the date of the
    table is the server's ``timestamp_osm_base``.

    Args:
        polygon_lonlat: area in degrees, longitude first.
        tags: features that have one of these.
        overpass_url: root of the server's interpreter, with or without ``/interpreter``.
        source: name of the label source in the recipe.

    Raises:
        ThrottledError: 429 or 504 (the server is busy).
        AccessDeniedError: 401 or 403.
        TransientSourceError: any other failure of the server or the connection.
    """
    root = overpass_url.rstrip("/").removesuffix("/interpreter")
    with tempfile.TemporaryDirectory() as answers, _lock, _settings(root, Path(answers)):
        try:
            frame = osmnx.features_from_polygon(polygon_lonlat, dict(tags))
            records = frame.reset_index().to_dict("records")
        except osmnx._errors.InsufficientResponseError:
            records = []
        except osmnx._errors.ResponseStatusCodeError as error:
            raise TransientSourceError("the Overpass server failed", root) from error
        except (requests.RequestException, ValueError) as error:
            raise TransientSourceError(f"no answer from the Overpass server: {type(error).__name__}", root) from error
        date = _date_of(Path(answers), root)
    features = [feature for record in records if (feature := _feature(record)) is not None]
    inside = [feature for feature in features if feature.geometry.intersects(polygon_lonlat)]
    inside.sort(key=lambda feature: id_order(feature.feature_id))
    return FeatureTable(source, WGS84, tuple(inside), date)


def _feature(record: dict[str, Any]) -> Feature | None:
    """One row of osmnx's table as a feature; area or line is decided as for extracts."""
    geometry: BaseGeometry = record["geometry"]
    tags = {k: v for k, v in record.items() if isinstance(v, str) and k not in ("element", "geometry", "nodes", "ways")}
    if record["element"] == "way":
        ring = shapely.get_coordinates(geometry)
        closed = len(ring) >= 4 and bool((ring[0] == ring[-1]).all())
        geometry = Polygon(ring) if closed and is_area(tags) else LineString(ring)
    return to_feature(f"{record['element']}/{record['id']}", geometry, tags)


def _date_of(answers: Path, root: str) -> str:
    """Oldest state of the data among the answers; a remark that data is missing is an error."""
    dates = []
    for path in sorted(answers.glob("*.json")):
        answer = json.loads(path.read_text(encoding="utf-8"))
        if "remark" in answer:
            raise TransientSourceError(f"the Overpass server remarks: {answer['remark']}", root)
        dates.append(str(answer.get("osm3s", {}).get("timestamp_osm_base", "")))
    return min(dates, default="")


@contextmanager
def _settings(root: str, answers: Path) -> Iterator[None]:
    """osmnx set up for one query, and as it was afterwards.

    Its cache folder is where the raw answers are found again: the table it makes of them has no date. It also
    replaces `socket.getaddrinfo`, which is put back.
    """
    settings = osmnx.settings
    wanted = {
        "overpass_url": root,
        "overpass_rate_limit": False,
        "use_cache": True,
        "cache_folder": str(answers),
        "cache_only_mode": False,
        "doh_url_template": None,
        "requests_timeout": QUERY_SECONDS,
        "requests_kwargs": {"hooks": {"response": _refuse_busy}},
        "log_file": False,
        "log_console": False,
    }
    before = {key: getattr(settings, key) for key in wanted}
    lookup = socket.getaddrinfo
    try:
        for key, value in wanted.items():
            setattr(settings, key, value)
        yield
    finally:
        for key, value in before.items():
            setattr(settings, key, value)
        socket.getaddrinfo = lookup


def _refuse_busy(response: requests.Response, *args: object, **kwargs: object) -> None:
    """Raise where osmnx would wait for a minute and ask again, for ever: retries are the flow's."""
    error: dict[int, type[SourceError]] = {
        429: ThrottledError,
        504: ThrottledError,
        401: AccessDeniedError,
        403: AccessDeniedError,
    }
    if response.status_code in error:
        raise error[response.status_code](f"HTTP {response.status_code}", response.url.split("?")[0])
