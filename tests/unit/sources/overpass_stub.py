"""A server that speaks as much Overpass as osmnx asks for: it answers every query with the whole of one OSM file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import osmium

from tests.loopback import serving


def elements_of(path: Path) -> list[dict[str, Any]]:
    """Nodes, ways and relations of a file in Overpass's JSON."""
    found: list[dict[str, Any]] = []
    for thing in osmium.FileProcessor(str(path)):
        element: dict[str, Any] = {"id": thing.id}
        tags = {tag.k: tag.v for tag in thing.tags}
        if tags:
            element["tags"] = tags
        if thing.is_node():
            element |= {"type": "node", "lat": thing.location.lat, "lon": thing.location.lon}
        elif thing.is_way():
            element |= {"type": "way", "nodes": [node.ref for node in thing.nodes]}
        else:
            kinds = {"n": "node", "w": "way", "r": "relation"}
            members = [{"type": kinds[m.type], "ref": m.ref, "role": m.role} for m in thing.members]
            element |= {"type": "relation", "members": members}
        found.append(element)
    return found


@contextmanager
def overpass_stub(answer: dict[str, Any], status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """Serves ``/api/interpreter`` on loopback; gives the root URL and the list of queries as they come."""
    queries: list[str] = []
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            queries.append(parse_qs(sent)["data"][0])
            self.send_response(status if self.path == "/api/interpreter" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield f"{url}/api", queries
