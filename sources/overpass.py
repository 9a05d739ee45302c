"""OpenStreetMap features of an area from an Overpass server, through osmnx."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import shapely
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from schemas.errors import TransientSourceError
from schemas.labels import Feature, FeatureTable
from sources.faults import error_of_status
from sources.features import WGS84, TagsWanted, id_order, is_area, to_feature

_lock = threading.Lock()
"""osmnx keeps its settings in a module: one query at a time in a process."""

QUERY_SECONDS = 180


def query_area(
    polygon_lonlat: BaseGeometry, tags: TagsWanted, overpass_url: str, *, source: str = "osm"
) -> FeatureTable:
    """Features that meet a polygon, whole, in EPSG:4326: the table that `sources.osm.read_extract` gives
    for the same data.

    Overpass sends no edit times unless asked in another way, so `Feature.timestamp` is empty; the date of the
    table is the server's ``timestamp_osm_base``.

    Args:
        polygon_lonlat: area in degrees, longitude first.
        tags: features that have one of these.
        overpass_url: root of the server's interpreter, with or without ``/interpreter``.
        source: name of the label source in the recipe.

    Raises:
        ThrottledError: 429, 503 or 504 (the server is busy).
        AccessDeniedError: 401 or 403.
        TransientSourceError: any other failure of the server or the connection, or an answer with a remark that
            data is missing.
    """
    import osmnx  # with networkx much of what a worker imports, and few recipes ask Overpass

    root = overpass_url.rstrip("/").removesuffix("/interpreter")
    answers = _Answers(root)
    with _lock, _settings(root, answers):
        try:
            frame = osmnx.features_from_polygon(polygon_lonlat, dict(tags))
            records = frame.reset_index().to_dict("records")
        except osmnx._errors.InsufficientResponseError:
            records = []
        except (requests.RequestException, ValueError) as error:
            raise TransientSourceError(f"no answer from the Overpass server: {type(error).__name__}", root) from error
    features = [feature for record in records if (feature := _feature(record)) is not None]
    inside = [feature for feature in features if feature.geometry.intersects(polygon_lonlat)]
    inside.sort(key=lambda feature: id_order(feature.feature_id))
    return FeatureTable(source, WGS84, tuple(inside), min(answers.dates, default=""))


def _feature(record: dict[str, Any]) -> Feature | None:
    """One row of osmnx's table as a feature; area or line is decided as for extracts."""
    geometry: BaseGeometry = record["geometry"]
    tags = {k: v for k, v in record.items() if isinstance(v, str) and k not in ("element", "geometry", "nodes", "ways")}
    if record["element"] == "way" and geometry.geom_type == "LineString":
        geometry = Polygon(geometry) if geometry.is_closed and is_area(tags) else geometry
    elif record["element"] == "way" and not is_area(tags):
        geometry = LineString(shapely.get_coordinates(shapely.get_parts(geometry)[0]))
    return to_feature(f"{record['element']}/{record['id']}", geometry, tags)


class _Answers:
    """Looks at every answer before osmnx does: osmnx drops the data's date, and waits a minute where it is refused."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.dates: list[str] = []

    def __call__(self, response: requests.Response, *args: object, **kwargs: object) -> None:
        """Raise for a refusal or a remark that data is missing; keep the date."""
        if response.status_code >= 400:
            status = 503 if response.status_code == 504 else response.status_code
            raise error_of_status(status, self.root, response.headers)
        answer = response.json()
        if "remark" in answer:
            raise TransientSourceError(f"the Overpass server remarks: {answer['remark']}", self.root)
        self.dates.append(str(answer.get("osm3s", {}).get("timestamp_osm_base", "")))


@contextmanager
def _settings(root: str, answers: _Answers) -> Iterator[None]:
    """osmnx set up for one query, and as it was afterwards.

    It also replaces `socket.getaddrinfo`, which is put back.
    """
    from osmnx import settings

    wanted = {
        "overpass_url": root,
        "overpass_rate_limit": False,
        "use_cache": False,
        "cache_only_mode": False,
        "doh_url_template": None,
        "requests_timeout": QUERY_SECONDS,
        "requests_kwargs": {"hooks": {"response": answers}},
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
